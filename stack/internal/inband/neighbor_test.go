package inband

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

func TestResolve(t *testing.T) {
	a, b := newPair(t, Config{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for addr, want := range map[netip.Addr]link.MAC{
		addrB:                              macB,
		addrA:                              macA,
		broadcastAddr:                      broadcastMAC,
		netip.MustParseAddr("10.1.0.255"):  broadcastMAC,
		netip.MustParseAddr("239.129.2.3"): {0x01, 0x00, 0x5e, 0x01, 2, 3},
	} {
		if mac, err := a.Resolve(ctx, 1, addr); err != nil || mac != want {
			t.Errorf("%v: %x, %v, want %x", addr, mac, err, want)
		}
	}
	// b has learned a from the request, Stale. Resolve has it confirmed.
	if mac, err := b.Resolve(ctx, 1, addrA); err != nil || mac != macA {
		t.Errorf("stale: %x, %v", mac, err)
	}
	if _, state, _ := b.Lookup(1, addrA); state != Reachable {
		t.Errorf("after Resolve the entry is %v", state)
	}
	if _, err := a.Resolve(ctx, 9, addrB); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("no port: %v", err)
	}
	if _, err := a.Resolve(ctx, 1, netip.IPv6Loopback()); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("IPv6: %v", err)
	}
}

func TestResolveWaits(t *testing.T) {
	a := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netA}})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := a.Resolve(ctx, 1, addrB); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("context: %v", err)
	}
	if _, err := a.Resolve(context.Background(), 1, addrB); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("nobody there: %v, want ETIMEDOUT", err)
	}
	// The entry goes while somebody waits for it.
	done := make(chan error, 1)
	go func() { _, err := a.Resolve(context.Background(), 1, addrB); done <- err }()
	eventually(t, "resolution", func() bool { _, s, _ := a.Lookup(1, addrB); return s == Incomplete })
	if err := a.RemovePort(1); err != nil {
		t.Fatal(err)
	}
	if err := next(t, "Resolve", done); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("port removed: %v, want EHOSTUNREACH", err)
	}
}

// A request that finds no buffer is tried again, like one that the wire loses.
func TestARPRequestWithoutBuffer(t *testing.T) {
	a, _ := newPair(t, Config{})
	lost := 0
	a.set(func() {
		a.refuse = func(f []byte) bool { lost++; return lost == 1 && isARP(f) }
	})
	if mac, err := a.Resolve(context.Background(), 1, addrB); err != nil || mac != macB {
		t.Errorf("resolved to %x, %v", mac, err)
	}
	if n := a.Stats().NoBuffer; n != 1 {
		t.Errorf("%d frames without a buffer, want 1", n)
	}
}

