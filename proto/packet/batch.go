package packet

import (
	"errors"
	"syscall"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// batchFrames is how many frames share a doorbell at most.
const batchFrames = 64

// sendBatch is room for the frames of a WriteBatch. One call at a time uses
// it; another one under way sends its frames one by one.
type sendBatch struct {
	frames [batchFrames]link.Frame
	n      int
	// first is the message of the first frame.
	first int
	// begun is when the first frame began to be built, of sockets that take
	// times of sends: those that share a doorbell share it.
	begun int64
}

// WriteBatch sends the messages in their order, with one doorbell for as many
// as it can, and returns how many were sent; an error is about the message
// after the last one sent. It sets N of those sent.
func (c *Conn) WriteBatch(ms []Message) (int, error) {
	if !c.batching.CompareAndSwap(false, true) {
		return c.writeSingly(ms)
	}
	defer c.batching.Store(false)
	for i := range ms {
		if err := c.addToBatch(ms, i); err != nil {
			if unsent, e := c.flushBatch(); e != nil {
				return unsent, e
			}
			return i, err
		}
	}
	if unsent, err := c.flushBatch(); err != nil {
		return unsent, err
	}
	return len(ms), nil
}

func (c *Conn) writeSingly(ms []Message) (int, error) {
	for i := range ms {
		ms[i].Times = stack.IOTimes{}
		n, err := c.writeTo(ms[i].Buf, ms[i].Addr, &ms[i].Times.ID)
		if err != nil {
			return i, err
		}
		ms[i].N = n
	}
	return len(ms), nil
}

// addToBatch builds the frame of message i.
func (c *Conn) addToBatch(ms []Message, i int) error {
	if c.attention.Load()&(gone|writeExpired) != 0 {
		if err := c.writable(); err != nil {
			return err
		}
	}
	if c.batch.n == batchFrames {
		if _, err := c.flushBatch(); err != nil {
			return err
		}
	}
	m := &ms[i]
	sends := c.times.Sends()
	if sends != nil && c.batch.n == 0 {
		c.batch.begun = stack.Now()
	}
	f, err := c.frameFor(m)
	if err != nil {
		return c.opError("write", copied(m.Addr), err)
	}
	if sends != nil {
		f.Flags |= link.FlagTimed
		m.Times = stack.IOTimes{ID: sends.Begin(c.dev, f.Index, c.batch.begun)}
	}
	if c.batch.n == 0 {
		c.batch.first = i
	}
	c.batch.frames[c.batch.n] = f
	c.batch.n++
	m.N = len(m.Buf)
	return nil
}

// frameFor makes the frame of a message.
func (c *Conn) frameFor(m *Message) (link.Frame, error) {
	if c.cfg.Raw {
		f, tci, err := c.build(m.Buf, m.Addr)
		if err == nil {
			c.putTag(&f, len(m.Buf), tci)
		}
		return f, err
	}
	h, err := c.headerFor(m.Addr)
	if err == nil && len(m.Buf) > c.mtu {
		err = over("payload", len(m.Buf), c.mtu)
	}
	if err != nil {
		return link.Frame{}, err
	}
	f, err := c.alloc()
	if err != nil {
		return f, err
	}
	copy(c.dev.Memory().Buffer(f.Index)[f.Off:], m.Buf)
	c.putHeader(&f, len(m.Buf), h)
	return f, nil
}

// flushBatch rings the doorbell. On an error it returns the first message that
// has not left.
func (c *Conn) flushBatch() (unsent int, err error) {
	frames := c.batch.frames[:c.batch.n]
	c.batch.n = 0
	if len(frames) == 0 {
		return 0, nil
	}
	var sent int
	if c.port != nil {
		sent, err = c.port.SendBatch(frames, c.flow, int(c.priority.Load()))
	} else {
		sent, err = c.dev.SendBatch(frames, c.flow, int(c.priority.Load()))
	}
	if err == nil {
		return 0, nil
	}
	if !errors.Is(err, syscall.ENOBUFS) {
		sent = 0 // with the device, which has no wire
	}
	return c.batch.first + sent, c.opError("write", nil, err)
}
