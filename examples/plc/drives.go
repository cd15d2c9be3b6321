package main

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sync/atomic"

	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// The plant: the first axes have drives that speak UDP, each with an address of
// its own; the others are slaves in a line of EtherCAT.
const (
	udpDrives, slaves = 8, 4
	axes              = udpDrives + slaves

	cyclicPort  = 5000 // number of the cycle, 64 bits, and velocity, 64; the position comes back in its place
	messageSize = 8 + 8
	mailboxPort = 5001 // number of a parameter, 16 bits; it comes back with mailboxSize bytes
	mailboxSize = 1024
	imageSize   = 8 // bytes of an axis in the image: velocity there, position back
)

// driveAddr is where the drive of an axis is.
func driveAddr(axis int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(11 + axis)}) }

// drives simulates all of them, at the far end of the wire.
type drives struct {
	device *stack.Device
	line   *packet.Conn
	axes   [axes]drive
}

// drive is a motor with its amplifier, which does at once what it is told.
type drive struct {
	cyclic, mailbox *udp.Conn   // nil of a slave
	position        float64     // mm
	silent          atomic.Bool // does not answer: set by tests, read by the drive
}

// move moves for a period with a velocity, and returns where that has led: both
// as bits of a float64.
func (a *drive) move(velocity uint64) (position uint64) {
	a.position += math.Float64frombits(velocity) * period.Seconds()
	return math.Float64bits(a.position)
}

// answer is told a velocity, and answers with the position, in place.
func (a *drive) answer(d udp.Datagram) {
	if m := d.Payload(); len(m) == messageSize && !a.silent.Load() {
		binary.BigEndian.PutUint64(m[8:], a.move(binary.BigEndian.Uint64(m[8:])))
		_, _ = a.cyclic.WriteToUDPAddrPort(m, d.From()) // what does not leave the stack has counted
	}
	d.Release()
}

// tell answers a question in the mailbox.
func (a *drive) tell(d udp.Datagram) {
	if m := d.Payload(); len(m) == 2 && !a.silent.Load() {
		var text [mailboxSize]byte
		copy(text[:], m)
		_, _ = a.mailbox.WriteToUDPAddrPort(text[:], d.From())
	}
	d.Release()
}

// pass lets a frame pass through the line of slaves, and sends it back.
func (d *drives) pass(f packet.Frame) {
	for i := range slaves {
		d.axes[udpDrives+i].process(i, datagrams(f.Payload()))
	}
	f.Bytes()[6] |= 2 // the first slave marks the source, so that a frame on its way back is known
	_, _ = d.line.WriteFrame(f.Bytes())
	f.Release()
}

// process is what the slave at a place in the line does with what passes. A
// silent one does no more than let it through.
func (a *drive) process(place int, b []byte) {
	for d, rest := first(b); d != nil; d, rest = first(rest) {
		data, at, silent := d.data(), place*imageSize, a.silent.Load()
		switch {
		case d.command() == aprd && d.pass() && len(data) == 2 && !silent:
			binary.LittleEndian.PutUint16(data, alOp)
			d.count(1)
		case d.command() == lrw && len(data) >= at+imageSize && !silent:
			binary.LittleEndian.PutUint64(data[at:], a.move(binary.LittleEndian.Uint64(data[at:])))
			d.count(both)
		}
	}
}
