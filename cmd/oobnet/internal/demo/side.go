package demo

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Addresses of the demo in memory (RFC 5737, documentation).
var (
	memoryClient = netip.MustParsePrefix("192.0.2.1/24")
	memoryServer = netip.MustParsePrefix("192.0.2.2/24")
)

// side is one stack with its device and its socket.
type side struct {
	addr   netip.Prefix
	link   link.Link
	stack  *stack.Stack
	device *stack.Device
	conn   *udp.Conn
	stop   atomic.Bool // set by close, read by pump
	notes  *notes      // what the NIC told; nil in memory
}

// openSides opens what the options ask for: a client, a server, or both.
func openSides(o *Options) (client, server *side, err error) {
	if !o.onNIC() {
		a, b, err := loopback.Pair(nil)
		if err != nil {
			return nil, nil, err
		}
		if client, err = newSide(a, memoryClient, o); err != nil {
			b.Close()
			return nil, nil, err
		}
		if server, err = newSide(b, memoryServer, o); err != nil {
			client.close()
			return nil, nil, err
		}
		return client, server, nil
	}
	n := new(notes)
	l, err := openNIC(o, n)
	if err != nil {
		return nil, nil, err
	}
	s, err := newSide(l, o.Addr, o)
	if err != nil {
		return nil, nil, err
	}
	s.notes = n
	if o.Server() {
		return nil, s, nil
	}
	return s, nil, nil
}

// newSide attaches the link, which is its own from then on, errors included.
func newSide(l link.Link, addr netip.Prefix, o *Options) (*side, error) {
	st, err := stack.New(nil)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &side{addr: addr, link: l, stack: st}
	cfg := &stack.DeviceConfig{Poll: o.Poll, Priority: o.Priority}
	if o.CPU >= 0 {
		cfg.RXCPUs, cfg.TXCPUs = []int{o.CPU}, []int{o.CPU}
	}
	if s.device, err = st.Attach(l, cfg); err != nil {
		st.Close()
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

// enable makes the port, when the wire is there: from then on the stack answers to
// its address.
func (s *side) enable(ctx context.Context, o *Options) error {
	ctx, cancel := context.WithTimeout(ctx, stack.CarrierTime)
	defer cancel()
	if err := s.device.WaitUp(ctx); err != nil {
		return err
	}
	_, err := s.device.EnablePort(&stack.PortConfig{VLAN: o.VLAN, Addrs: []netip.Prefix{s.addr}})
	return err
}

// pumpWait bounds a wait of pump, so that it sees its end.
const pumpWait = 20 * time.Millisecond

// pump is the thread of a device in manual mode.
func (s *side) pump() {
	for !s.stop.Load() {
		n, err := s.device.Poll(64)
		if err == nil && n == 0 {
			err = s.device.Wait(pumpWait)
		}
		if err != nil && !errors.Is(err, syscall.ENETDOWN) {
			return
		}
	}
}

func (s *side) close() error {
	s.stop.Store(true)
	return s.stack.Close()
}
