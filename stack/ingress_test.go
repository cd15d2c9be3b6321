package stack_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// funcFilter is a filter in Go: what the stack makes of actions is tested here,
// how filters come to them elsewhere.
type funcFilter func(p *filter.Packet)

func (f funcFilter) XDP() (*filter.XDP, error)             { return nil, errors.ErrUnsupported }
func (f funcFilter) Instance(int) (filter.Instance, error) { return f, nil }
func (f funcFilter) RuleHits() []uint64                    { return []uint64{1} }
func (f funcFilter) Map(string) (filter.Map, error)        { return nil, filter.ErrNoMap }
func (f funcFilter) Run(_ int, packets []filter.Packet) {
	for i := range packets {
		f(&packets[i])
	}
}

// brokenFilter cannot be made ready.
type brokenFilter struct{ funcFilter }

var errBroken = errors.New("broken")

func (brokenFilter) Instance(int) (filter.Instance, error) { return nil, errBroken }

// actions, and what becomes of a datagram to the socket on port 7. A reason of
// 0 is none: no action leads to ReasonTruncated.
var actions = []struct {
	name             string
	set              func(p *filter.Packet)
	tci              uint16
	delivered        uint64
	dropped, demoted stack.Reason
	forwarded        uint64
	count            func(st *filter.Stats) uint64
}{
	{name: "accept", set: does(filter.ActionAccept), delivered: 1,
		count: func(st *filter.Stats) uint64 { return st.Verdicts[filter.Accept] }},
	{name: "drop", set: does(filter.ActionDrop), dropped: stack.ReasonFilter,
		count: func(st *filter.Stats) uint64 { return st.Verdicts[filter.Drop] }},
	{name: "skip", set: does(filter.ActionSkip), demoted: stack.ReasonSkipped,
		count: func(st *filter.Stats) uint64 { return st.Verdicts[filter.Skip] }},
	{name: "skip on a VLAN without a port", set: does(filter.ActionSkip), tci: 101, dropped: stack.ReasonNoPort,
		count: func(st *filter.Stats) uint64 { return st.Verdicts[filter.Skip] }},
	{name: "vlan, untagged", set: does(filter.ActionVLAN), demoted: stack.ReasonSkipped,
		count: func(st *filter.Stats) uint64 { return st.Verdicts[filter.VLAN] }},
	{name: "vlan, enabled", set: does(filter.ActionVLAN), tci: 0xe000 | 100, delivered: 1,
		count: func(st *filter.Stats) uint64 { return st.VLANAccepted }},
	{name: "vlan, priority tag", set: does(filter.ActionVLAN), tci: 0xe000, demoted: stack.ReasonSkipped,
		count: func(st *filter.Stats) uint64 { return st.Verdicts[filter.VLAN] - st.VLANAccepted }},
	{name: "error", set: does(filter.ActionError), dropped: stack.ReasonFilterError,
		count: func(st *filter.Stats) uint64 { return st.Errors }},
	{name: "no such action", set: does(200), dropped: stack.ReasonFilterError,
		count: func(st *filter.Stats) uint64 { return st.Errors }},
	{name: "out of the buffer", set: func(p *filter.Packet) { p.Action, p.Len = filter.ActionAccept, len(p.Buffer) }, dropped: stack.ReasonFilterError,
		count: func(st *filter.Stats) uint64 { return st.Errors }},
	{name: "tx", set: does(filter.ActionTX), forwarded: 1,
		count: func(st *filter.Stats) uint64 { return st.TX }},
	{name: "redirect to the same device", set: func(p *filter.Packet) { p.Action, p.Target = filter.ActionRedirect, 1 }, forwarded: 1,
		count: func(st *filter.Stats) uint64 { return st.Redirect }},
	{name: "redirect to where it came from", set: func(p *filter.Packet) { p.Action, p.Target = filter.ActionRedirect, p.Device }, forwarded: 1,
		count: func(st *filter.Stats) uint64 { return st.Redirect }},
	{name: "redirect to no device", set: func(p *filter.Packet) { p.Action, p.Target = filter.ActionRedirect, 9 }, dropped: stack.ReasonForward,
		count: func(st *filter.Stats) uint64 { return st.RedirectErrors }},
}

