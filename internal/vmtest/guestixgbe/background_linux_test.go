package guestixgbe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/netnstest"
)

// streams are two TCP connections, one each way, that never pause until they
// end.
type streams struct {
	r     *rig
	stop  chan struct{}
	wg    sync.WaitGroup
	moved [2]atomic.Uint64 // bytes that came as they were sent; written by its receiver
	errs  chan error
}

// background starts them.
func (r *rig) background() *streams {
	r.t.Helper()
	s := &streams{r: r, stop: make(chan struct{}), errs: make(chan error, 4)}
	s.connect(0, r.A, r.B, peerAddr.Addr())
	s.connect(1, r.B, r.A, cardAddr.Addr())
	r.t.Cleanup(s.end)
	s.progress()
	return s
}

func (s *streams) connect(i int, from, to *netnstest.Host, addr netip.Addr) {
	t := s.r.t
	t.Helper()
	at := netip.AddrPortFrom(addr, 4002).String()
	var l net.Listener
	var c net.Conn
	var err error
	to.Do(func() { l, err = net.Listen("tcp4", at) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	from.Do(func() { c, err = net.DialTimeout("tcp4", at, patience) })
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Accept()
	if err != nil {
		c.Close()
		t.Fatal(err)
	}
	// After an outage TCP waits ever longer, up to minutes; this bounds it.
	const longest = 500 // ms
	for _, one := range []net.Conn{c, got} {
		raw, err := one.(*net.TCPConn).SyscallConn()
		if err == nil {
			// An older kernel has it not, and waits longer.
			_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, tcpRTOMax, longest) })
		}
	}
	s.wg.Go(func() { s.errs <- s.write(c) })
	s.wg.Go(func() { s.errs <- s.read(i, got) })
}

// tcpRTOMax is TCP_RTO_MAX_MS of <linux/tcp.h>, since Linux 6.15.
const tcpRTOMax = 44

// block is what a stream repeats. Its length divides no buffer's.
var block = pattern(1, 65521)

func (s *streams) write(c net.Conn) error {
	defer c.Close()
	for {
		select {
		case <-s.stop:
			return nil
		default:
		}
		if err := c.SetWriteDeadline(time.Now().Add(2 * linkUp)); err != nil {
			return err
		}
		if _, err := c.Write(block); err != nil {
			return fmt.Errorf("stream: %w", err)
		}
	}
}

func (s *streams) read(i int, c net.Conn) error {
	defer c.Close()
	b := make([]byte, len(block))
	for {
		if err := c.SetReadDeadline(time.Now().Add(2 * linkUp)); err != nil {
			return err
		}
		n, err := io.ReadFull(c, b)
		if !bytes.Equal(b[:n], block[:n]) {
			return fmt.Errorf("stream %d: what came is not what was sent, after %d bytes", i, s.moved[i].Load())
		}
		s.moved[i].Add(uint64(n))
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("stream %d: %w", i, err)
		}
	}
}

// progress waits until both have moved on.
func (s *streams) progress() {
	s.r.t.Helper()
	for i := range s.moved {
		before := s.moved[i].Load()
		eventually(s.r.t, fmt.Sprintf("stream %d goes on", i), func() bool { return s.moved[i].Load() > before })
	}
}

// end ends them, and fails the test if one was disturbed. A second call does
// nothing.
func (s *streams) end() {
	s.r.t.Helper()
	select {
	case <-s.stop:
		return
	default:
	}
	close(s.stop)
	s.wg.Wait()
	close(s.errs)
	for err := range s.errs {
		if err != nil {
			s.r.t.Error(err)
		}
	}
}
