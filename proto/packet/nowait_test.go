package packet_test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
)

// TestReadNoWait: a read that is not to wait takes what is there, by all calls and
// at once, and says EAGAIN where nothing is; a deadline that has passed fails it.
func TestReadNoWait(t *testing.T) {
	a, b := pair(t, manual())
	x := listen(t, b.Port, etherCAT, nil)
	analyser := analyse(t, a.Device, nil)
	defer analyser.Close()
	for name, read := range map[string]func(*packet.Conn) error{
		"ReadFromAddr": func(c *packet.Conn) error { _, _, err := c.ReadFromAddr(nil); return err },
		"ReadFrom":     func(c *packet.Conn) error { _, _, err := c.ReadFrom(nil); return err },
		"ReadMsg":      func(c *packet.Conn) error { return c.ReadMsg(new(packet.Message)) },
		"ReadBatch":    func(c *packet.Conn) error { _, err := c.ReadBatch(make([]packet.Message, 3)); return err },
		"Receive": func(c *packet.Conn) error {
			f, err := c.Receive()
			f.Release()
			return err
		},
	} {
		c := listen(t, a.Port, etherCAT, &packet.Config{Spin: time.Hour})
		for _, c := range []*packet.Conn{c, analyser} {
			if err := c.SetReadNoWait(true); err != nil {
				t.Fatal(err)
			}
			wantError(t, read(c), "read", syscall.EAGAIN)
		}
		send(t, x, "here", to(a.Link.MAC()))
		a.Poll()
		for _, c := range []*packet.Conn{c, analyser} {
			if err := read(c); err != nil {
				t.Errorf("%s of what is there: %v", name, err)
			}
			wantError(t, read(c), "read", syscall.EAGAIN)
		}
		if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		wantError(t, read(c), "read", os.ErrDeadlineExceeded)
		if err := c.SetReadNoWait(false); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		wantError(t, read(c), "read", os.ErrDeadlineExceeded) // it has waited
		c.Close()
		wantError(t, c.SetReadNoWait(true), "set", net.ErrClosed)
	}
}

// TestReadTXTimesNoWait is the same for times of sends, and a look costs nothing.
func TestReadTXTimesNoWait(t *testing.T) {
	a, b := pair(t, manual())
	c := listen(t, a.Port, etherCAT, nil)
	if err := errors.Join(c.SetReadNoWait(true), c.SetTimestamping(stack.TimeTX)); err != nil {
		t.Fatal(err)
	}
	times := make([]stack.IOTimes, 4)
	_, err := c.ReadTXTimes(times)
	wantError(t, err, "read", syscall.EAGAIN)
	send(t, c, "one", to(b.Link.MAC()))
	if n, err := c.ReadTXTimes(times); n != 1 || err != nil {
		t.Errorf("read %d, %v, want one", n, err)
	}
	if n := testing.AllocsPerRun(100, func() {
		_, err1 := c.ReadTXTimes(times)
		_, _, err2 := c.ReadFromAddr(nil)
		if !errors.Is(err1, syscall.EAGAIN) || !errors.Is(err2, syscall.EAGAIN) {
			t.Error(err1, err2)
		}
	}); n != 0 {
		t.Errorf("%v allocations for looks that find nothing", n)
	}
}
