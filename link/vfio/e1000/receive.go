package e1000

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// A legacy receive descriptor (SDM 3.2.3, 82574 7.1.4): first word the buffer's
// address, second word what became of it:
//
//	0-15 length    16-31 checksum    32-39 status    40-47 errors    48-63 tag
const (
	rxDone    = 1 << 32 // DD: the device has written the descriptor
	rxEnd     = 1 << 33 // EOP: the frame ends in this buffer
	rxIgnore  = 1 << 34 // IXSM: no checksum was looked at
	rxTagged  = 1 << 35 // VP: a tag, which is in the descriptor if it was stripped
	rxL4      = 1 << 37 // TCPCS: a UDP or TCP checksum was looked at
	rxIP      = 1 << 38 // IPCS: an IPv4 checksum was looked at
	rxBadL4   = 1 << 45 // TCPE
	rxBadIP   = 1 << 46 // IPE
	rxDamaged = 0x97 << 40
)

// queue is the only queue: a receive ring and a transmit ring.
type queue struct {
	dev  *device
	regs *bus.Registers
	driver.RXRing
	chained bool   // the last descriptor was not the end of its frame
	longest uint16 // frames beyond are not for us, bytes
	// pausedAt is when the receiver was switched off, CLOCK_MONOTONIC ns.
	pausedAt int64
	// strip is written by the control path, read by the receive side: tags are
	// taken out.
	strip atomic.Bool
	// invalid is written by the receive side and read by Lost.
	invalid atomic.Uint64
	_       [64]byte // the sides are two goroutines': a cache line apart
	driver.TXRing
	context uint64 // the last context's first word; 0: none
	mem     *link.Memory
}

var _ driver.Queue = (*queue)(nil)

// init makes both rings.
func (q *queue) init(d *device) error {
	q.dev, q.regs, q.mem, q.longest = d, d.Regs, d.Region.Memory, uint16(d.Config.MTU+driver.FrameOverhead-4)
	if err := q.RXRing.Make(d.Bus, d.Regs, d.Region, d.About.RXDescriptors, regRX, rxDone); err != nil {
		return err
	}
	return q.TXRing.Make(d.Bus, d.Regs, d.Region, d.About.TXDescriptors, regTX, txReport, txDone)
}

// startReceive points the device at an empty ring: SDM 14.4.
func (q *queue) startReceive() {
	q.RXRing.Point()
	q.regs.Write32(regRX+driver.RingControl, rxdctlGRAN|wthresh1)
}

// Receive implements driver.Queue.
//
//oobnet:hot
func (q *queue) Receive(frames []link.Frame) int {
	n, dropped, strip := 0, uint64(0), q.strip.Load()
	for n < len(frames) {
		buffer, w, ok := q.Next()
		if !ok {
			break
		}
		if w&(rxEnd|rxDamaged) != rxEnd || q.chained || uint16(w) > q.longest {
			q.chained = w&rxEnd == 0
			q.Post(buffer)
			dropped++
			continue
		}
		frames[n] = link.Frame{Index: buffer, Len: uint16(w), Meta: link.Meta{Flags: checksums(w)}}
		if strip && w&rxTagged != 0 {
			frames[n].VLAN = uint16(w >> 48)
			frames[n].Flags |= link.FlagVLANStripped
		}
		n++
	}
	if dropped != 0 {
		q.invalid.Add(dropped)
		q.RingRX()
	}
	return n
}

// checksums says what the device found (82574 7.1.10).
//
//oobnet:hot
func checksums(w uint64) link.Flags {
	if w&rxIgnore != 0 {
		return 0
	}
	return driver.Checksums(w, rxIP, rxL4, rxBadIP|rxBadL4)
}

// RestartReceive implements driver.Queue.
func (q *queue) RestartReceive() (lost int) {
	bufs, lost := q.Empty()
	q.receiveAgain(bufs)
	return lost
}

// receiveAgain programs the empty ring anew, with buffers.
func (q *queue) receiveAgain(bufs []uint32) {
	q.chained = false
	q.startReceive()
	q.dev.enableReceive()
	q.Fill(bufs)
	// A read waits for the writes before it: from here on the device receives.
	q.regs.Read32(driver.RegSTATUS)
}

// enableReceive sets RCTL.EN. The control path may change RCTL meanwhile: it
// stores first and looks at receiving, we set receiving first and look again.
func (d *device) enableReceive() {
	d.receiving.Store(true)
	for {
		v := d.rctl.Load()
		d.Regs.Write32(driver.RegRCTL, v|driver.RctlEN)
		if d.rctl.Load() == v {
			return
		}
	}
}
