package udp_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// past is a moment that has gone.
var past = time.Unix(1, 0)

func wantTimeout(t *testing.T, err error, op string) {
	t.Helper()
	wantError(t, err, op, os.ErrDeadlineExceeded)
	if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		t.Errorf("%v says that it is no timeout", err)
	}
}

// readers are all calls that wait for a datagram.
var readers = map[string]func(*udp.Conn) error{
	"Read":     func(c *udp.Conn) error { _, err := c.Read(make([]byte, 10)); return err },
	"ReadFrom": func(c *udp.Conn) error { _, _, err := c.ReadFrom(make([]byte, 10)); return err },
	"ReadFromUDPAddrPort": func(c *udp.Conn) error {
		_, _, err := c.ReadFromUDPAddrPort(make([]byte, 10))
		return err
	},
	"ReadMsgUDPAddrPort": func(c *udp.Conn) error {
		_, _, _, _, err := c.ReadMsgUDPAddrPort(make([]byte, 10), nil)
		return err
	},
	"ReadBatch": func(c *udp.Conn) error { _, err := c.ReadBatch(make([]udp.Message, 3)); return err },
	"Receive":   func(c *udp.Conn) error { _, err := c.Receive(); return err },
}

// TestPastDeadline: a deadline in the past ends a read that waits, and fails
// those that come, also when there is something to read.
func TestPastDeadline(t *testing.T) {
	a, b := pair(t, nil)
	x := listen(t, b, 0, nil)
	for name, read := range readers {
		for _, cfg := range []*udp.Config{nil, {Spin: -1}, {Spin: time.Hour}} {
			c := listen(t, a, 0, cfg)
			done := make(chan error, 1)
			go func() { done <- read(c) }()
			select {
			case err := <-done:
				t.Fatalf("%s did not wait: %v", name, err)
			case <-time.After(2 * time.Millisecond):
			}
			if err := c.SetReadDeadline(past); err != nil {
				t.Fatal(err)
			}
			wantTimeout(t, <-done, "read")
			send(t, x, "too late", local(c))
			stacktest.Eventually(t, "it has come", func() bool { return c.Stats().Held == 1 })
			wantTimeout(t, read(c), "read")
			// Cleared, the datagram is still there.
			if err := c.SetReadDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			receive(t, c, "too late", local(x))
			c.Close()
		}
	}
}

