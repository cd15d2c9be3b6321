package vm

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf/asm"
)

// rareALU does the operations that are not in the main switch. Division by
// zero gives 0, and modulo by zero leaves the dividend: RFC 9669, section 4.1.
// The overflow of a signed division needs no care: Go defines it as eBPF does.
//
//oobnet:hot
func rareALU(in *insn, reg *[16]uint64) {
	b := in.imm
	if in.src != operand {
		b = reg[in.src&15]
	}
	dst := &reg[in.dst&15]
	a := *dst
	switch in.op {
	case opDiv:
		*dst = 0
		if b != 0 {
			*dst = a / b
		}
	case opSdiv:
		*dst = 0
		if b != 0 {
			*dst = uint64(int64(a) / int64(b))
		}
	case opMod:
		if b != 0 {
			*dst = a % b
		}
	case opSmod:
		if b != 0 {
			*dst = uint64(int64(a) % int64(b))
		}
	case opDiv32:
		*dst = 0
		if uint32(b) != 0 {
			*dst = uint64(uint32(a) / uint32(b))
		}
	case opSdiv32:
		*dst = 0
		if uint32(b) != 0 {
			*dst = uint64(uint32(int32(a) / int32(b)))
		}
	case opMod32:
		*dst = uint64(uint32(a))
		if uint32(b) != 0 {
			*dst = uint64(uint32(a) % uint32(b))
		}
	case opSmod32:
		*dst = uint64(uint32(a))
		if uint32(b) != 0 {
			*dst = uint64(uint32(int32(a) % int32(b)))
		}
	case opMovS8:
		*dst = uint64(int8(b))
	case opMovS16:
		*dst = uint64(int16(b))
	case opMovS32:
		*dst = uint64(int32(b))
	case opMovS8W:
		*dst = uint64(uint32(int8(b)))
	case opMovS16W:
		*dst = uint64(uint32(int16(b)))
	}
}

// rareJump says whether a jump is taken.
//
//oobnet:hot
func rareJump(in *insn, reg *[16]uint64) bool {
	b := uint32(in.imm)
	if in.src != operand {
		b = uint32(reg[in.src&15])
	}
	a := uint32(reg[in.dst&15])
	switch in.op {
	case opJset32:
		return a&b != 0
	case opJsgt32:
		return int32(a) > int32(b)
	case opJsge32:
		return int32(a) >= int32(b)
	case opJslt32:
		return int32(a) < int32(b)
	default:
		return int32(a) <= int32(b)
	}
}

// rareMemory does sign-extending loads and atomics; false: a fault.
//
//oobnet:hot
func (r *Runner) rareMemory(in *insn, reg *[16]uint64) bool {
	var v uint64
	var ok bool
	switch in.op {
	case opAtomic, opAtomic32:
		return r.atomicAccess(in, reg)
	case opAcquire8, opAcquire16, opAcquire32, opAcquire64:
		v, ok = r.acquire(in.op.size(), reg[in.src&15]+uint64(in.off))
	case opRelease8, opRelease16, opRelease32, opRelease64:
		return r.release(in.op.size(), reg[in.dst&15]+uint64(in.off), reg[in.src&15])
	case opLoadS8:
		v, ok = load8(r.read, reg[in.src&15]+uint64(in.off))
		v = uint64(int8(v))
	case opLoadS16:
		v, ok = load16(r.read, reg[in.src&15]+uint64(in.off))
		v = uint64(int16(v))
	case opLoadS32:
		v, ok = load32(r.read, reg[in.src&15]+uint64(in.off))
		v = uint64(int32(v))
	}
	if ok {
		reg[in.dst&15] = v
	}
	return ok
}

// aligned reports whether an atomic access may be made: to the stack or to the
// value of a map, the only memory that is aligned. Their lengths are multiples
// of 8, so the words that an access lies in are there if it is.
//
//oobnet:hot
func (r *Runner) aligned(a, size uint64) bool {
	if id := a >> regionShift; a%size != 0 || id != regionStack && id < regionValues {
		r.fault = FaultAlignment
		return false
	}
	return true
}

// acquire loads what other Runners and Go code may store at the same time. Short
// ones are a part of their word, of which the lowest byte is the first.
//
//oobnet:hot
func (r *Runner) acquire(size, a uint64) (uint64, bool) {
	if !r.aligned(a, size) {
		return 0, false
	}
	if size == 8 {
		b := span(r.read, a, 8)
		if b == nil {
			return 0, false
		}
		return atomic.LoadUint64((*uint64)(unsafe.Pointer(&b[0]))), true
	}
	b := span(r.read, a&^3, 4)
	if b == nil {
		return 0, false
	}
	word := uint64(atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[0]))))
	return word >> (8 * (a & 3)) & (1<<(8*size) - 1), true
}

