package control

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// sendPatience is how long a question may wait for a buffer: those behind it
// have their times.
const sendPatience = time.Millisecond

// number of an IPv4 address, in host order.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// udpProber asks an echo service (RFC 862). A datagram has a mark, which tells
// it from those of another ping, and its number, big-endian, both of 8 bytes.
type udpProber struct {
	conn *udp.Conn
	mark uint64
	buf  []byte
	room []byte
}

func newUDPProber(s *stack.Stack, to netip.AddrPort, size int) (prober, error) {
	conn, err := udp.Dial(s, netip.AddrPort{}, to, nil)
	if err != nil {
		return nil, err
	}
	// A byte more than was sent is no answer.
	return &udpProber{conn: conn, mark: uint64(time.Now().UnixNano()), buf: make([]byte, size), room: make([]byte, size+1)}, nil
}

func (p *udpProber) Close() error { return p.conn.Close() }

func (p *udpProber) send(number uint32) error {
	binary.BigEndian.PutUint64(p.buf, p.mark)
	binary.BigEndian.PutUint64(p.buf[8:], uint64(number))
	if err := p.conn.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	_, err := p.conn.Write(p.buf)
	return err
}

func (p *udpProber) receive(deadline time.Time) (uint32, error) {
	if err := p.conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := p.conn.Read(p.room)
	if err != nil {
		return 0, err
	}
	if n != len(p.buf) || binary.BigEndian.Uint64(p.room) != p.mark {
		return 0, syscall.EAGAIN
	}
	number := binary.BigEndian.Uint64(p.room[8:])
	if number != uint64(uint32(number)) {
		return 0, syscall.EAGAIN
	}
	return uint32(number), nil
}

// arpProber asks all stations of the link for an address (RFC 826), beside the
// in-band stage, which asks only for what it does not know.
type arpProber struct {
	conn  *packet.Conn
	ask   [wire.ARPLen]byte
	peer  uint32
	mac   link.MAC // ours
	asked uint32   // the last number
	macs  *[]string
}

func newARPProber(s *stack.Stack, via *stack.Port, peer netip.Addr, macs *[]string) (prober, error) {
	if !s.OnLink(peer) {
		return nil, fmt.Errorf("it is behind a gateway, which ARP does not pass: %w: ping the gateway, or by UDP", syscall.EHOSTUNREACH)
	}
	src, _, err := s.Source(peer)
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(via, wire.TypeARP, nil)
	if err != nil {
		return nil, err
	}
	p := &arpProber{conn: conn, peer: number(peer), mac: via.MAC(), macs: macs}
	wire.PutARP(p.ask[:], wire.ARP{Op: wire.ARPRequest, SenderMAC: p.mac, SenderIP: number(src), TargetIP: p.peer})
	return p, nil
}

func (p *arpProber) Close() error { return p.conn.Close() }

func (p *arpProber) send(number uint32) error {
	p.asked = number
	if err := p.conn.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	_, err := p.conn.WriteToAddr(p.ask[:], packet.Addr{MAC: link.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})
	return err
}

func (p *arpProber) receive(deadline time.Time) (uint32, error) {
	if err := p.conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	var frame [wire.ARPLen]byte
	n, _, err := p.conn.ReadFromAddr(frame[:])
	if err != nil {
		return 0, err
	}
	a, ok := wire.ParseARP(frame[:n])
	if !ok || a.Op != wire.ARPReply || a.SenderIP != p.peer || a.TargetMAC != p.mac {
		return 0, syscall.EAGAIN
	}
	addOnce(p.macs, macText(a.SenderMAC))
	return p.asked, nil
}
