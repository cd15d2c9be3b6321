package bustest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/qtest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// Bus is a PCI function that QEMU models. A second one on the same machine is
// what a second process finds.
type Bus struct {
	*qtest.Machine
	name  string
	id    bus.ID
	iovas []uint64
	// lent is the memory of Reserve that the driver has not populated, by its
	// first IOVA: all poison.
	lent map[uint64][]byte

	mu       sync.Mutex // the interrupts'
	kind     bus.Kind
	fds      []int
	stop     chan struct{}
	unmask   chan struct{}
	forwards sync.WaitGroup
	watch    int
	gone     bool
	closed   bool
}

var _ bus.Bus = (*Bus)(nil)

// look is how often a forwarder looks whether it is to end.
const look = 50 * time.Millisecond

// Open starts a machine with a card, and skips t where there is no QEMU.
func Open(t testing.TB, cfg qtest.Config) *Bus { return On(qtest.Start(t, cfg)) }

// On opens the card of a machine that runs.
func On(m *qtest.Machine) *Bus {
	return &Bus{
		Machine: m, name: "qtest", watch: -1,
		id: bus.ID{Vendor: m.ConfigRead16(bus.ConfigVendor), Device: m.ConfigRead16(bus.ConfigDevice), Revision: m.ConfigRead8(bus.ConfigRevision)},
	}
}

// Request plays a hot unplug: the card is to be given back.
func (b *Bus) Request() {
	b.mu.Lock()
	defer b.mu.Unlock()
	notify(b.watch)
}

// Released says whether the card has been given back.
func (b *Bus) Released() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gone
}

// Name implements bus.Bus.
func (b *Bus) Name() string { return b.name }

// ID implements bus.Bus.
func (b *Bus) ID() bus.ID { return b.id }

// bar is a BAR of a card that may have been given back.
type bar struct {
	*Bus
	number int
}

func (r bar) Read32(offset uint32) uint32 {
	if r.Released() {
		return bus.AllOnes
	}
	return r.Machine.Read32(r.number, offset)
}

func (r bar) Write32(offset, value uint32) {
	if !r.Released() {
		r.Machine.Write32(r.number, offset, value)
	}
}

// Registers implements bus.Bus.
func (b *Bus) Registers(number, size int) (*bus.Registers, error) {
	have := b.BAR(number)
	if have.IO || have.Size < uint64(size) {
		return nil, fmt.Errorf("bustest: BAR %d has %d bytes: the driver wants %d", number, have.Size, size)
	}
	return bus.FarRegisters(uint32(have.Size), bar{b, number}), nil
}

// ConfigRead implements bus.Bus.
func (b *Bus) ConfigRead(offset, size int) (uint32, error) {
	switch size {
	case 1:
		return uint32(b.ConfigRead8(uint32(offset))), nil
	case 2:
		return uint32(b.ConfigRead16(uint32(offset))), nil
	}
	return b.ConfigRead32(uint32(offset)), nil
}

// ConfigWrite implements bus.Bus.
func (b *Bus) ConfigWrite(offset, size int, value uint32) error {
	switch size {
	case 1:
		b.ConfigWrite8(uint32(offset), uint8(value))
	case 2:
		b.ConfigWrite16(uint32(offset), uint16(value))
	default:
		b.ConfigWrite32(uint32(offset), value)
	}
	return nil
}

// Expect implements bus.Bus: no memory is short here.
func (b *Bus) Expect(...int) {}

// Alloc implements bus.Bus.
func (b *Bus) Alloc(size int) (bus.Memory, error) {
	size = (size + link.PageSize - 1) &^ (link.PageSize - 1)
	region, iova := b.Memory(size)
	b.iovas = append(b.iovas, iova)
	return bus.Memory{Bytes: region, IOVA: iova}, nil
}

// poison is what memory is full of that the device must not write to: the
// machine has no IOMMU that would keep it from doing so.
const poison = 0xa5

// Reserve implements bus.Bus.
func (b *Bus) Reserve(size int) (bus.Memory, error) {
	m, err := b.Alloc(size)
	if err == nil {
		b.lend(m.IOVA, m.Bytes)
	}
	return m, err
}

func (b *Bus) lend(iova uint64, region []byte) {
	if b.lent == nil {
		b.lent = map[uint64][]byte{}
	}
	for i := range region {
		region[i] = poison
	}
	b.lent[iova] = region
}

