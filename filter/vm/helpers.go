package vm

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/asm"
	"github.com/oobnet/oobnet/internal/clock"
)

// helper numbers the helpers of the VM, for a dense switch.
type helper uint8

const (
	helpMapLookup helper = iota
	helpMapUpdate
	helpMapDelete
	helpForEach
	helpLoop
	helpKtime
	helpProcessor
	helpRandom
	helpChecksumDiff
	helpPrint
	helpRedirect
	helpRedirectMap
	helpAdjustHead
	helpAdjustTail
	helpAdjustMeta
	helpXDPLoad
	helpXDPStore
	helpXDPLen
	helpSkbLoad
	helpSkbLoadRelative
)

// forType says which type of program a helper is for.
type forType uint8

const (
	forBoth forType = iota
	forXDP
	forSocket
)

var helperTable = map[asm.BuiltinFunc]struct {
	number helper
	types  forType
}{
	asm.FnMapLookupElem:        {helpMapLookup, forBoth},
	asm.FnMapUpdateElem:        {helpMapUpdate, forBoth},
	asm.FnMapDeleteElem:        {helpMapDelete, forBoth},
	asm.FnForEachMapElem:       {helpForEach, forBoth},
	asm.FnLoop:                 {helpLoop, forBoth},
	asm.FnKtimeGetNs:           {helpKtime, forBoth},
	asm.FnKtimeGetBootNs:       {helpKtime, forBoth},
	asm.FnKtimeGetCoarseNs:     {helpKtime, forBoth},
	asm.FnGetSmpProcessorId:    {helpProcessor, forBoth},
	asm.FnGetPrandomU32:        {helpRandom, forBoth},
	asm.FnCsumDiff:             {helpChecksumDiff, forXDP},
	asm.FnTracePrintk:          {helpPrint, forBoth},
	asm.FnRedirect:             {helpRedirect, forXDP},
	asm.FnRedirectMap:          {helpRedirectMap, forXDP},
	asm.FnXdpAdjustHead:        {helpAdjustHead, forXDP},
	asm.FnXdpAdjustTail:        {helpAdjustTail, forXDP},
	asm.FnXdpAdjustMeta:        {helpAdjustMeta, forXDP},
	asm.FnXdpLoadBytes:         {helpXDPLoad, forXDP},
	asm.FnXdpStoreBytes:        {helpXDPStore, forXDP},
	asm.FnXdpGetBuffLen:        {helpXDPLen, forXDP},
	asm.FnSkbLoadBytes:         {helpSkbLoad, forSocket},
	asm.FnSkbLoadBytesRelative: {helpSkbLoadRelative, forSocket},
}

// Helpers names the helpers that programs can call, and says which are for one
// type of program only.
//
//   - Both: bpf_map_lookup_elem, bpf_map_update_elem, bpf_map_delete_elem,
//     bpf_for_each_map_elem, bpf_loop, bpf_tail_call, bpf_ktime_get_ns,
//     bpf_ktime_get_boot_ns and bpf_ktime_get_coarse_ns (one clock,
//     CLOCK_MONOTONIC), bpf_get_smp_processor_id, bpf_get_prandom_u32, and
//     bpf_trace_printk, which prints nothing and returns the format's length.
//   - XDP: bpf_csum_diff, bpf_redirect, bpf_redirect_map (without broadcast),
//     bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_adjust_meta,
//     bpf_xdp_load_bytes, bpf_xdp_store_bytes, bpf_xdp_get_buff_len.
//   - Socket filter: bpf_skb_load_bytes, bpf_skb_load_bytes_relative.
func Helpers() []string {
	names := []string{helperName(asm.FnTailCall)}
	for fn := range helperTable {
		names = append(names, helperName(fn))
	}
	return names
}

