package ixgbe

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// TestVectors looks at the table that leads queues to vectors, by the datasheet's
// drawing: two queues a word, receive in the first and third entry.
func TestVectors(t *testing.T) {
	card := newCard(t, idFiber)
	card.Set(regIVAR+4*40, 0xdeadbeef) // what a reset may leave
	d, queues := card.start(driver.Config{Queues: 64, Interrupts: bus.MSIX})
	if len(queues) != 64 {
		t.Fatalf("%d queues", len(queues))
	}
	for word, want := range map[uint32]uint32{0: 0x810080, 1: 0x830082, 31: 0xbf00be, 32: 0, 40: 0, 63: 0} {
		if got := card.Get(regIVAR + 4*word); got != want {
			t.Errorf("IVAR %d is %#x, want %#x", word, got, want)
		}
	}
	if got := card.Get(regIVARMISC); got != 0x8000 {
		t.Errorf("the wire's changes lead to %#x, want vector 0", got)
	}
	if got := card.Get(regEIAC); got != 0xffff {
		t.Errorf("EIAC is %#x", got)
	}
	if n := len(card.to(regEITRMore + 4*(63-24))); n != 1 || len(card.to(regEITR+4*24)) != 0 {
		t.Error("the gap of vector 63 was not written where it is")
	}
	for queue, want := range map[int][]write{
		0:  {{regEIMS, 1 | eicrLSC}, {regEIMC, 1 | eicrLSC}},
		15: {{regEIMSEX, 1 << 15}, {regEIMCEX, 1 << 15}},
		63: {{regEIMSEX + 4, 1 << 31}, {regEIMCEX + 4, 1 << 31}},
	} {
		card.writes = nil
		d.Arm(queue)
		d.Disarm(queue)
		if !slices.Equal(card.writes, want) {
			t.Errorf("queue %d: arming and disarming wrote %x, want %x", queue, card.writes, want)
		}
	}
}

// TestOneVector arms without MSI-X.
func TestOneVector(t *testing.T) {
	for _, kind := range []bus.Kind{bus.MSI, bus.INTx} {
		card := newCard(t, idFiber)
		d, queues := card.start(driver.Config{Interrupts: kind})
		if len(queues) != 1 || card.Get(regGPIE)&gpieMSIX != 0 || card.Get(regIVAR) != 0x80 {
			t.Errorf("%v: %d queues, GPIE %#x, IVAR %#x", kind, len(queues), card.Get(regGPIE), card.Get(regIVAR))
		}
		d.Arm(0)
		if got := card.Get(regEIMS); got != 1|eicrLSC {
			t.Errorf("%v: EIMS is %#x", kind, got)
		}
		for value, want := range map[uint32]driver.Cause{1 | eicrLSC: driver.LinkChanged, 1: 0, bus.AllOnes: driver.DeviceGone} {
			card.Set(regEICR, value)
			if got := d.Cause(); got != want {
				t.Errorf("%v: EICR %#x: cause %v, want %v", kind, value, got, want)
			}
		}
	}
}

