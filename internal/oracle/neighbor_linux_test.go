package oracle

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// kernelNeighbor is the MAC address that a kernel has for an address, as its
// ARP table has it; the zero address if it has none.
func kernelNeighbor(t testing.TB, h *netnstest.Host, of netip.Addr) (mac link.MAC) {
	t.Helper()
	var table []byte
	err := h.DoErr(func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/arp")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		// IP address, HW type, flags, HW address, mask, device
		if f := strings.Fields(line); len(f) == 6 && f[0] == of.String() {
			hw, err := net.ParseMAC(f[3])
			if err != nil {
				t.Fatal(err)
			}
			copy(mac[:], hw)
		}
	}
	return mac
}

// known is the MAC address that our front cache has for an address.
func (b *bed) known(of netip.Addr) link.MAC {
	mac, _ := b.Stack.FrontCache().Neighbor(b.Port, of)
	return mac
}

// otherMAC is what the peer's address is changed to.
var otherMAC = link.MAC{0x02, 0x00, 0x5e, 0x00, 0x00, 0xbb}

// TestARP asks, and is asked.
func TestARP(t *testing.T) {
	t.Run("we ask", func(t *testing.T) {
		b := makeBed(t, nil)
		if mac := b.known(theirs.Addr()); mac != (link.MAC{}) {
			t.Fatalf("known before it was asked: %x", mac)
		}
		b.solicit(theirs.Addr())
		if mac := b.known(theirs.Addr()); mac != b.peer.MAC {
			t.Errorf("the peer is known as %x, and is %x", mac, b.peer.MAC)
		}
		if mac := kernelNeighbor(t, b.peer, b.Addr); mac != b.Link.MAC() {
			t.Errorf("our question taught the kernel %x, and we are %x", mac, b.Link.MAC())
		}
	})
	t.Run("the kernel asks", func(t *testing.T) {
		b := makeBed(t, nil)
		c := kernelDial(t, b.peer, at(ours, echoPort))
		b.echo(echoPort)
		exchange(t, c, []byte("hello"))
		if mac := kernelNeighbor(t, b.peer, b.Addr); mac != b.Link.MAC() {
			t.Errorf("the kernel knows us as %x, and we are %x", mac, b.Link.MAC())
		}
	})
	t.Run("the kernel asks the kernel beside us", func(t *testing.T) {
		needsXDP(t, "there is no kernel beside us on a card of ours")
		b := makeBed(t, nil)
		kernelEcho(t, b.home, at(beside, echoPort))
		exchange(t, kernelDial(t, b.peer, at(beside, echoPort)), []byte("hello"))
		if got := b.accepted(); got != 0 {
			t.Errorf("we took %d frames of the kernel's", got)
		}
	})
}

// TestFirstDatagrams: the first datagram to a peer goes in-band, and is not
// lost; soon all are fast.
func TestFirstDatagrams(t *testing.T) {
	b := makeBed(t, nil)
	kernelEcho(t, b.peer, at(theirs, echoPort))
	c := b.dial(at(theirs, echoPort), nil)
	exchange(t, c, []byte("first"))
	if got := b.demotedSends(); got != 1 {
		t.Errorf("%d datagrams went in-band, want the first", got)
	}
	stacktest.Eventually(t, "a fast send", func() bool {
		before := b.demotedSends()
		exchange(t, c, []byte("next"))
		return b.demotedSends() == before
	})
}

// TestMACChanged gives the peer another MAC address in mid-flow.
func TestMACChanged(t *testing.T) {
	change := func(b *bed) {
		b.t.Helper()
		if err := b.peer.SetMAC(otherMAC); err != nil {
			b.t.Fatal(err)
		}
	}
	t.Run("the peer talks", func(t *testing.T) {
		b := makeBed(t, nil)
		b.echo(echoPort)
		c := kernelDial(t, b.peer, at(ours, echoPort))
		for i := range 20 {
			exchange(t, c, pattern(i))
		}
		change(b)
		// Its question for us tells us the new address.
		stacktest.Eventually(t, "an answer after the change", func() bool { return try(c, pattern(30)) })
		stacktest.Eventually(t, "the new address in the front cache", func() bool {
			try(c, pattern(31))
			return b.known(theirs.Addr()) == otherMAC
		})
	})
	t.Run("the peer is silent", func(t *testing.T) {
		o := &options{}
		o.host.Stack.Reachable = 2 * time.Second
		b := makeBed(t, o)
		kernelEcho(t, b.peer, at(theirs, echoPort))
		c := b.dial(at(theirs, echoPort), nil)
		for i := range 20 {
			exchange(t, c, pattern(i))
		}
		change(b)
		// Nobody tells us: probes of the old address go unanswered.
		payload, n := pattern(30), byte(0)
		stacktest.Eventually(t, "an answer after the change", func() bool {
			n++
			payload[0] = n
			return try(c, payload)
		})
		stacktest.Eventually(t, "the new address in the front cache", func() bool {
			try(c, pattern(31))
			return b.known(theirs.Addr()) == otherMAC
		})
	})
}

