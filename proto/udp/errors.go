package udp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// opError puts an error into the form that Go programs expect.
func (c *Conn) opError(op string, to net.Addr, err error) error {
	var nested *net.OpError
	if errors.As(err, &nested) {
		return err
	}
	if to == nil && c.remote.IsValid() {
		to = c.remoteAddr
	}
	if errno, ok := err.(syscall.Errno); ok { //nolint:errorlint // a bare number; what wraps one has its words already
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "udp", Source: c.localAddr, Addr: to, Err: err}
}

// listenError is what Listen and Dial return.
func listenError(op string, local, remote netip.AddrPort, err error) error {
	e := &net.OpError{Op: op, Net: "udp", Err: err}
	if local.IsValid() {
		e.Source = net.UDPAddrFromAddrPort(local)
	}
	if remote.IsValid() {
		e.Addr = net.UDPAddrFromAddrPort(remote)
	} else {
		e.Addr, e.Source = e.Source, nil
	}
	return e
}
