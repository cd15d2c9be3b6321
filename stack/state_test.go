package stack_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// TestCable is pulled and put back: senders are told, and afterwards all is as
// it was.
func TestCable(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	stacktest.Know(t, a, b)
	exchange(t, a, b)
	cable := a.Link.(*loopback.Link)
	cable.SetState(link.Down)
	for _, h := range []*stacktest.Host{a, b} {
		stacktest.Eventually(t, "the device is down", func() bool { return errors.Is(h.Device.Fault(), syscall.ENETDOWN) })
		if _, err := h.Device.Alloc(); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("alloc: %v", err)
		}
	}
	c := listen(t, a, a.At(0), nil)
	defer c.Close()
	if _, err := c.WriteToUDPAddrPort([]byte("x"), b.At(7)); !errors.Is(err, syscall.ENETDOWN) {
		t.Errorf("write: %v", err)
	}
	cable.SetState(link.Up)
	for _, h := range []*stacktest.Host{a, b} {
		stacktest.Eventually(t, "the device is up", func() bool { return h.Device.Fault() == nil })
	}
	exchange(t, a, b)
	exchange(t, b, a)
	stacktest.AssertBooks(t, a.Device)
}

// TestGone: a device that has been removed can do nothing any more but close.
func TestGone(t *testing.T) {
	for _, mode := range []link.PollMode{link.Adaptive, link.Busy, link.Manual} {
		t.Run(mode.String(), func(t *testing.T) {
			leaktest.Check(t)
			a, b := stacktest.Pair(t, &stacktest.Options{Device: stack.DeviceConfig{Poll: mode}})
			stacktest.Know(t, a, b)
			a.Link.(*loopback.Link).SetState(link.Gone)
			stacktest.Eventually(t, "the device is gone", func() bool { return errors.Is(a.Device.Fault(), syscall.ENODEV) })
			stacktest.Eventually(t, "its peer is down", func() bool { return errors.Is(b.Device.Fault(), syscall.ENETDOWN) })
			if _, err := a.Device.Alloc(); !errors.Is(err, syscall.ENODEV) {
				t.Errorf("alloc: %v", err)
			}
			if _, err := a.Device.EnablePort(&stack.PortConfig{VLAN: 5}); !errors.Is(err, syscall.ENETDOWN) {
				t.Errorf("enable port: %v", err)
			}
			if mode == link.Manual {
				if err := a.Device.Wait(-1); !errors.Is(err, syscall.ENODEV) {
					t.Errorf("wait: %v", err)
				}
			}
			if err := a.Device.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDeviceComesAndGoes while the stack and a socket on all addresses stay.
func TestDeviceComesAndGoes(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, nil)
	if err := a.Device.Close(); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		l, err := loopback.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := a.Stack.Attach(l, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.EnablePort(&stack.PortConfig{Addrs: prefixes("10.0.0.1/24")}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if got := a.Stack.Devices(); len(got) != 1 || got[0] != d || !a.Stack.Local(a.Addr) {
			t.Errorf("round %d: devices %v", round, got)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProbes: an entry that is in use is confirmed anew before it gets old, and
// one whose neighbour falls silent goes.
func TestProbes(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, &stacktest.Options{Manual: true, Stack: stack.Config{Reachable: 2 * time.Second}})
	q := l.queues[0]
	// requests counts the ARP requests for the peer, by broadcast or to it.
	requests := func(to link.MAC) (n int) {
		for _, b := range q.wire() {
			a, ok := wire.ParseARP(b[14:])
			if ok && a.Op == wire.ARPRequest && a.TargetIP == num(peerAddr) && link.MAC(b[:6]) == to {
				n++
			}
		}
		return n
	}
	answer := func() { l.arrive(arpFrame(wire.ARPReply, fakeMAC, ownAddr), 0, 0) }
	done := make(chan error, 1)
	go func() { done <- h.Stack.Solicit(context.Background(), peerAddr) }()
	stacktest.Eventually(t, "the peer is asked for", func() bool { h.Poll(); return requests(broadcast) > 0 })
	answer()
	stacktest.Eventually(t, "it is known", func() bool { h.Poll(); return h.Stack.Lookup(num(peerAddr)) != nil })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	entry := h.Stack.Lookup(num(peerAddr))
	// A sender in use of it, and a peer that answers each probe: for more than
	// twice its life it does not go.
	answered := 0
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		entry.Touch()
		h.Poll()
		if n := requests(peerMAC); n > answered {
			answered = n
			answer()
		}
		if !entry.Valid() {
			t.Fatalf("an entry in use went after %d probes, all answered", answered)
		}
	}
	if answered == 0 {
		t.Error("there was no probe")
	}
	stacktest.Eventually(t, "a silent neighbour's entry goes", func() bool {
		entry.Touch()
		h.Poll()
		return !entry.Valid() && h.Stack.Lookup(num(peerAddr)) == nil
	})
	stacktest.AssertBooks(t, h.Device)
}

// TestMissIsFastNextTime: what is demoted for want of an address has the
// in-band stage ask for it, and the answer makes the next one fast.
func TestMissIsFastNextTime(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	c, to := listen(t, a, a.At(0), nil), listen(t, b, b.At(7), nil)
	defer c.Close()
	defer to.Close()
	if _, err := c.WriteToUDPAddrPort([]byte("slow"), b.At(7)); err != nil {
		t.Fatal(err)
	}
	stacktest.Eventually(t, "the peer is in the front cache", func() bool { return a.Stack.Lookup(num(b.Addr)) != nil })
	demoted := a.Stack.Stats().Demoted
	if demoted != 1 || c.Stats().Demoted != 1 {
		t.Errorf("%d demoted by the stack, %d by the socket", demoted, c.Stats().Demoted)
	}
	for range 5 {
		if _, err := c.WriteToUDPAddrPort([]byte("fast"), b.At(7)); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.Stack.Stats().Demoted; got != demoted {
		t.Errorf("%d were demoted that could go fast", got-demoted)
	}
	if err := to.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	got := map[string]int{}
	for range 6 {
		n, _, err := to.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		got[string(buf[:n])]++
	}
	if fmt.Sprint(got) != "map[fast:5 slow:1]" {
		t.Errorf("arrived: %v", got)
	}
}
