package loopback

import "sync/atomic"

// cacheLine keeps what two cores write apart, bytes: 64 on amd64 with pairs of
// lines fetched together, 128 on some arm64.
const cacheLine = 128

// ring is a queue of values between one producer and one consumer. An index
// counts without end and is masked on use; it wraps at 2^32, which a power of
// two divides.
//
// Each side remembers how far it last saw the other, and looks again only when
// that is not enough: most batches touch one foreign cache line, the slots'.
type ring[T any] struct {
	slots []T
	mask  uint32
	_     [cacheLine]byte
	prod  producer
	_     [cacheLine]byte
	cons  consumer
	_     [cacheLine]byte
}

type producer struct {
	head atomic.Uint32 // written by the producer; the consumer reads it
	seen uint32        // the consumer's tail as the producer last saw it
}

type consumer struct {
	tail atomic.Uint32 // written by the consumer; the producer reads it
	seen uint32        // the producer's head as the consumer last saw it
}

// init makes room for size values, a power of two.
func (r *ring[T]) init(size int) {
	r.slots = make([]T, size)
	r.mask = uint32(size - 1)
}

// room returns the producer's index and how many values it may put from there,
// looking at the consumer only if fewer than want are known.
func (r *ring[T]) room(want int) (head uint32, n int) {
	head = r.prod.head.Load()
	n = len(r.slots) - int(head-r.prod.seen)
	if n < want {
		r.prod.seen = r.cons.tail.Load()
		n = len(r.slots) - int(head-r.prod.seen)
	}
	return head, n
}

// publish hands over all values before head.
func (r *ring[T]) publish(head uint32) { r.prod.head.Store(head) }

// ready returns the consumer's index and how many values it may take from
// there, looking at the producer only if fewer than want are known.
func (r *ring[T]) ready(want int) (tail uint32, n int) {
	tail = r.cons.tail.Load()
	n = int(r.cons.seen - tail)
	if n < want {
		r.cons.seen = r.prod.head.Load()
		n = int(r.cons.seen - tail)
	}
	return tail, n
}

// release gives the slots of all values before tail back to the producer.
func (r *ring[T]) release(tail uint32) { r.cons.tail.Store(tail) }

// empty is for the consumer.
func (r *ring[T]) empty() bool { return r.cons.tail.Load() == r.prod.head.Load() }

// put copies as many values as there is room for.
func (r *ring[T]) put(values []T) int {
	head, n := r.room(len(values))
	n = min(n, len(values))
	if n == 0 {
		return 0
	}
	at := int(head & r.mask)
	first := copy(r.slots[at:], values[:n])
	copy(r.slots, values[first:n])
	r.publish(head + uint32(n))
	return n
}

// take copies out as many values as there are and fit.
func (r *ring[T]) take(values []T) int {
	tail, n := r.ready(len(values))
	n = min(n, len(values))
	if n == 0 {
		return 0
	}
	at := int(tail & r.mask)
	first := copy(values[:n], r.slots[at:])
	copy(values[first:n], r.slots)
	r.release(tail + uint32(n))
	return n
}
