package interop

import (
	"net"
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/interop/internal/xdppair"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// ends are two programs on a wire: ours is always a socket of oobnet, the peer is
// another one of a second stack, or the kernel's.
type ends struct {
	t    *testing.T
	ours *stacktest.Host
	addr netip.Addr // of the peer
	// listen makes a socket of the peer's.
	listen func(netip.AddrPort) (net.PacketConn, error)
}

// readBuffer is what a socket of ours holds for a slow reader, datagrams. A
// transfer sends in bursts of some hundreds.
const readBuffer = 2048

// roomy are devices with room for it.
var roomy = &stacktest.Options{Device: stack.DeviceConfig{RXBuffers: 4 * readBuffer, BufferSize: 2048}}

func (e *ends) conn(port uint16) *udp.Conn {
	e.t.Helper()
	return listen(e.t, e.ours, port)
}

func listen(t *testing.T, h *stacktest.Host, port uint16) *udp.Conn {
	t.Helper()
	c, err := udp.Listen(h.Stack, h.At(port), &udp.Config{Queue: readBuffer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // most tests have closed it
	return c
}

func (e *ends) peer(port uint16) net.PacketConn {
	e.t.Helper()
	c, err := e.listen(netip.AddrPortFrom(e.addr, port))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = c.Close() })
	return c
}

// onWires runs a test in memory, with our sockets at both ends, and over veth
// against the kernel's.
func onWires(t *testing.T, test func(t *testing.T, e *ends)) {
	t.Run("loopback", func(t *testing.T) {
		leaktest.Check(t)
		a, b := stacktest.Pair(t, roomy)
		test(t, &ends{t: t, ours: a, addr: b.Addr, listen: func(at netip.AddrPort) (net.PacketConn, error) {
			return udp.Listen(b.Stack, at, &udp.Config{Queue: readBuffer})
		}})
	})
	t.Run("veth", func(t *testing.T) {
		leaktest.Check(t)
		theirs := netip.MustParsePrefix("192.0.2.2/24")
		w := netnstest.NewPair(t, &netnstest.Config{AddrB: theirs})
		a := xdppair.On(t, w.A, netip.MustParsePrefix("192.0.2.10/24"), roomy)
		test(t, &ends{t: t, ours: a, addr: theirs.Addr(), listen: func(at netip.AddrPort) (net.PacketConn, error) {
			return w.B.ListenUDP(at)
		}})
	})
}
