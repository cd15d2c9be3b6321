package oracle

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// sizes of payloads, bytes: around the smallest frame (18 bytes fill it), the
// MTU (1472 fit), the second fragment (2952), and the longest datagram.
var sizes = []int{0, 1, 2, 17, 18, 19, 64, 1000, 1471, 1472, 1473, 1480, 2951, 2952, 2953, 4000, 9000, 30000, 65506, 65507}

// fits says whether a payload goes in one frame.
func fits(size int) bool { return size <= 1472 }

// TestUDP sends datagrams of all sizes, both ways, over each kind of link.
func TestUDP(t *testing.T) {
	for name, o := range map[string]*options{
		"as it is":          nil,
		"generic":           {link: afxdp.Config{Mode: afxdp.Generic}},
		"partial checksums": {wire: netnstest.Config{Offloads: netnstest.OffloadsOn}},
		"four queues":       {wire: netnstest.Config{Queues: 4}},
		"generic, four queues, partial checksums": {
			wire: netnstest.Config{Queues: 4, Offloads: netnstest.OffloadsOn}, link: afxdp.Config{Mode: afxdp.Generic},
		},
		"times and requests": {link: afxdp.Config{With: afxdp.RXTime | afxdp.TXChecksum}},
		"requests, partial checksums": {
			wire: netnstest.Config{Offloads: netnstest.OffloadsOn}, link: afxdp.Config{With: afxdp.RXTime | afxdp.TXChecksum},
		},
	} {
		t.Run(name, func(t *testing.T) { testUDP(t, o) })
	}
}

// needsFeatures skips where AF_XDP has not all of them.
func needsFeatures(t *testing.T, with afxdp.Features) {
	t.Helper()
	if with == 0 {
		return
	}
	needsXDP(t, "it has the features")
	w := netnstest.NewPair(t, nil)
	l, err := open(w.A, &afxdp.Config{With: with})
	if errors.Is(err, link.ErrNotSupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
}

func testUDP(t *testing.T, o *options) {
	if o != nil {
		needsFeatures(t, o.link.With)
	}
	b := makeBed(t, o)
	if o != nil && o.link.Mode == afxdp.Generic && b.Link.Capabilities().Mode != "generic, copy" {
		t.Fatalf("the link is %q", b.Link.Capabilities().Mode)
	}
	b.solicit(theirs.Addr())
	kernelEcho(t, b.peer, at(theirs, echoPort))
	b.echo(echoPort)
	client := b.dial(at(theirs, echoPort), nil)
	kernel := kernelDial(t, b.peer, at(ours, echoPort))
	for _, size := range sizes {
		before, reassembled := b.demotedSends(), client.Stats().InBand
		exchange(t, client, pattern(size))
		// Our answer to the kernel takes the other sending path.
		exchange(t, kernel, pattern(size))
		slow := uint64(2)
		if fits(size) {
			slow = 0
		}
		if got := b.demotedSends() - before; got != slow {
			t.Errorf("%d bytes: %d of 2 datagrams went in-band, want %d", size, got, slow)
		}
		if got := client.Stats().InBand - reassembled; got != slow/2 {
			t.Errorf("%d bytes: %d datagrams came in-band, want %d", size, got, slow/2)
		}
	}
	if _, err := client.Write(make([]byte, udp.MaxPayload+1)); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("a datagram of %d bytes: %v, want EMSGSIZE", udp.MaxPayload+1, err)
	}
	partial := b.Device.Stats().RX.PartialChecksum
	if on := o != nil && o.wire.Offloads == netnstest.OffloadsOn; on != (partial > 0) {
		t.Errorf("%d partial checksums, with the peer's transmit offloads on: %v", partial, on)
	}
	if got := b.dropped(stack.ReasonChecksum); got != 0 {
		t.Errorf("%d datagrams with a wrong checksum from a kernel", got)
	}
}

