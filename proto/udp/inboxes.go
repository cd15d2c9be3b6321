package udp

import (
	"slices"

	"github.com/oobnet/oobnet/stack"
)

// purge drops what waits for a reader: all of it, or what is in the buffers of
// one device.
func (c *Conn) purge(d *stack.Device) {
	var r received
	for _, b := range c.inboxes() {
		if d != nil && b.Device() != d {
			continue
		}
		for {
			index, ok := b.Take()
			if !ok {
				break
			}
			c.release(&received{dev: b.Device(), index: index})
		}
	}
	side := c.side.Load()
	if side == nil {
		return
	}
	kept := false
	for range side.Len() {
		if !side.Pop(&r) {
			break
		}
		if d == nil || r.dev == d || !side.Push(&r) {
			c.release(&r)
			continue
		}
		kept = true
	}
	if kept {
		// While it was out of the queue, a reader may have found nothing and
		// gone to sleep, or Close have emptied the queue.
		c.arrived()
	}
}

// inboxes are all inboxes of the socket.
func (c *Conn) inboxes() []*stack.Inbox {
	return append([]*stack.Inbox{&c.inbox}, *c.others.Load()...)
}

// attachFirst gives a socket that nobody knows yet its inboxes. The one in the
// socket itself is the first device's for good: readers look at it at any time.
func (c *Conn) attachFirst(devices []*stack.Device) {
	if len(devices) == 0 {
		c.inbox.Init(nil)
		return
	}
	c.inbox.Init(devices[0])
	for _, d := range devices[1:] {
		c.attach(d)
	}
}

// attach gives the socket an inbox for a device, if it has none yet, and
// forgets those of devices that are no more: of one that is still closing, it
// may get packets. Under the protocol's mutex.
func (c *Conn) attach(d *stack.Device) {
	there := c.s.Devices()
	others := slices.DeleteFunc(slices.Clone(*c.others.Load()), func(b *stack.Inbox) bool { return !slices.Contains(there, b.Device()) })
	if c.inbox.Device() != d && !slices.ContainsFunc(others, func(b *stack.Inbox) bool { return b.Device() == d }) {
		b := new(stack.Inbox)
		b.Init(d)
		others = append(others, b)
	}
	c.others.Store(&others)
}
