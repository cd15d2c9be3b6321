package packet

import (
	"encoding/binary"
	"net"
	"os"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/internal/sock"
	"github.com/oobnet/oobnet/stack"
)

// msgTrunc is MSG_TRUNC of recvmsg(2): the frame was longer than the buffer.
const msgTrunc = 0x20

// received is a frame on its way to the application: in a buffer of the device,
// or, one that the device has sent, in a slot of the analyser's.
type received struct {
	index    uint32
	outgoing bool
}

// ReadFromAddr reads a frame's payload into b, or with Config.Raw the whole
// frame, and returns its length and the sender. What does not fit is cut off.
// The payload of a short frame is as long as its padding makes it. It blocks
// until the read deadline. It allocates nothing.
//
//oobnet:hot
func (c *Conn) ReadFromAddr(b []byte) (int, Addr, error) {
	// The common case, spelled out: a frame waits, in a device's buffer.
	if c.attention.Load()&^aside == 0 && c.sent == nil {
		if index, ok := c.inbox.Take(); ok {
			c.taken()
			n, from, _ := c.consume(received{index: index}, b)
			return n, from, nil
		}
	}
	var r received
	if err := c.next(&r); err != nil {
		return 0, Addr{}, err
	}
	n, from, _ := c.consume(r, b)
	return n, from, nil
}

// ReadFrom is ReadFromAddr with the sender as an *Addr, which it allocates.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddr(b)
	if err != nil {
		return 0, nil, err
	}
	return n, copied(from), nil
}

// ReadMsg is ReadFromAddr that tells all that there is to tell: see Message. It
// sets all of m but Buf.
func (c *Conn) ReadMsg(m *Message) error {
	var r received
	if err := c.next(&r); err != nil {
		return err
	}
	c.fill(m, r)
	return nil
}

// Message is one frame of a batch.
type Message struct {
	// Buf is what to send, or where to put what is received.
	Buf []byte
	// N is how many bytes of Buf were received or sent.
	N int
	// Addr is the sender, or the destination.
	Addr Addr
	// To is the destination of a received frame.
	To link.MAC
	// Flags of a received frame: MSG_TRUNC, it did not fit into Buf.
	Flags int
	// WireLen of a received frame: all its bytes, whatever was cut off by Buf
	// or by the socket's program.
	WireLen int
	// Outgoing: the device has sent the frame; for analysers.
	Outgoing bool
	// Times of a received frame, as SetTimestamping asked for them. Of one that
	// was sent, ID is the number by which ReadTXTimes names it, and the rest is
	// not known yet.
	Times stack.IOTimes
}

// ReadBatch waits for one frame as ReadFromAddr does, takes along what else
// waits, and returns how many it read.
func (c *Conn) ReadBatch(ms []Message) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	var r received
	if err := c.next(&r); err != nil {
		return 0, err
	}
	n := 0
	for {
		c.fill(&ms[n], r)
		if n++; n == len(ms) || !c.take(&r) {
			return n, nil
		}
	}
}

func (c *Conn) fill(m *Message, r received) {
	b := c.bytes(r)
	m.To = toOf(b)
	m.WireLen, m.Outgoing = c.wireLen(r), r.outgoing
	c.timesOf(r, &m.Times)
	m.N, m.Addr, m.Flags = c.consume(r, m.Buf)
}

// consume copies a frame out and gives its buffer back.
//
//oobnet:hot
func (c *Conn) consume(r received, b []byte) (n int, from Addr, flags int) {
	frame := c.bytes(r)
	offset, tci := c.header(r, frame)
	from = fromOf(frame, offset, tci)
	data := frame
	if !c.cfg.Raw {
		data = frame[min(offset, len(frame)):]
	}
	if n = copy(b, data); n < len(data) {
		c.stats.truncated.Add(1)
		flags = msgTrunc
	}
	c.release(r)
	return n, from, flags
}

// bytes are a frame's, where they are.
//
//oobnet:hot
func (c *Conn) bytes(r received) []byte {
	if r.outgoing {
		return c.sent.slots[r.index].b
	}
	return c.dev.Memory().Bytes(c.dev.Packet(r.index).Frame)
}

