package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"github.com/oobnet/oobnet/proto/udp"
)

// mailbox reads the drives' parameters, one after another: an ordinary goroutine
// with ordinary calls, whose datagrams the cycle carries along.
type mailbox struct {
	conn         *udp.Conn
	told, untold int // parameters; read when talk has returned
}

func (c *controller) openMailbox() *mailbox {
	return &mailbox{conn: must(udp.Listen(c.device.Stack(), netip.AddrPortFrom(controllerAddr.Addr(), mailboxPort), nil))}
}

// talk asks and reads until ctx ends.
func (m *mailbox) talk(ctx context.Context) {
	b := make([]byte, mailboxSize)
	for n := 0; ctx.Err() == nil; n++ {
		if m.ask(b, n) == nil {
			m.told++
		} else if ctx.Err() == nil {
			m.untold++
			time.Sleep(period)
		}
	}
	check(m.conn.Close())
}

// ask reads parameter n of a drive into b.
func (m *mailbox) ask(b []byte, n int) error {
	to := netip.AddrPortFrom(driveAddr(n%udpDrives), mailboxPort)
	binary.BigEndian.PutUint16(b, uint16(n))
	_, err := m.conn.WriteToUDPAddrPort(b[:2], to)
	_ = m.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	for from := to; err == nil; {
		if _, from, err = m.conn.ReadFromUDPAddrPort(b); from == to && binary.BigEndian.Uint16(b) == uint16(n) {
			return nil
		} // else an answer to a question that was given up
	}
	return err
}

// tolerance is how many cycles a drive may be silent before it is told of.
const tolerance = 3

// name of an axis, as the operator knows it.
func name(axis int) string {
	if axis < udpDrives {
		return fmt.Sprintf("axis %d (drive %v)", axis+1, driveAddr(axis))
	}
	return fmt.Sprintf("axis %d (slave %d)", axis+1, axis-udpDrives+1)
}

// watch tells of drives that fall silent, and of those that come back.
func (c *controller) watch(ctx context.Context, out io.Writer) {
	var silent [axes]bool
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		for i := range c.axes {
			if now := c.axes[i].silent.Load() > tolerance; now != silent[i] {
				silent[i] = now
				fmt.Fprintln(out, name(i), map[bool]string{true: "does not answer", false: "answers again"}[now])
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// waste is garbage that the collector has to look into: each holds the one
// before it.
type waste struct {
	before *waste
	_      [1000]byte
}

// litter makes garbage at a rate, MB/s, until ctx ends.
func litter(ctx context.Context, rate int) {
	if rate == 0 {
		return
	}
	var last *waste
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n, begin := 0, time.Now(); ctx.Err() == nil; <-tick.C {
		for due := int(time.Since(begin).Microseconds()) * rate / 1000; n < due; n++ {
			if last = (&waste{before: last}); n%1000 == 0 {
				last.before = nil
			}
		}
	}
	runtime.KeepAlive(last)
}