// TestFilterTables compares what is written for addresses and groups with what
// the datasheet says of them. Only to go promiscuous the receiver is switched off.
func TestFilterTables(t *testing.T) {
	card := newModel(t, idFiber)
	d, _ := card.start(driver.Config{Queues: 1})
	set := func(f *driver.Filter) {
		t.Helper()
		card.writes = nil
		if err := d.SetFilter(f); err != nil {
			t.Fatal(err)
		}
	}
	set(&driver.Filter{Unicast: []link.MAC{{2, 1, 2, 3, 4, 5}}, Multicast: []link.MAC{{1, 0, 0x5e, 0, 0x12, 0x34}}, VLANs: []uint16{100}})
	if low, high := card.OnRead(regRAL+8), card.OnRead(regRAL+12); low != 0x03020102 || high != 0x0504|driver.RahAV {
		t.Errorf("the second address is %#x %#x", low, high)
	}
	if high := card.OnRead(regRAL + 20); high&driver.RahAV != 0 {
		t.Error("a third address is valid")
	}
	const hash = 0x341 // the address's last 12 bits, 0x3412 >> 4
	if got := card.OnRead(driver.RegMTA + 4*(hash>>5)); got != 1<<(hash&31) {
		t.Errorf("the group's word is %#x", got)
	}
	if first, third := card.OnRead(regVFTA), card.OnRead(regVFTA+4*3); first != 1 || third != 1<<4 {
		t.Errorf("VLANs 0 and 100 are %#x %#x", first, third)
	}
	set(&driver.Filter{AllMulticast: true, AllVLANs: true})
	if len(card.to(regFCTRL)) != 0 || card.OnRead(driver.RegMTA+4*127) != bus.AllOnes || card.OnRead(regVFTA+4*127) != bus.AllOnes {
		t.Error("all multicast and all VLANs are not two tables that are full")
	}
	set(&driver.Filter{Promiscuous: true})
	card.order(clears(regRXCTRL, rxctrlRXEN), sets(regFCTRL, fctrlUPE), sets(regRXCTRL, rxctrlRXEN))
	set(&driver.Filter{})
	card.order(clears(regRXCTRL, rxctrlRXEN), clears(regFCTRL, fctrlUPE), sets(regRXCTRL, rxctrlRXEN))
	if err := d.SetFilter(&driver.Filter{Unicast: make([]link.MAC, tables.MaxUnicast+1)}); err == nil || !strings.Contains(err.Error(), "Promiscuous") {
		t.Errorf("too many addresses: %v", err)
	}
	if err := d.SetMAC(link.MAC{2, 0, 0, 0, 0, 9}); err != nil {
		t.Fatal(err)
	}
	if high := card.OnRead(regRAL + 4); high != 0x0900|driver.RahAV {
		t.Errorf("after SetMAC the address's upper half is %#x: valid is bit 31", high)
	}
}

// TestSpreadRegisters looks at the bytes of key and table: of more queues than the
// hash reaches it names the first 16.
func TestSpreadRegisters(t *testing.T) {
	card := newCard(t, idFiber)
	d, _ := card.start(driver.Config{Queues: 64, Interrupts: bus.MSIX, Features: driver.RSS})
	if got := card.Get(driver.RegRSSRK); got != 0xda565a6d {
		t.Errorf("the key begins with %#x", got)
	}
	if got := card.Get(driver.RegRETA + 4*31); got != 0x0f0e0d0c {
		t.Errorf("the table ends with %#x", got)
	}
	if got := card.Get(driver.RegMRQC); got&15 != mrqcRSS || got&(1<<22) == 0 {
		t.Errorf("MRQC is %#x", got)
	}
	if got := card.Get(regRXCSUM); got&driver.RxcsumPCSD == 0 {
		t.Errorf("RXCSUM is %#x: RSS wants the hash in the descriptor", got)
	}
	if err := d.SetFeatures(0); err != nil {
		t.Fatal(err)
	}
	if got := card.Get(driver.RegRETA + 4*31); got != 0 {
		t.Errorf("switched off, the table ends with %#x", got)
	}
}

// ring is a ring as the device sees it.
func (c *card) ring(at uint32, n int) []byte {
	return c.At(uint64(c.Get(at+driver.RingLow))|uint64(c.Get(at+driver.RingHigh))<<32, n*driver.DescriptorSize)
}

