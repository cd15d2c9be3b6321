package serve

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

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
	// quiet is a port that gets no answer; 0: none. An echo that answered
	// another echo would do so for ever.
	quiet uint16
}

// startServices opens the sockets, on all addresses.
func startServices(s *stack.Stack, c *Services) (services, error) {
	var all services
	for _, one := range []struct {
		name    string
		port    uint16
		quiet   uint16
		handler func(*service) func(udp.Datagram)
	}{
		{"echo", c.Echo, c.Echo, func(s *service) func(udp.Datagram) { return s.answer }},
		{"discard", c.Discard, 0, func(*service) func(udp.Datagram) { return discard }},
		// Both ends of latmus have the same port.
		{"latmus", c.Latmus, 0, func(s *service) func(udp.Datagram) { return s.answer }},
	} {
		if one.port == 0 {
			continue
		}
		svc := &service{quiet: one.quiet}
		// A handler must not wait for buffers: it would hold up its device.
		cfg := &udp.Config{Handler: one.handler(svc), NoWait: true}
		conn, err := udp.Listen(s, netip.AddrPortFrom(netip.IPv4Unspecified(), one.port), cfg)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("service %s: %w", one.name, err), all.close())
		}
		svc.conn.Store(conn)
		all = append(all, svc)
	}
	return all, nil
}

func discard(d udp.Datagram) { d.Release() }

// answer sends back what comes.
func (s *service) answer(d udp.Datagram) {
	if conn, from := s.conn.Load(), d.From(); conn != nil && (s.quiet == 0 || from.Port() != s.quiet) {
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
