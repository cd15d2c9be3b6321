package inband

import (
	"fmt"
	"net"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// errClosed is what every method returns after Close.
func errClosed(op string) error { return fmt.Errorf("inband: %s: %w", op, net.ErrClosed) }

// wrap puts the operation and its object before an error number.
func wrap(op string, what any, errno syscall.Errno) error {
	return fmt.Errorf("inband: %s %v: %w", op, what, errno)
}

// errnoOf translates a gVisor error. Those that cannot come from the calls that
// this package makes become EINVAL.
func errnoOf(err tcpip.Error) syscall.Errno {
	switch err.(type) {
	case *tcpip.ErrNetworkUnreachable:
		return syscall.ENETUNREACH
	case *tcpip.ErrHostUnreachable, *tcpip.ErrAborted:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrMessageTooLong:
		return syscall.EMSGSIZE
	case *tcpip.ErrNoBufferSpace:
		return syscall.ENOBUFS
	case *tcpip.ErrClosedForSend, *tcpip.ErrInvalidEndpointState:
		return syscall.ENETDOWN
	case *tcpip.ErrUnknownNICID:
		return syscall.ENODEV
	case *tcpip.ErrDuplicateAddress, *tcpip.ErrDuplicateNICID:
		return syscall.EEXIST
	case *tcpip.ErrBadLocalAddress, *tcpip.ErrBadAddress:
		return syscall.EADDRNOTAVAIL
	case *tcpip.ErrPortInUse:
		return syscall.EADDRINUSE
	}
	return syscall.EINVAL
}