// TestDescriptors looks at the bytes on the rings: little-endian on every host,
// as the datasheet draws them.
func TestDescriptors(t *testing.T) {
	card := newCard(t, idFiber)
	_, queues := card.start(driver.Config{Queues: 2, Interrupts: bus.MSIX, Features: driver.TXChecksum})
	q := queues[1]
	const rxAt, txAt = regQueueRX + driver.AdvancedStep, regQueueTX + driver.AdvancedStep
	q.Fill([]uint32{33})
	rx := card.ring(rxAt, 1)
	if got, want := binary.LittleEndian.Uint64(rx), card.mem.IOVA+33*2048; got != want {
		t.Errorf("the receive descriptor's buffer is at %#x, want %#x", got, want)
	}
	if got := binary.LittleEndian.Uint64(rx[8:]); got != 0 {
		t.Errorf("its second word is %#x, want 0", got)
	}
	if a, b := card.Get(rxAt+driver.RingTail), card.Get(regQueueRX+driver.RingTail); a != 1 || b != 0 {
		t.Errorf("the tails are %d and of queue 0 %d", a, b)
	}

	// 64 bytes, of which the UDP checksum is to be completed and a tag put in.
	datagram := make([]byte, 64)
	copy(datagram[12:], "\x08\x00\x45\x00\x00\x32\x00\x00\x00\x00\x40\x11")
	copy(card.mem.Buffer(64), datagram)
	plain := link.Frame{Index: 65, Off: 8, Len: 300}
	offload := link.Frame{Index: 64, Len: 64, Meta: link.Meta{Flags: link.FlagChecksumOffload | link.FlagVLANStripped, VLAN: 0x6123}}
	if n := q.Send([]link.Frame{plain, offload}); n != 2 || card.Get(txAt+driver.RingTail) != 0 {
		t.Fatalf("Send took %d of 2, tail %d", n, card.Get(txAt+driver.RingTail))
	}
	q.Flush()
	if got := card.Get(txAt + driver.RingTail); got != 3 {
		t.Errorf("the tail is %d, want 3: two frames and a context", got)
	}
	tx := card.ring(txAt, 3)
	for i, want := range []struct {
		address       uint64
		command, more uint32
	}{
		{card.mem.IOVA + 65*2048 + 8, 0x2330012c, 300 << 14}, // DEXT, IFCS, EOP; data; 300 bytes
		{0x6123<<16 | 14<<9 | 20, 0x20200400, 0},             // context: tag, header lengths; IPv4, UDP
		{card.mem.IOVA + 64*2048, 0x6b300040, 64<<14 | 2<<8}, // VLE too; RS: the batch's last; TXSM
	} {
		d := tx[i*driver.DescriptorSize:]
		if got := binary.LittleEndian.Uint64(d); got != want.address {
			t.Errorf("descriptor %d: first word %#x, want %#x", i, got, want.address)
		}
		if a, b := binary.LittleEndian.Uint32(d[8:]), binary.LittleEndian.Uint32(d[12:]); a != want.command || b != want.more {
			t.Errorf("descriptor %d: %#x %#x, want %#x %#x", i, a, b, want.command, want.more)
		}
	}
	tx[2*driver.DescriptorSize+12] |= 1 // DD
	var bufs [4]uint32
	if n := q.Reclaim(bufs[:]); n != 2 || bufs[0] != 65 || bufs[1] != 64 {
		t.Errorf("%d buffers came back: %v", n, bufs)
	}
}

// TestReceived plays the device: what it writes to descriptors, byte by byte.
func TestReceived(t *testing.T) {
	card := newCard(t, idFiber)
	d, queues := card.start(driver.Config{Queues: 1, Features: driver.RXChecksum | driver.VLANStrip, RXDescriptors: 16})
	q := queues[0]
	q.Fill([]uint32{0, 1, 2, 3, 4, 5, 6, 7})
	ring := card.ring(regQueueRX, 16)
	const ip, l4, eop, vlan = 1 << 6, 1 << 5, 1 << 1, 1 << 3
	// A datagram without a checksum, which the NIC takes for a wrong one.
	copy(card.mem.Buffer(7)[12:], "\x08\x00\x45\x00\x00\x32\x00\x00\x00\x00\x40\x11")
	copy(card.mem.Buffer(2)[12:], "\x08\x00\x45\x00\x00\x32\x00\x00\x00\x00\x40\x11")
	card.mem.Buffer(2)[40] = 1
	for i, w := range []struct {
		status      uint32
		length, tag uint16
	}{
		{1 | eop | ip | l4, 100, 0},
		{1 | eop | ip | l4 | vlan, 101, 0x2007},
		{1 | eop | ip | l4 | 1<<30, 102, 0}, // bad UDP
		{1 | eop | ip | l4 | 1<<31, 103, 0}, // bad IPv4
		{1 | eop | 1<<29, 104, 0},           // damaged
		{1, 2048, 0},                        // the first part of a longer one
		{1 | eop, 10, 0},                    // and its end
		{1 | eop | ip | l4 | 1<<30, 105, 0},
	} {
		b := ring[i*driver.DescriptorSize+8:]
		binary.LittleEndian.PutUint16(b[4:], w.length)
		binary.LittleEndian.PutUint16(b[6:], w.tag)
		binary.LittleEndian.PutUint32(b, w.status)
	}
	in := make([]link.Frame, 8)
	n := q.Receive(in)
	want := []link.Frame{
		{Index: 0, Len: 100, Meta: link.Meta{Flags: link.FlagChecksumGood}},
		{Index: 1, Len: 101, Meta: link.Meta{Flags: link.FlagChecksumGood | link.FlagVLANStripped, VLAN: 0x2007}},
		{Index: 2, Len: 102, Meta: link.Meta{Flags: link.FlagChecksumBad}},
		{Index: 3, Len: 103, Meta: link.Meta{Flags: link.FlagChecksumBad}},
		{Index: 7, Len: 105},
	}
	if !slices.Equal(in[:n], want) {
		t.Errorf("received %+v, want %+v", in[:n], want)
	}
	if _, invalid := q.Lost(); invalid != 3 {
		t.Errorf("%d frames were dropped, want 3", invalid)
	}

	// The NIC counts as good what its buffer had no room for.
	card.Set(regGPRC, 10)
	card.Set(regMPC, 3)
	card.Set(regQPRDC, 4)
	card.Set(regGORCL, 5)
	card.Set(regGORCH, 0xfffffff1)
	var c driver.Counters
	d.Count(&c)
	if lost, _ := q.Lost(); c.RXPackets != 7 || c.RXMissed != 7 || lost != 7 || c.RXBytes != 1<<32|5 {
		t.Errorf("counted %+v, and the queue %d that it lost; want 7, 7, 7", c, lost)
	}
}

