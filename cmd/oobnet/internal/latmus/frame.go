package latmus

// A packet is as latmus sends it: `^`, the sequence number in 16 hex digits, fill, `$`, and
// the CRC8 of all before it.
const (
	frameStart = '^'
	frameEnd   = '$'
	frameFill  = '.'
	digits     = 16
	// MinSize holds a packet without fill, and is latmus's own limit.
	MinSize = 20
	// MaxSize is what one Ethernet frame holds of UDP over IPv4, bytes.
	MaxSize = 1472
)

const hexDigits = "0123456789abcdef"

// crcTable is CRC-8 with the polynomial x^8+x^2+x+1 (ATM's HEC, SMBus), from 0.
var crcTable = func() (t [256]byte) {
	for i := range t {
		c := byte(i)
		for range 8 {
			if c&0x80 != 0 {
				c = c<<1 ^ 0x07
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

func crc8(b []byte) (c byte) {
	for _, v := range b {
		c = crcTable[c^v]
	}
	return c
}

// newPacket makes a packet of size bytes, whose number is to be set.
func newPacket(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = frameFill
	}
	b[0], b[size-2] = frameStart, frameEnd
	return b
}

// setSequence numbers a packet, and seals it.
func setSequence(b []byte, n uint64) {
	for i := digits; i > 0; i-- {
		b[i] = hexDigits[n&15]
		n >>= 4
	}
	b[len(b)-1] = crc8(b[:len(b)-1])
}

// sequence reads the number of a packet; not ok: its CRC or its form is wrong.
func sequence(b []byte) (n uint64, ok bool) {
	if len(b) < MinSize || b[0] != frameStart || b[len(b)-2] != frameEnd || b[len(b)-1] != crc8(b[:len(b)-1]) {
		return 0, false
	}
	for _, c := range b[1 : 1+digits] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint64(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | uint64(c-'A'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// order checks that sequence numbers rise by one. The zero value is before the
// first packet, which may have any number: a peer may have begun earlier.
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
