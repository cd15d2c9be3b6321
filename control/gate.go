package control

import (
	"net"
	"sync"
)

// gate is the listener that the HTTP server accepts from: so many connections
// at a time, each with what the kernel says of its peer.
type gate struct {
	*socket
	room   chan struct{} // a token a connection
	closed chan struct{}
	once   sync.Once
}

func newGate(s *socket) *gate {
	return &gate{socket: s, room: make(chan struct{}, maxConns), closed: make(chan struct{})}
}

// Accept implements net.Listener. Who may not be here is accepted all the
// same, and told so.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case g.room <- struct{}{}:
	case <-g.closed:
		return nil, net.ErrClosed
	}
	c, err := g.UnixListener.Accept()
	if err != nil {
		<-g.room
		return nil, err
	}
	return &guest{Conn: c, gate: g, refused: g.admits(c)}, nil
}

// Close implements net.Listener.
func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.UnixListener.Close()
}

// guest is a connection that has a place.
type guest struct {
	net.Conn
	gate    *gate
	refused error // nil: it may manage
	once    sync.Once
}

// Close implements net.Conn.
func (c *guest) Close() error {
	c.once.Do(func() { <-c.gate.room })
	return c.Conn.Close()
}
