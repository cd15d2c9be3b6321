package oracle

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/proto/udp"
)

var (
	group      = netip.MustParseAddr("239.1.2.3")
	allHosts   = netip.MustParseAddr("224.0.0.1")
	otherGroup = netip.MustParseAddr("239.1.2.4")
	multicasts = netip.MustParsePrefix("224.0.0.0/4")
	directed   = netip.MustParseAddr("192.0.2.255")
	limited    = netip.MustParseAddr("255.255.255.255")
)

// IGMP (RFC 2236, RFC 3376).
const (
	protocolIGMP  = 2
	igmpQuery     = 0x11
	igmpReportV2  = 0x16
	igmpLeaveV2   = 0x17
	igmpReportV3  = 0x22
	toInclude     = 3 // record types of version 3: a change to "only from nobody", a leave
	toExclude     = 4 // a change to "from anybody", a join
	isExclude     = 2
	etherTypeIPv4 = 0x0800
)

// igmpLog notes the IGMP that a host hears: joins and leaves by group.
type igmpLog struct {
	mu            sync.Mutex
	joins, leaves map[netip.Addr]int
}

func listenIGMP(t testing.TB, h *netnstest.Host) *igmpLog {
	t.Helper()
	f, err := h.RawSocket(etherTypeIPv4)
	if err != nil {
		t.Fatal(err)
	}
	l := &igmpLog{joins: map[netip.Addr]int{}, leaves: map[netip.Addr]int{}}
	var running sync.WaitGroup
	t.Cleanup(func() {
		f.SetReadDeadline(time.Now())
		running.Wait()
		f.Close()
	})
	running.Go(func() {
		frame := make([]byte, 1514)
		for {
			n, err := f.Read(frame)
			if err != nil {
				return
			}
			l.hear(frame[:n])
		}
	})
	return l
}

// hear reads one frame.
func (l *igmpLog) hear(frame []byte) {
	if len(frame) < 14+20 || frame[14+9] != protocolIGMP {
		return
	}
	m := frame[14+int(frame[14]&0xf)*4:]
	if len(m) < 8 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch m[0] {
	case igmpReportV2:
		l.joins[netip.AddrFrom4([4]byte(m[4:]))]++
	case igmpLeaveV2:
		l.leaves[netip.AddrFrom4([4]byte(m[4:]))]++
	case igmpReportV3:
		records := m[8:]
		for range binary.BigEndian.Uint16(m[6:]) {
			if len(records) < 8 {
				return
			}
			switch g := netip.AddrFrom4([4]byte(records[4:])); records[0] {
			case toExclude, isExclude:
				l.joins[g]++
			case toInclude:
				l.leaves[g]++
			}
			records = records[min(len(records), 8+4*int(binary.BigEndian.Uint16(records[2:]))+4*int(records[1])):]
		}
	}
}

func (l *igmpLog) joined(g netip.Addr) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.joins[g]
}

func (l *igmpLog) left(g netip.Addr) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaves[g]
}

// query sends a general query, as a router that wants to know who is where: of
// version 2, or longer, of version 3. Answers are due within 100 ms.
func query(t testing.TB, h *netnstest.Host, version int) {
	t.Helper()
	f, err := h.RawSocket(etherTypeIPv4)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := []byte{igmpQuery, 1, 0, 0, 0, 0, 0, 0}
	if version == 3 {
		m = append(m, 2, 125, 0, 0) // robustness, interval in seconds, no sources
	}
	binary.BigEndian.PutUint16(m[2:], ^wire.Fold(wire.Sum(m, 0)))
	src, dst := theirs.Addr().As4(), allHosts.As4()
	ip := append([]byte{0x46, 0, 0, byte(24 + len(m)), 0, 0, 0, 0, 1, protocolIGMP, 0, 0}, src[:]...)
	ip = append(ip, dst[:]...)
	ip = append(ip, 148, 4, 0, 0) // router alert (RFC 2113)
	binary.BigEndian.PutUint16(ip[10:], ^wire.Fold(wire.Sum(ip, 0)))
	frame := append([]byte{0x01, 0x00, 0x5e, 0, 0, 1}, h.MAC[:]...)
	frame = append(append(append(frame, 0x08, 0x00), ip...), m...)
	if _, err := f.Write(frame); err != nil {
		t.Fatal(err)
	}
}

// kernelJoin opens a socket of a kernel that is a member of a group.
func kernelJoin(t testing.TB, h *netnstest.Host, g netip.Addr, port uint16) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := h.DoErr(func() error {
		ifi, err := net.InterfaceByName(h.IfName)
		if err != nil {
			return err
		}
		c, err = net.ListenMulticastUDP("udp4", ifi, &net.UDPAddr{IP: g.AsSlice(), Port: int(port)})
		return err
	})
	return kernelOwn(t, c, err)
}

