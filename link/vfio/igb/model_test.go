package igb

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// TestVectors looks at the table that leads queues to vectors: the first vector
// of each queue's receive entry, by the datasheets' drawings.
func TestVectors(t *testing.T) {
	for _, c := range []struct {
		device uint16
		queues int
		want   []uint32 // IVAR0 and those after it
	}{
		// Queues q and q+8 share a word.
		{0x10c9, 16, []uint32{0x880080, 0x890081, 0x8a0082, 0x8b0083, 0x8c0084, 0x8d0085, 0x8e0086, 0x8f0087}},
		{0x10c9, 3, []uint32{0x80, 0x81, 0x82, 0, 0, 0, 0, 0}},
		// Queues 2q and 2q+1 do.
		{0x1521, 8, []uint32{0x810080, 0x830082, 0x850084, 0x870086}},
		{0x1533, 4, []uint32{0x810080, 0x830082}},
		{0x1533, 3, []uint32{0x810080, 0x82}},
	} {
		t.Run(fmt.Sprintf("%04x, %d queues", c.device, c.queues), func(t *testing.T) {
			card := newCard(t, c.device)
			d, _ := card.start(driver.Config{Queues: c.queues, Interrupts: bus.MSIX})
			for i, want := range c.want {
				if got := card.Get(regIVAR + 4*uint32(i)); got != want {
					t.Errorf("IVAR %d is %#x, want %#x", i, got, want)
				}
			}
			if got := card.Get(regIVARMISC); got != 0x8000 {
				t.Errorf("the wire's changes lead to %#x, want vector 0", got)
			}
			if n := len(card.to(regIVAR + 4*uint32(len(c.want)))); n != 0 {
				t.Errorf("a register beyond the table was written")
			}
			card.writes = nil
			last := c.queues - 1
			d.Arm(last)
			d.Disarm(last)
			if want := []write{{regEIMS, 1 << last}, {regEIMC, 1 << last}}; !slices.Equal(card.writes, want) {
				t.Errorf("arming and disarming wrote %x, want %x", card.writes, want)
			}
		})
	}
}

// TestOneVector arms without MSI-X.
func TestOneVector(t *testing.T) {
	for _, kind := range []bus.Kind{bus.MSI, bus.INTx} {
		card := newCard(t, 0x10c9)
		d, queues := card.start(driver.Config{Interrupts: kind})
		if len(queues) != 1 {
			t.Errorf("%v: %d queues, want 1", kind, len(queues))
		}
		if card.Get(regGPIE)&gpieMSIX != 0 {
			t.Errorf("%v: the NIC is in the mode of MSI-X", kind)
		}
		d.Arm(0)
		if got := card.Get(driver.RegIMS); got != causes {
			t.Errorf("%v: IMS is %#x, want %#x", kind, got, causes)
		}
		card.Set(driver.RegICR, causeRXDW|driver.CauseLSC)
		if got := d.Cause(); got != driver.LinkChanged {
			t.Errorf("%v: cause %v", kind, got)
		}
		card.Set(driver.RegICR, causeRXDW)
		if got := d.Cause(); got != 0 {
			t.Errorf("%v: cause %v of a frame", kind, got)
		}
		card.Set(driver.RegICR, bus.AllOnes)
		if got := d.Cause(); got != driver.DeviceGone {
			t.Errorf("%v: cause %v of a device that is gone", kind, got)
		}
	}
}

// TestVLANWrites: of an I350 a write to the table may get lost, so there are ten.
func TestVLANWrites(t *testing.T) {
	for device, want := range map[uint16]int{0x10c9: 1, 0x1521: 10, 0x1533: 1} {
		card := newCard(t, device)
		d, _ := card.start(driver.Config{Queues: 1})
		card.writes = nil
		if err := d.SetFilter(&driver.Filter{VLANs: []uint16{100}}); err != nil {
			t.Fatal(err)
		}
		got := card.to(driver.RegVFTA + 4*3)
		if len(got) != want || got[0] != 1<<4 {
			t.Errorf("%04x: VLAN 100 was written as %x, %d times, want %d", device, got, len(got), want)
		}
		if first := card.Get(driver.RegVFTA); first != 1 {
			t.Errorf("%04x: the table's first word is %#x: VLAN 0 is a priority", device, first)
		}
		strip := card.Get(regQueueRX + rxStrip)
		if (device == 0x1521) != (strip == rxStripCRC) {
			t.Errorf("%04x: DVMOLR is %#x", device, strip)
		}
	}
}

