package e1000

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// card is an 82574 made of memory, with the driver on it: buffers of 2 KiB, 32
// to receive and 32 to send, on rings of 16.
type card struct {
	*model.Bus
	mem driver.Region
	q   *queue
}

func newCard(t *testing.T, on driver.Features) *card {
	t.Helper()
	b, err := model.New(bus.ID{Vendor: 0x8086, Device: id82574}, 128<<10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	newFree(b)
	d, err := open(b, Driver.Models[2], driver.Config{MTU: 1500, RXDescriptors: 16, TXDescriptors: 16, Features: on})
	if err != nil {
		t.Fatal(err)
	}
	layout := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 32, TXBuffers: 32}
	memory, err := b.Alloc(layout.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	mem, err := link.NewMemory(memory.Bytes, layout)
	if err != nil {
		t.Fatal(err)
	}
	c := &card{Bus: b, mem: driver.Region{Memory: mem, IOVA: memory.IOVA}}
	if _, err := d.Start(c.mem); err != nil {
		t.Fatal(err)
	}
	c.q = &d.(*device).queue
	return c
}

// ring is what the device sees of a ring.
func (c *card) ring(at uint32) []byte {
	return c.At(uint64(c.Get(at+driver.RingLow))|uint64(c.Get(at+driver.RingHigh))<<32, 16*driver.DescriptorSize)
}

// TestDescriptors looks at the bytes on the rings: little-endian on every host,
// as the manual draws them.
func TestDescriptors(t *testing.T) {
	c := newCard(t, driver.TXChecksum|driver.VLANStrip|driver.VLANInsert)
	q := c.q
	q.Fill([]uint32{3})
	rx := c.ring(regRX)
	if got, want := binary.LittleEndian.Uint64(rx), c.mem.IOVA+3*2048; got != want {
		t.Errorf("the receive descriptor's buffer is at %#x, want %#x", got, want)
	}
	if got := binary.LittleEndian.Uint64(rx[8:]); got != 0 {
		t.Errorf("its second word is %#x, want 0", got)
	}

	// 64 bytes, of which the UDP checksum is to be completed and a tag put in.
	copy(c.mem.Buffer(32)[12:], "\x08\x00\x45\x00\x00\x32\x00\x00\x00\x00\x40\x11")
	plain := link.Frame{Index: 33, Off: 8, Len: 300}
	offload := link.Frame{Index: 32, Len: 64, Meta: link.Meta{Flags: link.FlagChecksumOffload | link.FlagVLANStripped, VLAN: 0x6123}}
	if n := q.Send([]link.Frame{plain, offload}); n != 2 {
		t.Fatalf("Send took %d of 2", n)
	}
	if got := c.Get(regTX + driver.RingTail); got != 0 {
		t.Errorf("Send has rung the doorbell: %d", got)
	}
	q.Flush()
	if got := c.Get(regTX + driver.RingTail); got != 3 {
		t.Errorf("the tail is %d, want 3: two frames and a context", got)
	}
	tx := c.ring(regTX)
	for i, want := range []struct{ first, second uint64 }{
		{c.mem.IOVA + 33*2048 + 8, 0x0300012c},       // IFCS, EOP; 300 bytes
		{34<<32 | 40<<40, 0x20000000},                // context: where the checksum begins, and stands
		{c.mem.IOVA + 32*2048, 0x6123_0200_6b100040}, // tag; TXSM; VLE, DEXT, RS, IFCS, EOP; data; 64 bytes
	} {
		d := tx[i*driver.DescriptorSize:]
		if a, b := binary.LittleEndian.Uint64(d), binary.LittleEndian.Uint64(d[8:]); a != want.first || b != want.second {
			t.Errorf("descriptor %d: %#x %#x, want %#x %#x", i, a, b, want.first, want.second)
		}
	}
	var bufs [4]uint32
	if n := q.Reclaim(bufs[:]); n != 0 {
		t.Errorf("%d buffers came back before anything left", n)
	}
	tx[2*driver.DescriptorSize+12] |= 1 // DD
	if n := q.Reclaim(bufs[:]); n != 2 || bufs[0] != 33 || bufs[1] != 32 {
		t.Errorf("%d buffers came back: %v", n, bufs)
	}
}

// TestStopOrder looks at the order of a stop: nothing new comes while what was sent
// leaves, and the bus master is off before the reset.
func TestStopOrder(t *testing.T) {
	c := newCard(t, 0)
	c.q.Fill([]uint32{3})
	if n := c.q.Send([]link.Frame{{Index: 32, Len: 60}}); n != 1 {
		t.Fatalf("Send took %d", n)
	}
	c.q.Flush()
	var steps []string
	step := func(s string) {
		if len(steps) == 0 || steps[len(steps)-1] != s {
			steps = append(steps, s)
		}
	}
	write, read := c.OnWrite, c.OnRead
	c.OnWrite = func(offset, value uint32) {
		switch {
		case offset == driver.RegIMC && value == bus.AllOnes:
			step("mask")
		case offset == driver.RegRCTL && value&driver.RctlEN == 0:
			step("receiver off")
		case offset == driver.RegTCTL && value&driver.TctlEN == 0:
			step("transmitter off")
		case offset == driver.RegCTRL && value&driver.CtrlRST != 0:
			step(fmt.Sprintf("reset, bus master %v", c.Master))
		case offset == driver.RegCTRL && value&driver.CtrlMasterOff != 0:
			step("DMA ends")
		}
		write(offset, value)
	}
	c.OnRead = func(offset uint32) uint32 {
		if offset == regTX+driver.RingHead && c.Get(offset) != c.Get(regTX+driver.RingTail) {
			step("drain")
			c.Set(offset, c.Get(regTX+driver.RingTail)) // it leaves
			return 0
		}
		return read(offset)
	}
	if err := c.q.dev.Stop(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"mask", "receiver off", "drain", "mask", "receiver off", "transmitter off", "DMA ends", "reset, bus master false", "mask", "receiver off", "transmitter off",
	}
	if !slices.Equal(steps, want) {
		t.Errorf("stopped by %q, want %q", steps, want)
	}
}

// TestReceived plays the device: what it writes to descriptors, byte by byte.
func TestReceived(t *testing.T) {
	c := newCard(t, driver.RXChecksum|driver.VLANStrip|driver.VLANInsert)
	c.q.Fill([]uint32{0, 1, 2, 3, 4, 5, 6})
	ring := c.ring(regRX)
	const done, eop, ignore, vlan, l4, ip = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 6
	for i, w := range []struct {
		length         uint16
		status, errors uint8
		tag            uint16
	}{
		{100, done | eop | ip | l4, 0, 0},
		{101, done | eop | vlan, 0, 0x2007},
		{102, done | eop | ip | l4, 1 << 5, 0}, // bad UDP
		{103, done | eop | ip | l4 | ignore, 1 << 6, 0},
		{104, done | eop, 1, 0}, // damaged
		{2048, done, 0, 0},      // the first part of a longer one
		{10, done | eop, 0, 0},  // and its end
	} {
		b := ring[i*driver.DescriptorSize+8:]
		binary.LittleEndian.PutUint16(b, w.length)
		b[4], b[5] = w.status, w.errors
		binary.LittleEndian.PutUint16(b[6:], w.tag)
	}
	in := make([]link.Frame, 8)
	n := c.q.Receive(in)
	want := []link.Frame{
		{Index: 0, Len: 100, Meta: link.Meta{Flags: link.FlagChecksumGood}},
		{Index: 1, Len: 101, Meta: link.Meta{Flags: link.FlagVLANStripped, VLAN: 0x2007}},
		{Index: 2, Len: 102, Meta: link.Meta{Flags: link.FlagChecksumBad}},
		{Index: 3, Len: 103},
	}
	if !slices.Equal(in[:n], want) {
		t.Errorf("received %+v, want %+v", in[:n], want)
	}
	if _, invalid := c.q.Lost(); invalid != 3 {
		t.Errorf("%d frames were dropped, want 3", invalid)
	}
}

// TestCounted: a frame that was missed is missed once, also over a restart, which
// clears the registers.
func TestCounted(t *testing.T) {
	c := newCard(t, 0)
	d := c.q.dev
	left := map[uint32]uint32{driver.RegMPC: 3, driver.RegGPRC: 10, driver.RegGORCL: 640, regCEXTERR: 2, driver.RegECOL: 1, driver.RegLATECOL: 4}
	next := c.OnRead
	c.OnRead = func(offset uint32) uint32 {
		if v, ok := left[offset]; ok {
			delete(left, offset) // cleared by reading
			return v
		}
		return next(offset)
	}
	if err := d.Restart(); err != nil {
		t.Fatal(err)
	}
	left[driver.RegMPC] = 4
	var got driver.Counters
	d.Count(&got)
	d.Count(&got)
	want := driver.Counters{RXPackets: 10, RXBytes: 640, RXMissed: 7, RXErrors: 2, TXErrors: 5}
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if lost, _ := c.q.Lost(); lost != 7 {
		t.Errorf("the queue has lost %d frames, want 7", lost)
	}
}
