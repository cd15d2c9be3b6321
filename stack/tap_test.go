package stack_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// testTap notes what it is shown, and settles it as its test says.
type testTap struct {
	settle   func(b *stack.Batch, p *stack.Packet)
	seen     [][]byte
	unwanted []bool
	sent     [][]byte
	held     []uint32 // taken, or copies
	disabled []*stack.Port
	after    *stack.Watch // what it wants when a port has ended
	closed   int
}

var _ stack.Tap = (*testTap)(nil)

func (t *testTap) Tap(b *stack.Batch) {
	for _, p := range b.Packets {
		t.seen = append(t.seen, bytes.Clone(b.Bytes(p)))
		t.unwanted = append(t.unwanted, b.Unwanted(p))
		if t.settle != nil {
			t.settle(b, p)
		}
	}
}

func (t *testTap) Sent(d *stack.Device, frames []link.Frame) {
	for _, f := range frames {
		t.sent = append(t.sent, bytes.Clone(d.Memory().Bytes(f)))
	}
}

func (t *testTap) Close() { t.closed++ }

func (t *testTap) Disabled(p *stack.Port) *stack.Watch {
	t.disabled = append(t.disabled, p)
	return t.after
}

func (t *testTap) Purge(d *stack.Device) {
	for _, index := range t.held {
		d.Release(index)
	}
	t.held = nil
}

// take takes a frame, copy a copy of it.
func (t *testTap) take(_ *stack.Batch, p *stack.Packet) {
	p.Take()
	t.held = append(t.held, p.Frame.Index)
}

func (t *testTap) copy(b *stack.Batch, p *stack.Packet) {
	if c := b.Copy(p); c != nil {
		t.held = append(t.held, c.Frame.Index)
	}
}

// tapped is a manual host on a fake link with a tap.
func tapped(t *testing.T, w *stack.Watch) (*stacktest.Host, *fakeLink, *testTap) {
	t.Helper()
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	tap := new(testTap)
	if err := h.Stack.RegisterTap(tap); err != nil {
		t.Fatal(err)
	}
	if err := h.Device.Watch(tap, w); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stacktest.AssertBooks(t, h.Device) })
	return h, l, tap
}

// typed is a frame of an EtherType for experiments.
func typed(dst link.MAC, tci uint16) []byte {
	b := make([]byte, wire.MinFrame)
	wire.PutEthernet(b, dst, peerMAC, tci, testEtherType)
	return b
}

func types(vlan, etherType uint16) *stack.Watch {
	return &stack.Watch{Types: []link.ClaimEtherType{{VLAN: vlan, EtherType: etherType}}}
}

// TestTapTakes: the tap sees what it asked for, and what it takes is delivered,
// and counted for the port.
func TestTapTakes(t *testing.T) {
	h, l, tap := tapped(t, types(0, testEtherType))
	c := listen(t, h, h.At(7), nil)
	tap.settle = tap.take
	l.arrive(typed(fakeMAC, 0), 0, 0)
	l.arrive(packet{to: 7, payload: "x"}.frame(), 0, 0)
	l.arrive(typed(fakeMAC, 0), 0, 0)
	h.Poll()
	if len(tap.seen) != 2 || slices.Contains(tap.unwanted, false) {
		t.Errorf("%d frames shown, unwanted: %v", len(tap.seen), tap.unwanted)
	}
	if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("the datagram beside: %d, %v", n, err)
	}
	if st := h.Device.Stats(); st.RX.Delivered != 3 || st.RX.Dropped.Total() != 0 || st.RX.Copied != 0 {
		t.Errorf("%+v", st.RX)
	}
	if st := h.Port.Stats(); st.RXPackets != 3 {
		t.Errorf("the port counted %d frames, want all 3", st.RXPackets)
	}
}

