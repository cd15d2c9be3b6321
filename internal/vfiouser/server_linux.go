package vfiouser

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// maxVectors is what MSI-X can have: PCI 3.0, 6.8.2.
	maxVectors = 2048
	// handover is how long a client that comes may wait for the one before to be
	// gone: a monitor that is started anew connects while its end is read.
	handover = 200 * time.Millisecond
)

// Server serves a device on a socket. Its methods are for any goroutine.
type Server struct {
	dev     Device
	regions []Region
	memory  Memory
	irqs    interrupts
	l       *net.UnixListener

	patience time.Duration // Config.Patience

	mu     sync.Mutex
	client *net.UnixConn // nil: none
	gone   chan struct{} // closed when the last session has ended
	closed bool
}

// Listen makes the socket at a path, which must not exist, and asks the device
// what it has. A nil cfg means the defaults. Serve does the rest.
func Listen(path string, dev Device, cfg *Config) (*Server, error) {
	info := dev.Info()
	if len(info.Regions) > Regions {
		return nil, fmt.Errorf("vfiouser: %d regions, a PCI device has at most %d: %w", len(info.Regions), Regions, syscall.EINVAL)
	}
	for irq, n := range info.Vectors {
		if irq < 0 || irq >= irqTypes || n < 0 || n > maxVectors {
			return nil, fmt.Errorf("vfiouser: %d interrupts of type %d: %w", n, irq, syscall.EINVAL)
		}
	}
	s := &Server{dev: dev, regions: info.Regions, memory: Memory{max: 65535}, gone: make(chan struct{}), patience: 10 * time.Second}
	close(s.gone)
	if cfg != nil && cfg.MaxMappings > 0 {
		s.memory.max = cfg.MaxMappings
	}
	if cfg != nil && cfg.Patience > 0 {
		s.patience = cfg.Patience
	}
	s.irqs.init(info.Vectors)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("vfiouser: %w", err)
	}
	s.l = l
	return s, nil
}

// Serve takes clients, one at a time, until Close, and then returns an error
// that wraps net.ErrClosed. Who comes while there is a client is turned away, if
// that does not leave at once. A client that breaks the protocol loses its
// connection, no more.
func (s *Server) Serve() error {
	for {
		c, err := s.l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("vfiouser: serve: %w", err)
		}
		if err != nil {
			// Out of descriptors, or the client is gone already.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if !s.begin(c) {
			c.Close()
		}
	}
}

// begin gives a client its session, once the one before has ended.
func (s *Server) begin(c *net.UnixConn) bool {
	s.mu.Lock()
	before := s.gone
	s.mu.Unlock()
	select {
	case <-before:
	case <-time.After(handover):
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.client != nil {
		return false
	}
	gone := make(chan struct{})
	s.client, s.gone = c, gone
	go func() {
		defer close(gone)
		defer s.end(c)
		e := session{s: s}
		// What ended it is the client's affair: it sees its connection closed.
		_ = e.run(newConn(c, s.patience))
	}()
	return true
}

// end forgets a client.
func (s *Server) end(c *net.UnixConn) {
	s.irqs.clear()
	// munmap of a range of our own cannot fail.
	_ = s.memory.clear()
	c.Close()
	s.mu.Lock()
	s.client = nil
	s.mu.Unlock()
}

// Close ends the client's connection and Serve, removes the socket, and waits
// for the device's methods to return: a device must not call it. A second Close
// does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	closed, gone := s.closed, s.gone
	s.closed = true
	if s.client != nil {
		s.client.Close()
	}
	s.mu.Unlock()
	var err error
	if !closed {
		err = s.l.Close()
	}
	<-gone
	return err
}

// Memory is the guest's memory; it is empty while there is no client.
func (s *Server) Memory() *Memory { return &s.memory }

// Interrupt raises an interrupt. MSI and MSI-X: a masked one is remembered and
// comes when it is unmasked; one that no client listens for is lost. INTx is
// asserted until Lower: the guest gets it, it is masked until the guest says that
// it has served it, and if it is asserted then, it comes again. EINVAL: the
// device has no such interrupt.
func (s *Server) Interrupt(irq IRQ, vector int) error { return s.irqs.raise(irq, vector) }

// Lower takes an INTx back, whose cause is gone, or another interrupt that is
// masked and remembered.
func (s *Server) Lower(irq IRQ, vector int) { s.irqs.lower(irq, vector) }

// region is the one with an index; one that the device has not is empty.
func (s *Server) region(index uint32) *Region {
	if uint64(index) >= uint64(len(s.regions)) {
		return &Region{}
	}
	return &s.regions[index]
}
