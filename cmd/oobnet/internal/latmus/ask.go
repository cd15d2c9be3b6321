package latmus

import (
	"errors"
	"net"

	"github.com/oobnet/oobnet/proto/udp"
)

// UserPorts is the first port at which no service of old may sit that answers
// whatever comes: echo, chargen, daytime, DNS and others are below (RFC 6335,
// section 6: system ports).
const UserPorts = 1024

// Asks says whether a datagram is a question that an echo at the port own may
// answer: a packet of latmus that comes from no other service. One datagram with a
// forged source would go to and fro between two that answer each other, for ever.
func Asks(payload []byte, from, own uint16) bool {
	if from == own || from < UserPorts {
		return false
	}
	_, ok := sequence(payload)
	return ok
}

// ask opens the socket of who asks an echo: at any port but the echo's.
func (s *side) ask(o *Options, cfg *udp.Config) (*udp.Conn, error) {
	return another(o.Port, func() (*udp.Conn, error) { return udp.Listen(s.stack, s.addrPort(0), cfg) })
}

// another opens a socket until it has another port than the one to avoid.
func another(avoid uint16, open func() (*udp.Conn, error)) (*udp.Conn, error) {
	c, err := open()
	if err != nil || c.LocalAddr().(*net.UDPAddr).Port != int(avoid) {
		return c, err
	}
	// It is held until there is another, which cannot be the same then.
	other, err := another(avoid, open)
	if err = errors.Join(err, c.Close()); err != nil && other != nil {
		return nil, errors.Join(err, other.Close())
	}
	return other, err
}
