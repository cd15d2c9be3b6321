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

// patience is how long a client may take to finish a message that it began, to
// propose its version, and to take a reply. A guest that is stopped sends
// nothing, but begins nothing either.
const patience = 10 * time.Second

// conn moves whole messages with their descriptors. One goroutine uses it.
type conn struct {
	c   *net.UnixConn
	buf []byte // of the last message
	oob []byte
}

func newConn(c *net.UnixConn) *conn {
	return &conn{c: c, buf: make([]byte, headerSize), oob: make([]byte, unix.CmsgSpace(maxFDs*4))}
}

// receive waits for a message. The payload is valid until the next call; the
// descriptors are the caller's, also with an error. io.EOF: the client went
// between two messages.
func (c *conn) receive() (h header, payload []byte, fds []int, err error) {
	n, err := c.read(c.buf[:headerSize], &fds)
	if err != nil {
		return h, nil, fds, err
	}
	if err := c.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return h, nil, fds, fmt.Errorf("vfiouser: %w", err)
	}
	if err := c.fill(c.buf[n:headerSize], &fds); err != nil {
		return h, nil, fds, err
	}
	if h, err = parseHeader(c.buf); err != nil {
		return h, nil, fds, err
	}
	if int(h.size) > len(c.buf) {
		c.buf = append(c.buf[:headerSize], make([]byte, int(h.size)-headerSize)...)
	}
	payload = c.buf[headerSize:h.size]
	if err := c.fill(payload, &fds); err != nil {
		return h, nil, fds, err
	}
	if err := c.c.SetReadDeadline(time.Time{}); err != nil {
		return h, nil, fds, fmt.Errorf("vfiouser: %w", err)
	}
	return h, payload, fds, nil
}

func (c *conn) fill(b []byte, fds *[]int) error {
	for len(b) > 0 {
		n, err := c.read(b, fds)
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("vfiouser: the client left inside a message: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// read reads once, and adds the descriptors that came with the bytes.
func (c *conn) read(b []byte, fds *[]int) (int, error) {
	n, oobn, flags, _, err := c.c.ReadMsgUnix(b, c.oob)
	if errors.Is(err, io.EOF) {
		return 0, io.EOF
	}
	if err != nil {
		return 0, fmt.Errorf("vfiouser: receive: %w", err)
	}
	controls, err := unix.ParseSocketControlMessage(c.oob[:oobn])
	if err != nil {
		return 0, fmt.Errorf("vfiouser: receive: %w", err)
	}
	for i := range controls {
		got, err := unix.ParseUnixRights(&controls[i])
		if err != nil {
			continue // other kinds carry no descriptor
		}
		*fds = append(*fds, got...)
	}
	if flags&unix.MSG_CTRUNC != 0 || len(*fds) > maxFDs {
		return 0, fmt.Errorf("vfiouser: more than %d descriptors in a message: %w", maxFDs, syscall.EPROTO)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// send sends a message, and with its first byte the descriptors, which stay the
// caller's.
func (c *conn) send(b []byte, fds ...int) error {
	if err := c.c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("vfiouser: %w", err)
	}
	if len(fds) > 0 {
		n, _, err := c.c.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
		if err != nil {
			return fmt.Errorf("vfiouser: reply: %w", err)
		}
		b = b[n:]
	}
	if _, err := c.c.Write(b); len(b) > 0 && err != nil {
		return fmt.Errorf("vfiouser: reply: %w", err)
	}
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