func does(a filter.Action) func(*filter.Packet) {
	return func(p *filter.Packet) { p.Action = a }
}

// TestActions: each action of a filter does what it is for, once, and is
// counted once.
func TestActions(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	if _, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 100, Addrs: []netip.Prefix{vlanNet}}); err != nil {
		t.Fatal(err)
	}
	c := listen(t, h, netip.AddrPortFrom(netip.Addr{}, 7), nil)
	defer c.Close()
	for _, stripped := range []bool{false, true} {
		for _, a := range actions {
			if err := h.Device.SetFilter(funcFilter(a.set)); err != nil {
				t.Fatal(err)
			}
			before := h.Device.Stats()
			dst := ownAddr
			if a.tci&wire.VIDMask == 100 {
				dst = vlanNet.Addr()
			}
			tci, flags := a.tci, link.Flags(0)
			if stripped && tci != 0 {
				tci, flags = 0, link.FlagVLANStripped
			}
			if !l.arrive(packet{to: 7, tci: tci, dst: dst, payload: "x"}.frame(), flags, a.tci) {
				t.Fatal("no buffer for the frame")
			}
			h.Poll()
			now := h.Device.Stats()
			want := before.RX
			want.Packets++
			want.Bytes = now.RX.Bytes
			want.Delivered += a.delivered
			want.Forwarded += a.forwarded
			if a.dropped != 0 {
				want.Dropped[a.dropped]++
			}
			if a.demoted != 0 {
				want.Demoted[a.demoted]++
			}
			if now.RX != want {
				t.Errorf("%s: %+v, want %+v", a.name, now.RX, want)
			}
			if now.RX.Bytes <= before.RX.Bytes {
				t.Errorf("%s: the frame's bytes are not counted", a.name)
			}
			if got := a.count(&now.Filter) - a.count(&before.Filter); got != 1 {
				t.Errorf("%s: its counter went up by %d", a.name, got)
			}
			if sent := now.TX.Packets - before.TX.Packets; sent != a.forwarded {
				t.Errorf("%s: %d frames were sent", a.name, sent)
			}
			if a.delivered == 1 {
				if _, err := c.Read(make([]byte, 8)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	stacktest.AssertBooks(t, h.Device)
	stacktest.AssertNothingHeld(t, h.Device)
	if st := h.Device.Stats(); st.Pool.Free != st.Pool.Size {
		t.Errorf("%d of %d buffers of the pool are free", st.Pool.Free, st.Pool.Size)
	}
}

// TestBounce: a frame that goes back is the one that came, with what the
// filter changed, tag and all.
func TestBounce(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	err := h.Device.SetFilter(funcFilter(func(p *filter.Packet) {
		p.Off, p.Len = p.Off-2, p.Len+2 // as bpf_xdp_adjust_head does
		copy(p.Bytes(), p.Bytes()[2:][:12])
		p.Bytes()[0] = 0xaa
		p.Action = filter.ActionTX
	}))
	if err != nil {
		t.Fatal(err)
	}
	plain := packet{to: 7, payload: "there and back"}.frame()
	l.arrive(plain, link.FlagVLANStripped, 0x2064)
	h.Poll()
	sent := l.queues[0].wire()
	want := append(append([]byte{0xaa}, plain[1:12]...), 0x81, 0x00, 0x20, 0x64)
	want = append(want, plain[10:]...)
	if len(sent) != 1 || string(sent[0]) != string(want) {
		t.Errorf("sent % x, want % x", sent, want)
	}
	stacktest.AssertBooks(t, h.Device)
}

// TestRedirect: a frame for another device of the stack leaves there.
func TestRedirect(t *testing.T) {
	leaktest.Check(t)
	from, to := newFakeLink(1), newFakeLink(1)
	to.name = "fake1"
	h := fakeHost(t, from, manual())
	d, err := h.Stack.Attach(to, &stack.DeviceConfig{PoolSize: 4, RXBuffers: 4, Poll: link.Manual})
	if err != nil {
		t.Fatal(err)
	}
	target := d.Number()
	if err := h.Device.SetFilter(funcFilter(func(p *filter.Packet) { p.Action, p.Target = filter.ActionRedirect, target })); err != nil {
		t.Fatal(err)
	}
	to.queues[0].hold = true
	frame := packet{to: 7, payload: "on and on"}.frame()
	const frames = 6 // two more than the other pool has
	for range frames {
		from.arrive(frame, 0, 0)
	}
	h.Poll()
	sent := to.queues[0].wire()
	if len(sent) != 4 || string(sent[3]) != string(frame) {
		t.Errorf("%d frames sent, the last % x", len(sent), sent[len(sent)-1])
	}
	st := h.Device.Stats()
	if st.Filter.Redirect != 4 || st.Filter.RedirectErrors != 2 || st.RX.Forwarded != 4 || st.RX.Dropped[stack.ReasonForward] != 2 {
		t.Errorf("%+v, forwarded %d, dropped %v", st.Filter, st.RX.Forwarded, st.RX.Dropped.Map())
	}
	to.queues[0].complete()
	stacktest.AssertBooks(t, h.Device)
}

// TestDivert: off, everything is the in-band stage's; on again, the filter
// that was set meanwhile works.
func TestDivert(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	frame := packet{to: 7, payload: "x"}.frame()
	after := func(what string, reason stack.Reason, dropped bool) {
		t.Helper()
		before := h.Device.Stats().RX
		l.arrive(frame, 0, 0)
		h.Poll()
		now := h.Device.Stats().RX
		counts, was := now.Demoted, before.Demoted
		if dropped {
			counts, was = now.Dropped, before.Dropped
		}
		if counts[reason] != was[reason]+1 {
			t.Errorf("%s: no %v; dropped %v, demoted %v", what, reason, now.Dropped.Map(), now.Demoted.Map())
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	after("no filter", stack.ReasonInBandProtocol, false)
	must(h.Device.Divert(false))
	after("off", stack.ReasonSkipped, false)
	must(h.Device.SetFilter(funcFilter(does(filter.ActionDrop))))
	after("off, with a filter", stack.ReasonSkipped, false)
	must(h.Device.Divert(true))
	after("on", stack.ReasonFilter, true)
	if err := h.Device.SetFilter(brokenFilter{}); !errors.Is(err, errBroken) {
		t.Errorf("a filter that cannot be: %v", err)
	}
	after("after a refused one", stack.ReasonFilter, true)
	if rules := h.Device.Stats().Filter.Rules; len(rules) != 1 {
		t.Errorf("hits of rules: %v", rules)
	}
	if _, err := h.Device.FilterMap("x"); !errors.Is(err, filter.ErrNoMap) {
		t.Errorf("a map that is not there: %v", err)
	}
	must(h.Device.SetFilter(nil))
	after("no filter again", stack.ReasonInBandProtocol, false)
	if _, err := h.Device.FilterMap("x"); !errors.Is(err, filter.ErrNoMap) {
		t.Errorf("a map of no filter: %v", err)
	}
	must(h.Device.Close())
	if err := h.Device.SetFilter(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed device: %v", err)
	}
}

// TestFilterAllocations: a batch through a filter allocates nothing.
func TestFilterAllocations(t *testing.T) {
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	if err := h.Device.SetFilter(funcFilter(does(filter.ActionDrop))); err != nil {
		t.Fatal(err)
	}
	frame := packet{to: 7}.frame()
	const frames = 100
	for range frames + 1 {
		l.arrive(frame, 0, 0)
	}
	// Stats allocates, Poll must not; the fake link's own queue does neither.
	if n := testing.AllocsPerRun(frames, func() {
		if n, err := h.Device.Poll(1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
