package wire

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds b to a running ones' complement sum in 64 bits, taking the bytes
// big-endian (RFC 1071). b is to be a whole number of 16-bit words unless it
// is the last piece. Fold turns the sum into 16 bits.
func Sum(b []byte, sum uint64) uint64 {
	sum, c := bits.Add64(sum, uint64(bits.ReverseBytes16(Fold(littleSum(b, 0)))), 0)
	return sum + c
}

// littleSum is Sum with the bytes taken little-endian, as most machines load
// them for nothing, eight at a time with the carry kept. The result is the
// other one turned round, for which the end needs a swap, or, where it is
// stored little-endian or compared with all ones, nothing: RFC 1071, section
// 2, (B) and (C).
func littleSum(b []byte, s uint64) uint64 {
	var c uint64
	for len(b) >= 64 {
		_ = b[63]
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[24:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[32:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[40:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[48:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[56:]), c)
		s, c = bits.Add64(s, 0, c)
		s += c
		b = b[64:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s += c
		b = b[8:]
	}
	if len(b) > 0 {
		s, c = bits.Add64(s, tail(b), 0)
		s += c
	}
	return s
}

// littlePseudoSum is PseudoSum turned round.
func littlePseudoSum(src, dst uint32, protocol uint8, length int) uint64 {
	return uint64(bits.ReverseBytes32(src)) + uint64(bits.ReverseBytes32(dst)) +
		uint64(protocol)<<8 + uint64(bits.ReverseBytes16(uint16(length)))
}

// tail loads up to 7 bytes little-endian, as if zeros followed.
func tail(b []byte) (s uint64) {
	if len(b) >= 4 {
		s = uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
		switch len(b) {
		case 3:
			s += uint64(b[2])
			fallthrough
		case 2:
			s += uint64(binary.LittleEndian.Uint16(b))
		case 1:
			s += uint64(b[0])
		}
		return s
	}
	switch len(b) {
	case 3:
		s = uint64(b[2])
		fallthrough
	case 2:
		s += uint64(binary.LittleEndian.Uint16(b))
	case 1:
		s = uint64(b[0])
	}
	return s
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
