package packet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/oobnet/oobnet/stack"
)

// opError puts an error into the form that Go programs expect.
func (c *Conn) opError(op string, to net.Addr, err error) error {
	var nested *net.OpError
	if errors.As(err, &nested) {
		return err
	}
	if errno, ok := err.(syscall.Errno); ok { //nolint:errorlint // a bare number; what wraps one has its words already
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: to, Err: err}
}

// listenError is what Listen and ListenDevice return.
func listenError(at *Addr, err error) error {
	e := &net.OpError{Op: "listen", Net: network, Err: err}
	if at != nil {
		e.Addr = at
	}
	return e
}

// errHandled is for a read on a socket whose frames go to a handler.
var errHandled = fmt.Errorf("the socket has a handler: %w", syscall.EINVAL)

// errEnded is for a lease that was used before.
var errEnded = &net.OpError{Op: "write", Net: network, Err: os.ErrInvalid}

// errClosedStack is for a socket that comes after the end of its stack.
var errClosedStack = fmt.Errorf("the stack is closed, make another by stack.New: %w", net.ErrClosed)

// disabledError is for sockets of a port that is no more. A kernel's say
// ENETDOWN; the loops of Go programs end at net.ErrClosed.
func disabledError(p *stack.Port) error {
	return fmt.Errorf("port %s is disabled, enable it and open another socket: %w (%w)", p.Name(), net.ErrClosed, syscall.ENETDOWN)
}

// deviceError is for analysers of a device that is no more.
func deviceError(d *stack.Device) error {
	return fmt.Errorf("device %s is closed, attach its link anew: %w (%w)", d.Name(), net.ErrClosed, syscall.ENETDOWN)
}

// over says by how much something is too long.
func over(what string, size, most int) error {
	return fmt.Errorf("%s of %d bytes, at most %d fit: %w", what, size, most, syscall.EMSGSIZE)
}
