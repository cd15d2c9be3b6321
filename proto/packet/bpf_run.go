package packet

import (
	"encoding/binary"
	"math"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// Packet types, as programs know them (Linux, include/uapi/linux/if_packet.h).
const (
	kindHost = iota
	kindBroadcast
	kindMulticast
	kindOther
	kindOutgoing
)

// subject is what a program looks at.
type subject struct {
	data      []byte
	etherType uint16
	tci       uint16
	stripped  bool // the tag is not in data
	kind      uint8
}

// everything is more than any frame has.
const everything = math.MaxUint32

// snap is how many bytes of a packet the socket's program lets through.
//
//oobnet:hot
func (c *Conn) snap(b *stack.Batch, p *stack.Packet, mac48 uint64) uint32 {
	program := c.program.Load()
	if program == nil {
		return everything
	}
	s := subject{data: b.Bytes(p), tci: p.TCI, stripped: p.Frame.Flags&link.FlagVLANStripped != 0}
	s.etherType = p.EtherType(s.data)
	switch {
	case p.Cast == stack.Broadcast:
		s.kind = kindBroadcast
	case p.Cast == stack.Multicast:
		s.kind = kindMulticast
	case len(s.data) >= wire.EthernetHeaderLen && wire.MAC48(s.data) != mac48:
		s.kind = kindOther
	}
	n := program.run(&s)
	if n == 0 {
		c.stats.filtered.Add(1)
	}
	return n
}

// wordBits is the width of a word: Linux shifts by X modulo that.
const wordBits = 32

// run returns how many bytes the program accepts. A load beyond the end, and a
// division by 0, end it with 0. An index and an offset are added modulo 2^32, so
// that programs can count back from X.
//
//oobnet:hot
func (p *program) run(s *subject) uint32 {
	var a, x uint32
	var words [scratch]uint32
	data := s.data
	for pc := 0; uint(pc) < uint(len(p.code)); pc++ {
		in := &p.code[pc]
		k := in.k
		switch in.op {
		case opLdImm:
			a = k
		case opLdxImm:
			x = k
		case opSt:
			words[k%scratch] = a
		case opStx:
			words[k%scratch] = x
		case opLdMem:
			a = words[k%scratch]
		case opLdxMem:
			x = words[k%scratch]
		case opLdLen:
			a = uint32(len(data))
		case opLdxLen:
			x = uint32(len(data))
		case opTax:
			x = a
		case opTxa:
			a = x
		case opRetK:
			return k
		case opRetA:
			return a

		case opLdW:
			if uint64(k)+4 > uint64(len(data)) {
				return 0
			}
			a = binary.BigEndian.Uint32(data[k:])
		case opLdH:
			if uint64(k)+2 > uint64(len(data)) {
				return 0
			}
			a = uint32(binary.BigEndian.Uint16(data[k:]))
		case opLdB:
			if uint64(k) >= uint64(len(data)) {
				return 0
			}
			a = uint32(data[k])
		case opIndW:
			at := uint64(k + x)
			if at+4 > uint64(len(data)) {
				return 0
			}
			a = binary.BigEndian.Uint32(data[at:])
		case opIndH:
			at := uint64(k + x)
			if at+2 > uint64(len(data)) {
				return 0
			}
			a = uint32(binary.BigEndian.Uint16(data[at:]))
		case opIndB:
			at := uint64(k + x)
			if at >= uint64(len(data)) {
				return 0
			}
			a = uint32(data[at])
		case opLdxMsh:
			if uint64(k) >= uint64(len(data)) {
				return 0
			}
			x = uint32(data[k]&0xf) * 4

		case opAdd:
			a += k
		case opSub:
			a -= k
		case opMul:
			a *= k
		case opDiv:
			a /= max(k, 1) // compile has refused 0
		case opMod:
			a %= max(k, 1)
		case opOr:
			a |= k
		case opAnd:
			a &= k
		case opXor:
			a ^= k
		case opLsh:
			a <<= k
		case opRsh:
			a >>= k
		case opNeg:
			a = -a
		case opAdd | opX:
			a += x
		case opSub | opX:
			a -= x
		case opMul | opX:
			a *= x
		case opDiv | opX:
			if x == 0 {
				return 0
			}
			a /= x
		case opMod | opX:
			if x == 0 {
				return 0
			}
			a %= x
		case opOr | opX:
			a |= x
		case opAnd | opX:
			a &= x
		case opXor | opX:
			a ^= x
		case opLsh | opX:
			a <<= x % wordBits
		case opRsh | opX:
			a >>= x % wordBits

		case opJa:
			pc += int(k)
		case opJeq:
			pc += in.target(a == k)
		case opJgt:
			pc += in.target(a > k)
		case opJge:
			pc += in.target(a >= k)
		case opJset:
			pc += in.target(a&k != 0)
		case opJeq | opX:
			pc += in.target(a == x)
		case opJgt | opX:
			pc += in.target(a > x)
		case opJge | opX:
			pc += in.target(a >= x)
		case opJset | opX:
			pc += in.target(a&x != 0)

		case opExtProtocol:
			a = uint32(s.etherType)
		case opExtType:
			a = uint32(s.kind)
		case opExtVLANTag:
			a = 0
			if s.stripped {
				a = uint32(s.tci)
			}
		case opExtVLANPresent:
			a = 0
			if s.stripped {
				a = 1
			}
		default:
			return 0
		}
	}
	return 0
}

// target is how far a conditional jump goes.
//
//oobnet:hot
func (in *instruction) target(yes bool) int {
	if yes {
		return int(in.jt)
	}
	return int(in.jf)
}
