package udp_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

var group = netip.MustParseAddr("239.1.2.3")

func join(t *testing.T, c *udp.Conn, g netip.Addr) {
	t.Helper()
	if err := c.JoinGroup(g, nil); err != nil {
		t.Fatal(err)
	}
}

// TestMulticast: members on one port share each datagram; who has not joined
// gets none, and a member that leaves no more.
func TestMulticast(t *testing.T) {
	a, b := pair(t, nil)
	share := &udp.Config{ReusePort: true}
	any := netip.AddrPortFrom(netip.Addr{}, 5000)
	m1, m2 := listenOn(t, b.Stack, any, share), listenOn(t, b.Stack, netip.AddrPortFrom(group, 5000), share)
	outsider := listenOn(t, b.Stack, any, share)
	other := listenOn(t, b.Stack, netip.AddrPortFrom(netip.Addr{}, 5001), nil)
	join(t, m1, group)
	join(t, m2, group)
	join(t, other, group)
	wantError(t, m1.JoinGroup(group, nil), "join", syscall.EADDRINUSE)

	x := listen(t, a, 1000, nil)
	to := netip.AddrPortFrom(group, 5000)
	for i := range 200 {
		send(t, x, fmt.Sprint(i), to)
		receive(t, m2, fmt.Sprint(i), a.At(1000))
		receive(t, m1, fmt.Sprint(i), a.At(1000))
	}
	// Zero copy: the same bytes for all.
	send(t, x, "shared", to)
	d1, err1 := m1.Receive()
	d2, err2 := m2.Receive()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if string(d1.Payload()) != "shared" || &d1.Payload()[0] != &d2.Payload()[0] || d1.To() != group {
		t.Errorf("%q and %q, to %v: want one buffer", d1.Payload(), d2.Payload(), d1.To())
	}
	if held := b.Device.Stats().Pool.RXHeld; held != 1 {
		t.Errorf("%d buffers held, want 1", held)
	}
	d1.Release()
	if string(d2.Payload()) != "shared" {
		t.Errorf("%q after the other one's release", d2.Payload())
	}
	d2.Release()
	stacktest.AssertNothingHeld(t, b.Device)

	if err := m1.LeaveGroup(group, nil); err != nil {
		t.Fatal(err)
	}
	wantError(t, m1.LeaveGroup(group, nil), "leave", syscall.EADDRNOTAVAIL)
	send(t, x, "to one", to)
	receive(t, m2, "to one", a.At(1000))
	m2.Close()
	dropped := b.Device.Stats().RX.Dropped[stack.ReasonNoSocket]
	send(t, x, "to nobody", to)
	stacktest.Eventually(t, "it is dropped", func() bool {
		return b.Device.Stats().RX.Dropped[stack.ReasonNoSocket] == dropped+1
	})
	other.Close()
	send(t, x, "the port has left", to)
	stacktest.Eventually(t, "it is dropped", func() bool {
		return b.Device.Stats().RX.Dropped[stack.ReasonNotMember] == 1
	})
	for _, c := range []*udp.Conn{outsider, m1} {
		if st := c.Stats(); st.Held != 0 {
			t.Errorf("%v: %+v", local(c), st)
		}
	}
	if st := x.Stats(); st.Demoted != 0 {
		t.Errorf("%d multicasts were slow", st.Demoted)
	}
}

// TestMulticastLarge: fragments of a multicast reach all members.
func TestMulticastLarge(t *testing.T) {
	a, b := pair(t, nil)
	share := &udp.Config{ReusePort: true}
	any := netip.AddrPortFrom(netip.Addr{}, 5000)
	m1, m2 := listenOn(t, b.Stack, any, share), listenOn(t, b.Stack, any, share)
	join(t, m1, group)
	join(t, m2, group)
	x := listen(t, a, 1000, nil)
	send(t, x, pattern(20000), netip.AddrPortFrom(group, 5000))
	receive(t, m1, pattern(20000), a.At(1000))
	receive(t, m2, pattern(20000), a.At(1000))
}

func TestGroupMistakes(t *testing.T) {
	a, _ := pair(t, nil)
	c := listen(t, a, 0, nil)
	wantError(t, c.JoinGroup(netip.MustParseAddr("10.0.0.2"), nil), "join", syscall.EINVAL)
	wantError(t, c.JoinGroup(netip.MustParseAddr("ff02::1"), nil), "join", syscall.EINVAL)
	wantError(t, c.JoinGroup(netip.Addr{}, nil), "join", syscall.EINVAL)
	wantError(t, c.LeaveGroup(group, nil), "leave", syscall.EADDRNOTAVAIL)
	// As net.IP has it, it is the same group.
	mapped := netip.AddrFrom16(group.As16())
	join(t, c, mapped)
	wantError(t, c.JoinGroup(group, nil), "join", syscall.EADDRINUSE)
	if err := c.LeaveGroup(mapped, a.Port); err != nil {
		t.Error(err)
	}
	c.Close()
	wantError(t, c.JoinGroup(group, nil), "join", net.ErrClosed)
	wantError(t, c.LeaveGroup(group, nil), "leave", net.ErrClosed)
}

