package inband

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

func TestConfig(t *testing.T) {
	h := &side{}
	for _, c := range []Config{
		{},
		{Host: h, ReachableTime: time.Microsecond},
		{Host: h, ReassemblyTimeout: -1},
		{Host: h, ReassemblyMemory: 1},
	} {
		if _, err := New(c); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v, want EINVAL", c, err)
		}
	}
}

func TestPorts(t *testing.T) {
	a := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netA}})
	for _, c := range []struct {
		p    Port
		want error
	}{
		{Port{ID: 1, MAC: macB, MTU: 1500}, syscall.EEXIST},
		{Port{ID: 0, MAC: macB, MTU: 1500}, syscall.EINVAL},
		{Port{ID: 1 << 31, MAC: macB, MTU: 1500}, syscall.EINVAL},
		{Port{ID: 2, MAC: macB, MTU: 67}, syscall.EINVAL},
		{Port{ID: 2, MAC: broadcastMAC, MTU: 1500}, syscall.EINVAL},
		{Port{ID: 2, MAC: macB, MTU: 1500, Addrs: []netip.Prefix{netip.MustParsePrefix("::1/128")}}, syscall.EINVAL},
		{Port{ID: 2, MAC: macB, MTU: 1500, Addrs: []netip.Prefix{netB, netB}}, syscall.EEXIST},
		{Port{ID: 2, MAC: macB, MTU: 1500, Addrs: []netip.Prefix{netB}}, nil},
	} {
		if err := a.AddPort(c.p); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.p, err, c.want)
		}
	}
	if err := a.AddAddr(2, netB); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("same address: %v", err)
	}
	if err := a.RemoveAddr(2, netB); err != nil {
		t.Error(err)
	}
	if err := a.RemoveAddr(2, netB); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("removed twice: %v", err)
	}
	if err := a.RemovePort(2); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"RemovePort": a.RemovePort(2), "SetMTU": a.SetMTU(2, 1500), "AddAddr": a.AddAddr(2, netB),
		"RemoveAddr": a.RemoveAddr(2, netB), "JoinGroup": a.JoinGroup(2, allSystemsAddr),
		"SetStatic": a.SetStatic(2, addrB, macB), "RemoveNeighbor": a.RemoveNeighbor(2, addrB),
	} {
		if !errors.Is(err, syscall.ENODEV) {
			t.Errorf("%s: %v, want ENODEV", name, err)
		}
	}
}

func TestDirectedBroadcast(t *testing.T) {
	for p, want := range map[string]string{
		"10.1.2.3/24": "10.1.2.255", "10.1.2.3/8": "10.255.255.255", "10.1.2.3/0": "255.255.255.255",
		"10.1.2.3/30": "10.1.2.3", "10.1.2.3/22": "10.1.3.255", "10.1.2.3/25": "10.1.2.127",
	} {
		if got := lastOf(netip.MustParsePrefix(p)); got != netip.MustParseAddr(want) {
			t.Errorf("%s: %v, want %s", p, got, want)
		}
	}
	for _, p := range []string{"10.1.2.3/31", "10.1.2.3/32"} {
		if got := lastOf(netip.MustParsePrefix(p)); got.IsValid() {
			t.Errorf("%s: %v, want none", p, got)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		h := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netA}})
		if err := h.JoinGroup(1, netip.MustParseAddr("239.1.2.3")); err != nil {
			t.Fatal(err)
		}
		h.Send(outgoing(apA, apB, make([]byte, 9000))) // waits for ARP, with fragments
		h.Input(1, fragmentsOf(1, make([]byte, 100), 64)[0])
		resolved := make(chan error, 1)
		go func() { _, err := h.Resolve(context.Background(), 1, netip.MustParseAddr("10.1.0.9")); resolved <- err }()
		eventually(t, "resolution", func() bool { _, _, ok := h.Lookup(1, netip.MustParseAddr("10.1.0.9")); return ok })
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if err := next(t, "Resolve", resolved); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Resolve: %v, want net.ErrClosed", err)
		}
		sent, events := len(h.frames()), len(h.neighbors)
		if err := h.Close(); err != nil {
			t.Error("second Close:", err)
		}
		h.Input(1, frame(macA, macB, 0x0806, make([]byte, 46)))
		for name, err := range map[string]error{
			"Send": h.Send(outgoing(apA, apB, nil)), "AddPort": h.AddPort(Port{ID: 3, MAC: macB, MTU: 1500}),
			"SetRoutes": h.SetRoutes(nil), "BindErrors": h.BindErrors(protoUDP, 1), "SetMTU": h.SetMTU(1, 1500),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
		time.Sleep(50 * time.Millisecond)
		if len(h.frames()) != sent || len(h.neighbors) != events {
			t.Error("the host was called after Close")
		}
	}()
	eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestTimersAndTheGate(t *testing.T) {
	g := newGate()
	c := &gatedClock{Clock: tcpip.NewStdClock(), gate: g}
	running, finish, late := make(chan bool), make(chan bool), make(chan bool, 1)
	c.AfterFunc(0, func() { running <- true; <-finish })
	c.AfterFunc(30*time.Millisecond, func() { late <- true })
	next(t, "timer", running)
	closed := make(chan bool)
	go func() { g.close(); close(closed) }()
	eventually(t, "the gate to shut", func() bool {
		if !g.enter() {
			return true
		}
		g.leave()
		return false
	})
	select {
	case <-closed:
		t.Error("close did not wait for a running timer")
	default:
	}
	finish <- true
	next(t, "close", closed)
	g.close() // once more is harmless
	time.Sleep(60 * time.Millisecond)
	if len(late) != 0 {
		t.Error("a timer ran after close")
	}
}

// Everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	a, b := newPair(t, Config{ReachableTime: 2 * time.Millisecond})
	for _, h := range []*side{a, b} {
		h.set(func() { h.take = func(Datagram) bool { return false } })
		if err := h.BindErrors(protoUDP, apA.Port()); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(f func(i int)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					f(i)
					time.Sleep(50 * time.Microsecond)
				}
			}
		}()
	}
	for _, h := range []*side{a, b} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-h.errors:
				case <-h.neighbors:
				case <-stop:
					return
				}
			}
		}()
	}
	extra := netip.MustParsePrefix("10.3.0.1/24")
	loop(func(i int) { a.Send(outgoing(apA, apB, make([]byte, i%4000))) })
	loop(func(int) { b.Send(outgoing(apB, apA, nil)) })
	loop(func(int) { a.AddAddr(1, extra); a.RemoveAddr(1, extra) })
	loop(func(int) { a.SetRoutes([]Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: addrB, Port: 1}}) })
	loop(func(int) { b.AddPort(Port{ID: 2, MAC: macB, MTU: 600, Addrs: []netip.Prefix{extra}}); b.RemovePort(2) })
	loop(func(int) { a.JoinGroup(1, allSystemsAddr); a.LeaveGroup(1, allSystemsAddr) })
	loop(func(int) { a.Probe(1, addrB, macB, addrA); a.Stats() })
	loop(func(int) { a.SetStatic(1, addrB, macB); a.RemoveNeighbor(1, addrB); a.Lookup(1, addrB) })
	loop(func(int) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		b.Resolve(ctx, 1, addrA)
	})
	loop(func(i int) { a.SetMTU(1, 600+i%1000) })
	time.Sleep(500 * time.Millisecond)
	if err := a.Close(); err != nil { // in the midst of it
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	if st := b.Stats(); st.Delivered == 0 || accounted(st) != st.Frames {
		t.Errorf("%d accounted: %+v", accounted(st), st)
	}
}
