package stack

import (
	"net/netip"
	"syscall"

	"github.com/oobnet/oobnet/link"
)

// Protocol receives the packets of an IPv4 protocol number or of an EtherType.
// UDP is one, registered through this interface like any other, by
// Stack.RegisterProtocol; examples/protocol is a small one to begin with.
type Protocol interface {
	// Receive is handed a run of packets of one batch, in the order of the
	// wire, on the device's RX thread (or on the caller of Device.Poll); for
	// several queues, on several threads at once. It settles each packet by
	// Take, Drop or Demote; one it leaves alone is dropped under
	// ReasonNoSocket. It must not block, lock or allocate. The batch and its
	// packets are the stack's again when it returns.
	Receive(b *Batch)
	// ReceiveInBand is handed an IPv4 datagram by the in-band stage: one that
	// was reassembled, had options, or was sent to an own address. It runs on
	// an ordinary goroutine, with locks of the in-band stage held, so it must
	// not call the Stack. It reports whether it is done with the datagram,
	// given to a socket or dropped (Datagram.Drop); false: nobody listens, and
	// the sender is told so (port unreachable). The bytes are its own to keep.
	ReceiveInBand(d *Datagram) bool
	// Error is told that a packet which was sent did not arrive. It runs as
	// ReceiveInBand does.
	Error(e *TransportError)
	// Purge gives back all buffers of a device that is closing: it releases
	// what is queued, and tells readers nothing.
	Purge(d *Device)
	// Attached is told of a device before it receives, and of those there are
	// when the protocol is registered.
	Attached(d *Device)
	// Close ends all of the protocol's sockets; blocked callers return
	// net.ErrClosed. Called once, by Stack.Close, or when the protocol's last
	// registration ends.
	Close()
}

// Batch is a run of received packets of one queue.
type Batch struct {
	Device *Device
	// Packets, MaxBatch at most. They stand where Device.Packet finds them.
	Packets []*Packet
	// Share is the most buffers that one socket may hold now: half of what
	// the queue has left. However many readers are slow, the queue never runs
	// dry for the others.
	Share int

	q               *rxQueue
	more            bool // other taps come after the one that has the batch
	partial, copied uint64
}

// Bytes returns the whole frame of a packet.
func (b *Batch) Bytes(p *Packet) []byte { return b.Device.mem.Bytes(p.Frame) }

// Transport returns the transport header and payload of an IPv4 packet.
func (b *Batch) Transport(p *Packet) []byte {
	return b.Device.mem.Bytes(p.Frame)[p.Offset:][:p.Len]
}

// Packet returns what the stack found in a received buffer. It belongs to the
// buffer's owner: a protocol that takes a packet needs to queue no more than
// the index.
func (d *Device) Packet(index uint32) *Packet { return &d.packets[index] }

// Cast says whom a packet is for.
type Cast uint8

// Casts.
const (
	Unicast Cast = iota
	Multicast
	Broadcast
)

// Packet is a received frame with what the stack found in it.
type Packet struct {
	Frame link.Frame
	Port  *Port
	// Src and Dst are IPv4 addresses as numbers in host order; 0 for other EtherTypes.
	Src, Dst uint32
	// Offset of the payload (behind the IPv4 or the Ethernet header) in the
	// frame, and its length without padding, bytes.
	Offset, Len uint16
	// TCI of the frame's VLAN tag; 0: untagged.
	TCI      uint16
	Cast     Cast
	TTL, TOS uint8

	// What became of the packet is for the RX step, which alone writes it and
	// reads it, also when the rest is another owner's already.
	fate   fate
	reason Reason
}

type fate uint8

const (
	fatePass fate = iota // not settled
	fateDrop
	fateDemote
	fateTaken
)

// Take makes the frame's buffer the protocol's, which gives it back by
// Device.Release. The packet counts as delivered. It goes before the buffer is
// passed on: then the packet is another owner's.
func (p *Packet) Take() { p.fate = fateTaken }

// Drop leaves the buffer with the stack and counts the packet under r.
func (p *Packet) Drop(r Reason) { p.fate, p.reason = fateDrop, r }

// Demote leaves the buffer with the stack, which hands a copy in-band and
// counts the packet under r.
func (p *Packet) Demote(r Reason) { p.fate, p.reason = fateDemote, r }

// Datagram is an IPv4 datagram from the in-band stage.
type Datagram struct {
	Port     *Port // nil: sent by this host to itself
	Protocol uint8
	Src, Dst netip.Addr
	TTL, TOS uint8
	// Transport is the transport header and the payload.
	Transport []byte
	// Verified: the transport checksum has been verified, or needs no verifying.
	Verified bool

	// dropped is a Reason, plus 1: 0 is for a datagram that was not dropped.
	dropped Reason
}

// Drop counts the datagram under r: for a protocol that is done with it and
// gave it to nobody.
func (d *Datagram) Drop(r Reason) { d.dropped = r + 1 }

// TransportError says that a packet which was sent did not arrive.
type TransportError struct {
	Protocol      uint8
	Local, Remote netip.AddrPort
	// Errno is what a kernel socket would report: ECONNREFUSED,
	// EHOSTUNREACH, ENETUNREACH, ENOPROTOOPT or EMSGSIZE.
	Errno syscall.Errno
}
