package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// beside starts what has no deadlines, as ordinary goroutines that end with ctx.
func (c *controller) beside(ctx context.Context, out io.Writer, garbage int) *sync.WaitGroup {
	var all sync.WaitGroup
	all.Go(func() { c.mailbox.talk(ctx) })
	all.Go(func() { c.seek(ctx) })
	all.Go(func() { c.watch(ctx, out) })
	all.Go(func() { litter(ctx, garbage) })
	return &all
}

// mailbox reads the drives' parameters, one after another: an ordinary goroutine
// with ordinary calls, but for the sending. That is the cycle's, once its own
// commands are out: a sender that is preempted in the middle would keep the
// cycle from the wire, and the cycle would keep it from going on.
type mailbox struct {
	conns [udpDrives]*udp.Conn
	// ready is a question to be sent, nil: none. Set by talk, taken by the cycle.
	ready        atomic.Pointer[udp.Lease]
	told, untold int // parameters; read when talk has returned
}

// open makes the mailbox's sockets.
func (m *mailbox) open(s *stack.Stack) {
	for i := range m.conns {
		m.conns[i] = must(udp.Dial(s, netip.AddrPort{}, netip.AddrPortFrom(driveAddr(i), mailboxPort), &udp.Config{OnMiss: udp.MissFail}))
	}
}

// talk asks and reads until ctx ends.
func (m *mailbox) talk(ctx context.Context) {
	b := make([]byte, mailboxSize)
	for n := 0; ctx.Err() == nil; n++ {
		if m.ask(m.conns[n%udpDrives], b, n) == nil {
			m.told++
		} else if ctx.Err() == nil {
			m.untold++
			time.Sleep(period) // it may have failed at once
		}
	}
}

// ask reads parameter n of a drive into b.
func (m *mailbox) ask(drive *udp.Conn, b []byte, n int) error {
	question, err := drive.Reserve(2)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(question.Payload(), uint16(n))
	m.ready.Store(&question)
	_ = drive.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	for {
		if _, err := drive.Read(b); err != nil {
			if l := m.ready.Swap(nil); l != nil {
				l.Discard() // no cycle has taken it
			}
			return err
		}
		if binary.BigEndian.Uint16(b) == uint16(n) {
			return nil
		} // else an answer to a question that was given up
	}
}

// post sends the question that is ready. It is the cycle's.
func (m *mailbox) post() {
	if l := m.ready.Swap(nil); l != nil {
		_ = l.Send() // what does not leave is not answered
	}
}

// seek asks for the address of each drive that is not known yet, for good, until
// all are, or ctx ends. One that is not there is asked for again and again: it may
// come late, and the cycle does without it meanwhile.
func (c *controller) seek(ctx context.Context) {
	var asked sync.WaitGroup
	for i := range udpDrives {
		asked.Go(func() {
			for a := &c.axes[i]; !a.known.Load() && ctx.Err() == nil; {
				err := c.device.Stack().Solicit(ctx, driveAddr(i), arp.Permanent)
				if a.known.Store(err == nil); ctx.Err() == nil && !errors.Is(err, syscall.ETIMEDOUT) {
					check(err)
				}
			}
		})
	}
	asked.Wait()
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