// Both ask at a time, and our question is lost: theirs tells us their MAC, which
// gVisor does not confirm by itself.
func TestResolveWhenThePeerAsks(t *testing.T) {
	a, _ := newPair(t, Config{})
	lost := 0
	a.set(func() {
		a.refuse = func(f []byte) bool { lost++; return lost == 1 && isARP(f) }
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	type answer struct {
		mac link.MAC
		err error
	}
	done := make(chan answer, 1)
	go func() {
		mac, err := a.Resolve(ctx, 1, addrB)
		done <- answer{mac, err}
	}()
	eventually(t, "resolution", func() bool { _, s, _ := a.Lookup(1, addrB); return s == Incomplete })
	a.Input(1, arpFrame(macA, arpPacket{op: arpRequest, senderMAC: macB, senderIP: addrB, targetIP: addrA}))
	if r := next(t, "Resolve", done); r.err != nil || r.mac != macB {
		t.Errorf("resolved to %x, %v", r.mac, r.err)
	}
}

func TestNeighborAgesAndProbeRefreshes(t *testing.T) {
	const reachable = 200 * time.Millisecond
	a, _ := newPair(t, Config{ReachableTime: reachable})
	if _, err := a.Resolve(context.Background(), 1, addrB); err != nil {
		t.Fatal(err)
	}
	a.waitState(t, addrB, Reachable)
	for range 20 { // three lives of an entry
		if !a.Probe(1, addrB, macB, addrA) {
			t.Fatal("Probe found no buffer")
		}
		time.Sleep(reachable / 6)
	}
	select {
	case e := <-a.neighbors:
		t.Fatalf("event %+v while probes are answered", e)
	default:
	}
	// The last probe was sent a sixth of a life ago: the entry dies after the
	// rest of it, neither at half nor at one and a half of it.
	start := time.Now()
	e := a.waitState(t, addrB, Stale)
	if d := time.Since(start); d < reachable/2 || d > 5*reachable {
		t.Errorf("stale %v after the last answer", d)
	}
	if e.MAC != macB || e.Port != 1 {
		t.Errorf("event %+v", e)
	}
	if a.Probe(1, addrB, macB, addrB) || a.Probe(2, addrB, macB, addrA) {
		t.Error("Probe from a foreign address or port")
	}
}

func TestPeerGetsANewMAC(t *testing.T) {
	a, b := newPair(t, Config{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := a.Resolve(ctx, 1, addrB); err != nil {
		t.Fatal(err)
	}
	newMAC := link.MAC{2, 0, 0, 0, 0, 0xc}
	if err := b.RemovePort(1); err != nil {
		t.Fatal(err)
	}
	b.set(func() { b.mac = newMAC })
	if err := b.AddPort(Port{ID: 1, Name: "b", MAC: newMAC, MTU: 1500, Addrs: []netip.Prefix{netB}}); err != nil {
		t.Fatal(err)
	}
	// b speaks first: its request tells a.
	if mac, err := b.Resolve(ctx, 1, addrA); err != nil || mac != macA {
		t.Fatal(mac, err)
	}
	if e := a.waitState(t, addrB, Stale); e.MAC != newMAC {
		t.Errorf("event %+v, want the new MAC", e)
	}
	if mac, err := a.Resolve(ctx, 1, addrB); err != nil || mac != newMAC {
		t.Errorf("resolved to %x, %v", mac, err)
	}
}

// A peer that is silent about its new MAC is found by asking everybody, after
// the old MAC has not answered.
func TestResolveAfterSilentChange(t *testing.T) {
	const reachable = 50 * time.Millisecond
	a, b := newPair(t, Config{ReachableTime: reachable})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := a.Resolve(ctx, 1, addrB); err != nil {
		t.Fatal(err)
	}
	a.waitState(t, addrB, Stale)
	newMAC := link.MAC{2, 0, 0, 0, 0, 0xc}
	b.RemovePort(1)
	b.set(func() { b.mac = newMAC })
	if err := b.AddPort(Port{ID: 1, Name: "b", MAC: newMAC, MTU: 1500, Addrs: []netip.Prefix{netB}}); err != nil {
		t.Fatal(err)
	}
	if mac, err := a.Resolve(ctx, 1, addrB); err != nil || mac != newMAC {
		t.Errorf("resolved to %x, %v", mac, err)
	}
}

func TestSpoofedARP(t *testing.T) {
	liar := link.MAC{2, 0, 0, 0, 0, 0xee}
	reply := func(dst link.MAC, ip netip.Addr) []byte {
		return arpFrame(dst, arpPacket{op: arpReply, senderMAC: liar, senderIP: ip, targetMAC: macA, targetIP: addrA})
	}
	a, _ := newPair(t, Config{})
	// Unsolicited replies create nothing.
	stranger := netip.MustParseAddr("10.1.0.66")
	a.Input(1, reply(macA, stranger))
	a.Input(1, reply(broadcastMAC, stranger))
	if _, s, ok := a.Lookup(1, stranger); ok {
		t.Errorf("an unsolicited reply made an entry, %v", s)
	}
	if n := a.Stats().ARPUnsolicited; n != 2 {
		t.Errorf("%d unsolicited replies counted", n)
	}
	// A reply that contradicts makes Stale, and leaves the MAC.
	if _, err := a.Resolve(context.Background(), 1, addrB); err != nil {
		t.Fatal(err)
	}
	a.Input(1, reply(macA, addrB))
	if mac, s, _ := a.Lookup(1, addrB); mac != macB || s != Stale {
		t.Errorf("after a contradicting reply: %x %v, want the old MAC, stale", mac, s)
	}
	if mac, err := a.Resolve(context.Background(), 1, addrB); err != nil || mac != macB {
		t.Errorf("confirmed %x, %v", mac, err)
	}
	// A request replaces the MAC, as doc.go says, but not as reachable.
	a.Input(1, arpFrame(macA, arpPacket{op: arpRequest, senderMAC: liar, senderIP: addrB, targetIP: addrA}))
	if mac, s, _ := a.Lookup(1, addrB); mac != liar || s != Stale {
		t.Errorf("after a contradicting request: %x %v, want the new MAC, stale", mac, s)
	}
}

func TestARPThatTeachesNothing(t *testing.T) {
	a := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netA}})
	request := arpPacket{op: arpRequest, senderMAC: macB, senderIP: addrB, targetIP: addrA}
	var want Stats
	in := func(counter *uint64, change func(*arpPacket)) {
		r := request
		change(&r)
		f := frame(broadcastMAC, macB, 0x0806, r.bytes())
		a.Input(1, f)
		*counter++
		want.Frames++
	}
	in(&want.ARPInvalid, func(r *arpPacket) { r.senderMAC = broadcastMAC })
	in(&want.ARPInvalid, func(r *arpPacket) { r.senderMAC = link.MAC{} })
	in(&want.ARPInvalid, func(r *arpPacket) { r.senderMAC = macA })
	in(&want.ARPInvalid, func(r *arpPacket) { r.senderIP = broadcastAddr })
	in(&want.ARPInvalid, func(r *arpPacket) { r.senderIP = netip.MustParseAddr("10.1.0.255") })
	in(&want.ARPInvalid, func(r *arpPacket) { r.senderIP = allSystemsAddr })
	in(&want.ARPInvalid, func(r *arpPacket) { r.senderIP = netip.MustParseAddr("127.0.0.1") })
	in(&want.ARPInvalid, func(r *arpPacket) { r.op = 3 })
	in(&want.ARPConflicts, func(r *arpPacket) { r.senderIP = addrA })
	in(&want.ARPNotForUs, func(r *arpPacket) { r.targetIP = addrB })
	in(&want.ARPNotForUs, func(r *arpPacket) { r.targetIP = broadcastAddr })
	in(&want.ARPNotForUs, func(r *arpPacket) { r.targetIP = netip.MustParseAddr("10.1.0.255") })
	if n := len(a.frames()); n != len(icmpOf(a.frames())) {
		t.Errorf("answered: % x", a.frames())
	}
	in(&want.ARPProbes, func(r *arpPacket) { r.senderIP = netip.IPv4Unspecified() })
	answer, ok := parseARP(a.frames()[len(a.frames())-1][14:])
	if !ok || answer.op != arpReply || answer.senderIP != addrA || answer.senderMAC != macA || answer.targetMAC != macB {
		t.Errorf("probe answered with %+v", answer)
	}
	if got := a.Stats(); got.ARPInvalid != want.ARPInvalid || got.ARPConflicts != want.ARPConflicts ||
		got.ARPNotForUs != want.ARPNotForUs || got.ARPProbes != want.ARPProbes || got.Frames != want.Frames {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(a.neighbors) != 0 {
		t.Errorf("learned %+v", <-a.neighbors)
	}
}

func TestStaticNeighbor(t *testing.T) {
	a, b := newPair(t, Config{})
	fixed := link.MAC{2, 0, 0, 0, 0, 0xf}
	if err := a.SetStatic(1, addrB, fixed); err != nil {
		t.Fatal(err)
	}
	if e := a.waitState(t, addrB, Static); e.MAC != fixed {
		t.Errorf("event %+v", e)
	}
	// b asks and answers with another MAC: counted, not believed, answered.
	if mac, err := b.Resolve(context.Background(), 1, addrA); err != nil || mac != macA {
		t.Fatal(mac, err)
	}
	a.Probe(1, addrB, macB, addrA)
	eventually(t, "conflicts", func() bool { return a.Stats().ARPStaticConflicts >= 2 })
	if mac, s, _ := a.Lookup(1, addrB); mac != fixed || s != Static {
		t.Errorf("entry is %x %v", mac, s)
	}
	if mac, err := a.Resolve(context.Background(), 1, addrB); err != nil || mac != fixed {
		t.Errorf("resolved to %x, %v", mac, err)
	}
	if err := a.RemoveNeighbor(1, addrB); err != nil {
		t.Fatal(err)
	}
	a.waitState(t, addrB, Removed)
	if err := a.RemoveNeighbor(1, addrB); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("removed twice: %v", err)
	}
	if mac, err := a.Resolve(context.Background(), 1, addrB); err != nil || mac != macB {
		t.Errorf("resolved to %x, %v", mac, err)
	}
	for _, mac := range []link.MAC{{}, broadcastMAC} {
		if err := a.SetStatic(1, addrB, mac); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("static %x: %v", mac, err)
		}
	}
}