// TestFilterTables compares what is written for addresses and groups with what
// the datasheet says of them.
func TestFilterTables(t *testing.T) {
	card := newCard(t, 0x1533)
	d, _ := card.start(driver.Config{Queues: 1})
	f := driver.Filter{Unicast: []link.MAC{{2, 1, 2, 3, 4, 5}}, Multicast: []link.MAC{{1, 0, 0x5e, 0, 0x12, 0x34}}, AllMulticast: true, AllVLANs: true}
	if err := d.SetFilter(&f); err != nil {
		t.Fatal(err)
	}
	if low, high := card.Get(driver.RegRAL+8), card.Get(driver.RegRAH+8); low != 0x03020102 || high != 0x0504|driver.RahAV {
		t.Errorf("the second address is %#x %#x", low, high)
	}
	if high := card.Get(driver.RegRAH + 16); high&driver.RahAV != 0 {
		t.Error("a third address is valid")
	}
	const hash = 0x341 // the address's last 12 bits, 0x3412 >> 4
	if got := card.Get(driver.RegMTA + 4*(hash>>5)); got != 1<<(hash&31) {
		t.Errorf("the group's word is %#x", got)
	}
	if got := card.Get(driver.RegRCTL); got&driver.RctlMPE == 0 || got&driver.RctlUPE != 0 {
		t.Errorf("RCTL is %#x, want all multicast", got)
	}
	if got := card.Get(driver.RegVFTA + 4*127); got != bus.AllOnes {
		t.Errorf("the last word of the VLAN table is %#x", got)
	}
	if err := d.SetFilter(&driver.Filter{Unicast: make([]link.MAC, driver.GigabitTables.MaxUnicast+1)}); err == nil || !strings.Contains(err.Error(), "Promiscuous") {
		t.Errorf("too many addresses: %v", err)
	}
	if err := d.SetMAC(link.MAC{2, 0, 0, 0, 0, 9}); err != nil {
		t.Fatal(err)
	}
	if high := card.Get(driver.RegRAH); high != 0x0900|driver.RahAV {
		t.Errorf("after SetMAC the address's upper half is %#x: valid is bit 31", high)
	}
}

// TestSpreadRegisters looks at the bytes of key and table.
func TestSpreadRegisters(t *testing.T) {
	card := newCard(t, 0x1521)
	d, _ := card.start(driver.Config{Queues: 8, Interrupts: bus.MSIX, Features: driver.RSS})
	if got := card.Get(driver.RegRSSRK); got != 0xda565a6d {
		t.Errorf("the key begins with %#x", got)
	}
	if got := card.Get(driver.RegRETA + 4*31); got != 0x07060504 {
		t.Errorf("the table ends with %#x", got)
	}
	if got := card.Get(driver.RegMRQC); got&7 != mrqcRSS || got&(1<<22) == 0 {
		t.Errorf("MRQC is %#x", got)
	}
	if got := card.Get(driver.RegRXCSUM); got&driver.RxcsumPCSD == 0 {
		t.Errorf("RXCSUM is %#x: RSS wants the hash in the descriptor", got)
	}
	if err := d.SetFeatures(0); err != nil {
		t.Fatal(err)
	}
	if got := card.Get(driver.RegRETA + 4*31); got != 0 {
		t.Errorf("switched off, the table ends with %#x", got)
	}
}

// TestDescriptors looks at the bytes on the rings: little-endian on every host,
// as the datasheet draws them.
func TestDescriptors(t *testing.T) {
	card := newCard(t, 0x10c9)
	_, queues := card.start(driver.Config{Queues: 2, Interrupts: bus.MSIX, Features: driver.TXChecksum})
	q := queues[1]
	ring := func(at uint32, n int) []byte {
		return card.At(uint64(card.Get(at+driver.RingLow))|uint64(card.Get(at+driver.RingHigh))<<32, n*driver.DescriptorSize)
	}
	q.Fill([]uint32{33})
	rx := ring(regQueueRX+queueStep, 1)
	if got, want := binary.LittleEndian.Uint64(rx), card.mem.IOVA+33*2048; got != want {
		t.Errorf("the receive descriptor's buffer is at %#x, want %#x", got, want)
	}
	if got := binary.LittleEndian.Uint64(rx[8:]); got != 0 {
		t.Errorf("its second word is %#x, want 0", got)
	}
	if got := card.Get(regQueueRX + queueStep + driver.RingTail); got != 1 {
		t.Errorf("its tail is %d", got)
	}
	if got := card.Get(regQueueRX + driver.RingTail); got != 0 {
		t.Errorf("queue 0's tail is %d", got)
	}

	// 64 bytes, of which the UDP checksum is to be completed and a tag put in.
	datagram := make([]byte, 64)
	copy(datagram[12:], "\x08\x00\x45\x00\x00\x32\x00\x00\x00\x00\x40\x11")
	copy(card.mem.Buffer(64), datagram)
	plain := link.Frame{Index: 65, Off: 8, Len: 300}
	offload := link.Frame{Index: 64, Len: 64, Meta: link.Meta{Flags: link.FlagChecksumOffload | link.FlagVLANStripped, VLAN: 0x6123}}
	again := offload
	again.Index = 66
	copy(card.mem.Buffer(66), datagram)
	if n := q.Send([]link.Frame{plain, offload, again}); n != 3 {
		t.Fatalf("Send took %d of 3", n)
	}
	if got := card.Get(regQueueTX + queueStep + driver.RingTail); got != 0 {
		t.Errorf("Send has rung the doorbell: %d", got)
	}
	q.Flush()
	if got := card.Get(regQueueTX + queueStep + driver.RingTail); got != 4 {
		t.Errorf("the tail is %d, want 4: three frames and a context", got)
	}
	tx := ring(regQueueTX+queueStep, 4)
	for i, want := range []struct {
		address       uint64
		command, more uint32
	}{
		{card.mem.IOVA + 65*2048 + 8, 0x2330012c, 300 << 14}, // DEXT, IFCS, EOP; data; 300 bytes
		{0x6123<<16 | 14<<9 | 20, 0x20200400, 0},             // context: tag, header lengths; IPv4, UDP
		{card.mem.IOVA + 64*2048, 0x63300040, 64<<14 | 2<<8}, // VLE too; TXSM
		{card.mem.IOVA + 66*2048, 0x6b300040, 64<<14 | 2<<8}, // RS too: the batch's last
	} {
		d := tx[i*driver.DescriptorSize:]
		if got := binary.LittleEndian.Uint64(d); got != want.address {
			t.Errorf("descriptor %d: first word %#x, want %#x", i, got, want.address)
		}
		if a, b := binary.LittleEndian.Uint32(d[8:]), binary.LittleEndian.Uint32(d[12:]); a != want.command || b != want.more {
			t.Errorf("descriptor %d: %#x %#x, want %#x %#x", i, a, b, want.command, want.more)
		}
	}
	var bufs [4]uint32
	if n := q.Reclaim(bufs[:]); n != 0 {
		t.Errorf("%d buffers came back before anything left", n)
	}
	tx[3*driver.DescriptorSize+12] |= 1 // DD
	if n := q.Reclaim(bufs[:]); n != 3 || bufs[0] != 65 || bufs[1] != 64 || bufs[2] != 66 {
		t.Errorf("%d buffers came back: %v", n, bufs)
	}
}

