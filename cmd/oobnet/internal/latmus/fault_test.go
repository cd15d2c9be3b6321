package latmus

import (
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
)

// byFault runs with something done to every tenth UDP packet that the near side
// receives; far is put around the far side's link.
func byFault(t *testing.T, a linktest.Action, far func(link.Link) link.Link) *Report {
	leaktest.Check(t)
	o := short()
	o.Duration = 400 * time.Millisecond
	near := false // the links are made in turns, the near side's first
	o.wrap = func(l link.Link) link.Link {
		if near = !near; !near {
			return far(l)
		}
		n := 0 // of packets of ours: one queue, so one caller
		return linktest.NewFault(l, linktest.FaultConfig{Hold: time.Second, RX: linktest.Faults{Rule: func(f []byte, _ uint64) linktest.Action {
			if len(f) < 14+20+8+DefaultSize || f[14+20+8] != frameStart {
				return linktest.Pass
			}
			if n++; n%10 == 5 {
				return a
			}
			return linktest.Pass
		}}})
	}
	return measured(t, o)
}

func TestFaultsAreReported(t *testing.T) {
	for _, c := range []struct {
		action linktest.Action
		count  func(*Report) uint64
	}{
		{linktest.Drop, func(r *Report) uint64 { return r.Lost }},
		// UDP's checksum finds it before ours can.
		{linktest.Corrupt, func(r *Report) uint64 { return r.Lost }},
		{linktest.Duplicate, func(r *Report) uint64 { return r.Duplicates }},
		{linktest.Reorder, func(r *Report) uint64 { return r.Late }},
	} {
		t.Run(c.action.String(), func(t *testing.T) {
			if r := byFault(t, c.action, func(l link.Link) link.Link { return l }); c.count(r) == 0 || r.BadCRC != 0 {
				t.Errorf("lost %d, late %d, duplicates %d, bad CRC %d of %d", r.Lost, r.Late, r.Duplicates, r.BadCRC, r.Received)
			}
		})
	}
}

// TestDamageIsReported: what UDP's checksum cannot find, because the peer sends none,
// the packet's own CRC does.
func TestDamageIsReported(t *testing.T) {
	r := byFault(t, linktest.Corrupt, func(l link.Link) link.Link { return unchecked{l, new(*link.Memory)} })
	if r.BadCRC == 0 || r.Received == 0 {
		t.Errorf("bad CRC %d of %d received, lost %d", r.BadCRC, r.Received, r.Lost)
	}
}

// unchecked is a link whose UDP packets have no checksum, which IPv4 allows (RFC 768).
type unchecked struct {
	link.Link
	memory **link.Memory
}

func (u unchecked) Attach(l link.Layout) (m *link.Memory, err error) {
	m, err = u.Link.Attach(l)
	*u.memory = m
	return m, err
}

func (u unchecked) Queue(i int) link.Queue { return uncheckedQueue{u.Link.Queue(i), u.memory} }

type uncheckedQueue struct {
	link.Queue
	memory **link.Memory
}

func (q uncheckedQueue) Send(frames []link.Frame) int {
	const udpAt, checksumAt = 14 + 20, 14 + 20 + 6
	for _, f := range frames {
		if b := (*q.memory).Bytes(f); len(b) > udpAt+8 && b[udpAt+8] == frameStart {
			b[checksumAt], b[checksumAt+1] = 0, 0
		}
	}
	return q.Queue.Send(frames)
}
