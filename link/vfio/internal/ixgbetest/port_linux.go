package ixgbetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbemodel"
)

// Config is what a port is made of.
type Config struct {
	Chip ixgbemodel.Chip
	// Now is the clock behind the NIC's; nil: that of the process.
	Now func() time.Duration
	// Kinds of interrupts that there are; nil: all of them.
	Kinds map[bus.Kind]int
}

// Port is a NIC at one end of a wire, as a bus for a driver. It can be opened again
// after it was closed: the device stays.
type Port struct {
	*ixgbemodel.Device
	name string

	mu   sync.Mutex
	bus  *Bus // nil while it is closed
	peer func(frame []byte)
}

// Bus is the model's bus, safe for a device that raises interrupts and reaches
// memory while the link disarms and unmaps.
type Bus struct {
	*model.Bus
	port     *Port
	gone     atomic.Bool // set by Release and pullOut, read by whoever reads registers
	released atomic.Bool // set by Release
}

// wake is what is added to an eventfd: not zero, which is all that counts.
var wake = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// New makes a port with the address 02:00:00:00:00:number. When the test is over
// the device, which is strict, must have seen nothing that its datasheet forbids.
func New(t testing.TB, number byte, c Config) *Port {
	t.Helper()
	p := &Port{name: fmt.Sprintf("port %d", number)}
	var err error
	p.Device, err = ixgbemodel.New(ixgbemodel.Config{
		Chip: c.Chip, MAC: [6]byte{2, 0, 0, 0, 0, number}, Memory: ixgbemodel.Flat(p), Now: c.Now, Strict: true,
		Interrupt: p.interrupt, Transmit: p.transmit,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Device.SetLink(true)
	t.Cleanup(func() {
		for _, v := range p.Violations() {
			t.Errorf("%s: %v", p.name, v)
		}
	})
	return p
}

// Join has what one port sends come to the other, and back.
func Join(a, b *Port) {
	a.OnTransmit(func(frame []byte) { b.Receive(frame) })
	b.OnTransmit(func(frame []byte) { a.Receive(frame) })
}

// OnTransmit has f called with each frame that leaves, on the goroutine whose
// doorbell it was.
func (p *Port) OnTransmit(f func(frame []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peer = f
}

// Open plugs the port into a new bus, as before a process opens it. From the one
// before, if it was not closed, the device is taken as from a process that was
// killed.
func (p *Port) Open(t testing.TB, c Config) *Bus {
	t.Helper()
	b, err := model.New(bus.ID{Vendor: 0x8086, Device: uint16(c.Chip)}, ixgbemodel.Size)
	if err != nil {
		t.Fatal(err)
	}
	mine := &Bus{Bus: b, port: p}
	b.OnRead, b.OnWrite = mine.read, mine.write
	if b.VectorCounts = c.Kinds; c.Kinds == nil {
		b.VectorCounts = map[bus.Kind]int{bus.INTx: 1, bus.MSI: 1, bus.MSIX: 64}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bus != nil {
		p.bus.gone.Store(true) // read by whoever reads registers
	}
	p.bus = mine
	return mine
}

// At implements ixgbemodel.Mapped: what the bus maps, while it is the master.
func (p *Port) At(iova uint64, size int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bus == nil || !p.bus.Master {
		return nil
	}
	return p.bus.At(iova, size)
}

// interrupt writes the eventfd of a vector, if it is armed.
func (p *Port) interrupt(vector int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bus == nil {
		return
	}
	if fd := p.bus.Interrupt(vector); fd >= 0 {
		// It fails only if the counter is full, and then it is readable anyway.
		_, _ = unix.Write(fd, wake)
	}
}

func (p *Port) transmit(frame []byte) {
	p.mu.Lock()
	f := p.peer
	p.mu.Unlock()
	if f != nil {
		f(frame)
	}
}

// Alloc implements bus.Bus.
func (b *Bus) Alloc(size int) (bus.Memory, error) {
	b.port.mu.Lock()
	defer b.port.mu.Unlock()
	return b.Bus.Alloc(size)
}

// Reserve implements bus.Bus.
func (b *Bus) Reserve(size int) (bus.Memory, error) {
	b.port.mu.Lock()
	defer b.port.mu.Unlock()
	return b.Bus.Reserve(size)
}

// Populate implements bus.Bus.
func (b *Bus) Populate(iova uint64, size int) (bool, error) {
	b.port.mu.Lock()
	defer b.port.mu.Unlock()
	return b.Bus.Populate(iova, size)
}

// Discard implements bus.Bus.
func (b *Bus) Discard(iova uint64, size int) error {
	b.port.mu.Lock()
	defer b.port.mu.Unlock()
	return b.Bus.Discard(iova, size)
}

// Arm implements bus.Bus.
func (b *Bus) Arm(kind bus.Kind, fds []int) error {
	b.port.mu.Lock()
	defer b.port.mu.Unlock()
	return b.Bus.Arm(kind, fds)
}

// Disarm implements bus.Bus.
func (b *Bus) Disarm() error {
	b.port.mu.Lock()
	defer b.port.mu.Unlock()
	return b.Bus.Disarm()
}

// BusMaster implements bus.Bus.
func (b *Bus) BusMaster(on bool) error {
	b.port.mu.Lock()
	defer b.port.mu.Unlock()
	return b.Bus.BusMaster(on)
}

func (b *Bus) read(offset uint32) uint32 {
	if b.gone.Load() { // set by Release and pullOut
		return bus.AllOnes
	}
	return b.port.Read32(offset)
}

func (b *Bus) write(offset, value uint32) {
	if !b.gone.Load() { // set by Release and pullOut
		b.port.Write32(offset, value)
	}
}

// pullOut has the device vanish: registers read as all ones.
func (p *Port) pullOut() {
	p.mu.Lock()
	if p.bus != nil {
		p.bus.gone.Store(true) // read by whoever reads registers
	}
	p.mu.Unlock()
	p.Device.Reset()
}

// Request asks for the device, as the system does that wants it back.
func (b *Bus) Request() {
	// It fails only if the counter is full, and then it is readable anyway.
	_, _ = unix.Write(b.Watched(), wake)
}

// Release implements bus.Bus.
func (b *Bus) Release() error {
	b.gone.Store(true)     // read by whoever reads registers
	b.released.Store(true) // read by Released
	b.port.Device.Reset()
	return b.BusMaster(false)
}

// Released says whether Release was called.
func (b *Bus) Released() bool { return b.released.Load() } // written by Release

// Reset implements bus.Bus.
func (b *Bus) Reset() error {
	b.port.Device.Reset()
	return b.Bus.Reset()
}

// Close implements bus.Bus. A device that is still at work reaches no memory then,
// which it reports.
func (b *Bus) Close() error {
	b.port.mu.Lock()
	if b.port.bus == b {
		b.port.bus = nil
	}
	b.port.mu.Unlock()
	return b.Bus.Close()
}
