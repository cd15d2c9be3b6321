//go:build !linux

package control

import (
	"net"

	"github.com/oobnet/oobnet/link"
)

// socket is a listening Unix socket: on Linux, where the kernel says who
// connects.
type socket struct {
	*net.UnixListener
	path string
}

func listenSocket(string, int) (*socket, error) { return nil, link.ErrNotSupported }

func (*socket) remove() error { return nil }

func (*socket) admits(net.Conn) error { return link.ErrNotSupported }
