package packet

import (
	"github.com/oobnet/oobnet/stack"
)

// SocketInfo describes an open socket.
type SocketInfo struct {
	// Port is nil for an analyser of Device.
	Port   *stack.Port
	Device *stack.Device
	// EtherType, or All; 0 for an analyser.
	EtherType uint16
	// Quota is how many received frames the socket may hold.
	Quota int
	Stats Stats
}

// Sockets lists the open sockets of a stack, oldest first, for statistics. It
// takes the lock under which sockets are opened, for as long as it takes to copy
// the list, and none that packets know of.
func Sockets(s *stack.Stack) []SocketInfo {
	var list []SocketInfo
	for _, o := range s.Taps() {
		if t, ok := o.(*tap); ok {
			for _, c := range t.open() {
				list = append(list, SocketInfo{Port: c.port, Device: c.dev, EtherType: c.proto, Quota: int(c.quota.Load()), Stats: c.Stats()})
			}
		}
	}
	return list
}

// open returns the sockets whose ports are there.
func (t *tap) open() (conns []*Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		if c.attention.Load()&gone == 0 {
			conns = append(conns, c)
		}
	}
	return conns
}

// Totals sums up what the sockets of a stack have counted, those that are closed
// too: these figures never fall, but for Held. open is how many are open. It
// takes the lock that Sockets takes, and allocates nothing but the list of taps.
func Totals(s *stack.Stack) (st Stats, open int) {
	for _, o := range s.Taps() {
		if t, ok := o.(*tap); ok {
			t.addTo(&st, &open)
		}
	}
	return st, open
}

func (t *tap) addTo(st *Stats, open *int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st.add(&t.retired)
	for _, c := range t.conns {
		own := c.Stats()
		st.add(&own)
		st.Held += own.Held
		if c.attention.Load()&gone == 0 {
			*open++
		}
	}
}

// add sums up what was counted; not what is held.
func (s *Stats) add(o *Stats) {
	s.Received += o.Received
	s.Full += o.Full
	s.NoBuffer += o.NoBuffer
	s.Filtered += o.Filtered
	s.Truncated += o.Truncated
	s.Outgoing += o.Outgoing
	s.OutgoingDropped += o.OutgoingDropped
	s.TXTimesLost += o.TXTimesLost
}
