package udp

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// The calls in this file are those of net.UDPConn that take and return
// *net.UDPAddr, for programs and interfaces written for it. Reads allocate the
// address, as net.UDPConn's do; the AddrPort forms allocate nothing.

// ReadFromUDP is ReadFromUDPAddrPort with the sender as a *net.UDPAddr.
func (c *Conn) ReadFromUDP(b []byte) (int, *net.UDPAddr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadMsgUDP is ReadMsgUDPAddrPort with the sender as a *net.UDPAddr.
func (c *Conn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	n, oobn, flags, from, err := c.ReadMsgUDPAddrPort(b, oob)
	if err != nil {
		return 0, 0, 0, nil, err
	}
	return n, oobn, flags, net.UDPAddrFromAddrPort(from), nil
}

// WriteToUDP is WriteToUDPAddrPort for a *net.UDPAddr; EDESTADDRREQ for nil.
func (c *Conn) WriteToUDP(b []byte, addr *net.UDPAddr) (int, error) {
	if addr == nil {
		return 0, c.opError("write", nil, syscall.EDESTADDRREQ)
	}
	return c.WriteToUDPAddrPort(b, addr.AddrPort())
}

// WriteMsgUDP is WriteMsgUDPAddrPort for a *net.UDPAddr; nil: the peer.
func (c *Conn) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	var to netip.AddrPort
	if addr != nil {
		to = addr.AddrPort()
	}
	return c.WriteMsgUDPAddrPort(b, oob, to)
}

// SetWriteBuffer changes nothing: what a socket sends waits in buffers of the
// device, which all its sockets share (stack.DeviceConfig.PoolSize). A negative
// size is EINVAL, and a closed socket says so, as of net.UDPConn.
func (c *Conn) SetWriteBuffer(bytes int) error {
	if bytes < 0 {
		return c.opError("set", nil, fmt.Errorf("write buffer of %d bytes: %w", bytes, syscall.EINVAL))
	}
	if c.attention.Load()&closed != 0 {
		return c.opError("set", nil, net.ErrClosed)
	}
	return nil
}