// helperName is the C name: the constants have FnMapLookupElem for
// bpf_map_lookup_elem.
func helperName(fn asm.BuiltinFunc) string {
	var b strings.Builder
	b.WriteString("bpf")
	for _, c := range strings.TrimPrefix(fn.String(), "Fn") {
		if c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// helperNumber reports false for one that is not there for the type.
func helperNumber(fn asm.BuiltinFunc, socket bool) (helper, bool) {
	h, ok := helperTable[fn]
	return h.number, ok && (h.types == forBoth || (h.types == forSocket) == socket)
}

func helperError(fn asm.BuiltinFunc, socket bool) error {
	kind := "XDP programs"
	if socket {
		kind = "socket filters"
	}
	return fmt.Errorf("helper %s: the VM does not have it for %s: %w", helperName(fn), kind, ErrUnsupported)
}

// errno makes a register's value of a negative error number.
func errno(n int64) uint64 { return uint64(-n) }

// help runs a helper on the registers r1 to r5 and returns r0.
//
//oobnet:hot
func (r *Runner) help(h helper, reg *[16]uint64) uint64 {
	switch h {
	case helpMapLookup:
		return r.mapLookup(reg[1], reg[2])
	case helpMapUpdate:
		return r.mapUpdate(reg[1], reg[2], reg[3], reg[4])
	case helpMapDelete:
		return r.mapDelete(reg[1], reg[2])
	case helpForEach:
		return r.forEach(reg[1], reg[2], reg[3], reg[4])
	case helpLoop:
		return r.loop(reg[1], reg[2], reg[3], reg[4])
	case helpKtime:
		if r.ctx.Time != 0 {
			return r.ctx.Time
		}
		return uint64(clock.Now())
	case helpProcessor:
		return uint64(r.cpu)
	case helpRandom:
		return r.random.Uint64() >> 32
	case helpChecksumDiff:
		return r.checksumDiff(reg[1], uint64(uint32(reg[2])), reg[3], uint64(uint32(reg[4])), uint32(reg[5]))
	case helpPrint:
		return r.bytes(r.read, reg[1], uint64(uint32(reg[2]))).length()
	case helpRedirect:
		return r.redirect(uint32(reg[1]), reg[2])
	case helpRedirectMap:
		return r.redirectMap(reg[1], uint32(reg[2]), reg[3])
	}
	return r.helpPacket(h, reg)
}

// helpPacket runs those that work on the frame. Their first argument is the
// context.
//
//oobnet:hot
func (r *Runner) helpPacket(h helper, reg *[16]uint64) uint64 {
	if reg[1] != regionContext<<regionShift {
		return r.bad()
	}
	switch h {
	case helpAdjustHead:
		return r.adjustHead(int(int32(reg[2])))
	case helpAdjustTail:
		return r.adjustTail(int(int32(reg[2])))
	case helpAdjustMeta:
		return r.adjustMeta(int(int32(reg[2])))
	case helpXDPLoad:
		return r.xdpBytes(uint64(uint32(reg[2])), reg[3], uint64(uint32(reg[4])), false)
	case helpXDPStore:
		return r.xdpBytes(uint64(uint32(reg[2])), reg[3], uint64(uint32(reg[4])), true)
	case helpXDPLen:
		return uint64(r.end - r.data)
	case helpSkbLoad:
		return r.skbBytes(uint64(uint32(reg[2])), reg[3], uint64(uint32(reg[4])))
	default:
		return r.skbBytesRelative(uint64(uint32(reg[2])), reg[3], uint64(uint32(reg[4])), uint32(reg[5]))
	}
}

// bad ends the run because of an argument.
func (r *Runner) bad() uint64 {
	r.fault = FaultHelper
	return 0
}

// memory is an argument of a helper: bytes, or nil after a fault.
type memory []byte

func (m memory) length() uint64 { return uint64(len(m)) }

// charge takes as many instructions off the budget as work takes that a helper
// is about to do. False: they are not left, the run has ended with a fault, and
// the work must not be done, since it may be as long as a map.
//
//oobnet:hot
func (r *Runner) charge(n int) bool {
	r.charged += n
	if r.budget -= n; r.budget < 0 {
		r.fault = FaultBudget
		return false
	}
	return true
}

// bytes takes an argument that is memory, and charges the budget for the work
// on it: a copy of 16 bytes takes no longer than an instruction.
//
//oobnet:hot
func (r *Runner) bytes(m [][]byte, a, n uint64) memory {
	b := span(m, a, n)
	if b == nil {
		r.fault = FaultHelper
		return nil
	}
	if !r.charge(int(n >> 4)) {
		return nil
	}
	return b
}

// maxChecksum is the longest memory that bpf_csum_diff takes, bytes: more than
// a frame. Longer is a fault, where the kernel's verifier wants a bound.
const maxChecksum = 1 << 16

// checksumDiff is bpf_csum_diff as kernels from 6.13 on have it: folded to 16
// bits on all architectures.
//
//oobnet:hot
func (r *Runner) checksumDiff(from, fromLen, to, toLen uint64, seed uint32) uint64 {
	if (fromLen|toLen)&3 != 0 {
		return errno(eINVAL)
	}
	if fromLen > maxChecksum || toLen > maxChecksum {
		return r.bad()
	}
	sum := seed
	if fromLen != 0 {
		b := r.bytes(r.read, from, fromLen)
		if b == nil {
			return 0
		}
		if toLen == 0 {
			sum = ^onesSum(b, ^seed)
		} else {
			sum = onesAdd(seed, ^onesSum(b, 0))
		}
	}
	if toLen != 0 {
		b := r.bytes(r.read, to, toLen)
		if b == nil {
			return 0
		}
		sum = onesSum(b, sum)
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint64(sum)
}

// onesSum adds the 32-bit words of b in ones' complement.
//
//oobnet:hot
//go:norace
func onesSum(b []byte, sum uint32) uint32 {
	s := uint64(sum)
	for ; len(b) >= 4; b = b[4:] {
		s += uint64(binary.LittleEndian.Uint32(b))
	}
	s = s>>32 + s&0xffffffff
	return uint32(s>>32) + uint32(s)
}

func onesAdd(a, b uint32) uint32 {
	s := uint64(a) + uint64(b)
	return uint32(s>>32) + uint32(s)
}