// release stores what other Runners and Go code may load at the same time. A
// short one puts a word in place of the one that it is a part of, unless that
// has changed meanwhile.
//
//oobnet:hot
func (r *Runner) release(size, a, v uint64) bool {
	if !r.aligned(a, size) {
		return false
	}
	if size == 8 {
		b := span(r.write, a, 8)
		if b == nil {
			return false
		}
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[0])), v)
		return true
	}
	b := span(r.write, a&^3, 4)
	if b == nil {
		return false
	}
	p, shift, mask := (*uint32)(unsafe.Pointer(&b[0])), 8*(a&3), uint32(1<<(8*size)-1)
	if size == 4 {
		atomic.StoreUint32(p, uint32(v))
		return true
	}
	for {
		old := atomic.LoadUint32(p)
		if atomic.CompareAndSwapUint32(p, old, old&^(mask<<shift)|uint32(v)&mask<<shift) {
			return true
		}
	}
}

// atomicAccess does an atomic operation that changes memory.
//
//oobnet:hot
func (r *Runner) atomicAccess(in *insn, reg *[16]uint64) bool {
	a, size := reg[in.dst&15]+uint64(in.off), in.op.size()
	if !r.aligned(a, size) {
		return false
	}
	b := span(r.write, a, size)
	if b == nil {
		return false
	}
	var old uint64
	o := asm.AtomicOp(in.imm)
	if in.op == opAtomic {
		old = atomic64((*uint64)(unsafe.Pointer(&b[0])), o, reg[in.src&15], reg[0])
	} else {
		old = uint64(atomic32((*uint32)(unsafe.Pointer(&b[0])), o, uint32(reg[in.src&15]), uint32(reg[0])))
	}
	switch {
	case o == asm.CmpXchg:
		reg[0] = old
	case o&asm.FetchAdd != 0:
		reg[in.src&15] = old
	}
	return true
}

// atomic64 works on memory that other Runners and Go code use at the same
// time, and returns what was there.
//
//oobnet:hot
func atomic64(p *uint64, o asm.AtomicOp, v, compare uint64) uint64 {
	switch o {
	case asm.AddAtomic, asm.FetchAdd:
		return atomic.AddUint64(p, v) - v
	case asm.OrAtomic, asm.FetchOr:
		return atomic.OrUint64(p, v)
	case asm.AndAtomic, asm.FetchAnd:
		return atomic.AndUint64(p, v)
	case asm.Xchg:
		return atomic.SwapUint64(p, v)
	}
	for {
		old := atomic.LoadUint64(p)
		to := v
		if o == asm.CmpXchg {
			if old != compare {
				return old
			}
		} else {
			to = old ^ v
		}
		if atomic.CompareAndSwapUint64(p, old, to) {
			return old
		}
	}
}

// atomic32 is atomic64 for words of 32 bits.
//
//oobnet:hot
func atomic32(p *uint32, o asm.AtomicOp, v, compare uint32) uint32 {
	switch o {
	case asm.AddAtomic, asm.FetchAdd:
		return atomic.AddUint32(p, v) - v
	case asm.OrAtomic, asm.FetchOr:
		return atomic.OrUint32(p, v)
	case asm.AndAtomic, asm.FetchAnd:
		return atomic.AndUint32(p, v)
	case asm.Xchg:
		return atomic.SwapUint32(p, v)
	}
	for {
		old := atomic.LoadUint32(p)
		to := v
		if o == asm.CmpXchg {
			if old != compare {
				return old
			}
		} else {
			to = old ^ v
		}
		if atomic.CompareAndSwapUint32(p, old, to) {
			return old
		}
	}
}

// Offsets below zero with which a packet load counts from a header instead:
// SKF_NET_OFF and SKF_LL_OFF of linux/filter.h.
const (
	fromNetwork = -0x100000
	fromLink    = -0x200000
)

// packetLoad does LD_ABS and LD_IND: a number in network byte order out of the
// frame. False: it lies beyond the end, upon which the kernel has the function
// return 0.
//
//oobnet:hot
func (r *Runner) packetLoad(in *insn, reg *[16]uint64) (uint64, bool) {
	if reg[6] != regionContext<<regionShift {
		r.fault = FaultContext
		return 0, true
	}
	at := int64(int32(in.imm))
	if in.src != operand {
		at = int64(int32(uint32(reg[in.src&15]) + uint32(in.imm)))
	}
	switch {
	case at >= 0:
	case at >= fromNetwork:
		at += etherLen - fromNetwork
	case at >= fromLink:
		at -= fromLink
	}
	size := int64(in.op.size())
	if at < 0 || at > math.MaxInt32 || at+size > int64(len(r.frame)) {
		return 0, false
	}
	b := r.frame[at:]
	switch size {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(binary.BigEndian.Uint16(b)), true
	}
	return uint64(bits.ReverseBytes32(binary.LittleEndian.Uint32(b))), true
}
