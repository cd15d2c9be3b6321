package oracle

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/link/vfio"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Who is who on the wire. Our interface has two receivers with one MAC: us, and
// the kernel beside us.
var (
	ours   = netip.MustParsePrefix("192.0.2.10/24")
	beside = netip.MustParsePrefix("192.0.2.1/24")
	theirs = netip.MustParsePrefix("192.0.2.2/24")

	// nobody has it.
	nobody = netip.MustParseAddr("192.0.2.99")
)

const (
	echoPort   = 7
	closedPort = 9
	// patience is how long a read waits for what must come: far longer than it
	// takes on a loaded machine with two cores, and spent only by a failing test.
	patience = 20 * time.Second
)

// options of a bed. The zero value and nil are the defaults.
type options struct {
	wire netnstest.Config // addresses are the bed's
	link afxdp.Config
	host stacktest.Options
	// door, if it is there, is put in front of our link.
	door *door
}

// bed is our stack on one end of a wire, and the kernel on the other.
type bed struct {
	*stacktest.Host
	// One of them is Host.Link.
	xdp *afxdp.Link
	nic *vfio.Link
	// home is the namespace of our interface, which a card of ours has none of,
	// peer the kernel's end.
	home, peer *netnstest.Host
	t          testing.TB
}

// pollUntilEnd does by hand, as an application in its own cycle, what the
// threads of a device do in other modes.
func (b *bed) pollUntilEnd() {
	stop := make(chan struct{})
	var running sync.WaitGroup
	b.t.Cleanup(func() {
		close(stop)
		running.Wait()
	})
	running.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := b.Device.Poll(stack.MaxBatch); err != nil {
				b.t.Errorf("Poll: %v", err)
				return
			}
			if err := b.Device.Wait(time.Millisecond); err != nil {
				b.t.Errorf("Wait: %v", err)
				return
			}
		}
	})
}

// assertBooks: every frame that was taken for us is counted once, and every
// buffer is at home.
func (b *bed) assertBooks() {
	b.t.Helper()
	defer b.showBooks()
	stacktest.AssertBooks(b.t, b.Device)
	stacktest.AssertNothingHeld(b.t, b.Device)
	stacktest.Eventually(b.t, "all TX buffers in the pool", func() bool {
		p := b.Device.Stats().Pool
		return p.Free == p.Size
	})
	stacktest.Eventually(b.t, "each frame that was taken for us counted by the device", func() bool {
		return b.taken() == b.counted()
	})
}

// showBooks shows all counters of a test that has failed.
func (b *bed) showBooks() {
	if !b.t.Failed() {
		return
	}
	b.t.Logf("%+v", b.Stack.Stats())
	if b.xdp != nil {
		b.t.Logf("%+v", b.xdp.FilterStats())
	} else {
		b.t.Logf("%+v", b.nic.Statistics())
	}
}

// demotedSends is how many datagrams our sockets sent the slow way.
func (b *bed) demotedSends() uint64 { return b.Stack.Stats().Demoted }

// solicit makes the peer known to our front cache.
func (b *bed) solicit(peer netip.Addr) {
	b.t.Helper()
	if err := b.Stack.Solicit(context.Background(), peer); err != nil {
		b.t.Fatal(err)
	}
}

// listen opens a socket of ours, which closes with the test.
func (b *bed) listen(at netip.AddrPort, cfg *udp.Config) *udp.Conn {
	b.t.Helper()
	c, err := udp.Listen(b.Stack, at, cfg)
	return b.own(c, err)
}

// dial opens a connected socket of ours.
func (b *bed) dial(to netip.AddrPort, cfg *udp.Config) *udp.Conn {
	b.t.Helper()
	c, err := udp.Dial(b.Stack, netip.AddrPort{}, to, cfg)
	return b.own(c, err)
}

func (b *bed) own(c *udp.Conn, err error) *udp.Conn {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

// echo has our stack echo on a port until the test ends.
func (b *bed) echo(port uint16) {
	b.t.Helper()
	c := b.listen(b.At(port), nil)
	serve(b.t, c)
}

// socket is what sockets of ours and of the kernel have in common.
type socket interface {
	net.Conn
	ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error)
}

var _ = []socket{(*udp.Conn)(nil), (*net.UDPConn)(nil)}

// serve echoes on a socket until the test ends, which closes it.
func serve(t testing.TB, c socket) {
	var running sync.WaitGroup
	t.Cleanup(func() {
		c.Close()
		running.Wait()
	})
	running.Go(func() {
		buf := make([]byte, udp.MaxPayload)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			// What goes wrong shows at the client, who gets no answer.
			_, _ = c.WriteToUDPAddrPort(buf[:n], from)
		}
	})
}

// kernelEcho has the kernel of a host echo until the test ends.
func kernelEcho(t testing.TB, h *netnstest.Host, at netip.AddrPort) {
	t.Helper()
	c, err := h.ListenUDP(at)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, c)
}

// kernelListen opens a socket of a kernel, which closes with the test.
func kernelListen(t testing.TB, h *netnstest.Host, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := h.ListenUDP(at)
	return kernelOwn(t, c, err)
}

// kernelDial opens a connected socket of a kernel.
func kernelDial(t testing.TB, h *netnstest.Host, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := h.DialUDP(netip.AddrPort{}, to)
	return kernelOwn(t, c, err)
}

func kernelOwn(t testing.TB, c *net.UDPConn, err error) *net.UDPConn {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// at is an address of the wire with a port.
func at(p netip.Prefix, port uint16) netip.AddrPort { return netip.AddrPortFrom(p.Addr(), port) }

// exchange sends a datagram on a connected socket and wants it back.
func exchange(t testing.TB, c net.Conn, payload []byte) {
	t.Helper()
	if _, err := c.Write(payload); err != nil {
		t.Fatalf("%d bytes to %v: %v", len(payload), c.RemoteAddr(), err)
	}
	expect(t, c, payload)
}

// expect wants a datagram with this payload next.
func expect(t testing.TB, c net.Conn, payload []byte) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, udp.MaxPayload+1)
	n, err := c.Read(got)
	if err != nil {
		t.Fatalf("no datagram of %d bytes: %v", len(payload), err)
	}
	if !bytes.Equal(got[:n], payload) {
		t.Fatalf("got %d bytes, want %d bytes: % .20x..., want % .20x...", n, len(payload), got[:n], payload)
	}
}

// try is exchange for a time in which datagrams may be lost: it reports
// whether an answer came soon, and takes answers to earlier ones for none.
func try(c net.Conn, payload []byte) bool {
	if _, err := c.Write(payload); err != nil {
		return false
	}
	got := make([]byte, len(payload)+1)
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	for {
		n, err := c.Read(got)
		if err != nil {
			return false
		}
		if bytes.Equal(got[:n], payload) {
			return true
		}
	}
}

// pattern is a payload that shows what was swapped, lost or cut.
func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + size)
	}
	return b
}

// dropped is what our device dropped for a reason.
func (b *bed) dropped(r stack.Reason) uint64 { return b.Device.Stats().RX.Dropped[r] }

// demoted is what our device demoted for a reason.
func (b *bed) demoted(r stack.Reason) uint64 { return b.Device.Stats().RX.Demoted[r] }