// TestJoinRace: members come and go while datagrams come; no part of a shared
// buffer is lost or given back twice, which Close and the books would show.
func TestJoinRace(t *testing.T) {
	a, b := pair(t, nil)
	share := &udp.Config{ReusePort: true}
	any := netip.AddrPortFrom(netip.Addr{}, 5000)
	x := listen(t, a, 1000, nil)
	stop := make(chan struct{})
	var joiners, readers sync.WaitGroup
	var members []*udp.Conn
	for range 4 {
		c := listenOn(t, b.Stack, any, share)
		members = append(members, c)
		joiners.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.JoinGroup(group, nil); err != nil {
					t.Error(err)
				}
				if err := c.LeaveGroup(group, nil); err != nil {
					t.Error(err)
				}
			}
		})
		readers.Go(func() {
			buf := make([]byte, 100)
			for {
				if n, err := c.Read(buf); err != nil {
					return
				} else if string(buf[:n]) != "member" {
					t.Errorf("read %q", buf[:n])
				}
			}
		})
	}
	keep := listenOn(t, b.Stack, netip.AddrPortFrom(netip.Addr{}, 5001), nil)
	join(t, keep, group) // so that the port stays a member
	for range 3000 {
		send(t, x, "member", netip.AddrPortFrom(group, 5000))
	}
	stacktest.AssertBooks(t, b.Device)
	close(stop)
	joiners.Wait()
	for _, c := range members {
		c.Close()
	}
	readers.Wait()
	stacktest.AssertNothingHeld(t, b.Device)
}

// TestBroadcast: to all, and of the network, reach every socket of the port,
// by the fast way and, when they are long, by the slow one.
func TestBroadcast(t *testing.T) {
	a, b := pair(t, nil)
	share := &udp.Config{ReusePort: true}
	any := netip.AddrPortFrom(netip.Addr{}, 6000)
	y1, y2 := listenOn(t, b.Stack, any, share), listenOn(t, b.Stack, any, share)
	bound := listen(t, b, 6000, share) // to an address: hears what is sent there only
	x := listen(t, a, 1000, &udp.Config{Broadcast: true})
	for _, to := range []string{"255.255.255.255:6000", "10.0.0.255:6000"} {
		for _, size := range []int{3, 1472, 5000} {
			send(t, x, pattern(size), netip.MustParseAddrPort(to))
			receive(t, y1, pattern(size), a.At(1000))
			receive(t, y2, pattern(size), a.At(1000))
		}
	}
	if st := bound.Stats(); st.Received != 0 {
		t.Errorf("%+v", st)
	}
	if st := x.Stats(); st.Demoted != 2 {
		t.Errorf("%d broadcasts were slow, want the 2 long ones", st.Demoted)
	}
	// Nobody there: dropped, and nobody is told.
	dropped := b.Device.Stats().RX.Dropped[stack.ReasonNoSocket]
	send(t, x, "nobody", netip.MustParseAddrPort("10.0.0.255:6001"))
	stacktest.Eventually(t, "it is dropped", func() bool {
		return b.Device.Stats().RX.Dropped[stack.ReasonNoSocket] == dropped+1
	})
	if st := x.Stats(); st.Errors != 0 {
		t.Errorf("a broadcast was answered by %d errors", st.Errors)
	}
}

// TestVLAN: ports of two VLANs and the untagged one share a wire, and nothing
// crosses over; the tag has the socket's priority.
func TestVLAN(t *testing.T) {
	a, b := pair(t, nil)
	type host struct{ a, b netip.AddrPort }
	ends := map[uint16]host{}
	var y []*udp.Conn
	for _, vlan := range []uint16{7, 4094} {
		net4 := func(last byte) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(vlan), last}), 24)
		}
		for i, h := range []*stacktest.Host{a, b} {
			if _, err := h.Device.EnablePort(&stack.PortConfig{VLAN: vlan, Addrs: []netip.Prefix{net4(byte(i + 1))}}); err != nil {
				t.Fatal(err)
			}
		}
		e := host{netip.AddrPortFrom(net4(1).Addr(), 1000), netip.AddrPortFrom(net4(2).Addr(), 2000)}
		ends[vlan] = e
		y = append(y, listenOn(t, b.Stack, e.b, nil))
	}
	y = append(y, listen(t, b, 2000, nil))
	for vlan, e := range ends {
		x := listenOn(t, a.Stack, e.a, &udp.Config{Priority: 5})
		to := y[0]
		if vlan == 4094 {
			to = y[1]
		}
		for i, size := range []int{3, 18, 1472, 1473, 9000} {
			payload := pattern(size)
			send(t, x, payload, e.b)
			receive(t, to, payload, e.a)
			send(t, to, payload, e.a)
			receive(t, x, payload, e.b)
			_ = i
		}
		// The priority is in the tag of what was sent fast.
		for _, p := range []int{0, 5, 7} {
			if err := x.SetPriority(p); err != nil {
				t.Fatal(err)
			}
			stacktest.Eventually(t, "fast", func() bool {
				demoted := x.Stats().Demoted
				send(t, x, "tag", e.b)
				d, err := to.Receive()
				if err != nil {
					t.Fatal(err)
				}
				defer d.Release()
				if x.Stats().Demoted != demoted {
					return false
				}
				if tci := udp.TCI(&d); tci != uint16(p)<<13|vlan {
					t.Errorf("tag %#04x of VLAN %d and priority %d", tci, vlan, p)
				}
				return true
			})
		}
	}
	for _, c := range y {
		if st := c.Stats(); st.Held != 0 {
			t.Errorf("%v: %+v", local(c), st)
		}
	}
}
