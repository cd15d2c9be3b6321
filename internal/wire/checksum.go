package wire

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds b to a running ones' complement sum in 64 bits, taking the bytes
// big-endian (RFC 1071). b is to be a whole number of 16-bit words unless it
// is the last piece. Fold turns the sum into 16 bits.
//
// Eight bytes at a time with the carry kept: the sum of RFC 1071 is the same
// in any word size that is a multiple of 16 bits, and in either byte order, so
// the words are read as the machine likes them least swapped.
func Sum(b []byte, sum uint64) uint64 {
	var c uint64
	for len(b) >= 64 {
		_ = b[63]
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b), 0)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b[8:]), c)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b[16:]), c)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b[24:]), c)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b[32:]), c)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b[40:]), c)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b[48:]), c)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b[56:]), c)
		sum, c = bits.Add64(sum, 0, c)
		sum += c
		b = b[64:]
	}
	for len(b) >= 8 {
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b), 0)
		sum += c
		b = b[8:]
	}
	if len(b) >= 4 {
		sum, c = bits.Add64(sum, uint64(binary.BigEndian.Uint32(b)), 0)
		sum += c
		b = b[4:]
	}
	if len(b) >= 2 {
		sum, c = bits.Add64(sum, uint64(binary.BigEndian.Uint16(b)), 0)
		sum += c
		b = b[2:]
	}
	if len(b) == 1 {
		sum, c = bits.Add64(sum, uint64(b[0])<<8, 0)
		sum += c
	}
	return sum
}

// Fold brings a sum to 16 bits, not complemented.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	s := uint32(sum>>16) + uint32(sum&0xffff)
	return uint16(s>>16 + s)
}

// PseudoSum is the sum of the pseudo-header (RFC 768): addresses, protocol and
// length of the transport header with its payload.
func PseudoSum(src, dst uint32, protocol uint8, length int) uint64 {
	return uint64(src) + uint64(dst) + uint64(protocol) + uint64(length)
}
