package oracle

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/link/vfio"
)

// What a test stands on. Without a card it is AF_XDP on a veth. In a virtual
// machine with a card it is AF_XDP on the card if the kernel's driver has it,
// and link/vfio if VFIO has; the kernel at the other end has a virtio card.

// xdpMode is the environment variable that says how AF_XDP works in tests that
// do not say it themselves.
const xdpMode = "OOBNET_ORACLE_XDP"

// xdpModes are its values.
var xdpModes = map[string]afxdp.Config{
	"":          {},
	"native":    {Mode: afxdp.Native, ZeroCopy: afxdp.ZeroCopyOff},
	"generic":   {Mode: afxdp.Generic},
	"zero-copy": {Mode: afxdp.Native, ZeroCopy: afxdp.ZeroCopyRequire},
}

// zeroCopyBuffers are more than the 256 descriptors of igb and what a test ever
// holds: see afxdp.ZeroCopyRequire.
const zeroCopyBuffers = 2048

// makeBed makes a wire and our host on it, or skips the test without root. At
// the end of the test the books must add up and nothing may be left.
func makeBed(t testing.TB, o *options) *bed {
	t.Helper()
	if o == nil {
		o = &options{}
	}
	leaktest.Check(t)
	if o.wire.Offloads == netnstest.OffloadsOn {
		needsVeth(t, "the wire of a card carries whole checksums")
	}
	wire := o.wire
	wire.AddrA, wire.AddrB = beside, theirs
	var b *bed
	if w, address := netnstest.NewCard(t, &wire); w != nil {
		b = onCard(t, w, address, o)
	} else {
		b = onWire(t, netnstest.NewPair(t, &wire), o)
	}
	if o.host.Device.Poll == link.Manual {
		b.pollUntilEnd()
	}
	t.Cleanup(func() {
		t.Helper()
		if !b.Device.Closed() { // else the test has looked before it closed
			b.assertBooks()
		}
	})
	return b
}

// onWire makes our host with AF_XDP on a wire that there is.
func onWire(t testing.TB, w *netnstest.Wire, o *options) *bed {
	t.Helper()
	l, err := open(w.A, &o.link)
	if err != nil {
		t.Fatal(err)
	}
	host := o.host
	if l.Capabilities().ZeroCopy && w.Borrowed() {
		host.Device.RXBuffers = zeroCopyBuffers
	}
	var front link.Link = l
	if o.door != nil {
		o.door.Link, front = l, o.door
	}
	return &bed{Host: attach(t, front, &host), xdp: l, home: w.A, peer: w.B, t: t}
}

// onCard makes our host with link/vfio on a card of ours. A test that wants what
// the card has not is skipped.
func onCard(t testing.TB, w *netnstest.Wire, address string, o *options) *bed {
	t.Helper()
	if o.link != (afxdp.Config{}) {
		t.Skip("needs AF_XDP: this card is bound to VFIO")
	}
	l, err := vfio.Open(address, &vfio.Config{Queues: max(1, o.wire.Queues), MTU: o.wire.MTU})
	if errors.Is(err, link.ErrNotSupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &bed{Host: attach(t, l, &o.host), nic: l, peer: w.B, t: t}
}

// attach makes our host on a link, with a port when the wire is there, for which
// a card takes half a second and more.
func attach(t testing.TB, l link.Link, o *stacktest.Options) *stacktest.Host {
	t.Helper()
	without := *o
	without.NoPort = true
	h := stacktest.On(t, l, ours, &without)
	stacktest.Eventually(t, "the wire to be up", func() bool {
		return l.State() == link.Up && h.Device.Fault() == nil
	})
	port := o.Port
	port.Addrs = []netip.Prefix{ours}
	var err error
	if h.Port, err = h.Device.EnablePort(&port); err != nil {
		t.Fatal(err)
	}
	return h
}

// open opens the interface of a host.
func open(h *netnstest.Host, cfg *afxdp.Config) (l *afxdp.Link, err error) {
	var c afxdp.Config
	if cfg != nil {
		c = *cfg
	}
	if c == (afxdp.Config{}) {
		c = xdpModes[os.Getenv(xdpMode)]
	}
	h.Do(func() { l, err = afxdp.Open(h.IfName, &c) })
	return l, err
}

// needsXDP skips a test of what AF_XDP alone does, or of the kernel beside us.
func needsXDP(t testing.TB, why string) {
	t.Helper()
	if netnstest.HasCard(t) {
		t.Skipf("needs AF_XDP: %s", why)
	}
}

// needsVeth skips a test that a card cannot serve.
func needsVeth(t testing.TB, why string) {
	t.Helper()
	if netnstest.HasCard(t) || netnstest.Borrows(t) {
		t.Skipf("needs a veth: %s", why)
	}
}

// accepted is how many frames came to us: those that the program took, or all
// that the card let in.
func (b *bed) accepted() uint64 {
	if b.xdp == nil {
		return b.counted()
	}
	st := b.xdp.FilterStats()
	return st.Verdicts[filter.Accept] + st.VLANAccepted
}

// counted is how many frames the device has counted.
func (b *bed) counted() uint64 {
	st := b.Device.Stats()
	seen := st.RX.Packets
	for _, q := range st.Queues {
		seen += q.RXRingFull + q.RXInvalid
		// In zero copy it counts the driver's looks at an empty ring, which it
		// takes ahead of any frame; what the program saw had its buffer.
		if !b.Link.Capabilities().ZeroCopy || b.xdp == nil {
			seen += q.RXNoBuffer
		}
	}
	return seen
}

// taken is how many frames the link's own books say that we were given.
func (b *bed) taken() uint64 {
	if b.nic == nil {
		return b.accepted()
	}
	return b.nic.Statistics().RXPackets
}
