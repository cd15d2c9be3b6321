package udp_test

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// TestReadNoWait: a read that is not to wait takes what is there, by all calls and
// at once, and says EAGAIN where nothing is; a deadline that has passed fails it.
func TestReadNoWait(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Manual: true})
	x := listen(t, b, 0, nil)
	for name, read := range readers {
		if name == "Receive" {
			read = func(c *udp.Conn) error {
				d, err := c.Receive()
				d.Release()
				return err
			}
		}
		for _, cfg := range []*udp.Config{nil, {Spin: time.Hour}} {
			c := listen(t, a, 0, cfg)
			noWait(t, c, true)
			wantError(t, read(c), "read", syscall.EAGAIN)
			send(t, x, "here", local(c))
			a.Poll()
			if err := read(c); err != nil {
				t.Errorf("%s of what is there: %v", name, err)
			}
			wantError(t, read(c), "read", syscall.EAGAIN)
			if err := c.SetReadDeadline(past); err != nil {
				t.Fatal(err)
			}
			wantTimeout(t, read(c), "read")
			if err := c.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			noWait(t, c, false)
			wantTimeout(t, read(c), "read") // it has waited
			noWait(t, c, true)
			c.Close()
			wantError(t, read(c), "read", net.ErrClosed)
			wantError(t, c.SetReadNoWait(true), "set", net.ErrClosed)
		}
	}
}

func noWait(t *testing.T, c *udp.Conn, on bool) {
	t.Helper()
	if err := c.SetReadNoWait(on); err != nil {
		t.Fatal(err)
	}
}

// TestReadTXTimesNoWait is the same for times of sends, and a look costs nothing.
func TestReadTXTimesNoWait(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Manual: true})
	c := listen(t, a, 0, nil)
	noWait(t, c, true)
	times := make([]stack.IOTimes, 4)
	_, err := c.ReadTXTimes(times)
	wantError(t, err, "read", syscall.EINVAL)
	if err := c.SetTimestamping(stack.TimeTX); err != nil {
		t.Fatal(err)
	}
	_, err = c.ReadTXTimes(times)
	wantError(t, err, "read", syscall.EAGAIN)
	if ne, ok := err.(net.Error); !ok || !ne.Timeout() { //nolint:errorlint // as callers assert it
		t.Errorf("%v says that it is no timeout", err)
	}
	send(t, c, "one", b.At(9))
	send(t, c, "two", b.At(9))
	if n, err := c.ReadTXTimes(times); n != 2 || err != nil {
		t.Errorf("read %d, %v, want both", n, err)
	}
	buf := make([]byte, 10)
	if n := testing.AllocsPerRun(100, func() {
		_, err1 := c.ReadTXTimes(times)
		_, _, err2 := c.ReadFromUDPAddrPort(buf)
		if !errors.Is(err1, syscall.EAGAIN) || !errors.Is(err2, syscall.EAGAIN) {
			t.Error(err1, err2)
		}
	}); n != 0 {
		t.Errorf("%v allocations for looks that find nothing", n)
	}
}

// TestReadNoWaitLater: a read that waits already goes on waiting, and the next one
// does not.
func TestReadNoWaitLater(t *testing.T) {
	a, b := pair(t, nil)
	c, x := listen(t, a, 0, nil), listen(t, b, 0, nil)
	done := make(chan error, 1)
	go func() {
		_, _, err := c.ReadFromUDPAddrPort(make([]byte, 10))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatal("did not wait:", err)
	case <-time.After(10 * time.Millisecond):
	}
	noWait(t, c, true)
	send(t, x, "late", netip.AddrPortFrom(a.Addr, local(c).Port()))
	if err := <-done; err != nil {
		t.Error(err)
	}
	_, err := c.Read(nil)
	wantError(t, err, "read", syscall.EAGAIN)
}