// TestReceived plays the device: what it writes to descriptors, byte by byte.
func TestReceived(t *testing.T) {
	card := newCard(t, 0x1521)
	d, queues := card.start(driver.Config{Queues: 1, Features: driver.RXChecksum | driver.VLANStrip | driver.VLANInsert, RXDescriptors: 16})
	q := queues[0]
	q.Fill([]uint32{0, 1, 2, 3, 4, 5, 6})
	ring := card.At(uint64(card.Get(regQueueRX+driver.RingLow))|uint64(card.Get(regQueueRX+driver.RingHigh))<<32, 16*driver.DescriptorSize)
	const ip, l4, eop, vlan = 1 << 6, 1 << 5, 1 << 1, 1 << 3
	for i, w := range []struct {
		status      uint32
		length, tag uint16
	}{
		{1 | eop | ip | l4, 100, 0},
		{1 | eop | ip | l4 | vlan, 101, 0x2007},
		{1 | eop | ip | l4 | 1<<29, 102, 0}, // bad UDP
		{1 | eop | ip | l4 | 1<<30, 103, 0}, // bad IPv4
		{1 | eop | 1<<31, 104, 0},           // damaged
		{1, 2048, 0},                        // the first part of a longer one
		{1 | eop, 10, 0},                    // and its end
	} {
		b := ring[i*driver.DescriptorSize+8:]
		binary.LittleEndian.PutUint16(b[4:], w.length)
		binary.LittleEndian.PutUint16(b[6:], w.tag)
		binary.LittleEndian.PutUint32(b, w.status)
	}
	if !q.Pending() {
		t.Error("nothing is pending")
	}
	in := make([]link.Frame, 8)
	n := q.Receive(in)
	want := []link.Frame{
		{Index: 0, Len: 100, Meta: link.Meta{Flags: link.FlagChecksumGood}},
		{Index: 1, Len: 101, Meta: link.Meta{Flags: link.FlagChecksumGood | link.FlagVLANStripped, VLAN: 0x2007}},
		{Index: 2, Len: 102, Meta: link.Meta{Flags: link.FlagChecksumBad}},
		{Index: 3, Len: 103, Meta: link.Meta{Flags: link.FlagChecksumBad}},
	}
	if !slices.Equal(in[:n], want) {
		t.Errorf("received %+v, want %+v", in[:n], want)
	}
	if _, invalid := q.Lost(); invalid != 3 {
		t.Errorf("%d frames were dropped, want 3", invalid)
	}
	if got := card.Get(regQueueRX + driver.RingTail); got != 10 {
		t.Errorf("the tail is %d, want 10: the buffers of the dropped are on the ring again", got)
	}
	// The ring of 16 takes 15.
	if n := q.Fill(make([]uint32, 20)); n != 12 {
		t.Errorf("Fill took %d, want 12", n)
	}

	card.Set(driver.RegMPC, 3)
	card.Set(regQueueRX+rxDropped, 4)
	var c driver.Counters
	d.Count(&c)
	if lost, _ := q.Lost(); c.RXMissed != 7 || lost != 7 {
		t.Errorf("RXMissed is %d and the queue's %d, want 7", c.RXMissed, lost)
	}
}
