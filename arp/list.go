package arp

// record is what the control side knows of one destination. It outlives the
// entries that follow each other for it. Guarded by the cache's mutex.
type record struct {
	entry *Entry
	// scope of the destination, as Spec has it.
	scope uint32
	// hop is the neighbour; nil for multicast and broadcast.
	hop *neighbor
	// used is when the entry was last seen used, clock ns; never: not yet.
	used int64
	// link places the record in its neighbour's list, and in the cache's list
	// of what may be evicted.
	link [2]struct{ prev, next *record }
}

// never is before all times of the cache's clock, whose zero is its creation,
// and far enough from the least int64 that a difference does not overflow.
const never = -1 << 62

// The lists that a record can be in.
const (
	byHop = iota // all records of one neighbour
	byUse        // all that may be evicted, the last used first
)

// list is a doubly linked list through one of the records' links.
type list struct {
	which      int
	head, tail *record
	n          int
}

func (l *list) pushFront(r *record) {
	r.link[l.which].prev, r.link[l.which].next = nil, l.head
	if l.head != nil {
		l.head.link[l.which].prev = r
	} else {
		l.tail = r
	}
	l.head = r
	l.n++
}

// remove takes out a record that is in the list.
func (l *list) remove(r *record) {
	k := &r.link[l.which]
	if k.prev != nil {
		k.prev.link[l.which].next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.link[l.which].prev = k.prev
	} else {
		l.tail = k.prev
	}
	k.prev, k.next = nil, nil
	l.n--
}

func (l *list) moveToFront(r *record) {
	if l.head != r {
		l.remove(r)
		l.pushFront(r)
	}
}

// each calls f for every record; f may remove the one that it is given.
func (l *list) each(f func(*record)) {
	for r := l.head; r != nil; {
		next := r.link[l.which].next
		f(r)
		r = next
	}
}
