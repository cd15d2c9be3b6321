// Package bus is the seam between a NIC's driver and whatever the NIC hangs on:
// the kernel's VFIO (package kernel), a device model in another process, plain
// memory (package model). A driver sees registers, configuration space, memory
// that the device can reach, and interrupts; it cannot look through.
//
// A bus is passive: it starts no goroutine that the driver could notice, and
// keeps no policy. But for Registers and Memory, which are used without a call
// into the bus, and for Unmask, its methods belong to one goroutine at a time.
package bus

import "fmt"

// ID is what a PCI function says it is.
type ID struct {
	Vendor, Device uint16
	Revision       uint8
}

func (id ID) String() string { return fmt.Sprintf("%04x:%04x", id.Vendor, id.Device) }

// Kind is a kind of interrupt.
type Kind int

// Kinds of interrupts, the least first.
const (
	None Kind = iota // the driver polls
	INTx             // a line, level-triggered, masked by the bus until Unmask
	MSI
	MSIX
)

func (k Kind) String() string {
	switch k {
	case None:
		return "none"
	case INTx:
		return "INTx"
	case MSI:
		return "MSI"
	case MSIX:
		return "MSI-X"
	}
	return fmt.Sprintf("interrupt kind %d", int(k))
}

// Bus is one PCI function in our hands.
type Bus interface {
	// Name is how the function is called in errors: a PCI address.
	Name() string
	// ID is read once, when the bus is opened.
	ID() ID

	// Registers maps a memory BAR, size bytes of it at least. The value lives
	// until Close and is safe for concurrent use.
	Registers(bar, size int) (*Registers, error)
	// ConfigRead and ConfigWrite access configuration space, size 1, 2 or 4
	// bytes at an aligned offset.
	ConfigRead(offset, size int) (uint32, error)
	ConfigWrite(offset, size int, value uint32) error

	// Expect says what the next calls of Alloc and Populate will ask for, so that an
	// error of theirs can say how much memory it comes to in all. It reserves nothing,
	// and takes the place of what was expected before.
	Expect(sizes ...int)

	// Alloc maps size bytes, zeroed, for the processor and for the device, one
	// after the other for both. It is given back by Close alone: whoever holds
	// a slice of it must not outlive that.
	Alloc(size int) (Memory, error)

	// Reserve is Alloc of addresses with nothing behind them: the processor and
	// the device fault there until Populate has put memory behind a part.
	Reserve(size int) (Memory, error)
	// Populate maps size bytes of memory, zeroed, at addresses of Reserve, whole
	// pages, for the processor and then for the device; it says whether they lie
	// in reserved huge pages. On an error there is nothing, as before.
	Populate(iova uint64, size int) (huge bool, err error)
	// Discard undoes one Populate, of the same addresses: for the device, and
	// then for the processor.
	Discard(iova uint64, size int) error

	// Vectors is how many interrupts of a kind the function has; 0: none.
	Vectors(Kind) int
	// Arm has vector i write fds[i], an eventfd, with each interrupt. All
	// vectors are armed at once; Arm again only after Disarm.
	Arm(kind Kind, fds []int) error
	// Unmask lets the next INTx come: the bus masks the line with each.
	Unmask() error
	// Disarm takes the eventfds back. Idempotent.
	Disarm() error
	// Watch has the bus write fd, an eventfd, when the function is to be given
	// back (it is being unplugged) or has failed beyond repair.
	Watch(fd int) error

	// BusMaster switches the function's right to reach memory.
	BusMaster(on bool) error
	// Reset resets the function. It wraps link.ErrNotSupported where neither
	// function nor bus can; then the driver's own reset has to do.
	Reset() error
	// Release gives the function back at once, before Close: from then on
	// registers read as all ones, writes to them go nowhere, and the device
	// reaches no memory. What Alloc returned stays until Close. Idempotent.
	Release() error
	// Close releases the function if need be and unmaps everything. Idempotent.
	Close() error
}

// Memory is what processor and device share.
type Memory struct {
	// Bytes as the processor sees them, page-aligned.
	Bytes []byte
	// IOVA is where the device sees the first of them. It is below MaxIOVA.
	IOVA uint64
	// Huge: it lies in reserved huge pages.
	Huge bool
}

// MaxIOVA bounds the addresses that devices are given: the smallest IOMMUs
// translate 39 bits.
const MaxIOVA = 1 << 39

// Configuration space of a PCI function, byte offsets and bits (PCI Local Bus
// Specification 3.0, 6.1 and 6.2).
const (
	ConfigVendor   = 0x00 // 16 bits
	ConfigDevice   = 0x02 // 16 bits
	ConfigCommand  = 0x04 // 16 bits
	ConfigRevision = 0x08 // 8 bits

	CommandMemory     = 1 << 1
	CommandBusMaster  = 1 << 2
	CommandINTxMasked = 1 << 10
)

// AllOnes is what a register reads as when the device is gone (PCI Express Base
// Specification, 2.3.2: completion with unsupported request).
const AllOnes = 0xffffffff
