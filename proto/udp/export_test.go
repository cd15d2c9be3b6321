package udp

import (
	"time"

	"github.com/oobnet/oobnet/stack"
)

// TCI is the VLAN tag that a datagram came with, 0 for what is on the heap.
func TCI(d *Datagram) uint16 {
	if d.r.dev == nil {
		return 0
	}
	return d.r.dev.Packet(d.r.index).TCI
}

// Batching makes the socket believe that a WriteBatch is under way until end.
func Batching(c *Conn) (end func()) {
	c.batching.Store(true)
	return func() { c.batching.Store(false) }
}

// PurgeAround runs purge for a device that a waiting heap datagram is not of,
// with as many readers asleep, and reports whether one was woken and how many
// datagrams wait after it.
func PurgeAround(c *Conn, d *stack.Device, sleepers int) (woken bool, waiting int) {
	c.makeSide()
	c.deliverSide(received{heap: &heapDatagram{}}, MaxQueue)
	for range sleepers {
		c.readers.Announce()
	}
	c.purge(d)
	waiting = c.side.Load().Len()
	// A word that was given is kept, and ends a sleep at once.
	passed := make(chan struct{})
	limit := time.AfterFunc(time.Second, func() { close(passed) })
	c.readers.Sleep(passed, nil)
	for range sleepers {
		c.readers.Rise()
	}
	return limit.Stop(), waiting
}

// CloseAroundPurge is PurgeAround with a Close that found nothing, because
// purge had the datagram in its hands.
func CloseAroundPurge(c *Conn, d *stack.Device) (waiting int) {
	c.makeSide()
	c.deliverSide(received{heap: &heapDatagram{}}, MaxQueue)
	c.attention.Or(closed)
	defer c.attention.And(^closed)
	c.purge(d)
	return c.side.Load().Len()
}

// OffloadFrom is the shortest payload whose checksum is left to a device.
const OffloadFrom = offloadFrom
