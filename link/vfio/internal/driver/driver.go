// Package driver is what a NIC's driver is to the link above it, and the link
// to the driver.
//
// The division of labour: the link (package vfio) keeps the contract of package
// link — which buffer is whose, what a frame may look like, waits, Stop, Drain,
// the watchdog — and the driver knows registers and descriptors. So a driver
// may rely on this:
//
//   - Fill and Send get only buffers of the region that the device does not
//     hold, and frames that lie in their buffer, with MinFrame bytes from where
//     they begin, are at least an Ethernet header long, and at most MTU plus
//     header, plus 4 bytes if they carry a tag.
//   - Receive and Fill are one goroutine's at a time, Send, Flush and Reclaim
//     another's; both may run while a method of Device does.
//   - Methods of Device are one goroutine's at a time, but for Arm, Disarm and
//     Cause, which belong to the receive side of the queue and may run meanwhile.
//   - After Stop nothing is asked of a queue that would have to reach a register;
//     should a side still be in a call, its doorbell finds a device in reset.
//
// What the driver promises: nothing allocates but Open, Start and the restarts; no wait lasts
// longer than a second; a register that reads as all ones is taken for a device
// that is gone, never for a value.
package driver

import (
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// Driver is a family of NICs in the table of package vfio.
type Driver struct {
	// Name of the family: "e1000".
	Name string
	// Models that it drives.
	Models []Model
	// Open brings the device from whatever state it is in to reset and quiet:
	// rings and interrupts off. Bus mastering is off before and after.
	Open func(b bus.Bus, m Model, cfg Config) (Device, error)
	// Free makes a device that costs nothing, for benchmarks.
	Free FreeOpener
}

// Model is one kind of NIC of a family.
type Model struct {
	Vendor, Device uint16
	Name           string // as its maker calls it: "82574L"
}

// Config is what the link asks of a device, checked against nothing yet: a
// driver refuses what the NIC cannot do, with the limit in the error.
type Config struct {
	// Queues, 0: as many as the driver thinks fit, up to what NIC and Interrupts
	// allow.
	Queues int
	// RXDescriptors and TXDescriptors of each queue, 0: the driver's default.
	RXDescriptors, TXDescriptors int
	// MTU in bytes.
	MTU int
	// Interrupts is the kind that will be armed. Without MSI-X a device has one
	// queue.
	Interrupts bus.Kind
	// Features to begin with.
	Features Features
}

// Features are what a NIC can do beside moving frames.
type Features uint32

// Features, each a bit.
const (
	// RXChecksum: FlagChecksumGood and FlagChecksumBad on received frames.
	RXChecksum Features = 1 << iota
	// TXChecksum: FlagChecksumOffload is honoured.
	TXChecksum
	// VLANStrip takes the tag out of received frames: FlagVLANStripped.
	VLANStrip
	// VLANInsert: FlagVLANStripped on a frame to send puts Frame.VLAN into it.
	VLANInsert
	// RSS spreads received flows over the queues by a hash.
	RSS
	// RXTime: Meta.Time of received frames is the NIC's, on CLOCK_MONOTONIC.
	RXTime
	// TXTime: the device implements TXTimer, and does what FlagTXTime asks for
	// as often as the NIC can.
	TXTime
	// Loopback: what is sent comes back inside the NIC, before the wire.
	Loopback
)

// AtOpen are the features that are not switched once there are rings: what is on
// them would change its meaning. Where tags are concerned descriptors do not say on
// every NIC whether a tag was taken out, and on most one register does both ways, of
// frames that wait to be sent, too.
const AtOpen = VLANStrip | VLANInsert | RXTime | TXTime | Loopback

// Info is what a device says of itself. It does not change after Open, but for
// the MAC.
type Info struct {
	// Driver and Model, for Capabilities and for people.
	Driver, Model string
	// MAC of the device: from its memory, or as SetMAC set it.
	MAC link.MAC
	// Queues, and descriptors of each.
	Queues, RXDescriptors, TXDescriptors int
	// MaxMTU in bytes.
	MaxMTU int
	// MaxUnicast is how many addresses beside its own the NIC compares.
	MaxUnicast int
	// MostSpread is over how many of the queues, from the first on, the feature RSS
	// spreads; those beyond receive nothing by it.
	MostSpread int
	// TagsApart: stripping and inserting VLAN tags are two switches.
	TagsApart bool
	// RXHeadroom is what stands before each received frame in its buffer, bytes.
	RXHeadroom int
	// Supported and On are the features that there are, and that Open switched on.
	Supported, On Features
}

// Region is the link's memory as the device reaches it. Buffer i begins at IOVA
// + i * BufferSize, a multiple of 2048.
type Region struct {
	*link.Memory
	IOVA uint64
}

// Device is an open NIC.
type Device interface {
	Info() Info
	// Start programs everything, rings last, and lets the device go; then the
	// bus master is on. Interrupts are disarmed: vector i is queue i's with
	// MSI-X, and everything is vector 0 otherwise. Changes of the wire come
	// with queue 0's.
	Start(Region) ([]Queue, error)
	// Stop makes the device quiet, in bounded time and in this order: interrupts
	// masked, receiver off, what was sent gone or DrainWait over, transmitter and
	// queues off, DMA ended, bus master off, reset. The link takes the eventfds of
	// the interrupts from it afterwards, and the memory when it closes the bus.
	Stop() error
	// Restart resets a device that hangs, and programs all but the rings; each
	// side of each queue then restarts its own ring.
	Restart() error

	// Status of the wire; Gone if the device does not answer.
	Status() Status
	// Arm lets the next received frame raise the queue's interrupt; what has
	// come before it may. Disarm is its opposite.
	Arm(queue int)
	Disarm(queue int)
	// Cause says why queue 0's interrupt came, and acknowledges it.
	Cause() Cause

	// SetFilter replaces what is received beside unicast to the own address and
	// broadcast.
	SetFilter(*Filter) error
	// SetMAC replaces the address that is compared.
	SetMAC(link.MAC) error
	// SetFeatures switches features, of those supported; AtOpen before Start only.
	SetFeatures(Features) error
	// Count adds what the NIC's registers have counted since the last Count.
	Count(*Counters)
}

// Spreader is implemented by devices that can have the feature RSS.
type Spreader interface {
	// Spread returns by what flows are spread, and SetSpread replaces it, also
	// while frames flow: those on their way go as they were.
	Spread() Spread
	SetSpread(*Spread) error
}

// Speeder is implemented by devices whose wire can be told its speed.
type Speeder interface {
	// SetSpeed lets the wire come up with no other speed than this, Mbit/s; 0: with
	// what NIC and far end agree on. It is kept over restarts.
	SetSpeed(mbits int) error
}

// TXTimer is implemented by devices that can have the feature TXTime.
type TXTimer interface {
	// SentAt is link.TXTimer's, on CLOCK_MONOTONIC.
	SentAt(bufs []uint32, times []int64)
}

// Spread says how received flows are spread over the queues.
type Spread struct {
	// Key of the Toeplitz hash over addresses and ports.
	Key [40]byte
	// Table names a queue for each value of the hash's low 7 bits.
	Table [128]uint8
}

// Status of the wire.
type Status struct {
	Up, FullDuplex bool
	Speed          int // Mbit/s; 0: not known
	Gone           bool
}

// Cause of an interrupt, bits.
type Cause uint32

// Causes.
const (
	LinkChanged Cause = 1 << iota
	DeviceGone        // the cause register read as all ones
)

// Filter is what a NIC receives beside unicast to its own address and broadcast.
type Filter struct {
	// Promiscuous: all unicast and multicast frames. AllMulticast: all multicast.
	Promiscuous, AllMulticast bool
	// Unicast addresses beside the own one; Info.MaxUnicast at most.
	Unicast []link.MAC
	// Multicast addresses; the NIC may take more than these, never less.
	Multicast []link.MAC
	// AllVLANs takes frames of any tag; otherwise only those of VLANs, of VLAN 0
	// and without a tag.
	AllVLANs bool
	VLANs    []uint16
}

// Counters of a NIC.
type Counters struct {
	RXPackets, RXBytes, RXMulticast, RXBroadcast uint64
	TXPackets, TXBytes                           uint64
	// RXMissed: no buffer, or no room in the NIC. RXErrors: damaged on the
	// wire, or longer or shorter than the wire allows.
	RXMissed, RXErrors uint64
	// TXErrors: collisions beyond retry.
	TXErrors uint64
	// TimesFreed: times of received frames that nobody had taken, see FreeTime.
	TimesFreed uint64
}

// Add adds o.
func (c *Counters) Add(o *Counters) {
	c.RXPackets += o.RXPackets
	c.RXBytes += o.RXBytes
	c.RXMulticast += o.RXMulticast
	c.RXBroadcast += o.RXBroadcast
	c.TXPackets += o.TXPackets
	c.TXBytes += o.TXBytes
	c.RXMissed += o.RXMissed
	c.RXErrors += o.RXErrors
	c.TXErrors += o.TXErrors
	c.TimesFreed += o.TimesFreed
}

// Queue is one receive ring and one transmit ring. No method blocks or allocates.
type Queue interface {
	// Receive takes up to len(frames) received frames. What the NIC damaged or
	// spread over several buffers is dropped, counted in Lost, and its buffer
	// goes back to the ring.
	Receive(frames []link.Frame) int
	// Pending says whether Receive would find something.
	Pending() bool
	// Fill puts buffers on the ring and rings its doorbell, once. It returns
	// how many there was room for.
	Fill(bufs []uint32) int
	// Send writes descriptors, without a doorbell, and returns for how many
	// frames there was room.
	Send(frames []link.Frame) int
	// Flush rings the doorbell, once, for all that was sent before.
	Flush()
	// Reclaim returns buffers whose frames have left.
	Reclaim(bufs []uint32) int
	// Done says whether Reclaim would find something.
	Done() bool

	// RestartReceive programs the receive ring anew after Device.Restart, with
	// the buffers that were on it, and returns how many of these held a frame
	// that is lost. The receive side calls it.
	RestartReceive() (lost int)
	// RestartSend programs the transmit ring anew, empty, and appends the
	// buffers that were on it. The send side calls it.
	RestartSend(bufs []uint32) []uint32

	// Lost returns frames since Start that found no buffer, and that Receive
	// dropped. Any goroutine, under the link's mutex, after Device.Count.
	Lost() (noBuffer, invalid uint64)
}
