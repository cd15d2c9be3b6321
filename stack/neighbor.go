package stack

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/oobnet/oobnet/arp"
)

// RemoveNeighbor forgets what is known of a peer, permanent or learned: it goes
// from the front cache, with what it is the next hop of, and from the in-band
// stage. Whoever sends there next has it asked for by ARP. Errors wrap
// EAFNOSUPPORT (not IPv4), ESRCH (it is not known), net.ErrClosed.
func (s *Stack) RemoveNeighbor(peer netip.Addr) error {
	fail := func(err error) error { return fmt.Errorf("stack: remove neighbour %v: %w", peer, err) }
	if !peer.Is4() {
		return fail(fmt.Errorf("%w: want IPv4", syscall.EAFNOSUPPORT))
	}
	if s.isClosed() {
		return fail(errStackClosed)
	}
	known := false
	// First the in-band stage, which a socket that misses would ask.
	for _, p := range s.Ports() {
		err := s.inBand.RemoveNeighbor(p.id, peer)
		if err == nil {
			known = true
		} else if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENODEV) {
			return fail(err)
		}
	}
	s.front.Revise(func(e arp.Spec) (arp.Spec, bool) {
		mine := e.Kind == arp.Unicast && (e.Dst == peer || e.NextHop == peer)
		known = known || mine
		return e, !mine
	})
	if !known {
		return fail(fmt.Errorf("it is not known: %w: see the front cache", syscall.ESRCH))
	}
	return nil
}
