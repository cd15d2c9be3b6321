package serve

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/latmus"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// services are the sockets of a process that answers by itself, on the threads
// that receive.
type services []*service

// service is one of them.
type service struct {
	// conn is set when the socket is open, and read by the threads that receive.
	conn atomic.Pointer[udp.Conn]
	// asks says whether a datagram gets an answer.
	asks func(payload []byte, from uint16) bool
}

// startServices opens the sockets, on all addresses.
func startServices(s *stack.Stack, c *Services) (services, error) {
	var all services
	for _, one := range []struct {
		name string
		port uint16
		asks func([]byte, uint16) bool
	}{
		{"echo", c.Echo, func(_ []byte, from uint16) bool { return c.mayAnswer(from) }},
		{"discard", c.Discard, func([]byte, uint16) bool { return false }},
		{"latmus", c.Latmus, func(b []byte, from uint16) bool { return c.mayAnswer(from) && latmus.Asks(b, from, c.Latmus) }},
	} {
		if one.port == 0 {
			continue
		}
		svc := &service{asks: one.asks}
		// A handler must not wait for buffers: it would hold up its device.
		cfg := &udp.Config{Handler: svc.answer, NoWait: true}
		conn, err := udp.Listen(s, netip.AddrPortFrom(netip.IPv4Unspecified(), one.port), cfg)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("service %s: %w", one.name, err), all.close())
		}
		svc.conn.Store(conn)
		all = append(all, svc)
	}
	return all, nil
}

// mayAnswer says whether who asks from a port may get an answer: it is no service
// itself, neither one of these on another host, nor one of old. Two that answer
// each other do so for ever, and one datagram with a forged source is enough.
func (c *Services) mayAnswer(from uint16) bool {
	return from >= latmus.UserPorts && from != c.Echo && from != c.Discard && from != c.Latmus
}

// answer sends back what asks, and takes the rest.
func (s *service) answer(d udp.Datagram) {
	if conn, from := s.conn.Load(), d.From(); conn != nil && s.asks(d.Payload(), from.Port()) {
		// What cannot be sent back is lost, as on any wire.
		_, _ = conn.WriteToUDPAddrPort(d.Payload(), from)
	}
	d.Release()
}

func (s services) close() (err error) {
	for _, one := range s {
		err = errors.Join(err, one.conn.Load().Close())
	}
	return err
}