// header returns where a frame's payload begins, and its tag. What is there of
// the frame may be less.
//
//oobnet:hot
func (c *Conn) header(r received, frame []byte) (offset int, tci uint16) {
	if r.outgoing {
		h, ok := wire.ParseEthernet(frame)
		if !ok {
			return len(frame), 0
		}
		return h.Len, h.TCI
	}
	p := c.dev.Packet(r.index)
	return int(p.Offset), p.TCI
}

// wireLen is how long the frame was before anything was cut off.
func (c *Conn) wireLen(r received) int {
	if r.outgoing {
		return c.sent.slots[r.index].length
	}
	return int(c.dev.Packet(r.index).Src)
}

// fromOf is the sender, as far as the frame tells.
//
//oobnet:hot
func fromOf(frame []byte, offset int, tci uint16) (a Addr) {
	if len(frame) < 2*6 {
		return a
	}
	a.MAC = link.MAC(frame[6:12])
	a.VLAN, a.PCP = tci&wire.VIDMask, uint8(tci>>wire.PCPShift)
	if (offset == wire.EthernetHeaderLen || offset == maxHeader) && offset <= len(frame) {
		a.EtherType = binary.BigEndian.Uint16(frame[offset-2:])
	}
	return a
}

// toOf is the destination.
func toOf(frame []byte) (mac link.MAC) {
	copy(mac[:], frame)
	return mac
}

// release gives a frame's buffer back to where it came from, and the socket its
// place.
//
//oobnet:hot
func (c *Conn) release(r received) {
	if r.outgoing {
		c.sent.giveBack(r.index)
		return
	}
	c.dev.Release(r.index)
	c.books.Release()
}

// next takes the next frame, waiting for it if need be.
//
//oobnet:hot
func (c *Conn) next(r *received) error {
	if c.attention.Load()&^aside == 0 && c.take(r) {
		return nil
	}
	return c.await(r)
}

// take takes a frame if one waits.
//
//oobnet:hot
func (c *Conn) take(r *received) bool {
	if index, ok := c.inbox.Take(); ok {
		*r = received{index: index}
		c.taken()
		return true
	}
	return c.sent != nil && c.takeSent(r)
}

// taken is for a reader that has just taken a frame. Another one that came at
// that moment was told that there is nothing, and may sleep; Close may have
// been told so, and has left the rest.
func (c *Conn) taken() {
	if c.readers.Asleep() || c.attention.Load()&gone != 0 {
		c.took()
	}
}

func (c *Conn) took() {
	if c.attention.Load()&gone != 0 {
		c.purge()
	}
	c.readers.Wake()
}

// await is next for everything but the common case.
func (c *Conn) await(r *received) error {
	var spin sock.Spin
	noWait := c.attention.Load()&noWait != 0
	for {
		if err := c.mayRead(); err != nil {
			return err
		}
		if c.take(r) {
			return nil
		}
		if noWait {
			return c.nothing.Load()
		}
		if spin.Lasts(c.cfg.Spin) {
			continue
		}
		if c.sleep(r) {
			return nil
		}
		spin = sock.Spin{}
	}
}

// mayRead says why a read must not go on, nil if it may.
func (c *Conn) mayRead() error {
	switch attention := c.attention.Load(); {
	case attention&gone != 0:
		return c.opError("read", nil, c.whyGone())
	case attention&readExpired != 0:
		return c.opError("read", nil, os.ErrDeadlineExceeded)
	case attention&handled != 0:
		return c.opError("read", nil, errHandled)
	}
	return nil
}

// sleep waits until there may be something to read, or a reason to give up.
// It reports whether its last look before found something.
func (c *Conn) sleep(r *received) (found bool) {
	passed := c.read.Channel()
	c.readers.Announce()
	if found = c.take(r); !found && c.attention.Load()&(gone|readExpired) == 0 {
		c.readers.Sleep(passed, c.done)
	}
	c.readers.Rise()
	return found
}