// TestDeadlineMoves: a deadline that is moved while a read waits holds for
// that read; one that is taken back does not pass.
func TestDeadlineMoves(t *testing.T) {
	a, b := pair(t, nil)
	c, x := listen(t, a, 0, nil), listen(t, b, 0, nil)
	read := func() chan error {
		done := make(chan error, 1)
		go func() { _, err := c.Read(make([]byte, 100)); done <- err }()
		return done
	}

	// Sooner.
	c.SetReadDeadline(time.Now().Add(time.Hour))
	done := read()
	c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	wantTimeout(t, <-done, "read")

	// Later, after it has passed once.
	c.SetReadDeadline(time.Now().Add(time.Hour))
	done = read()
	select {
	case err := <-done:
		t.Fatal("did not wait:", err)
	case <-time.After(10 * time.Millisecond):
	}
	send(t, x, "in time", local(c))
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	// Taken back before it passes, many times over: no late timer passes for
	// a deadline that was set since.
	for range 200 {
		c.SetReadDeadline(time.Now().Add(50 * time.Microsecond))
		c.SetReadDeadline(time.Time{})
	}
	done = read()
	select {
	case err := <-done:
		t.Fatal("a deadline that was cleared has passed:", err)
	case <-time.After(20 * time.Millisecond):
	}
	send(t, x, "no deadline", local(c))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestDeadlineRepeats: every call after the deadline fails, not only one.
func TestDeadlineRepeats(t *testing.T) {
	a, b := pair(t, nil)
	listen(t, b, 9, nil) // nobody there would be an error of its own
	c := dial(t, a, b.At(9), nil)
	c.SetDeadline(time.Now().Add(time.Millisecond))
	for range 3 {
		_, err := c.Read(make([]byte, 10))
		wantTimeout(t, err, "read")
		stacktest.Eventually(t, "writes fail", func() bool {
			_, err = c.Write(nil)
			return err != nil
		})
		wantTimeout(t, err, "write")
	}
	c.SetWriteDeadline(time.Time{})
	if _, err := c.Write(nil); err != nil {
		t.Error(err)
	}
	_, err := c.Read(nil)
	wantTimeout(t, err, "read")
}

// drained is a socket of a host whose pool is in the test's hands.
func drained(t *testing.T, cfg *udp.Config) (c *udp.Conn, to netip.AddrPort, free func()) {
	t.Helper()
	a, b := pair(t, &stacktest.Options{Device: stack.DeviceConfig{PoolSize: 16}})
	c = listen(t, a, 1000, cfg)
	l := listen(t, a, 1001, &udp.Config{NoWait: true})
	var leases []udp.Lease
	for {
		lease, err := l.Reserve(10)
		if err != nil {
			break
		}
		leases = append(leases, lease)
	}
	if len(leases) == 0 {
		t.Fatal("the pool was empty")
	}
	free = func() {
		for i := range leases {
			leases[i].Discard()
		}
		leases = nil
	}
	t.Cleanup(free)
	return c, b.At(9), free
}

// writers are all calls that wait for a TX buffer.
var writers = map[string]func(*udp.Conn, netip.AddrPort) error{
	"WriteToUDPAddrPort": func(c *udp.Conn, to netip.AddrPort) error {
		_, err := c.WriteToUDPAddrPort([]byte("x"), to)
		return err
	},
	"WriteTo": func(c *udp.Conn, to netip.AddrPort) error {
		_, err := c.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(to))
		return err
	},
	"WriteMsgUDPAddrPort": func(c *udp.Conn, to netip.AddrPort) error {
		_, _, err := c.WriteMsgUDPAddrPort([]byte("x"), nil, to)
		return err
	},
	"WriteBatch": func(c *udp.Conn, to netip.AddrPort) error {
		_, err := c.WriteBatch([]udp.Message{{Buf: []byte("x"), Addr: to}})
		return err
	},
	"Reserve": func(c *udp.Conn, to netip.AddrPort) error {
		l, err := c.Reserve(1)
		if err == nil {
			l.Discard()
		}
		return err
	},
}

// TestWriteDeadline: a write that waits for a buffer ends at its deadline,
// moved or in the past; and succeeds when a buffer comes.
func TestWriteDeadline(t *testing.T) {
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			c, to, free := drained(t, nil)
			c.SetWriteDeadline(time.Now().Add(time.Millisecond))
			wantTimeout(t, write(c, to), "write")

			c.SetWriteDeadline(time.Time{})
			done := make(chan error, 1)
			go func() { done <- write(c, to) }()
			select {
			case err := <-done:
				t.Fatal("did not wait for a buffer:", err)
			case <-time.After(10 * time.Millisecond):
			}
			c.SetWriteDeadline(past)
			wantTimeout(t, <-done, "write")

			c.SetWriteDeadline(time.Now().Add(patience))
			go func() { done <- write(c, to) }()
			select {
			case err := <-done:
				t.Fatal("did not wait for a buffer:", err)
			case <-time.After(5 * time.Millisecond):
			}
			free()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWaitForAddressDeadline: a write that waits for an answer to ARP ends at
// its deadline too, and by Close.
func TestWaitForAddressDeadline(t *testing.T) {
	a, _ := strangers(t, nil)
	silent := netip.MustParseAddrPort("10.0.0.99:9")
	c := listen(t, a, 1000, &udp.Config{OnMiss: udp.MissWait})
	c.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
	_, err := c.WriteToUDPAddrPort(nil, silent)
	wantTimeout(t, err, "write")

	c.SetWriteDeadline(time.Time{})
	done := make(chan error, 1)
	go func() { _, err := c.WriteToUDPAddrPort(nil, silent); done <- err }()
	time.Sleep(2 * time.Millisecond) // either way is right; this one more likely waits
	c.SetWriteDeadline(past)
	wantTimeout(t, <-done, "write")

	c.SetWriteDeadline(time.Time{})
	go func() { _, err := c.WriteToUDPAddrPort(nil, silent); done <- err }()
	time.Sleep(2 * time.Millisecond)
	c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v, want net.ErrClosed", err)
	}
}
