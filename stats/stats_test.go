package stats_test

import (
	"encoding/json"
	"expvar"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
	"github.com/oobnet/oobnet/stats"
)

// hosts are two that know each other, with two queues and a watchdog each.
func hosts(t testing.TB) (a, b *stacktest.Host) {
	t.Helper()
	a, b = stacktest.Pair(t, &stacktest.Options{Loopback: loopback.Config{Queues: 2}, Device: stack.DeviceConfig{Watchdog: -1}})
	stacktest.Know(t, a, b)
	return a, b
}

func listen(t testing.TB, h *stacktest.Host, port uint16, cfg *udp.Config) *udp.Conn {
	t.Helper()
	c, err := udp.Listen(h.Stack, h.At(port), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// busy sends n datagrams of each kind from a to b: some are read, some find a
// full socket, some nobody.
func busy(t testing.TB, a, b *stacktest.Host, n int) {
	t.Helper()
	c := listen(t, a, 0, nil)
	defer c.Close()
	for range n {
		for _, port := range []uint16{7, 8, 9} {
			if _, err := c.WriteToUDPAddrPort([]byte("hello"), b.At(port)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func still(s *stats.Snapshot) bool {
	for i := range s.Devices {
		if s.Devices[i].RX.UnderWay() != 0 {
			return false
		}
	}
	return true
}

func sum[T any](list []T, of func(*T) uint64) (n uint64) {
	for i := range list {
		n += of(&list[i])
	}
	return n
}

// TestBooks: when traffic stands still all sums agree: queues with devices,
// fates with frames, sockets with what was delivered and dropped.
func TestBooks(t *testing.T) {
	leaktest.Check(t)
	a, b := hosts(t)
	gone := listen(t, b, 7, nil)
	listen(t, b, 8, &udp.Config{Queue: 2})
	raw, err := packet.Listen(b.Port, 0x88b5, nil)
	if err != nil {
		t.Fatal(err)
	}
	const each = 50
	busy(t, a, b, each)
	stacktest.Eventually(t, "all has arrived, and nothing is under way", func() bool {
		s := stats.Take(b.Stack)
		return s.Devices[0].RX.Packets >= 3*each && still(s)
	})
	if err := gone.Close(); err != nil { // what it counted stays in the sums
		t.Fatal(err)
	}
	s := stats.Take(b.Stack)
	d := &s.Devices[0]
	if len(d.Queues) != 2 || d.Driver == "" || d.Fault != "" {
		t.Errorf("device: %+v", d)
	}
	for what, pair := range map[string][2]uint64{
		"packets":     {d.RX.Packets, sum(d.Queues, func(q *stats.Queue) uint64 { return q.RX.Packets })},
		"bytes":       {d.RX.Bytes, sum(d.Queues, func(q *stats.Queue) uint64 { return q.RX.Bytes })},
		"dropped":     {d.RX.Dropped.Total(), sum(d.Queues, func(q *stats.Queue) uint64 { return q.RX.Dropped.Total() })},
		"demoted":     {d.RX.Demoted.Total(), sum(d.Queues, func(q *stats.Queue) uint64 { return q.RX.Demoted.Total() })},
		"sent":        {d.TX.Packets, sum(d.Queues, func(q *stats.Queue) uint64 { return q.TX.Packets })},
		"port":        {d.RX.Packets, sum(s.Ports, func(p *stats.Port) uint64 { return p.RXPackets })},
		"delivered":   {d.RX.Delivered, sum(s.Protocols, func(p *stats.Protocol) uint64 { return p.Received })},
		"full":        {d.RX.Dropped[stack.ReasonSocketFull], sum(s.Protocols, func(p *stats.Protocol) uint64 { return p.Full })},
		"no socket":   {d.RX.Demoted[stack.ReasonNoSocket], each},
		"all of them": {d.RX.Delivered + d.RX.Dropped[stack.ReasonSocketFull], 2 * each},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %d and %d", what, pair[0], pair[1])
		}
	}
	if len(s.Sockets) != 2 || s.Sockets[0].Local != b.At(8) || s.Sockets[0].Held != 2 || s.Sockets[1].EtherType != 0x88b5 || s.Sockets[1].Port != b.Port.Name() {
		t.Errorf("sockets: %+v", s.Sockets)
	}
	if s.Protocols[0].Open != 1 || s.Protocols[1].Open != 1 || s.Protocols[0].Held != 2 {
		t.Errorf("protocols: %+v", s.Protocols)
	}
	if len(d.Threads) == 0 || d.Threads[0].Steps[0].Count == 0 {
		t.Errorf("threads: %+v", d.Threads)
	}
	if s.Stack.FrontCache.Entries == 0 {
		t.Errorf("stack: %+v", s.Stack)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWhileTrafficFlows: a picture of a busy stack is never impossible, and no
// counter falls from one to the next.
func TestWhileTrafficFlows(t *testing.T) {
	leaktest.Check(t)
	a, b := hosts(t)
	listen(t, b, 8, &udp.Config{Queue: 2})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20 {
			busy(t, a, b, 20)
		}
	}()
	before := stats.Take(b.Stack)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		now := stats.Take(b.Stack)
		for _, q := range now.Devices[0].Queues {
			if q.RX.UnderWay() < 0 {
				t.Fatalf("more became of frames than there were: %+v", q.RX)
			}
		}
		x, y := &before.Devices[0], &now.Devices[0]
		if y.RX.Packets < x.RX.Packets || y.RX.Demoted.Total() < x.RX.Demoted.Total() || now.Protocols[0].Received < before.Protocols[0].Received {
			t.Fatalf("a counter fell: %+v, %+v", x.RX, y.RX)
		}
		before = now
		time.Sleep(100 * time.Microsecond)
	}
}

// TestJSON: a snapshot comes back from JSON as it was.
func TestJSON(t *testing.T) {
	leaktest.Check(t)
	a, b := hosts(t)
	listen(t, b, 7, nil)
	busy(t, a, b, 3)
	s := stats.Take(b.Stack)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back stats.Snapshot
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	addrPorts := cmp.Comparer(func(x, y netip.AddrPort) bool { return x == y })
	if diff := cmp.Diff(s, &back, addrPorts, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	var r stats.Reasons
	if err := json.Unmarshal([]byte(`{"no_such":1}`), &r); err == nil {
		t.Error("an unknown reason is taken")
	}
	if err := json.Unmarshal([]byte(`[]`), &r); err == nil {
		t.Error("a list is taken")
	}
}

// TestAfterClose: a stack that is closed has counters still.
func TestAfterClose(t *testing.T) {
	leaktest.Check(t)
	a, b := hosts(t)
	c := listen(t, b, 7, nil)
	busy(t, a, b, 3)
	stacktest.Eventually(t, "the datagrams", func() bool { return c.Stats().Received == 3 })
	if err := b.Stack.Close(); err != nil {
		t.Fatal(err)
	}
	if s := stats.Take(b.Stack); len(s.Devices) != 0 || len(s.Sockets) != 0 {
		t.Errorf("%+v", s)
	}
}

// A stack on an expvar page, at /debug/vars of the program's own HTTP server.
func ExampleVar() {
	s, err := stack.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	expvar.Publish("oobnet", stats.Var{Stack: s})

	var page stats.Snapshot
	if err := json.Unmarshal([]byte(expvar.Get("oobnet").String()), &page); err != nil {
		fmt.Println(err)
	}
	fmt.Println(len(page.Devices), page.Protocols[0].Name)
	// Output: 0 udp
}

// What a stack has dropped, by reason.
func Example() {
	wire, err := loopback.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := stack.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	if _, err := s.Attach(wire, nil); err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range stats.Take(s).Devices {
		fmt.Println("dropped:", d.RX.Dropped.Total(), "under way:", d.RX.UnderWay())
	}
	// Output: dropped: 0 under way: 0
}

// many opens n sockets.
func many(t testing.TB, h *stacktest.Host, n int) {
	for i := range n {
		listen(t, h, uint16(10000+i), nil)
	}
}

func BenchmarkTake1000Sockets(b *testing.B) {
	_, h := hosts(b)
	many(b, h, 1000)
	for b.Loop() {
		stats.Take(h.Stack)
	}
}

func BenchmarkSummary1000Sockets(b *testing.B) {
	_, h := hosts(b)
	many(b, h, 1000)
	for b.Loop() {
		stats.Summary(h.Stack)
	}
}

func BenchmarkJSON1000Sockets(b *testing.B) {
	_, h := hosts(b)
	many(b, h, 1000)
	v := stats.Var{Stack: h.Stack, Sockets: true}
	for b.Loop() {
		_ = v.String()
	}
}