// TestRefresh: a live peer in steady exchange never costs a slow send, however
// short its address is believed.
func TestRefresh(t *testing.T) {
	const reachable, periods = 2 * time.Second, 4
	o := &options{}
	o.host.Stack.Reachable = reachable
	b := makeBed(t, o)
	kernelEcho(t, b.peer, at(theirs, echoPort))
	b.solicit(theirs.Addr())
	c := b.dial(at(theirs, echoPort), nil)
	rounds := 0
	for end := time.Now().Add(periods * reachable); time.Now().Before(end); rounds++ {
		exchange(t, c, pattern(rounds%100))
		time.Sleep(5 * time.Millisecond)
	}
	st := b.Stack.Stats()
	if st.Demoted != 0 {
		t.Errorf("%d of %d datagrams to a live peer went in-band", st.Demoted, rounds)
	}
	if st.FrontCache.Probes < periods || st.FrontCache.Dropped != 0 || st.FrontCache.Expired != 0 {
		t.Errorf("front cache after %d times %v: %+v", periods, reachable, st.FrontCache)
	}
}

// TestPeerFallsSilent: a peer that answers no ARP any more, in mid-flow, is
// given up, and the sender is told.
func TestPeerFallsSilent(t *testing.T) {
	o := &options{}
	o.host.Stack.Reachable = 2 * time.Second
	b := makeBed(t, o)
	b.solicit(theirs.Addr())
	// Nor anything else: a socket that nobody reads swallows what comes.
	kernelListen(t, b.peer, at(theirs, echoPort))
	if err := b.peer.Sysctl("net.ipv4.conf."+b.peer.IfName+".arp_ignore", "8"); err != nil {
		t.Fatal(err)
	}
	c := b.dial(at(theirs, echoPort), nil)
	stacktest.Eventually(t, "EHOSTUNREACH", func() bool {
		_, err := c.Write([]byte("anybody there?"))
		return errors.Is(err, syscall.EHOSTUNREACH)
	})
	if st := b.Stack.FrontCache().Stats(); st.Expired == 0 && st.Dropped == 0 {
		t.Errorf("front cache %+v", st)
	}
}

// TestPermanent: ARP does not change what was asked to stay.
func TestPermanent(t *testing.T) {
	o := &options{}
	o.host.Stack.Reachable = 2 * time.Second
	b := makeBed(t, o)
	if err := b.Stack.Solicit(context.Background(), theirs.Addr(), arp.Permanent); err != nil {
		t.Fatal(err)
	}
	kernelEcho(t, b.peer, at(theirs, echoPort))
	b.echo(echoPort)
	c := b.dial(at(theirs, echoPort), nil)
	kernel := kernelDial(t, b.peer, at(ours, echoPort))
	exchange(t, c, []byte("before"))
	exchange(t, kernel, []byte("before"))
	if err := b.peer.SetMAC(otherMAC); err != nil {
		t.Fatal(err)
	}
	// The kernel asks for us anew, and says who it is now.
	arps := b.demoted(stack.ReasonARP)
	stacktest.Eventually(t, "the kernel's question under its new address", func() bool {
		try(kernel, []byte("lost"))
		return b.demoted(stack.ReasonARP) > arps
	})
	stacktest.Eventually(t, "the conflict counted", func() bool { return b.Stack.FrontCache().Stats().Conflicts > 0 })
	if mac := b.known(theirs.Addr()); mac != b.peer.MAC {
		t.Errorf("a permanent neighbour is now known as %x", mac)
	}
	if err := b.peer.SetMAC(b.peer.MAC); err != nil {
		t.Fatal(err)
	}
	stacktest.Eventually(t, "an answer under the old address", func() bool { return try(c, []byte("after")) })
	if got := b.demotedSends(); got != 0 {
		t.Errorf("%d datagrams to a permanent neighbour went in-band", got)
	}
}

// TestGateway sends to an address behind the peer.
func TestGateway(t *testing.T) {
	behind := netip.MustParsePrefix("198.51.100.1/24")
	b := makeBed(t, nil)
	if err := b.peer.AddAddr(behind); err != nil {
		t.Fatal(err)
	}
	to := at(behind, echoPort)
	kernelEcho(t, b.peer, to)
	if _, err := b.listen(b.At(0), nil).WriteToUDPAddrPort(nil, to); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("a write without a route: %v, want ENETUNREACH", err)
	}
	if err := b.Stack.Solicit(context.Background(), to.Addr(), arp.MayRoute); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("Solicit without a route: %v, want ENODEV", err)
	}
	if err := b.Stack.AddRoute(behind.Masked(), theirs.Addr(), b.Port); err != nil {
		t.Fatal(err)
	}
	if err := b.Stack.Solicit(context.Background(), to.Addr()); !errors.Is(err, syscall.EMULTIHOP) {
		t.Errorf("Solicit of what is behind a gateway: %v, want EMULTIHOP", err)
	}
	if err := b.Stack.Solicit(context.Background(), to.Addr(), arp.MayRoute); err != nil {
		t.Fatal(err)
	}
	c := b.dial(to, nil)
	for _, size := range sizes {
		before := b.demotedSends()
		exchange(t, c, pattern(size))
		if slow := b.demotedSends() != before; slow == fits(size) {
			t.Errorf("%d bytes by the gateway: in-band: %v", size, slow)
		}
	}
	if mac := b.known(theirs.Addr()); mac != b.peer.MAC {
		t.Errorf("the gateway is known as %x", mac)
	}
	if err := b.Stack.RemoveRoute(behind.Masked()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(nil); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("a write after the route went: %v, want ENETUNREACH", err)
	}
}