// The mirror follows gVisor's bound on learned entries.
func TestNeighborsAreBounded(t *testing.T) {
	a := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/16")}})
	for i := range 600 {
		ip := netip.AddrFrom4([4]byte{10, 1, byte(1 + i/250), byte(i % 250)})
		a.Input(1, arpFrame(macA, arpPacket{op: arpRequest, senderMAC: macB, senderIP: ip, targetIP: addrA}))
	}
	a.Stage.neighbors.mu.Lock()
	n := len(a.Stage.neighbors.entries)
	a.Stage.neighbors.mu.Unlock()
	if n != 512 {
		t.Errorf("%d entries, want 512", n)
	}
	removed := 0
	for len(a.neighbors) > 0 {
		if e := <-a.neighbors; e.State == Removed {
			removed++
		}
	}
	if removed != 600-512 {
		t.Errorf("%d entries reported removed, want %d", removed, 600-512)
	}
}

func TestARPRoundTrip(t *testing.T) {
	p := arpPacket{op: arpReply, senderMAC: macA, senderIP: addrA, targetMAC: macB, targetIP: addrB}
	q, ok := parseARP(append(p.bytes(), make([]byte, 18)...)) // Ethernet pads to 60 bytes
	if !ok || q != p || !bytes.Equal(q.bytes(), p.bytes()) {
		t.Errorf("got %+v, %v", q, ok)
	}
}