// TestLongestFrames: what is left of the transmit buffer when it counts as full has
// room for the longest frame, with a tag, of each MTU; the model looks at it.
func TestLongestFrames(t *testing.T) {
	for mtu, want := range map[int]uint32{1500: 150, 9000: 150, 10218: 150, 10219: 149, 15850: 144} {
		card := newModel(t, idCopper)
		card.buffer = 16384
		_, queues := card.start(driver.Config{Queues: 1, MTU: mtu, Features: driver.VLANInsert | driver.VLANStrip})
		if got := card.OnRead(regTXPBTHRESH); got != want {
			t.Errorf("MTU %d: the threshold is %d KiB, want %d", mtu, got, want)
		}
		f := link.Frame{Index: 32, Len: uint16(mtu + 14), Meta: link.Meta{Flags: link.FlagVLANStripped, VLAN: 7}}
		if queues[0].Send([]link.Frame{f}) != 1 {
			t.Fatalf("MTU %d: the frame was not taken", mtu)
		}
		queues[0].Flush()
		if len(card.sent) != 1 || len(card.sent[0]) != mtu+18 {
			t.Errorf("MTU %d: %d frames have left, want one of %d bytes", mtu, len(card.sent), mtu+18)
		}
	}
}

// TestFeaturesDuringARecall: what is switched while a ring comes to rest does not
// switch it on again, and nothing is done to it before it rests.
func TestFeaturesDuringARecall(t *testing.T) {
	card := newModel(t, idFiber)
	d, queues := card.start(driver.Config{Queues: 2, Features: driver.RXChecksum | driver.RSS | driver.VLANStrip})
	r := queues[1].(driver.Recaller)
	queues[1].Fill([]uint32{32, 33, 34, 35})
	r.PauseReceive()
	for _, on := range []driver.Features{driver.VLANStrip | driver.RXChecksum, driver.VLANStrip, driver.VLANStrip | driver.RSS} {
		if err := d.SetFeatures(on); err != nil {
			t.Fatal(err)
		}
	}
	rests := false
	for end := time.Now().Add(10 * time.Second); !rests && time.Now().Before(end); time.Sleep(time.Millisecond) {
		rests = r.Paused()
	}
	var bufs [4]uint32
	if n := r.ResumeReceive(34, bufs[:]); !rests || n != 2 {
		t.Errorf("the ring rests: %v; %d buffers came back, want 2", rests, n)
	}
}

// TestSilence: without RXChecksum nothing is said of checksums.
func TestSilence(t *testing.T) {
	card := newCard(t, idFiber)
	_, queues := card.start(driver.Config{Queues: 1, RXDescriptors: 16})
	queues[0].Fill([]uint32{0})
	binary.LittleEndian.PutUint64(card.ring(regQueueRX, 1)[8:], 1|2|1<<5|1<<6|1<<31|60<<32)
	in := make([]link.Frame, 1)
	if n := queues[0].Receive(in); n != 1 || in[0].Flags != 0 {
		t.Errorf("%d frames, %+v", n, in)
	}
}
