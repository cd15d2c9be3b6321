package differential

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// The host under test, and the peer that talks to it.
var (
	hostMAC, peerMAC = link.MAC{2, 0, 0, 0, 0, 1}, link.MAC{2, 0, 0, 0, 0, 2}
	hostNet          = netip.MustParsePrefix("10.0.0.1/24")
	hostAddr         = hostNet.Addr()
	peerAddr         = netip.MustParseAddr("10.0.0.2")
	group            = netip.MustParseAddr("239.1.2.3")
)

const (
	port      = 7    // the socket's
	queueSize = 64   // datagrams; more than a step of the test brings
	ringSize  = 1024 // frames of the wire
)

// outcome is what came of some frames, in words that two outcomes can be
// compared by: datagrams in the socket's order, answers in the wire's.
type outcome struct{ delivered, answers []string }

func (o outcome) equal(p outcome) bool {
	return slices.Equal(o.delivered, p.delivered) && slices.Equal(o.answers, p.answers)
}

// deliveredAs describes a datagram.
func deliveredAs(payload []byte, from netip.AddrPort) string {
	return fmt.Sprintf("%v: %x", from, payload)
}

// answerAs describes a frame that a stack sent: ICMP by type, code, receiver
// and what follows the checksum; ARP replies as a whole. Others are nothing to
// compare: ARP requests come with timers, and the sockets send nothing.
func answerAs(frame []byte) string {
	h, ok := wire.ParseEthernet(frame)
	if !ok {
		return fmt.Sprintf("no frame: %x", frame)
	}
	b := frame[h.Len:]
	if a, ok := wire.ParseARP(b); h.Type == wire.TypeARP && ok && a.Op == wire.ARPReply {
		return fmt.Sprintf("ARP to %x: %+v", frame[:6], a)
	}
	ip, bad := wire.ParseIPv4(b, false)
	if h.Type != wire.TypeIPv4 || bad != wire.IPv4OK || ip.Protocol != wire.ProtocolICMP {
		return ""
	}
	icmp := b[ip.HeaderLen:ip.TotalLen]
	if len(icmp) < 4 {
		return fmt.Sprintf("no ICMP: %x", icmp)
	}
	return fmt.Sprintf("ICMP %d/%d from %x to %x at %x: %x", icmp[0], icmp[1], ip.Src, ip.Dst, frame[:6], icmp[4:])
}

// ours is a stack of ours in manual mode, behind a wire whose other end is the
// test's.
type ours struct {
	t    testing.TB
	wire *loopback.Link
	mem  *link.Memory
	q    link.Queue
	s    *stack.Stack
	d    *stack.Device
	c    *udp.Conn
	seq  uint16
}

func newOurs(t testing.TB) *ours {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	near, far, err := loopback.Pair(&loopback.Config{MACs: [2]link.MAC{peerMAC, hostMAC}, RingSize: ringSize})
	check(err)
	o := &ours{t: t, wire: near}
	o.mem, err = near.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: ringSize, TXBuffers: 1})
	check(err)
	o.q = near.Queue(0)
	for i := range uint32(ringSize) {
		o.q.Fill([]uint32{i})
	}
	o.s, err = stack.New(&stack.Config{OnError: func(err error) { t.Errorf("ours: %v", err) }})
	check(err)
	o.d, err = o.s.Attach(far, &stack.DeviceConfig{Poll: link.Manual, RXBuffers: 256, PoolSize: 256, BufferSize: 2048})
	check(err)
	p, err := o.d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{hostNet}})
	check(err)
	check(p.JoinGroup(group))
	check(o.s.SetNeighbor(peerAddr, peerMAC))
	o.c, err = udp.Listen(o.s, netip.AddrPortFrom(netip.Addr{}, port), &udp.Config{Queue: queueSize})
	check(err)
	check(o.c.JoinGroup(group, p))
	return o
}

// close asserts that the books add up and that no buffer is missing.
func (o *ours) close() {
	o.t.Helper()
	if rx := o.d.Stats().RX; rx.Packets != rx.Delivered+rx.Demoted.Total()+rx.Dropped.Total() {
		o.t.Errorf("ours: the books do not add up: %+v", rx)
	}
	if err := o.s.Close(); err != nil {
		o.t.Errorf("ours: %v", err)
	}
	if err := o.wire.Close(); err != nil {
		o.t.Error(err)
	}
}

// send puts a frame on the wire and lets the RX step take it.
func (o *ours) send(b []byte) {
	o.t.Helper()
	const index = ringSize // the only TX buffer
	f := link.Frame{Index: index, Len: uint16(len(b))}
	copy(o.mem.Bytes(f), b)
	if o.q.Send([]link.Frame{f}) != 1 || o.q.Reclaim(make([]uint32, 1)) != 1 {
		o.t.Fatal("the wire did not take the frame")
	}
	if _, err := o.d.Poll(stack.MaxBatch); err != nil {
		o.t.Fatal(err)
	}
}

// marker is the identifier of the echo requests behind which all that came
// before has been answered: demoted frames keep their order, and so do answers.
const marker = 0xb0b0

// run sends frames, and waits until all is done that follows from them.
func (o *ours) run(frames ...[]byte) (out outcome) {
	o.t.Helper()
	for _, b := range frames {
		o.send(b)
	}
	o.seq++
	o.send(echo(marker, o.seq))
	last := answerAs(echoReply(marker, o.seq))
	got := make([]link.Frame, 1)
	for end := time.Now().Add(20 * time.Second); ; {
		if _, err := o.d.Poll(stack.MaxBatch); err != nil {
			o.t.Fatal(err)
		}
		if o.q.Receive(got) == 0 {
			if time.Now().After(end) {
				o.t.Fatal("ours: no answer to an echo request")
			}
			time.Sleep(10 * time.Microsecond)
			continue
		}
		answer := answerAs(o.mem.Bytes(got[0]))
		o.q.Fill([]uint32{got[0].Index})
		if answer == last {
			break
		}
		if answer != "" {
			out.answers = append(out.answers, answer)
		}
	}
	for o.c.Stats().Held > 0 {
		d, err := o.c.Receive()
		if err != nil {
			o.t.Fatal(err)
		}
		out.delivered = append(out.delivered, deliveredAs(d.Payload(), d.From()))
		d.Release()
	}
	return out
}

// echo is an ICMP echo request of the peer's.
func echo(id, seq uint16) []byte { return icmpEcho(8, peerMAC, hostMAC, peerAddr, hostAddr, id, seq) }

// echoReply is the host's answer to it.
func echoReply(id, seq uint16) []byte {
	return icmpEcho(0, hostMAC, peerMAC, hostAddr, peerAddr, id, seq)
}

func icmpEcho(kind byte, from, to link.MAC, src, dst netip.Addr, id, seq uint16) []byte {
	b := make([]byte, wire.MinFrame)
	n := wire.PutEthernet(b, to, from, 0, wire.TypeIPv4)
	n += wire.PutIPv4(b[n:], num(src), num(dst), wire.ProtocolICMP, 64, 0, wire.IPv4HeaderLen+8)
	b[n] = kind
	binary.BigEndian.PutUint16(b[n+4:], id)
	binary.BigEndian.PutUint16(b[n+6:], seq)
	binary.BigEndian.PutUint16(b[n+2:], ^wire.Fold(wire.Sum(b[n:n+8], 0)))
	return b
}

func num(a netip.Addr) uint32 { b := a.As4(); return binary.BigEndian.Uint32(b[:]) }
