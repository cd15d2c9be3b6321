package latmus

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// side is one stack with its device.
type side struct {
	addr   netip.Prefix
	stack  *stack.Stack
	device *stack.Device
	manual bool // the device has no threads
}

// newSide attaches the link, which is its own from then on, errors included. cpu
// is for the threads of the device.
func newSide(ctx context.Context, l link.Link, addr netip.Prefix, cpu int, o *Options) (*side, error) {
	if o.wrap != nil {
		l = o.wrap(l)
	}
	st, err := stack.New(nil)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	cfg := &stack.DeviceConfig{Poll: o.Poll, Priority: o.Priority, Prefault: true}
	if o.Poll == link.Manual {
		cfg.Priority = 0 // for threads
	} else if cpu >= 0 {
		cfg.RXCPUs, cfg.TXCPUs = []int{cpu}, []int{cpu}
	}
	s := &side{addr: addr, stack: st, manual: o.Poll == link.Manual}
	if s.device, err = st.Attach(l, cfg); err != nil {
		return nil, errors.Join(err, st.Close(), l.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, stack.CarrierTime)
	defer cancel()
	if err = s.device.WaitUp(ctx); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if _, err = s.device.EnablePort(&stack.PortConfig{VLAN: o.VLAN, Addrs: []netip.Prefix{addr}}); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

func (s *side) listen(o *Options, cfg *udp.Config) (*udp.Conn, error) {
	return udp.Listen(s.stack, netip.AddrPortFrom(s.addr.Addr(), o.Port), cfg)
}

// solicit finds the peer for good, so that no packet of the run goes in-band.
func (s *side) solicit(ctx context.Context, peer netip.Addr) error {
	stop := s.move()
	err := s.stack.Solicit(ctx, peer, arp.Permanent, arp.MayRoute)
	if err = errors.Join(err, stop()); err != nil {
		return fmt.Errorf("%w: is the peer running, and the wire the right one?", err)
	}
	return nil
}

// moveEvery is how long a device in manual mode waits at most before a run.
const moveEvery = 5 * time.Millisecond

// move moves the device's packets until stop is called: in manual mode nobody does
// before the run.
func (s *side) move() (stop func() error) {
	if !s.manual {
		return func() error { return nil }
	}
	end, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-end:
				ended <- nil
				return
			default:
			}
			if _, err := s.device.Poll(stack.MaxBatch); err != nil {
				ended <- err
				return
			}
			if err := s.device.Wait(moveEvery); err != nil {
				ended <- err
				return
			}
		}
	}()
	return func() error {
		close(end)
		return <-ended
	}
}

// refused is what the machine refused to the device's threads.
func (s *side) refused() (out []string) {
	for _, t := range s.device.Threads() {
		if t.Refused != nil {
			out = append(out, t.Name+": "+t.Refused.Error())
		}
	}
	return out
}

func (s *side) close() error { return s.stack.Close() }

func (s *side) addrPort(port uint16) netip.AddrPort { return netip.AddrPortFrom(s.addr.Addr(), port) }
