package ixgbemodel

// Counters, cleared when read (8.2.3.23).
const (
	regMPC    = 0x03FA0 // 8, by packet buffer
	regCRCERR = 0x04000
	regMLFC   = 0x04034
	regRLEC   = 0x04040
	regPRC64  = 0x0405C // 6, by size
	regGPRC   = 0x04074
	regBPRC   = 0x04078
	regMPRC   = 0x0407C
	regGPTC   = 0x04080
	regGORCL  = 0x04088
	regGOTCL  = 0x04090
	regRUC    = 0x040A4
	regRFC    = 0x040A8
	regROC    = 0x040AC
	regRJC    = 0x040B0
	regTORL   = 0x040C0
	regTPR    = 0x040D0
	regTPT    = 0x040D4
	regPTC64  = 0x040D8 // 6, by size
	regMPTC   = 0x040F0
	regBPTC   = 0x040F4
	regXEC    = 0x04120
	regRXNFGP = 0x041B0 // good ones, before filters, and their bytes
	regRXDGPC = 0x02F50 // those that reached memory, and their bytes
	regTXDGPC = 0x087A0 // those that left memory, and their bytes
	regQPRC   = 0x01030 // 16, by RQSMR, as are
	regQBRC   = 0x01034 // bytes in two words, and
	regQPRDC  = 0x01430 // frames that the queue had no buffer for
	regQPTC   = 0x06030 // 16, by TQSM, as are
	regQBTC   = 0x08700 // bytes in two words
)

// sizes are the upper ends of the counters by size, with the checksum.
var sizes = [5]int{64, 127, 255, 511, 1023}

// counters are all of them: a read clears them.
var counters = []span{
	{regMPC, 8, 4}, {regCRCERR, 5, 4}, {regMLFC, 2, 4}, {regRLEC, 1, 4},
	{0x03F00, 16, 4}, {0x03F60, 1, 4}, {0x03F68, 1, 4}, {0x041A4, 2, 4}, // pause frames
	{0x04140, 16, 4}, {0x03240, 8, 4}, // by priority
	{regPRC64, 10, 4}, {regGORCL, 4, 4}, {regRUC, 6, 4}, {regTORL, 2, 4}, {regTPR, 10, 4},
	{0x0CF90, 1, 4}, {regXEC, 1, 4}, {regRXNFGP, 3, 4}, {regRXDGPC, 12, 4}, {regTXDGPC, 3, 4},
	{regQPRC, 16, blockSize}, {regQBRC, 16, blockSize}, {regQBRC + 4, 16, blockSize},
	{regQPRDC, 16, blockSize}, {regQPTC, 16, blockSize}, {regQBTC, 32, 4},
	{0x05118, 1, 4}, {0x0241C, 1, 4}, {0x02424, 3, 4}, {0x08784, 2, 4}, {0x08780, 1, 4}, // FCoE, spoofed
	{0x041C0, 2, 4}, {0x087B0, 1, 4}, {0x02F90, 1, 4}, // the X540's, to and from management
	{regFDIRUSTAT, 4, 4},
}

// span is registers of one kind.
type span struct{ first, count, stride uint32 }

func (s span) holds(offset uint32) bool {
	d := offset - s.first
	return offset >= s.first && d%s.stride == 0 && d/s.stride < s.count
}

// counter says whether a register is one.
func counter(offset uint32) bool {
	for _, s := range counters {
		if s.holds(offset) {
			return true
		}
	}
	return false
}

// count adds to a counter, which saturates.
func (d *Device) count(offset, n uint32) {
	r := d.reg(offset)
	if *r += n; *r < n {
		*r = 0xffffffff
	}
}

// countOctets adds to a counter of 36 bits in two words.
func (d *Device) countOctets(low uint32, n int) {
	sum := uint64(*d.reg(low)) | uint64(*d.reg(low + 4))<<32
	sum = min(sum+uint64(n), 1<<36-1)
	*d.reg(low), *d.reg(low + 4) = uint32(sum), uint32(sum>>32)
}

// countSize adds a frame to its counter by size.
func (d *Device) countSize(first uint32, size int) {
	for i, end := range sizes {
		if size <= end {
			d.count(first+4*uint32(i), 1)
			return
		}
	}
	d.count(first+4*uint32(len(sizes)), 1)
}

// countGood counts a frame that passed the filters; n is its size on the wire.
func (d *Device) countGood(frame []byte, n int) {
	d.count(regGPRC, 1)
	d.countOctets(regGORCL, n)
	d.countSize(regPRC64, n)
	switch {
	case broadcast(frame):
		d.count(regBPRC, 1)
	case frame[0]&1 != 0:
		d.count(regMPRC, 1)
	}
}

// countSent counts a frame of a queue that leaves.
func (d *Device) countSent(queue uint32, frame []byte) {
	n := len(frame) + fcs
	d.count(regTPT, 1)
	d.count(regGPTC, 1)
	d.countOctets(regGOTCL, n)
	d.countSize(regPTC64, n)
	d.count(regTXDGPC, 1)
	d.countOctets(regTXDGPC+4, n)
	switch {
	case broadcast(frame):
		d.count(regBPTC, 1)
	case frame[0]&1 != 0:
		d.count(regMPTC, 1)
	}
	set := d.counterSet(regTQSM, queue)
	d.count(regQPTC+set*blockSize, 1)
	d.countOctets(regQBTC+set*8, n)
}

// countDelivered counts a frame of size bytes that reached a queue's buffers.
// The queue's bytes are without the checksum if that is stripped.
func (d *Device) countDelivered(queue uint32, size int) {
	n := size + fcs
	d.count(regRXDGPC, 1)
	d.countOctets(regRXDGPC+4, n)
	set := d.counterSet(regRQSMR, queue)
	d.count(regQPRC+set*blockSize, 1)
	if *d.reg(regHLREG0)&hlreg0CRC != 0 {
		n = size
	}
	d.countOctets(regQBRC+set*blockSize, n)
}

// countDropped counts a frame that a queue had no place for.
func (d *Device) countDropped(queue uint32) {
	d.count(regQPRDC+d.counterSet(regRQSMR, queue)*blockSize, 1)
}

// counterSet is the set of per-queue counters that a queue counts to.
func (d *Device) counterSet(table, queue uint32) uint32 {
	return *d.reg(table + queue&^3) >> (8 * (queue & 3)) & 15
}
