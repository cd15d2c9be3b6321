package afxdp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
)

// zeroCopyUnit is in what steps drivers tell their cards the size of a buffer:
// Intel's of up to 10 Gbit/s know 1 KiB and no less. A frame that is longer than
// the whole units in a buffer is cut there, and nobody is told.
const zeroCopyUnit = 1 << 10

// zeroCopyRoom is the longest frame that a buffer takes in zero copy, bytes.
func zeroCopyRoom(bufferSize int) int { return (bufferSize - headroom) &^ (zeroCopyUnit - 1) }

// avoided are drivers whose zero copy ZeroCopyAuto does not take. That of igb
// (Linux 6.14, and still in 7.2) reads finished descriptors a second time after
// it found the fill ring dry in the middle of a refill, and so hands out buffers
// that it has handed out before, or still uses.
var avoided = []string{"igb"}

// probeZeroCopy finds out whether the device takes zero copy, by binding a
// socket of its own for a moment: the region that is to stay is made only at
// Attach, and Capabilities are due at Open.
func probeZeroCopy(d *device, queue int, native bool, want ZeroCopy) (bool, error) {
	fits := d.mtu+frameOverhead <= zeroCopyRoom(maxChunk)
	switch {
	case want == ZeroCopyOff:
		return false, nil
	case want == ZeroCopyAuto && (!native || !fits || slices.Contains(avoided, d.driver)):
		return false, nil
	case !native:
		return false, fmt.Errorf("zero copy needs native XDP, which the driver (%s) does not have: %w", d.driver, link.ErrNotSupported)
	case !fits:
		return false, fmt.Errorf("zero copy with an MTU of %d: a buffer takes frames of %d bytes: `ip link set %s mtu %d` or less: %w",
			d.mtu, zeroCopyRoom(maxChunk), d.name, zeroCopyRoom(maxChunk)-frameOverhead, unix.ERANGE)
	}
	can, err := tryZeroCopy(d.index, queue)
	switch {
	case errors.Is(err, unix.EBUSY):
		return false, err
	case !can && want == ZeroCopyRequire:
		return false, errors.Join(fmt.Errorf("the driver (%s) has no zero copy on queue %d: %w", d.driver, queue, link.ErrNotSupported), err)
	}
	return can, nil
}

// probeChunks is the size of the region of a probe in zero copy: some drivers
// fill a whole batch of 64 at once.
const probeChunks = 64

func tryZeroCopy(index, queue int) (bool, error) {
	p, err := newProbe(probeChunks)
	if err != nil {
		return false, err
	}
	defer p.close()
	to := unix.SockaddrXDP{Flags: unix.XDP_ZEROCOPY | unix.XDP_USE_NEED_WAKEUP, Ifindex: uint32(index), QueueID: uint32(queue)}
	if err := bindSocket(p.fd, &to); err != nil {
		return false, err
	}
	return isZeroCopy(p.fd)
}

// probe is a socket with a region and rings of its own, and not bound: to find
// something out by binding it.
type probe struct {
	fd     int
	region *offheap.Region
}

// newProbe opens the socket in the calling thread's network namespace.
func newProbe(chunks int) (_ *probe, err error) {
	p := &probe{fd: -1}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.region, err = offheap.Map(chunks * maxChunk); err != nil {
		return nil, err
	}
	if p.fd, err = newSocket(); err != nil {
		return nil, err
	}
	if err := registerUMEM(p.fd, p.region.Bytes()[:chunks*maxChunk], maxChunk, 0); err != nil {
		return nil, err
	}
	for _, option := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING, unix.XDP_TX_RING} {
		size := uint32(chunks)
		if err := setSocketOption(p.fd, option, &size); err != nil {
			return nil, fmt.Errorf("make a ring: %w", err)
		}
	}
	return p, nil
}

// close is for a nil probe, too, and for one that was closed.
func (p *probe) close() {
	if p == nil {
		return
	}
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
	if p.region != nil {
		_ = p.region.Close() // nothing of it was ever used
		p.region = nil
	}
}

// awaitRelease waits until the device has let go of a queue's buffers. In zero
// copy it writes to them until the kernel has told the driver to stop, which it
// does in the background, some time after the sockets were closed. Another
// socket can be bound to the queue from then on, and not before.
func (q *queue) awaitRelease(deadline time.Time) error {
	if q.sentinel == nil || q.tx.pages == nil {
		return nil
	}
	defer q.sentinel.close()
	to := unix.SockaddrXDP{Flags: unix.XDP_COPY, Ifindex: uint32(q.link.dev.index), QueueID: uint32(q.id)}
	for {
		err := unix.Bind(q.sentinel.fd, &to)
		switch {
		case err == nil, errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENETDOWN):
			return nil // an interface that is down or gone writes nothing
		case !errors.Is(err, unix.EBUSY):
			return fmt.Errorf("queue %d: see whether the device is done with the buffers: %w", q.id, err)
		case time.Now().After(deadline):
			return fmt.Errorf("queue %d: the device still has the buffers after %v: %w", q.id, releaseWait, err)
		}
		time.Sleep(releasePause)
	}
}