// TestFlows has many clients at once against a server of ours on several
// queues; the order within each flow is the sender's.
func TestFlows(t *testing.T) {
	const clients, rounds, burst, queues = 16, 20, 8, 4
	b := makeBed(t, &options{wire: netnstest.Config{Queues: queues}})
	if got := b.Link.Queues(); got != queues {
		t.Fatalf("%d queues", got)
	}
	if netnstest.Borrows(t) {
		// The kernel's drivers spread UDP by its addresses alone, unless they are told.
		if out, err := b.home.Exec("ethtool", "-N", b.home.IfName, "rx-flow-hash", "udp4", "sdfn"); err != nil {
			t.Fatalf("ethtool -N: %v: %s", err, out)
		}
	}
	b.solicit(theirs.Addr()) // the order of slow answers and fast ones is not kept
	// Handlers run on the RX threads: they say which queues receive.
	var threads sync.Map
	tap := b.listen(b.At(closedPort), &udp.Config{Handler: func(d udp.Datagram) {
		if name, err := os.ReadFile("/proc/thread-self/comm"); err == nil {
			threads.Store(strings.TrimSpace(string(name)), true)
		}
		d.Release()
	}})
	server := b.listen(netip.AddrPortFrom(netip.IPv4Unspecified(), echoPort), nil)
	serve(t, server)
	var running sync.WaitGroup
	for i := range clients {
		c := kernelDial(t, b.peer, at(ours, echoPort))
		tapped := kernelDial(t, b.peer, at(ours, closedPort))
		running.Go(func() {
			buf := make([]byte, 100)
			c.SetReadDeadline(time.Now().Add(patience))
			for r := range rounds {
				for s := range burst {
					if _, err := c.Write(fmt.Appendf(nil, "client %d datagram %d", i, r*burst+s)); err != nil {
						t.Error(err)
						return
					}
				}
				for s := range burst {
					n, err := c.Read(buf)
					if want := fmt.Sprintf("client %d datagram %d", i, r*burst+s); err != nil || string(buf[:n]) != want {
						t.Errorf("got %q, %v, want %q", buf[:n], err, want)
						return
					}
				}
			}
			if _, err := tapped.Write([]byte("tap")); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	stacktest.Eventually(t, "all handlers called", func() bool { return tap.Stats().Received == clients })
	var names []string
	threads.Range(func(k, _ any) bool { names = append(names, k.(string)); return true })
	if len(names) < 2 {
		t.Errorf("%d flows came by queues %v: want several", clients, names)
	}
}

// TestOddDatagrams: a kernel may leave the checksum out, and put options into
// the IPv4 header; both arrive, and are answered.
func TestOddDatagrams(t *testing.T) {
	routerAlert := string([]byte{148, 4, 0, 0}) // RFC 2113
	for name, c := range map[string]struct {
		set  func(fd int) error
		slow bool
	}{
		"no checksum":        {func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) }, false},
		"IPv4 options":       {func(fd int) error { return unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, routerAlert) }, true},
		"a class of service": {func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, 0xb8) }, false},
		"the last hop":       {func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, 1) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := makeBed(t, nil)
			b.echo(echoPort)
			kernel := kernelDial(t, b.peer, at(ours, echoPort))
			raw, err := kernel.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var failed error
			if err := raw.Control(func(fd uintptr) { failed = c.set(int(fd)) }); err != nil || failed != nil {
				t.Fatal(err, failed)
			}
			for _, size := range sizes {
				if c.slow && size > udp.MaxPayload-len(routerAlert) {
					continue // the options take their room
				}
				exchange(t, kernel, pattern(size))
			}
			if slow := b.demoted(stack.ReasonOptions) > 0; slow != c.slow {
				t.Errorf("demoted for their options: %v, want %v", slow, c.slow)
			}
		})
	}
}

// TestPollModes: each way of waiting serves a kernel client.
func TestPollModes(t *testing.T) {
	for _, mode := range []link.PollMode{link.Adaptive, link.Busy, link.Block, link.BlockTimeout(5 * time.Millisecond), link.Manual} {
		t.Run(mode.String(), func(t *testing.T) {
			o := &options{}
			o.host.Device.Poll = mode
			b := makeBed(t, o)
			b.echo(echoPort)
			c := kernelDial(t, b.peer, at(ours, echoPort))
			for i := range 50 {
				exchange(t, c, pattern(i))
			}
		})
	}
}
