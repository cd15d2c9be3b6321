package bus

import "math/bits"

// LE64 turns a word between the processor's order and a device's, which is
// little-endian: descriptors are two such words each.
func LE64(v uint64) uint64 { return order64(v, bigEndian) }

// LE32 is LE64 for 32 bits.
func LE32(v uint32) uint32 {
	if bigEndian {
		return bits.ReverseBytes32(v)
	}
	return v
}

// order64 is LE64 on a processor of the given order.
func order64(v uint64, big bool) uint64 {
	if big {
		return bits.ReverseBytes64(v)
	}
	return v
}
