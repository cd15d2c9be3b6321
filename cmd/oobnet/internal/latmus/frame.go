package latmus

// A packet is as EVL's latmus sends it (libevl, latmus/net.c):
//
//	`^`, the sequence number in 16 hex digits, fill, `$`, CRC8 in 2 hex digits
//
// Hex digits are small ones. The fill is one letter, A to Z by the sequence number.
// EVL's latmus reads as many bytes as it sends: both sides want the same size.
const (
	frameStart = '^'
	frameEnd   = '$'
	letters    = 26
	digits     = 16
	// crcDigits end the packet, and are all of it that the CRC leaves out.
	crcDigits = 2
	// MinSize holds one letter of fill: latmus refuses packets without.
	MinSize = 1 + digits + 1 + 1 + crcDigits
	// MaxSize is what one Ethernet frame holds of UDP over IPv4, bytes.
	MaxSize = 1472
)

const hexDigits = "0123456789abcdef"

// crcPolynomial and crcStart are latmus's CRC-8: x^8+x^7+x^3+x^2+1, most
// significant bit first, from all ones.
const (
	crcPolynomial = 0x8d
	crcStart      = 0xff
)

var crcTable = func() (t [256]byte) {
	for i := range t {
		c := byte(i)
		for range 8 {
			if c&0x80 != 0 {
				c = c<<1 ^ crcPolynomial
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

func crc8(b []byte) byte {
	c := byte(crcStart)
	for _, v := range b {
		c = crcTable[c^v]
	}
	return c
}

// newPacket makes a packet of size bytes, whose number is to be set.
func newPacket(size int) []byte {
	b := make([]byte, size)
	b[0], b[size-crcDigits-1] = frameStart, frameEnd
	return b
}

// setSequence numbers a packet, fills and seals it.
func setSequence(b []byte, n uint64) {
	end := len(b) - crcDigits
	fill := byte('A' + n%letters)
	for i := 1 + digits; i < end-1; i++ {
		b[i] = fill
	}
	putHex(b[1:1+digits], n)
	putHex(b[end:], uint64(crc8(b[:end])))
}

// sequence reads the number of a packet; not ok: its CRC or its form is wrong.
func sequence(b []byte) (n uint64, ok bool) {
	end := len(b) - crcDigits
	if len(b) < MinSize || b[0] != frameStart || b[end-1] != frameEnd {
		return 0, false
	}
	crc, ok := hex(b[end:])
	if !ok || byte(crc) != crc8(b[:end]) {
		return 0, false
	}
	return hex(b[1 : 1+digits])
}

// putHex fills b with the last digits of n.
func putHex(b []byte, n uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = hexDigits[n&15]
		n >>= 4
	}
}

// hex reads digits; not ok: there is something else among them.
func hex(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// order checks that sequence numbers rise by one. The zero value is before the
// first packet, which may have any number: a peer may have begun earlier. One
// that falls back far has begun again.
type order struct {
	next                  uint64 // 0: nothing has come
	lost, late, duplicate uint64
	// seen holds the latest number that came, by the number modulo its length.
	seen [1024]uint64
}

// take books a number, and says whether it is new.
func (o *order) take(n uint64) bool {
	slot := &o.seen[n%uint64(len(o.seen))]
	switch {
	case *slot == n+1:
		o.duplicate++
		return false
	case o.next > n && o.next-n > uint64(len(o.seen)):
		o.next = n + 1
	case o.next == 0 || n >= o.next:
		if o.next != 0 {
			o.lost += n - o.next
		}
		o.next = n + 1
	default: // it was booked as lost, and comes after a later one
		o.late++
		o.lost -= min(o.lost, 1)
	}
	*slot = n + 1
	return true
}
