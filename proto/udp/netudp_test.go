package udp_test

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/proto/udp"
)

// udpConn is what programs written for *net.UDPConn ask of a socket, but for
// its descriptor.
type udpConn interface {
	net.Conn
	net.PacketConn
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
	ReadFromUDP(b []byte) (int, *net.UDPAddr, error)
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error)
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)
	WriteToUDP(b []byte, addr *net.UDPAddr) (int, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
}

var (
	_ udpConn = (*net.UDPConn)(nil)
	_ udpConn = (*udp.Conn)(nil)
)

func TestNetUDPAddr(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	toY, fromX := net.UDPAddrFromAddrPort(b.At(2000)), a.At(1000)

	if n, err := x.WriteToUDP([]byte("one"), toY); n != 3 || err != nil {
		t.Fatalf("WriteToUDP: %d, %v", n, err)
	}
	room := make([]byte, 16)
	n, from, err := y.ReadFromUDP(room)
	if err != nil || string(room[:n]) != "one" || from.AddrPort() != fromX {
		t.Fatalf("ReadFromUDP: %q from %v, %v", room[:n], from, err)
	}

	if n, oobn, err := x.WriteMsgUDP([]byte("number two"), nil, toY); n != 10 || oobn != 0 || err != nil {
		t.Fatalf("WriteMsgUDP: %d, %d, %v", n, oobn, err)
	}
	n, oobn, flags, from, err := y.ReadMsgUDP(room[:6], nil)
	if err != nil || string(room[:n]) != "number" || oobn != 0 || flags&0x20 == 0 || from.AddrPort() != fromX {
		t.Fatalf("ReadMsgUDP: %q, %d, flags %#x, from %v, %v: want a datagram cut off", room[:n], oobn, flags, from, err)
	}

	c := dial(t, a, b.At(2000), nil)
	if _, _, err := c.WriteMsgUDP([]byte("to the peer"), nil, nil); err != nil {
		t.Fatal(err)
	}
	receive(t, y, "to the peer", local(c))
}

func TestNetUDPAddrMistakes(t *testing.T) {
	a, _ := pair(t, nil)
	x := listen(t, a, 1000, nil)
	_, err := x.WriteToUDP(nil, nil)
	wantError(t, err, "write", syscall.EDESTADDRREQ)
	_, _, err = x.WriteMsgUDP(nil, nil, nil)
	wantError(t, err, "write", syscall.ENOTCONN)
	wantError(t, x.SetWriteBuffer(-1), "set", syscall.EINVAL)
	if err := x.SetWriteBuffer(1 << 20); err != nil {
		t.Error(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, x.SetWriteBuffer(1), "set", net.ErrClosed)
	_, _, err = x.ReadFromUDP(nil)
	wantError(t, err, "read", net.ErrClosed)
	_, _, _, _, err = x.ReadMsgUDP(nil, nil)
	wantError(t, err, "read", net.ErrClosed)
}

// Linux refuses port 0 as a destination, each way that there is to send.
func TestPortZero(t *testing.T) {
	a, b := pair(t, nil)
	x := listen(t, a, 1000, nil)
	_, err := x.WriteToUDPAddrPort([]byte("x"), b.At(0))
	wantError(t, err, "write", syscall.EINVAL)
	_, err = x.WriteBatch([]udp.Message{{Buf: []byte("x"), Addr: b.At(0)}})
	wantError(t, err, "write", syscall.EINVAL)
	l, err := x.Reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, l.SendTo(b.At(0)), "write", syscall.EINVAL)
}
