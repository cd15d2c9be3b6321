// Package stacktest makes stacks for tests: two on the ends of a wire in
// memory, or one on any link, and closes them when the test ends, which fails
// the test if a buffer is missing.
package stacktest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// Addresses of the two ends of a Pair.
var (
	AddrA = netip.MustParseAddr("10.0.0.1")
	AddrB = netip.MustParseAddr("10.0.0.2")
)

// prefixBits of the network that the addresses of a Pair are in.
const prefixBits = 24

// patience is how long Eventually waits: far longer than anything takes on a
// loaded machine with two cores, and spent only by tests that fail.
const patience = 20 * time.Second

// Options of the stacks. The zero value and nil are the defaults.
type Options struct {
	Loopback loopback.Config
	Stack    stack.Config // OnError is by default an error of the test
	Device   stack.DeviceConfig
	Port     stack.PortConfig // Addrs is what each host is given
	// Manual attaches the devices without threads: the test calls Host.Poll.
	Manual bool
	// NoPort leaves the making of ports to the test.
	NoPort bool
}

// Host is a stack with one device, and one port on it.
type Host struct {
	Stack  *stack.Stack
	Device *stack.Device
	Port   *stack.Port // nil with Options.NoPort
	Link   link.Link
	Addr   netip.Addr

	t testing.TB
}

// Pair makes two hosts, AddrA and AddrB, on the ends of a wire in memory. Both
// are closed when the test ends.
func Pair(t testing.TB, o *Options) (a, b *Host) {
	t.Helper()
	if o == nil {
		o = &Options{}
	}
	la, lb, err := loopback.Pair(&o.Loopback)
	if err != nil {
		t.Fatal(err)
	}
	return On(t, la, netip.PrefixFrom(AddrA, prefixBits), o), On(t, lb, netip.PrefixFrom(AddrB, prefixBits), o)
}

// On makes a host on a link, and closes it when the test ends. It fails the
// test if Close does: then a buffer is lost, or still held.
func On(t testing.TB, l link.Link, addr netip.Prefix, o *Options) *Host {
	t.Helper()
	if o == nil {
		o = &Options{}
	}
	cfg := o.Stack
	if cfg.OnError == nil {
		cfg.OnError = func(err error) { t.Errorf("stack: OnError: %v", err) }
	}
	s, err := stack.New(&cfg)
	if err != nil {
		l.Close()
		t.Fatal(err)
	}
	h := &Host{Stack: s, Link: l, Addr: addr.Addr(), t: t}
	t.Cleanup(func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Errorf("close of %v: %v", addr, err)
		}
	})
	device := o.Device
	if o.Manual {
		device.Poll = link.Manual
	}
	if h.Device, err = s.Attach(l, &device); err != nil {
		l.Close()
		t.Fatal(err)
	}
	if o.NoPort {
		return h
	}
	port := o.Port
	port.Addrs = []netip.Prefix{addr}
	if h.Port, err = h.Device.EnablePort(&port); err != nil {
		t.Fatal(err)
	}
	return h
}

// At is the host's address with a port.
func (h *Host) At(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.Addr, port) }

// Poll runs the device of a manual host until it has nothing to do, and
// returns how many frames it took.
func (h *Host) Poll() (total int) {
	h.t.Helper()
	for {
		n, err := h.Device.Poll(stack.MaxBatch)
		if err != nil {
			h.t.Fatal(err)
		}
		if n == 0 {
			return total
		}
		total += n
	}
}

// Know makes each host a permanent neighbour of the other, so that what they
// send is fast from the first datagram on.
func Know(t testing.TB, a, b *Host) {
	t.Helper()
	for _, p := range [][2]*Host{{a, b}, {b, a}} {
		if err := p[0].Stack.SetNeighbor(p[1].Addr, p[1].Link.MAC()); err != nil {
			t.Fatal(err)
		}
	}
}

// AssertBooks waits until every frame that the device received is accounted
// for once: delivered, demoted or dropped.
func AssertBooks(t testing.TB, d *stack.Device) {
	t.Helper()
	var st stack.DeviceStats
	balanced := func() bool {
		st = d.Stats()
		return st.RX.Packets+st.RX.Copied == st.RX.Delivered+st.RX.Demoted.Total()+st.RX.Forwarded+st.RX.Dropped.Total()
	}
	if !poll(balanced) {
		t.Errorf("%s: the books do not add up: received %d, copied %d, delivered %d, demoted %v, forwarded %d, dropped %v",
			st.Name, st.RX.Packets, st.RX.Copied, st.RX.Delivered, st.RX.Demoted.Map(), st.RX.Forwarded, st.RX.Dropped.Map())
	}
}

// AssertNothingHeld waits until no socket and no application holds a receive
// buffer of the device.
func AssertNothingHeld(t testing.TB, d *stack.Device) {
	t.Helper()
	if !poll(func() bool { return d.Stats().Pool.RXHeld == 0 }) {
		t.Errorf("%s: %d receive buffers are held", d.Name(), d.Stats().Pool.RXHeld)
	}
}

// Eventually fails the test if the condition does not come true. It polls, and
// gives up long after a loaded machine would have got there.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if !poll(cond) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

func poll(cond func() bool) bool {
	pause := 50 * time.Microsecond
	for end := time.Now().Add(patience); !cond(); pause = min(2*pause, 10*time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(pause)
	}
	return true
}
