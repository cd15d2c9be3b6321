package vfiouser

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Flags of SET_IRQS and of GET_IRQ_INFO: Linux, vfio.h.
const (
	irqDataNone = 1 << iota
	irqDataBool
	irqDataEventFD
	irqMask
	irqUnmask
	irqTrigger

	irqInfoEventFD    = 1
	irqInfoMaskable   = 2
	irqInfoAutoMasked = 4
	irqInfoNoResize   = 8
)

// interrupts are those of the device, with the client's eventfds.
type interrupts struct {
	mu    sync.Mutex
	lines [irqTypes][]line
}

// line is one interrupt. fd is ours, -1: the client does not listen. pending: it
// came while it was masked, or for INTx: the device asserts it, be it masked or
// listened to or not.
type line struct {
	fd              int
	masked, pending bool
}

func (t *interrupts) init(vectors map[IRQ]int) {
	for irq, n := range vectors {
		t.lines[irq] = make([]line, n)
		for i := range t.lines[irq] {
			t.lines[irq][i].fd = -1
		}
	}
}

func irqFlags(irq IRQ) uint32 {
	switch irq {
	case INTx:
		return irqInfoEventFD | irqInfoMaskable | irqInfoAutoMasked
	case MSI, MSIX:
		return irqInfoEventFD | irqInfoMaskable | irqInfoNoResize
	}
	return irqInfoEventFD
}

// raise signals an interrupt, or remembers it while it is masked.
func (t *interrupts) raise(irq IRQ, vector int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if irq < 0 || irq >= irqTypes || vector < 0 || vector >= len(t.lines[irq]) {
		return fmt.Errorf("vfiouser: interrupt %d of type %d: the device has none: %w", vector, irq, syscall.EINVAL)
	}
	return t.lines[irq][vector].raise(irq)
}

func (l *line) raise(irq IRQ) error {
	l.pending = irq == INTx || l.masked && l.fd >= 0
	if l.fd < 0 || l.masked {
		return nil // as on a bus where nobody listens
	}
	l.masked = irq == INTx // a level: it would come again until it is served
	return l.signal()
}

// signal tells the client.
func (l *line) signal() error {
	if l.fd < 0 {
		return nil
	}
	var one [8]byte
	native.PutUint64(one[:], 1)
	// EAGAIN: the counter is full, so the client has a signal that it has not read.
	if _, err := unix.Write(l.fd, one[:]); err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("vfiouser: interrupt: %w", err)
	}
	return nil
}

// lower is the end of an interrupt that is asserted or was remembered.
func (t *interrupts) lower(irq IRQ, vector int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if irq >= 0 && irq < irqTypes && vector >= 0 && vector < len(t.lines[irq]) {
		t.lines[irq][vector].pending = false
	}
}

// set replaces the client's descriptor. What is asserted stays so: the device
// does not know its client.
func (l *line) set(irq IRQ, fd int) {
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
	*l = line{fd: fd, masked: l.masked && fd >= 0, pending: l.pending && (fd >= 0 || irq == INTx)}
}

// clear forgets the client.
func (t *interrupts) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for irq := range t.lines {
		for i := range t.lines[irq] {
			t.lines[irq][i].set(IRQ(irq), -1)
		}
	}
}

// configure does SET_IRQS. It takes descriptors out of fds: what it keeps is -1.
func (t *interrupts) configure(p []byte, fds []int) error {
	if len(p) < 20 {
		return syscall.EINVAL
	}
	flags, index, start, count := native.Uint32(p[4:]), native.Uint32(p[8:]), native.Uint32(p[12:]), native.Uint32(p[16:])
	t.mu.Lock()
	defer t.mu.Unlock()
	if index >= uint32(irqTypes) {
		return syscall.EINVAL
	}
	all := t.lines[index]
	if uint64(start)+uint64(count) > uint64(len(all)) {
		return syscall.EINVAL
	}
	lines := all[start : start+count]
	switch flags {
	case irqDataEventFD | irqTrigger:
		return listen(IRQ(index), lines, fds)
	case irqDataNone | irqTrigger:
		if count == 0 && start == 0 {
			return listen(IRQ(index), all, nil)
		}
	case irqDataBool | irqTrigger, irqDataBool | irqMask, irqDataBool | irqUnmask:
		if len(p)-20 < len(lines) {
			return syscall.EINVAL
		}
	case irqDataNone | irqMask, irqDataNone | irqUnmask:
	default:
		return syscall.EINVAL // eventfds for mask and unmask too
	}
	for i := range lines {
		if flags&irqDataBool != 0 && p[20+i] == 0 {
			continue
		}
		if err := lines[i].act(IRQ(index), flags); err != nil {
			return err
		}
	}
	return nil
}

func (l *line) act(irq IRQ, flags uint32) error {
	switch {
	case flags&irqMask != 0:
		l.masked = true
	case flags&irqUnmask != 0:
		l.masked = false
		if l.pending {
			return l.raise(irq)
		}
	default:
		return l.signal() // the client's own trial: the device asserts nothing
	}
	return nil
}

// listen gives lines their eventfds, or with none takes them away.
func listen(irq IRQ, lines []line, fds []int) error {
	if len(fds) != 0 && len(fds) != len(lines) {
		return syscall.EINVAL
	}
	for _, fd := range fds {
		if !isEventFD(fd) {
			return syscall.EINVAL
		}
		// The device must never wait for a client that does not read.
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
	}
	for i := range lines {
		fd := -1
		if len(fds) > 0 {
			fd, fds[i] = fds[i], -1
		}
		lines[i].set(irq, fd)
		if lines[i].pending && !lines[i].masked {
			if err := lines[i].raise(irq); err != nil {
				return err
			}
		}
	}
	return nil
}

// isEventFD keeps out files, which a signal would write to.
func isEventFD(fd int) bool {
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return err == nil && name == "anon_inode:[eventfd]"
}
