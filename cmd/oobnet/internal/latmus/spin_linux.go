package latmus

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// spinSocket is a connected socket of the kernel's that never sleeps. Its calls
// are ordinary system calls: raw ones in a loop would keep the collector from
// stopping the world.
type spinSocket struct{ fd int }

// newSpinSocket takes the descriptor of a connection that stays open meanwhile, and
// connects it to peer, if that is not nil.
func newSpinSocket(c *net.UDPConn, peer net.Addr) (*spinSocket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &spinSocket{}
	var connect error
	err = raw.Control(func(fd uintptr) {
		s.fd = int(fd)
		if u, ok := peer.(*net.UDPAddr); ok {
			a := u.AddrPort()
			connect = unix.Connect(s.fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()})
		}
	})
	if err != nil {
		return nil, err
	}
	if connect != nil {
		return nil, fmt.Errorf("connect to %v: %w", peer, connect)
	}
	return s, nil
}

// read returns 0 when there is nothing.
func (s *spinSocket) read(b []byte) int {
	n, err := unix.Read(s.fd, b)
	if err != nil {
		return 0 // nothing there, or an ICMP error of an earlier send
	}
	return n
}

// write reports whether the kernel took it.
func (s *spinSocket) write(b []byte) bool {
	_, err := unix.Write(s.fd, b)
	return err == nil
}
