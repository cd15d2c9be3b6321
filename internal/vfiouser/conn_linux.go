package vfiouser

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// readAhead fits all messages but long writes and large sets of interrupts, and
// some dozen of those that clients send without waiting for replies.
const readAhead = 4096

// conn moves whole messages with their descriptors. One goroutine uses it.
//
// A register access is one message and one reply, and its guest stands still
// meanwhile. So a message is read with as few calls into the kernel as can be:
// one, with what else has come.
type conn struct {
	c    *net.UnixConn
	buf  []byte
	r, w int // buf[r:w] is read and not yet handed out
	oob  []byte
	came []passed // with what is not yet handed out

	patience time.Duration // Config.Patience
}

// passed are descriptors that came with one read.
type passed struct {
	fds  []int
	last int // offset in buf of the last byte that the read brought
}

func newConn(c *net.UnixConn, patience time.Duration) *conn {
	return &conn{c: c, buf: make([]byte, readAhead), oob: make([]byte, unix.CmsgSpace(maxFDs*4)), patience: patience}
}

// hurry lets reads fail when patience is over, or never again.
func (c *conn) hurry(on bool) error {
	var end time.Time
	if on {
		end = time.Now().Add(c.patience)
	}
	if err := c.c.SetReadDeadline(end); err != nil {
		return fmt.Errorf("vfiouser: %w", err)
	}
	return nil
}

// receive waits for a message. The payload is valid until the next call; the
// descriptors are the caller's. io.EOF: the client went between two messages.
func (c *conn) receive() (h header, payload []byte, fds []int, err error) {
	if err = c.fill(headerSize); err != nil {
		return h, nil, nil, err
	}
	if h, err = parseHeader(c.buf[c.r:]); err != nil {
		return h, nil, nil, err
	}
	size := int(h.size)
	if err = c.fill(size); err != nil {
		return h, nil, nil, err
	}
	payload = c.buf[c.r+headerSize : c.r+size]
	c.r += size
	fds, err = c.claim()
	return h, payload, fds, err
}

// claim takes the descriptors of the message that ends at r. The kernel ends a
// read behind the bytes that descriptors were sent with, and senders write a
// message, or its begin, with one call: so they are the last message's that the
// read reached.
func (c *conn) claim() (fds []int, err error) {
	for len(c.came) > 0 && c.came[0].last < c.r {
		fds = append(fds, c.came[0].fds...)
		c.came = c.came[1:]
	}
	if len(fds) > maxFDs {
		closeAll(fds)
		return nil, tooMany()
	}
	return fds, nil
}

func tooMany() error {
	return fmt.Errorf("vfiouser: more than %d descriptors in a message: %w", maxFDs, syscall.EPROTO)
}

// fill reads until n bytes stand in the buffer. Who has begun a message must
// finish it in time.
func (c *conn) fill(n int) error {
	if c.w-c.r >= n {
		return nil
	}
	c.makeRoom(n)
	if c.w-c.r > 0 {
		return c.finish(n)
	}
	if err := c.read(); err != nil || c.w-c.r >= n {
		return err
	}
	return c.finish(n)
}

// makeRoom lets n bytes stand behind r.
func (c *conn) makeRoom(n int) {
	if c.r == 0 && len(c.buf) >= n {
		return
	}
	to := c.buf
	if len(to) < n {
		to = make([]byte, n)
	}
	c.w = copy(to, c.buf[c.r:c.w])
	for i := range c.came {
		c.came[i].last -= c.r
	}
	c.buf, c.r = to, 0
}

func (c *conn) finish(n int) error {
	if err := c.hurry(true); err != nil {
		return err
	}
	for c.w-c.r < n {
		err := c.read()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("vfiouser: the client left inside a message: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
	}
	return c.hurry(false)
}

// read reads once, and adds the descriptors that came with the bytes.
func (c *conn) read() error {
	n, oobn, flags, _, err := c.c.ReadMsgUnix(c.buf[c.w:], c.oob)
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if err != nil {
		return fmt.Errorf("vfiouser: receive: %w", err)
	}
	c.w += n
	if oobn > 0 {
		if err := c.take(c.oob[:oobn]); err != nil {
			return err
		}
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return tooMany()
	}
	if n == 0 {
		return io.EOF
	}
	return nil
}

// take keeps the descriptors of a read, until the message is whole.
func (c *conn) take(oob []byte) error {
	controls, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("vfiouser: receive: %w", err)
	}
	for i := range controls {
		fds, err := unix.ParseUnixRights(&controls[i])
		if err != nil {
			continue // other kinds carry no descriptor
		}
		c.came = append(c.came, passed{fds, c.w - 1})
	}
	// A read that reaches the next message ends the message before: so what is
	// kept is that of two messages. Many small pieces with descriptors are no
	// client of ours.
	if len(c.came) > 2*maxFDs {
		return tooMany()
	}
	return nil
}

// send sends a message, and with its first byte the descriptors, which stay the
// caller's.
func (c *conn) send(b []byte, fds []int) error {
	if err := c.c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return fmt.Errorf("vfiouser: %w", err)
	}
	if len(fds) > 0 {
		n, _, err := c.c.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
		if err != nil {
			return fmt.Errorf("vfiouser: reply: %w", err)
		}
		b = b[n:]
	}
	if len(b) == 0 {
		return nil
	}
	if _, err := c.c.Write(b); err != nil {
		return fmt.Errorf("vfiouser: reply: %w", err)
	}
	return nil
}

// close closes the descriptors that no message has got. The connection stays the
// caller's.
func (c *conn) close() {
	for _, p := range c.came {
		closeAll(p.fds)
	}
	c.came = nil
}

// closeAll closes descriptors; what is kept elsewhere is -1.
func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
