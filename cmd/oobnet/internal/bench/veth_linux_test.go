package bench

import (
	"os"
	"testing"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/worker"
)

// TestMain lets this test binary be its own worker processes.
func TestMain(m *testing.M) {
	worker.Main()
	os.Exit(m.Run())
}

func testLab(t *testing.T) *lab {
	t.Helper()
	l, err := openLab()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(l.close)
	return l
}

// shortTurn is long enough for a rate above zero, and for no figure to believe.
const shortTurn = 100 * time.Millisecond

func TestKernelPeersOverTheWire(t *testing.T) {
	l := testLab(t)
	for name, c := range map[string]struct {
		turn turn
		want string
	}{
		"spinning echo": {l.echo(worker.Spec{Role: worker.KernelEcho, Prefix: wireKernel}), "p50"},
		"sleeping echo": {l.echo(worker.Spec{Role: worker.KernelEcho, Prefix: wireKernel, Sleep: true}), "p50"},
		"sendmmsg":      {l.send(worker.KernelBatch), "pps"},
		"sendto":        {l.send(worker.KernelSend), "pps"},
		"recvmmsg":      {l.receive(worker.KernelSink, wireKernel, false), "pps"},
		"recv asleep":   {l.receive(worker.KernelSink, wireKernel, true), "cpu"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := c.turn(t.Context(), shortTurn)
			if err != nil {
				t.Fatal(err)
			}
			if f[c.want] <= 0 {
				t.Errorf("%v", f)
			}
			t.Log(f)
		})
	}
}

func TestTestpmdOverTheWire(t *testing.T) {
	if err := testpmdAbsent(); err != nil {
		t.Skip(err)
	}
	l := testLab(t)
	for name, c := range map[string]struct {
		turn turn
		want string
	}{
		"5tswap": {l.echoTestpmd, "p50"},
		"txonly": {l.sendTestpmd, "pps"},
		"rxonly": {l.receiveTestpmd, "pps"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := c.turn(t.Context(), shortTurn)
			if err != nil {
				t.Fatal(err)
			}
			if f[c.want] <= 0 {
				t.Errorf("%v", f)
			}
			t.Log(f)
		})
	}
}

func TestOursOverTheWire(t *testing.T) {
	l := testLab(t)
	for name, c := range map[string]struct {
		turn turn
		want string
	}{
		"spinning echo": {l.echo(worker.Spec{Role: worker.OursEcho, Prefix: wireOurs}), "p50"},
		"sleeping echo": {l.echo(worker.Spec{Role: worker.OursEcho, Prefix: wireOurs, Sleep: true}), "p50"},
		"singly":        {l.send(worker.OursSend), "pps"},
		"batches":       {l.send(worker.OursBatch), "pps"},
		"sink":          {l.receive(worker.OursSink, wireOurs, false), "pps"},
		"sink asleep":   {l.receive(worker.OursSink, wireOurs, true), "cpu"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := c.turn(t.Context(), shortTurn)
			if err != nil {
				t.Fatal(err)
			}
			if f[c.want] <= 0 {
				t.Errorf("%v", f)
			}
			t.Log(f)
		})
	}
}
