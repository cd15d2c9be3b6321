package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/rt"
)

// drivesOn has this program be the drives, on the interface that it names.
const drivesOn = "OOBNET_PLC_DRIVES"

func TestMain(m *testing.M) {
	ifname := os.Getenv(drivesOn)
	if ifname == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	newDrives(openLink(ifname)).serve(ctx)
}

// startDrives starts the drives in a process of their own, and returns what ends it.
func startDrives(t *testing.T, h *netnstest.Host) (stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), drivesOn+"="+h.IfName)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	check(err)
	if err := h.DoErr(cmd.Start); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(syscall.SIGTERM) // has it ended by itself, Wait says why
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the drives: %v %s", err, errs.String())
		}
	}
	t.Cleanup(stop)
	if line, err := bufio.NewReader(out).ReadString('\n'); !strings.HasPrefix(line, "drives on ") {
		t.Fatalf("the drives say %q, %v", line, err)
	}
	return stop
}

// runShort runs the loop for a short time.
func runShort(t *testing.T, ctx context.Context, c *controller, last time.Duration) {
	t.Helper()
	var out text
	short, end := context.WithTimeout(ctx, last)
	defer end()
	s := c.run(short, &out, &rt.Config{Period: period, Spin: 50 * time.Microsecond}, 512<<20, 0).Stats()
	for i := range c.axes {
		// On a loaded machine the drives may be late: the loop counts that. That
		// all are is an error.
		if lost := c.axes[i].lost.Load(); lost >= s.Cycles {
			t.Errorf("%s: %d answers missing of %d", name(i), lost, s.Cycles)
		}
	}
	if n := c.incomplete.Load(); n != 0 {
		t.Errorf("%d working counters are wrong", n)
	}
	t.Logf("%s", out.b.String())
}

// TestVM: the same loop on a card of a virtual machine that VFIO has, with the
// drives over AF_XDP at the other end of the wire. Elsewhere it is skipped.
func TestVM(t *testing.T) {
	leaktest.Check(t)
	w, address := netnstest.NewCard(t, nil)
	if w == nil {
		t.Skip("needs a card of a virtual machine that VFIO has: \"make test-vm\"")
	}
	startDrives(t, w.B)
	c := open(address)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c.meet(ctx) // an emulated machine may be too slow for complete answers, ten in a row
	runShort(t, ctx, c, 2*time.Second)
	must(c.device.Poll(64))
	stacktest.AssertBooks(t, c.device)
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

// TestVeth: the same loop over AF_XDP, with the drives in another process. When
// that ends, each drive is told of, and the loop goes on.
func TestVeth(t *testing.T) {
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	stop := startDrives(t, w.B)
	var c *controller
	w.A.Do(func() { c = open(w.A.IfName) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c.meet(ctx)
	if !c.complete() {
		t.Fatal("the drives have not met their controller")
	}
	runShort(t, ctx, c, 300*time.Millisecond)

	stop()
	for i := range c.axes {
		c.axes[i].silent.Store(0) // whatever the first run's last cycles were
	}
	var told text // the first run may have had late answers to tell of
	long, end := context.WithCancel(ctx)
	done := make(chan *rt.Cycle)
	go func() { done <- c.run(long, &told, &rt.Config{Period: period}, 0, 0) }()
	for i := range c.axes {
		stacktest.Eventually(t, "word of "+name(i), func() bool { return told.has(name(i) + " does not answer\n") })
	}
	end()
	if s := (<-done).Stats(); s.Cycles <= tolerance {
		t.Errorf("the loop has stopped after %d cycles", s.Cycles)
	}
	must(c.device.Poll(64))
	stacktest.AssertBooks(t, c.device)
	if st := c.device.Stats(); st.RX.Dropped.Total() != 0 {
		t.Errorf("dropped: %v", st.RX.Dropped.Map())
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}
