package main

import (
	"encoding/binary"
	"math"
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/rt"
	"github.com/oobnet/oobnet/stack"
)

// controller is the PLC: the cycle has it to itself, but for what is atomic.
type controller struct {
	device          *stack.Device
	plant           *drives // that the cycle moves too; nil: it is at the end of a real wire
	number          uint64  // of the last commands
	axes            [axes]axis
	drives          *udp.Conn
	commands, found []udp.Message // one for each drive, and those of drives whose address is known
	line            *packet.Conn
	frame           []byte // for the slaves: a datagram for the state of each, and the image
	mailbox         mailbox
	incomplete      atomic.Uint64 // images that not all slaves had a part in; the report reads it
}

// axis is one that the controller leads along a path.
type axis struct {
	target, position float64     // mm; where it is to be, and was last
	velocity         float64     // mm/s; the command
	answered         uint64      // number of the last commands that its drive answered
	known            atomic.Bool // a drive's address: seek writes, the cycle reads
	// silent cycles since the last answer, all those without one (lost), and the
	// largest distance from the target (worst, nm): written by the cycle, read
	// by the report.
	silent, lost, worst atomic.Uint64
}

// cycle is the loop, once: inputs, control, outputs.
func (c *controller) cycle(now rt.Tick) error {
	// For each answer that has come, one of the handlers below runs in here.
	if _, err := c.device.Poll(stack.MaxBatch); err != nil {
		return err
	}
	for i := range c.axes {
		c.axes[i].judge(c.number)
		c.axes[i].lead(path(i, now.Number))
	}
	c.send()
	c.mailbox.post()
	return c.movePlant()
}

// judge notes whether the drive has answered the last commands, and how well.
func (a *axis) judge(number uint64) {
	if a.answered != number {
		a.silent.Add(1)
		a.lost.Add(1)
		return
	}
	a.silent.Store(0)
	a.worst.Store(max(a.worst.Load(), uint64(math.Abs(a.target-a.position)*1e6)))
}

// path is where an axis is to be in a cycle, mm: each swings at a pace of its own.
func path(axis int, cycle uint64) float64 {
	return 100 * math.Sin(2*math.Pi*(0.1+0.05*float64(axis))*float64(cycle)*period.Seconds())
}

// lead makes the command that brings the axis to its next target, and what it
// is off by to nothing, in some 10 ms.
func (a *axis) lead(next float64) {
	const gain = 100 // 1/s
	a.velocity = (next-a.target)/period.Seconds() + gain*(a.target-a.position)
	a.target = next
}

// send sends the commands: one doorbell for all drives, one frame for all slaves
// (which do not look at addresses). What does not leave is not answered.
func (c *controller) send() {
	c.number++
	c.found = c.found[:0]
	for i, m := range c.commands {
		binary.BigEndian.PutUint64(m.Buf, c.number)
		binary.BigEndian.PutUint64(m.Buf[8:], math.Float64bits(c.axes[i].velocity))
		if c.axes[i].known.Load() {
			c.found = append(c.found, m)
		}
	}
	_, _ = c.drives.WriteBatch(c.found)
	for d, b := first(datagrams(c.frame)); d != nil; d, b = first(b) {
		d[1] = byte(c.number)
		for i := 0; d.command() == lrw && i < slaves; i++ {
			binary.LittleEndian.PutUint64(d.data()[i*imageSize:], math.Float64bits(c.axes[udpDrives+i].velocity))
		}
	}
	_, _ = c.line.WriteToAddr(c.frame, packet.Addr{MAC: link.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})
}

// answered takes a drive's answer. One that comes too late counts as none.
func (c *controller) answered(d udp.Datagram) {
	m, from := d.Payload(), d.From().Addr()
	for i := range udpDrives {
		if from == c.commands[i].Addr.Addr() && len(m) == messageSize && binary.BigEndian.Uint64(m) == c.number {
			c.axes[i].answered, c.axes[i].position = c.number, math.Float64frombits(binary.BigEndian.Uint64(m[8:]))
		}
	}
	d.Release()
}

// returned takes the frame that has been through the slaves. The image's working
// counter says how many of them took part, their states say which.
func (c *controller) returned(f packet.Frame) {
	var alive [slaves]bool
	d, b := first(datagrams(f.Payload()))
	for i := 0; i < slaves && d != nil && d.command() == aprd && d.index() == byte(c.number); i++ {
		alive[i] = d.counter() == 1 && len(d.data()) == 2 && d.data()[0] == alOp
		d, b = first(b)
	}
	if d != nil && d.command() == lrw && len(d.data()) == slaves*imageSize {
		if d.counter() != slaves*both {
			c.incomplete.Add(1)
		}
		for i := range slaves {
			if a := &c.axes[udpDrives+i]; alive[i] {
				a.answered, a.position = c.number, math.Float64frombits(binary.LittleEndian.Uint64(d.data()[i*imageSize:]))
			}
		}
	}
	f.Release()
}
