package stack_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

var (
	peerMAC  = link.MAC{0x02, 0xfe, 0xed, 0, 0, 9}
	peerAddr = netip.MustParseAddr("10.0.0.9")
	ownNet   = netip.MustParsePrefix("10.0.0.1/24")
	ownAddr  = ownNet.Addr()
)

// num is an IPv4 address as a number.
func num(a netip.Addr) uint32 { b := a.As4(); return binary.BigEndian.Uint32(b[:]) }

// packet describes a UDP datagram in a frame; zero fields are the peer's
// ordinary datagram to the host.
type packet struct {
	dstMAC   link.MAC
	tci      uint16
	src, dst netip.Addr
	proto    uint8
	from, to uint16
	payload  string
}

// frame builds it.
func (p packet) frame() []byte {
	or := func(a, def netip.Addr) netip.Addr {
		if a.IsValid() {
			return a
		}
		return def
	}
	if p.dstMAC == (link.MAC{}) {
		p.dstMAC = fakeMAC
	}
	if p.proto == 0 {
		p.proto = wire.ProtocolUDP
	}
	if p.from == 0 {
		p.from = 1000
	}
	src, dst := num(or(p.src, peerAddr)), num(or(p.dst, ownAddr))
	b := make([]byte, 18+wire.IPv4HeaderLen+wire.UDPHeaderLen+len(p.payload))
	n := wire.PutEthernet(b, p.dstMAC, peerMAC, p.tci, wire.TypeIPv4)
	b = b[:n+wire.IPv4HeaderLen+wire.UDPHeaderLen+len(p.payload)]
	ip, t := b[n:], b[n+wire.IPv4HeaderLen:]
	copy(t[wire.UDPHeaderLen:], p.payload)
	wire.PutIPv4(ip, src, dst, p.proto, 64, 0, len(ip))
	wire.PutUDP(t, src, dst, p.from, p.to)
	return b
}

// resum makes the IPv4 checksum of an untagged frame right after a change.
func resum(b []byte) []byte {
	ip := b[14:]
	n := min(int(ip[0]&0xf)*4, len(ip))
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^wire.Fold(wire.Sum(ip[:n], 0)))
	return b
}

// with changes the frame of the ordinary datagram to port 7.
func with(change func(b []byte)) []byte {
	b := packet{to: 7, payload: "payload"}.frame()
	change(b)
	return b
}

// withHeader changes its IPv4 header and makes the checksum right again.
func withHeader(change func(ip []byte)) []byte {
	return resum(with(func(b []byte) { change(b[14:]) }))
}

// arpFrame is an ARP packet of the peer.
func arpFrame(op uint16, dst link.MAC, target netip.Addr) []byte {
	b := make([]byte, wire.MinFrame)
	n := wire.PutEthernet(b, dst, peerMAC, 0, wire.TypeARP)
	a := wire.ARP{Op: op, SenderMAC: peerMAC, SenderIP: num(peerAddr), TargetIP: num(target)}
	if op == wire.ARPReply {
		a.TargetMAC = dst
	}
	wire.PutARP(b[n:], a)
	return b
}

// fakeHost is a manual host on a fake link, small enough to count.
func fakeHost(t testing.TB, l *fakeLink, o *stacktest.Options) *stacktest.Host {
	t.Helper()
	if o == nil {
		o = &stacktest.Options{}
	}
	if o.Device.RXBuffers == 0 {
		o.Device.RXBuffers = 512
	}
	if o.Device.PoolSize == 0 {
		o.Device.PoolSize = 64
	}
	return stacktest.On(t, l, ownNet, o)
}

func manual() *stacktest.Options { return &stacktest.Options{Manual: true} }

// listen opens a UDP socket that the test closes at its end.
func listen(t testing.TB, h *stacktest.Host, local netip.AddrPort, cfg *udp.Config) *udp.Conn {
	t.Helper()
	c, err := udp.Listen(h.Stack, local, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rawFrame builds a frame in a TX buffer: the payload behind an Ethernet
// header of an EtherType for experiments.
func rawFrame(d *stack.Device, f link.Frame, payload []byte) link.Frame {
	b := d.Memory().Buffer(f.Index)[f.Off-14:]
	wire.PutEthernet(b[:18], peerMAC, fakeMAC, 0, testEtherType)
	copy(b[14:], payload)
	f.Off, f.Len = f.Off-14, uint16(14+len(payload))
	return f
}

// testEtherType is the first of the two for local experiments (IEEE 802).
const testEtherType = 0x88b5

// sendRaw sends one frame with two bytes of payload, which tell it apart.
func sendRaw(t testing.TB, d *stack.Device, priority int, a, b byte) {
	t.Helper()
	f, err := d.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Send(rawFrame(d, f, []byte{a, b}), 0, priority); err != nil {
		t.Fatal(err)
	}
}

// testProtocol is a protocol of the test: it decides by a function, and notes
// what it is told.
type testProtocol struct {
	receive  func(b *stack.Batch)
	inBand   chan *stack.Datagram
	errors   chan *stack.TransportError
	attached []*stack.Device
	purged   []*stack.Device
	closed   int
}

func newTestProtocol(receive func(b *stack.Batch)) *testProtocol {
	return &testProtocol{receive: receive, inBand: make(chan *stack.Datagram, 64), errors: make(chan *stack.TransportError, 64)}
}

var _ stack.Protocol = (*testProtocol)(nil)

func (p *testProtocol) Receive(b *stack.Batch) {
	if p.receive != nil {
		p.receive(b)
	}
}

func (p *testProtocol) ReceiveInBand(d *stack.Datagram) bool {
	p.inBand <- d
	return true
}

func (p *testProtocol) Error(e *stack.TransportError) { p.errors <- e }
func (p *testProtocol) Attached(d *stack.Device)      { p.attached = append(p.attached, d) }
func (p *testProtocol) Close()                        { p.closed++ }

func (p *testProtocol) Purge(d *stack.Device) {
	if !slices.Contains(p.purged, d) {
		p.purged = append(p.purged, d)
	}
}