// TestMulticastReceive joins, which the wire hears, receives what a kernel
// sends to the group, alone and in fragments, and leaves.
func TestMulticastReceive(t *testing.T) {
	const port = 5000
	b := makeBed(t, nil)
	igmp := listenIGMP(t, b.peer)
	if err := b.peer.AddRoute(multicasts, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	// Two members on one port share the buffers; a third socket is none.
	members := []*udp.Conn{
		b.listen(netip.AddrPortFrom(group, port), &udp.Config{ReusePort: true}),
		b.listen(netip.AddrPortFrom(group, port), &udp.Config{ReusePort: true}),
	}
	for _, m := range members {
		if err := m.JoinGroup(group, b.Port); err != nil {
			t.Fatal(err)
		}
	}
	stacktest.Eventually(t, "an IGMP report", func() bool { return igmp.joined(group) > 0 })
	for _, version := range []int{3, 2} { // downwards: who has heard 2 speaks 2 for minutes
		// A join is reported twice, whether anybody asks or not.
		want := igmp.joined(group) + 3
		stacktest.Eventually(t, "answers to queries", func() bool {
			query(t, b.peer, version)
			time.Sleep(150 * time.Millisecond)
			return igmp.joined(group) >= want
		})
	}
	sender := kernelDial(t, b.peer, netip.AddrPortFrom(group, port))
	stranger := kernelDial(t, b.peer, netip.AddrPortFrom(otherGroup, port))
	for _, size := range sizes {
		if _, err := stranger.Write(pattern(size)); err != nil {
			t.Fatal(err)
		}
		if _, err := sender.Write(pattern(size)); err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			expect(t, m, pattern(size))
		}
	}

	if err := members[0].LeaveGroup(group, b.Port); err != nil {
		t.Fatal(err)
	}
	if n := igmp.left(group); n != 0 {
		t.Errorf("%d IGMP leaves while a member is there", n)
	}
	if _, err := sender.Write([]byte("for one")); err != nil {
		t.Fatal(err)
	}
	expect(t, members[1], []byte("for one"))
	if err := members[1].LeaveGroup(group, b.Port); err != nil {
		t.Fatal(err)
	}
	stacktest.Eventually(t, "an IGMP leave", func() bool { return igmp.left(group) > 0 })
	accepted := b.accepted()
	if _, err := sender.Write([]byte("for nobody")); err != nil {
		t.Fatal(err)
	}
	// What comes after it shows that it has come.
	b.echo(echoPort)
	exchange(t, kernelDial(t, b.peer, at(ours, echoPort)), []byte("hello"))
	if got := b.accepted() - accepted; got > 3 {
		t.Errorf("%d frames taken for one exchange with ARP: the group is still ours", got)
	}
	for i, m := range members {
		m.SetReadDeadline(time.Now())
		if n, err := m.Read(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("member %d, after it left: %d bytes, %v", i, n, err)
		}
	}
}

// TestMulticastSend sends to a group that a kernel has joined, at once: there
// is nobody to ask.
func TestMulticastSend(t *testing.T) {
	const port = 5000
	b := makeBed(t, nil)
	member := kernelJoin(t, b.peer, group, port)
	c := b.dial(netip.AddrPortFrom(group, port), nil)
	for _, size := range sizes {
		before := b.demotedSends()
		if _, err := c.Write(pattern(size)); err != nil {
			t.Fatal(err)
		}
		expect(t, member, pattern(size))
		if slow := b.demotedSends() != before; slow == fits(size) {
			t.Errorf("%d bytes: in-band: %v", size, slow)
		}
	}
}

// TestBroadcast sends to the wire's broadcast address and to that of all
// wires, both ways.
func TestBroadcast(t *testing.T) {
	const port = 5000
	b := makeBed(t, nil)
	if err := b.peer.AddRoute(netip.PrefixFrom(limited, 32), netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	shy := b.listen(b.At(0), nil)
	bold := b.listen(b.At(0), &udp.Config{Broadcast: true})
	listener := b.listen(netip.AddrPortFrom(netip.IPv4Unspecified(), port), nil)
	kernel := kernelListen(t, b.peer, netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	for _, to := range []netip.Addr{directed, limited} {
		to := netip.AddrPortFrom(to, port)
		if _, err := shy.WriteToUDPAddrPort([]byte("x"), to); !errors.Is(err, syscall.EACCES) {
			t.Errorf("%v without Config.Broadcast: %v, want EACCES", to, err)
		}
		for _, size := range sizes {
			before := b.demotedSends()
			if _, err := bold.WriteToUDPAddrPort(pattern(size), to); err != nil {
				t.Fatalf("%d bytes to %v: %v", size, to, err)
			}
			expect(t, kernel, pattern(size))
			if slow := b.demotedSends() != before; slow == fits(size) {
				t.Errorf("%d bytes to %v: in-band: %v", size, to, slow)
			}
			if _, err := kernel.WriteToUDPAddrPort(pattern(size), to); err != nil {
				t.Fatalf("the kernel, %d bytes to %v: %v", size, to, err)
			}
			expect(t, listener, pattern(size))
			// The kernel hears itself.
			expect(t, kernel, pattern(size))
		}
	}
}
