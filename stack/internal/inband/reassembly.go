package inband

import (
	"container/list"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// What a fragment and a datagram cost beside their bytes: slice headers, the
// allocator's rounding, map and list entries. Estimated from above.
const (
	fragmentOverhead = 96
	assemblyOverhead = 384
)

// reassembler puts fragments together: RFC 791, 3.2; overlaps are treated as
// RFC 5722 has it, the datagram is dropped whole.
type reassembler struct {
	clock   tcpip.Clock
	limit   int // bytes
	timeout time.Duration
	expired func(port uint32, first []byte)

	mu    sync.Mutex
	byKey map[fragmentKey]*assembly
	order list.List // of *assembly, oldest first
	used  int       // bytes, overhead included
	timer tcpip.Timer

	// Written by the goroutines that feed the stage and by the timer; Stats reads them.
	malformed, overlapping, evicted, timeouts, reassembled atomic.Uint64
}

type fragmentKey struct {
	port     uint32
	src, dst [4]byte
	id       uint16
	protocol uint8
}

// assembly is a datagram on the way.
type assembly struct {
	key    fragmentKey
	born   tcpip.MonotonicTime
	place  *list.Element
	header []byte // of fragment zero, when it has come
	parts  []part // by offset, disjoint
	have   int    // bytes in parts
	total  int    // bytes, 0: the last fragment has not come
	cost   int
}

type part struct {
	off  int
	data []byte
}

func (p part) end() int { return p.off + len(p.data) }

func newReassembler(clock tcpip.Clock, limit int, timeout time.Duration, expired func(uint32, []byte)) *reassembler {
	return &reassembler{
		clock: clock, limit: limit, timeout: timeout, expired: expired,
		byKey: make(map[fragmentKey]*assembly),
	}
}

// add takes a fragment, which it copies, and returns the whole packet when it
// was the last one missing. h has been validated.
func (r *reassembler) add(port uint32, h header.IPv4, payload []byte) []byte {
	// A later fragment's header says nothing of how long the first one's is:
	// the sum is checked again when the datagram is whole.
	off := int(h.FragmentOffset())
	if len(payload) == 0 || (h.More() && len(payload)%8 != 0) || off+len(payload)+header.IPv4MinimumSize > math.MaxUint16 {
		r.malformed.Add(1)
		return nil
	}
	key := fragmentKey{port: port, src: h.SourceAddress().As4(), dst: h.DestinationAddress().As4(), id: h.ID(), protocol: h.Protocol()}
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.byKey[key]
	if a == nil {
		a = r.begin(key)
	}
	fits, fresh := a.insert(off, payload, h.More())
	if !fits {
		r.overlapping.Add(1)
		r.drop(a)
		return nil
	}
	if !fresh {
		return nil
	}
	if off == 0 {
		a.header = slices.Clone(h)
	}
	cost := len(payload) + fragmentOverhead
	a.cost += cost
	r.used += cost
	if a.total != 0 && a.have == a.total {
		r.drop(a)
		return r.join(a)
	}
	r.evict()
	return nil
}

func (r *reassembler) begin(key fragmentKey) *assembly {
	a := &assembly{key: key, born: r.clock.NowMonotonic(), cost: assemblyOverhead}
	a.place = r.order.PushBack(a)
	r.byKey[key] = a
	r.used += a.cost
	if r.order.Len() == 1 {
		r.schedule()
	}
	return a
}

// insert files a fragment. fits is false if it contradicts what is there;
// fresh is false if it is there already.
func (a *assembly) insert(off int, payload []byte, more bool) (fits, fresh bool) {
	end := off + len(payload)
	if a.total != 0 && (end > a.total || (!more && end != a.total)) {
		return false, false
	}
	i, found := slices.BinarySearchFunc(a.parts, off, func(p part, off int) int { return p.off - off })
	if found && len(a.parts[i].data) == len(payload) {
		return true, false // a duplicate, which the network may make
	}
	if found || (i > 0 && a.parts[i-1].end() > off) || (i < len(a.parts) && a.parts[i].off < end) {
		return false, false
	}
	if !more {
		if len(a.parts) > 0 && a.parts[len(a.parts)-1].end() > end {
			return false, false
		}
		a.total = end
	}
	a.parts = slices.Insert(a.parts, i, part{off, slices.Clone(payload)})
	a.have += len(payload)
	return true, true
}

// join makes one packet of all parts, with the header of the first.
func (r *reassembler) join(a *assembly) []byte {
	size := len(a.header) + a.total
	if size > math.MaxUint16 {
		r.malformed.Add(1)
		return nil
	}
	packet := make([]byte, 0, size)
	packet = append(packet, a.header...)
	for _, p := range a.parts {
		packet = append(packet, p.data...)
	}
	h := header.IPv4(packet[:len(a.header)])
	h.SetTotalLength(uint16(size))
	h.SetFlagsFragmentOffset(0, 0)
	h.SetChecksum(0)
	h.SetChecksum(^h.CalculateChecksum())
	r.reassembled.Add(1)
	return packet
}

// drop forgets a datagram.
func (r *reassembler) drop(a *assembly) {
	delete(r.byKey, a.key)
	r.order.Remove(a.place)
	r.used -= a.cost
}

// evict keeps to the bound. The newest datagram may go as well, if it is alone.
func (r *reassembler) evict() {
	for r.used > r.limit {
		r.evicted.Add(1)
		r.drop(r.order.Front().Value.(*assembly))
	}
}

// schedule sets the timer for the oldest datagram. r.mu is held.
func (r *reassembler) schedule() {
	oldest := r.order.Front()
	if oldest == nil {
		return
	}
	age := r.clock.NowMonotonic().Sub(oldest.Value.(*assembly).born)
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = r.clock.AfterFunc(max(r.timeout-age, 0), r.expire)
}

// expire runs on the timer's goroutine. The senders are told without the lock.
func (r *reassembler) expire() {
	for _, a := range r.takeExpired() {
		if a.header != nil {
			r.expired(a.key.port, append(a.header, a.parts[0].data...))
		}
	}
}

func (r *reassembler) takeExpired() (old []*assembly) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.NowMonotonic()
	for r.order.Len() > 0 {
		a := r.order.Front().Value.(*assembly)
		if now.Sub(a.born) < r.timeout {
			break
		}
		r.timeouts.Add(1)
		r.drop(a)
		old = append(old, a)
	}
	r.schedule()
	return old
}

// dropPort forgets the datagrams of a port that goes.
func (r *reassembler) dropPort(port uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.byKey {
		if a.key.port == port {
			r.drop(a)
		}
	}
}

// clear forgets everything and stops the timer.
func (r *reassembler) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.byKey {
		r.drop(a)
	}
	if r.timer != nil {
		r.timer.Stop()
	}
}

// memory returns what incomplete datagrams occupy, bytes.
func (r *reassembler) memory() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used
}
