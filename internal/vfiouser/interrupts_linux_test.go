package vfiouser

import (
	"errors"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// listener is an eventfd of a client.
type listener struct {
	testing.TB
	fd int
}

func newListener(t testing.TB) listener {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return listener{t, fd}
}

// count wants that many signals since the last time.
func (l listener) count(want uint64) {
	l.Helper()
	var b [8]byte
	if _, err := unix.Read(l.fd, b[:]); err != nil && !errors.Is(err, unix.EAGAIN) {
		l.Fatal(err)
	}
	if got := native.Uint64(b[:]); got != want {
		l.Errorf("%d signals, want %d", got, want)
	}
}

func irqs(flags uint32, irq IRQ, start, count uint32, data ...byte) []byte {
	return append(words(uint32(20+len(data)), flags, uint32(irq), start, count), data...)
}

const (
	setTrigger = irqDataEventFD | irqTrigger
	unset      = irqDataNone | irqTrigger
)

func TestMessageSignalledInterrupts(t *testing.T) {
	leaktest.Check(t)
	s, path := serve(t)
	c, l := greeted(t, path), newListener(t)
	raise := func(v int) {
		t.Helper()
		if err := s.Interrupt(MSIX, v); err != nil {
			t.Fatal(err)
		}
	}
	if b := c.ok(cmdGetIRQInfo, words(16, 0, uint32(MSIX), 0)); native.Uint32(b[12:]) != 2 {
		t.Errorf("IRQ info %x", b)
	}
	c.ok(cmdSetIRQs, irqs(setTrigger, MSIX, 1, 1), l.fd)
	raise(1)
	raise(0) // nobody listens
	raise(1)
	l.count(2)
	c.ok(cmdSetIRQs, irqs(irqDataBool|irqTrigger, MSIX, 0, 2, 0, 1))
	l.count(1)
	c.ok(cmdSetIRQs, irqs(irqDataBool|irqMask, MSIX, 0, 2, 1, 1))
	raise(1)
	raise(1)
	l.count(0)
	c.ok(cmdSetIRQs, irqs(setTrigger, MSIX, 1, 1), l.fd) // masked it stays, and remembered
	l.count(0)
	c.ok(cmdSetIRQs, irqs(irqDataBool|irqUnmask, MSIX, 0, 2, 1, 0))
	l.count(0)
	c.ok(cmdSetIRQs, irqs(irqDataNone|irqUnmask, MSIX, 1, 1))
	l.count(1)
	c.ok(cmdSetIRQs, irqs(irqDataNone|irqMask, MSIX, 1, 1))
	raise(1)
	s.Lower(MSIX, 1)
	c.ok(cmdSetIRQs, irqs(irqDataNone|irqUnmask, MSIX, 1, 1))
	l.count(0)
	c.ok(cmdSetIRQs, irqs(setTrigger, MSIX, 1, 1)) // without one: taken away
	raise(1)
	l.count(0)
	c.ok(cmdSetIRQs, irqs(setTrigger, MSIX, 1, 1), l.fd)
	c.ok(cmdSetIRQs, irqs(unset, MSIX, 0, 0))
	raise(1)
	l.count(0)
}

// INTx is a level: it comes again until the device lowers it.
func TestLevelInterrupt(t *testing.T) {
	leaktest.Check(t)
	s, path := serve(t)
	c, l := greeted(t, path), newListener(t)
	raise := func() {
		t.Helper()
		if err := s.Interrupt(INTx, 0); err != nil {
			t.Fatal(err)
		}
	}
	unmask := irqs(irqDataNone|irqUnmask, INTx, 0, 1)
	raise()
	c.ok(cmdSetIRQs, irqs(setTrigger, INTx, 0, 1), l.fd) // as one that is asserted already
	raise()
	l.count(1)
	c.ok(cmdSetIRQs, unmask)
	l.count(1)
	s.Lower(INTx, 0)
	c.ok(cmdSetIRQs, unmask)
	l.count(0)
	c.ok(cmdSetIRQs, irqs(irqDataNone|irqTrigger, INTx, 0, 1)) // the client's own trial
	l.count(1)
	c.ok(cmdSetIRQs, unmask)
	l.count(0)
	raise()
	l.count(1)
}

func TestInterruptsThatAreRefused(t *testing.T) {
	leaktest.Check(t)
	s, path := serve(t)
	c, l := greeted(t, path), newListener(t)
	c.refused(syscall.EINVAL, cmdSetIRQs, irqs(setTrigger, MSIX, 1, 2), l.fd, l.fd)
	c.refused(syscall.EINVAL, cmdSetIRQs, irqs(setTrigger, MSIX, ^uint32(0), 2), l.fd, l.fd)
	c.refused(syscall.EINVAL, cmdSetIRQs, irqs(setTrigger, MSIX, 0, 2), l.fd)
	c.refused(syscall.EINVAL, cmdSetIRQs, irqs(setTrigger, MSIX, 0, 1), memfd(t, 1))
	c.refused(syscall.EINVAL, cmdSetIRQs, irqs(setTrigger, MSIX, 0, 2), l.fd, memfd(t, 1))
	c.refused(syscall.EINVAL, cmdSetIRQs, irqs(setTrigger, irqTypes, 0, 1), l.fd)
	c.refused(syscall.EINVAL, cmdSetIRQs, irqs(irqDataBool|irqMask, MSIX, 0, 2))
	c.refused(syscall.EINVAL, cmdSetIRQs, irqs(irqDataEventFD|irqMask, MSIX, 0, 1), l.fd)
	c.refused(syscall.EINVAL, cmdSetIRQs, words(20, setTrigger))
	c.refused(syscall.EINVAL, cmdGetIRQInfo, words(16, 0, uint32(irqTypes), 0))
	for _, v := range []struct {
		irq    IRQ
		vector int
	}{{MSIX, 2}, {MSIX, -1}, {MSI, 0}, {irqTypes, 0}, {-1, 0}} {
		if err := s.Interrupt(v.irq, v.vector); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("type %d, vector %d: %v", v.irq, v.vector, err)
		}
		s.Lower(v.irq, v.vector)
	}
	l.count(0)
}