// TestTapCopies: what it copies goes on, and the copy is counted.
func TestTapCopies(t *testing.T) {
	h, l, tap := tapped(t, &stack.Watch{All: true})
	c := listen(t, h, h.At(7), nil)
	tap.settle = tap.copy
	datagram := packet{to: 7, payload: "x"}.frame()
	l.arrive(datagram, 0, 0)
	// For another host: an answer would hold a buffer of the pool.
	l.arrive(arpFrame(wire.ARPRequest, broadcast, netip.MustParseAddr("10.0.0.77")), 0, 0)
	h.Poll()
	if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("the datagram: %d, %v", n, err)
	}
	if len(tap.held) != 2 || slices.Contains(tap.unwanted, true) {
		t.Fatalf("%d copies, unwanted: %v", len(tap.held), tap.unwanted)
	}
	if p := h.Device.Packet(tap.held[0]); !bytes.Equal(h.Device.Memory().Bytes(p.Frame), datagram) {
		t.Error("the copy is another frame")
	}
	if st := h.Device.Stats(); st.RX.Delivered != 3 || st.RX.Copied != 2 || st.RX.Packets != 2 {
		t.Errorf("%+v", st.RX)
	}
	// The pool keeps a quarter for those who send.
	for range 64 {
		l.arrive(datagram, 0, 0)
	}
	h.Poll()
	if n := len(tap.held); n != 64*3/4 {
		t.Errorf("%d copies from a pool of 64", n)
	}
}

// TestUnwanted: what nobody below would get may be taken.
func TestUnwanted(t *testing.T) {
	h, l, tap := tapped(t, &stack.Watch{All: true})
	other := link.MAC{2, 2, 2, 2, 2, 2}
	for _, f := range []struct {
		frame    []byte
		unwanted bool
	}{
		{packet{}.frame(), false},
		{packet{dstMAC: other}.frame(), true},
		{typed(fakeMAC, 0), true},
		{typed(broadcast, 0), true},
		{packet{tci: 5}.frame(), true},
		{make([]byte, 13), true},
		{make([]byte, 1), true},
	} {
		tap.unwanted = nil
		l.arrive(f.frame, 0, 0)
		h.Poll()
		if len(tap.unwanted) != 1 || tap.unwanted[0] != f.unwanted {
			t.Errorf("% x: unwanted: %v, want %v", f.frame[:min(len(f.frame), 18)], tap.unwanted, f.unwanted)
		}
	}
}

// TestTapDrops: a tap may settle a frame for good, by a reason.
func TestTapDrops(t *testing.T) {
	h, l, tap := tapped(t, &stack.Watch{All: true})
	reasons := []stack.Reason{stack.ReasonSocketFull, stack.ReasonClosed}
	tap.settle = func(_ *stack.Batch, p *stack.Packet) {
		p.Drop(reasons[0])
		reasons = reasons[1:]
	}
	l.arrive(typed(fakeMAC, 0), 0, 0)
	l.arrive(make([]byte, 5), 0, 0) // of no port
	h.Poll()
	st := h.Device.Stats().RX.Dropped
	if st[stack.ReasonSocketFull] != 1 || st[stack.ReasonClosed] != 1 || st.Total() != 2 {
		t.Errorf("%v", st.Map())
	}
}

// TestTapsInTurn: each sees what the one before has left.
func TestTapsInTurn(t *testing.T) {
	h, l, first := tapped(t, &stack.Watch{All: true})
	second := new(testTap)
	if err := h.Stack.RegisterTap(second); err != nil {
		t.Fatal(err)
	}
	if err := h.Device.Watch(second, &stack.Watch{All: true}); err != nil {
		t.Fatal(err)
	}
	first.settle = func(b *stack.Batch, p *stack.Packet) {
		if len(first.seen) == 1 {
			first.take(b, p)
		}
	}
	l.arrive(typed(fakeMAC, 0), 0, 0)
	l.arrive(typed(fakeMAC, 0), 0, 0)
	h.Poll()
	if len(first.seen) != 2 || len(second.seen) != 1 || first.unwanted[0] || !second.unwanted[0] {
		t.Errorf("the first saw %d (unwanted %v), the second %d (%v)", len(first.seen), first.unwanted, len(second.seen), second.unwanted)
	}
}