// Populate implements bus.Bus. It fails if the device has written there.
func (b *Bus) Populate(iova uint64, size int) (huge bool, err error) {
	for first, region := range b.lent {
		off := iova - first
		if iova < first || off+uint64(size) > uint64(len(region)) {
			continue
		}
		if err := untouched(first, region); err != nil {
			return false, err
		}
		delete(b.lent, first)
		if off > 0 {
			b.lent[first] = region[:off:off]
		}
		if rest := region[off+uint64(size):]; len(rest) > 0 {
			b.lent[iova+uint64(size)] = rest
		}
		clear(region[off:][:size])
		return false, nil
	}
	return false, fmt.Errorf("bustest: nothing is reserved at %#x", iova)
}

// Discard implements bus.Bus.
func (b *Bus) Discard(iova uint64, size int) error {
	b.lend(iova, b.RAM()[iova:][:size:size])
	return nil
}

func untouched(iova uint64, region []byte) error {
	for i, v := range region {
		if v != poison {
			return fmt.Errorf("bustest: the device wrote to %#x, which it was not given", iova+uint64(i))
		}
	}
	return nil
}

// Vectors implements bus.Bus.
func (b *Bus) Vectors(k bus.Kind) int {
	const capMSI = 5 // PCI Local Bus Specification 3.0, appendix H
	switch {
	case k == bus.MSIX:
		return b.MSIXVectors()
	case k == bus.MSI && b.Capability(capMSI) != 0, k == bus.INTx:
		return 1
	}
	return 0
}

// Arm implements bus.Bus: a goroutine a vector plays the kernel's part.
func (b *Bus) Arm(kind bus.Kind, fds []int) error {
	var err error
	switch kind {
	case bus.MSIX:
		err = b.EnableMSIX(len(fds))
	case bus.MSI:
		err = b.EnableMSI()
	default:
		err = b.EnableINTx()
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kind, b.fds = kind, append([]int(nil), fds...)
	b.stop, b.unmask = make(chan struct{}), make(chan struct{}, 1)
	for i, fd := range fds {
		stop, unmask := b.stop, b.unmask
		b.forwards.Go(func() { b.forward(i, fd, kind == bus.INTx, stop, unmask) })
	}
	return nil
}

// forward writes an eventfd with each interrupt. A line stays masked until
// Unmask.
func (b *Bus) forward(vector, fd int, line bool, stop, unmask chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		err := b.WaitInterrupt(vector, time.Now().Add(look))
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		select {
		case <-stop: // the wait was ended by Disarm
			return
		default:
		}
		notify(fd)
		if line {
			select {
			case <-unmask:
			case <-stop:
				return
			}
		}
	}
}

func notify(fd int) {
	if fd >= 0 {
		_, _ = unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// Unmask implements bus.Bus.
func (b *Bus) Unmask() error {
	select {
	case b.unmask <- struct{}{}:
	default:
	}
	return nil
}

// Disarm implements bus.Bus.
func (b *Bus) Disarm() error {
	b.mu.Lock()
	fds := b.fds
	if fds != nil {
		close(b.stop)
	}
	b.fds = nil
	b.mu.Unlock()
	if fds == nil {
		return nil
	}
	for i := range fds {
		b.Wake(i)
	}
	b.forwards.Wait()
	b.DisableInterrupts()
	return nil
}

// Watch implements bus.Bus.
func (b *Bus) Watch(fd int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watch = fd
	return nil
}

// BusMaster implements bus.Bus.
func (b *Bus) BusMaster(on bool) error {
	b.SetBusMaster(on)
	return nil
}

// Reset implements bus.Bus.
func (b *Bus) Reset() error { return b.Machine.Reset() }

// Release implements bus.Bus.
func (b *Bus) Release() error {
	if b.Released() {
		return nil
	}
	b.SetBusMaster(false)
	err := b.Disarm()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
	return err
}

// Close implements bus.Bus. The machine goes on.
func (b *Bus) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	err := b.Release()
	for iova, region := range b.lent {
		err = errors.Join(err, untouched(iova, region))
	}
	for _, iova := range b.iovas {
		err = errors.Join(err, b.Free(iova))
	}
	return err
}

// Peer is the far end of the card's cable, as linktest wants one.
type Peer struct {
	*qtest.Machine
	buf [1 << 16]byte
}

// Send puts a frame on the wire.
func (p *Peer) Send(frame []byte) error { return p.SendFrame(frame) }

// Receive returns the next frame from the wire, valid until the next Receive.
func (p *Peer) Receive(timeout time.Duration) ([]byte, error) {
	n, err := p.ReceiveFrame(p.buf[:], time.Now().Add(timeout))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fmt.Errorf("bustest: %w", err)
	}
	return p.buf[:n], err
}
