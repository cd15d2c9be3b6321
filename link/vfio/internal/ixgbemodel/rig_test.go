package ixgbemodel

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// dram is memory that the device reaches from base on.
type dram []byte

const (
	base     = 1 << 20
	rxRing   = base
	txRing   = base + 0x1000
	buffers  = base + 0x4000
	ringSize = 8
)

func (m dram) At(iova uint64, size int) []byte {
	if iova < base || iova-base+uint64(size) > uint64(len(m)) {
		return nil
	}
	return m[iova-base:][:size]
}

// access is what Config.Trace is told.
type access struct {
	write         bool
	offset, value uint32
}

// rig is a device and the smallest driver.
type rig struct {
	*Device
	t       testing.TB
	memory  dram
	sent    [][]byte
	vectors []int
	trace   []access
	tail    uint32
	now     time.Duration
	lines   []bool
}

func newRig(t testing.TB, chip Chip) *rig { return newRigOf(t, Config{Chip: chip}) }

// newStrict is newRig with a device that tolerates nothing.
func newStrict(t testing.TB, chip Chip) *rig { return newRigOf(t, Config{Chip: chip, Strict: true}) }

func newRigOf(t testing.TB, c Config) *rig {
	r := &rig{t: t, memory: make(dram, 1<<16)}
	d, err := New(Config{
		Chip: c.Chip, Strict: c.Strict, MAC: [6]byte{2, 0, 0, 0, 0, 1}, Memory: Flat(r.memory),
		Interrupt: func(v int) { r.vectors = append(r.vectors, v) },
		Transmit:  func(f []byte) { r.sent = append(r.sent, f) },
		Line:      func(up bool) { r.lines = append(r.lines, up) },
		Now:       func() time.Duration { return r.now },
		After:     c.After,
		Trace:     func(write bool, offset, value uint32) { r.trace = append(r.trace, access{write, offset, value}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Device = d
	d.SetLink(true)
	return r
}

// start brings queue 0 up in both directions.
func (r *rig) start() {
	r.Write32(regRDRXCTL, rdrxCRC)
	r.Write32(regFCTRL, fctrlBAM)
	r.Write32(rxBlock+qSRRCTL, srrctlOne|2)
	r.Write32(regDMATXCTL, dmatxTE)
	for _, b := range []struct{ block, ring uint32 }{{rxBlock, rxRing}, {txBlock, txRing}} {
		r.Write32(b.block+qBAL, b.ring)
		r.Write32(b.block+qLEN, ringSize*descriptorSize)
		r.enable(b.block)
	}
	r.Write32(regRXCTRL, rxctrlRXEN)
	for i := range uint64(ringSize) {
		r.place(rxRing, uint32(i), buffers+i*2048, 0)
	}
	r.Write32(rxBlock+qTail, ringSize-1)
}

func (r *rig) enable(block uint32) {
	r.t.Helper()
	r.Write32(block+qDCTL, r.Read32(block+qDCTL)|dctlEN)
	for range 10 {
		if r.Read32(block+qDCTL)&dctlEN != 0 {
			return
		}
	}
	r.t.Fatal("queue does not come up")
}

func (r *rig) disable(block uint32) {
	r.t.Helper()
	r.Write32(block+qDCTL, r.Read32(block+qDCTL)&^dctlEN)
	for range 10 {
		if r.Read32(block+qDCTL)&dctlEN == 0 {
			return
		}
	}
	r.t.Fatal("queue does not go down")
}

func (r *rig) place(ring uint64, i uint32, low, high uint64) {
	b := r.memory.At(ring+uint64(i)*descriptorSize, descriptorSize)
	binary.LittleEndian.PutUint64(b, low)
	binary.LittleEndian.PutUint64(b[8:], high)
}

func (r *rig) get(ring uint64, i uint32) (low, high uint64) {
	b := r.memory.At(ring+uint64(i)*descriptorSize, descriptorSize)
	return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
}

// send gives the device a frame, behind a context if there are options.
func (r *rig) send(f []byte, options, flags uint64, c uint64) {
	if c != 0 {
		r.place(txRing, r.tail, c, kindContext<<20|txDEXT|1<<10) // of IPv4 and UDP
		r.tail = (r.tail + 1) % ringSize
	}
	copy(r.memory.At(buffers+0x8000, len(f)), f)
	n := uint64(len(f))
	r.place(txRing, r.tail, buffers+0x8000, n|kindData<<20|txDEXT|txEOP|txIFCS|txRS|flags|(n<<14|options)<<32)
	r.tail = (r.tail + 1) % ringSize
	r.Write32(txBlock+qTail, r.tail)
}

// clean fails the test if there is a violation.
func (r *rig) clean() {
	r.t.Helper()
	for _, v := range r.Violations() {
		r.t.Error(v)
	}
}

// violated wants exactly one, of this section.
func (r *rig) violated(section, what string) {
	r.t.Helper()
	got := r.Violations()
	if len(got) != 1 || got[0].Section != section || !strings.Contains(got[0].What, what) {
		r.t.Errorf("violations %v, want one of %s with %q", got, section, what)
	}
}

// tolerated wants exactly one of those, and no violation.
func (r *rig) tolerated(section, what string) {
	r.t.Helper()
	r.clean()
	got := r.Tolerated()
	if len(got) != 1 || got[0].Section != section || !strings.Contains(got[0].What, what) {
		r.t.Errorf("tolerated %v, want one of %s with %q", got, section, what)
	}
}

// datagram makes a UDP frame for the rig's address, its checksums right.
func datagram(size int) []byte {
	f := make([]byte, 14+20+8+size)
	copy(f, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0})
	h := f[14:]
	copy(h, []byte{0x45, 0, 0, byte(28 + size), 0, 0, 0, 0, 64, udp, 0, 0, 66, 9, 149, 187, 161, 142, 100, 80})
	copy(h[20:], []byte{0x0a, 0xea, 0x06, 0xe6, 0, byte(8 + size)})
	complete(h[10:], sum(h[:20], 0), false)
	complete(h[26:], sum(h[20:], pseudo(h[12:20], udp, 8+size)), true)
	return f
}