// TestTapSent: what the device sends, whoever sends it.
func TestTapSent(t *testing.T) {
	h, _, tap := tapped(t, &stack.Watch{Sent: true})
	f, err := h.Device.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Device.Send(rawFrame(h.Device, f, []byte("sent")), 0, 0); err != nil {
		t.Fatal(err)
	}
	if len(tap.sent) != 1 || !bytes.HasPrefix(tap.sent[0][14:], []byte("sent")) {
		t.Errorf("shown: % x", tap.sent)
	}
	if err := h.Device.Watch(tap, nil); err != nil {
		t.Fatal(err)
	}
	if f, err = h.Device.Alloc(); err != nil {
		t.Fatal(err)
	}
	if err := h.Device.Send(rawFrame(h.Device, f, nil), 0, 0); err != nil || len(tap.sent) != 1 {
		t.Errorf("shown %d frames after the end, %v", len(tap.sent), err)
	}
}

// TestWatchOfAPort: claims of a VLAN are told to the link, and end with its port,
// even if that comes back.
func TestWatchOfAPort(t *testing.T) {
	h, l, tap := tapped(t, types(100, testEtherType))
	vlan := &stack.PortConfig{VLAN: 100, Addrs: []netip.Prefix{vlanNet}}
	claimed := func() bool {
		return slices.Contains(l.lastClaims().EtherTypes, link.ClaimEtherType{VLAN: 100, EtherType: testEtherType})
	}
	for range 2 {
		p, err := h.Device.EnablePort(vlan)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Device.Watch(tap, types(100, testEtherType)); err != nil || !claimed() {
			t.Fatalf("claims %v, %v", l.lastClaims(), err)
		}
		n := len(tap.seen)
		l.arrive(typed(fakeMAC, 100), 0, 0)
		if h.Poll(); len(tap.seen) != n+1 {
			t.Errorf("%d frames shown, want one more than %d", len(tap.seen), n)
		}
		if err := p.Disable(); err != nil || claimed() {
			t.Errorf("claims %v, %v", l.lastClaims(), err)
		}
		if tap.disabled[len(tap.disabled)-1] != p {
			t.Error("the tap was not told")
		}
	}
	// What the tap says then takes the place of all that it asked for.
	p, err := h.Device.EnablePort(vlan)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Device.Watch(tap, types(100, testEtherType)); err != nil {
		t.Fatal(err)
	}
	tap.after = types(0, testEtherType)
	if err := p.Disable(); err != nil || len(l.lastClaims().EtherTypes) != 1 || l.lastClaims().EtherTypes[0].VLAN != 0 {
		t.Errorf("claims %v, %v", l.lastClaims(), err)
	}
	tap.after = new(stack.Watch)
	if p, err = h.Device.EnablePort(vlan); err == nil {
		err = p.Disable()
	}
	if err != nil || len(l.lastClaims().EtherTypes) != 0 {
		t.Errorf("claims %v of a tap that wants nothing more, %v", l.lastClaims(), err)
	}
	tap.after = nil
	if _, err := h.Device.EnablePort(vlan); err != nil || claimed() {
		t.Errorf("claims %v of a port that nobody watches, %v", l.lastClaims(), err)
	}
}

// TestWatchRefused: an error leaves all as it was.
func TestWatchRefused(t *testing.T) {
	h, l, tap := tapped(t, types(0, testEtherType))
	if err := h.Device.Watch(new(testTap), &stack.Watch{All: true}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a tap that is not registered: %v", err)
	}
	l.set(func() { l.selectErr = syscall.ENOSPC })
	if err := h.Device.Watch(tap, types(0, testEtherType+1)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a claim that the link refuses: %v", err)
	}
	l.set(func() { l.selectErr = nil })
	l.arrive(typed(fakeMAC, 0), 0, 0)
	if h.Poll(); len(tap.seen) != 1 {
		t.Errorf("%d frames shown by the watch of before", len(tap.seen))
	}
	if err := h.Stack.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Device.Watch(tap, &stack.Watch{All: true}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := h.Device.Watch(tap, nil); err != nil {
		t.Errorf("nothing, after Close: %v", err)
	}
	if err := h.Stack.RegisterTap(new(testTap)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a tap after Close: %v", err)
	}
	if tap.closed != 1 {
		t.Errorf("closed %d times", tap.closed)
	}
}
