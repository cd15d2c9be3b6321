package afxdp

import (
	"fmt"
	"net"

	"github.com/oobnet/oobnet/filter"
)

// SetFilter implements link.Filterer: it gives the filter to the kernel, and
// then puts it on the interface with one exchange. A refusal by the kernel's
// verifier is a *filter.VerifierError; a filter that XDP cannot run wraps
// errors.ErrUnsupported. In both cases, and any other, the former goes on.
func (l *Link) SetFilter(f filter.Filter) error {
	// Loading can take the verifier a second: only other filters and Close wait.
	l.changing.Lock()
	defer l.changing.Unlock()
	if l.isClosed() {
		return l.fail(fmt.Errorf("set a filter: %w", net.ErrClosed))
	}
	var loaded *kernelFilter
	if f != nil {
		var err error
		if loaded, err = loadFilter(f, l.gate.maps); err != nil {
			return l.fail(fmt.Errorf("set a filter: %w", explainPermission(err)))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.gate.setFilter(loaded); err != nil {
		loaded.close()
		return l.fail(fmt.Errorf("set a filter: %w", err))
	}
	return nil
}

func (l *Link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Divert implements link.Filterer. Off, a program of two instructions passes
// every frame to the kernel, uncounted; the claims and the filter stay, and can
// be changed. Frames that were accepted before stay in the sockets.
func (l *Link) Divert(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.fail(fmt.Errorf("divert: %w", net.ErrClosed))
	}
	if err := l.gate.divert(on); err != nil {
		return l.fail(fmt.Errorf("divert: %w", err))
	}
	return nil
}

// FilterStats implements link.Filterer. Verdicts[Accept] and VLANAccepted count
// frames handed to this link's sockets, which may still lose them (see
// link.QueueStats); what was accepted on a queue that has no socket is the
// kernel's, and counts as Skip. The claims count as a filter that accepts and
// skips. A redirect counts as Accept if it is to the sockets; that of a program
// which has ways to other devices as well can be told with CAP_PERFMON only, and
// counts as Redirect without. What becomes of the frames sent back and redirected
// is the driver's to count (`ethtool -S`): TXErrors and RedirectErrors are what it
// has of its own for that, and 0 where it has nothing. veth counts failed
// redirects as drops of its queue, together with others, and in generic mode
// nobody counts any.
func (l *Link) FilterStats() filter.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.filtered
	}
	return l.filterStats()
}

func (l *Link) filterStats() filter.Stats {
	s := l.gate.stats()
	s.TXErrors, s.RedirectErrors = l.errors.since(l.dev)
	return s
}

// FilterMap implements link.Filterer. The map works until another filter is
// set or the link closes; then its calls return net.ErrClosed. The map of
// sockets is the link's own.
func (l *Link) FilterMap(name string) (filter.Map, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, l.fail(fmt.Errorf("map %q: %w", name, net.ErrClosed))
	}
	if l.gate.filter == nil {
		return nil, l.fail(fmt.Errorf("no filter is set: %q: %w", name, filter.ErrNoMap))
	}
	m, err := l.gate.filter.lookUp(name)
	if err != nil {
		return nil, l.fail(err)
	}
	return m, nil
}
