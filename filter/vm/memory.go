package vm

import (
	"encoding/binary"
	"unsafe"
)

// Regions of a program's address space: the upper 32 bits of an address. A
// region that has no bytes is still told from others, such as the map that a
// helper is called with. Region 0 is empty, so that a null pointer and small
// numbers lead nowhere, and so do addresses just below a region: they carry
// the number of the one before and an offset beyond its end.
const (
	regionNone     = iota
	regionContext  // of fields, that are computed: see context.go
	regionPacket   // from data_meta to data_end
	regionStack    // MaxDepth frames
	regionScratch  // keys that for_each_map_elem hands to its callback: read-only
	regionMap      // offset: the number of a map; no bytes
	regionFunction // offset: the index of a function's first instruction; no bytes
	regionValues   // and one for each map from here on: its values
)

const (
	regionShift = 32
	offsetMask  = 1<<regionShift - 1
	// maxRegion is the longest region, bytes: a displacement of 32 KiB beyond
	// its ends must not reach a neighbour.
	maxRegion = 1<<regionShift - 1<<16
)

// The accessors below are the only ones by which programs reach memory. Some
// of it, the values of maps, is written by other Runners and by Go code at the
// same time. That is the contract of eBPF maps (see the package's comment), so
// the race detector is told not to look: what it would report is the program's
// choice, not ours. The compiler makes one machine instruction of each, so an
// aligned word is never torn; that is for the program's sake only, since no
// value read here is trusted by the VM.

//go:norace
func load8(m [][]byte, a uint64) (uint64, bool) {
	if i := a >> regionShift; i < uint64(len(m)) {
		if b, o := m[i], a&offsetMask; o < uint64(len(b)) {
			return uint64(b[o]), true
		}
	}
	return 0, false
}

//go:norace
func load16(m [][]byte, a uint64) (uint64, bool) {
	if i := a >> regionShift; i < uint64(len(m)) {
		if b, o := m[i], a&offsetMask; o+2 <= uint64(len(b)) {
			return uint64(*(*uint16)(unsafe.Pointer(&b[o]))), true
		}
	}
	return 0, false
}

//go:norace
func load32(m [][]byte, a uint64) (uint64, bool) {
	if i := a >> regionShift; i < uint64(len(m)) {
		if b, o := m[i], a&offsetMask; o+4 <= uint64(len(b)) {
			return uint64(*(*uint32)(unsafe.Pointer(&b[o]))), true
		}
	}
	return 0, false
}

//go:norace
func load64(m [][]byte, a uint64) (uint64, bool) {
	if i := a >> regionShift; i < uint64(len(m)) {
		if b, o := m[i], a&offsetMask; o+8 <= uint64(len(b)) {
			return *(*uint64)(unsafe.Pointer(&b[o])), true
		}
	}
	return 0, false
}

//go:norace
func store8(m [][]byte, a, v uint64) bool {
	if i := a >> regionShift; i < uint64(len(m)) {
		if b, o := m[i], a&offsetMask; o < uint64(len(b)) {
			b[o] = byte(v)
			return true
		}
	}
	return false
}

//go:norace
func store16(m [][]byte, a, v uint64) bool {
	if i := a >> regionShift; i < uint64(len(m)) {
		if b, o := m[i], a&offsetMask; o+2 <= uint64(len(b)) {
			*(*uint16)(unsafe.Pointer(&b[o])) = uint16(v)
			return true
		}
	}
	return false
}

//go:norace
func store32(m [][]byte, a, v uint64) bool {
	if i := a >> regionShift; i < uint64(len(m)) {
		if b, o := m[i], a&offsetMask; o+4 <= uint64(len(b)) {
			*(*uint32)(unsafe.Pointer(&b[o])) = uint32(v)
			return true
		}
	}
	return false
}

//go:norace
func store64(m [][]byte, a, v uint64) bool {
	if i := a >> regionShift; i < uint64(len(m)) {
		if b, o := m[i], a&offsetMask; o+8 <= uint64(len(b)) {
			*(*uint64)(unsafe.Pointer(&b[o])) = v
			return true
		}
	}
	return false
}

// span returns the n bytes at an address, nil if they are not all there; n = 0
// gives an empty slice that is not nil, wherever the address leads.
func span(m [][]byte, a, n uint64) []byte {
	if n == 0 {
		return []byte{}
	}
	if i := a >> regionShift; i < uint64(len(m)) {
		if b, o := m[i], a&offsetMask; n <= uint64(len(b)) && o <= uint64(len(b))-n {
			return b[o:][:n:n]
		}
	}
	return nil
}

// copyShared copies like copy, between memory of which either may be a map's:
// by words where that is possible, so that an aligned word arrives whole.
//
//oobnet:hot
//go:norace
func copyShared(dst, src []byte) {
	n := min(len(dst), len(src))
	i := 0
	for ; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], binary.LittleEndian.Uint64(src[i:]))
	}
	if i+4 <= n {
		binary.LittleEndian.PutUint32(dst[i:], binary.LittleEndian.Uint32(src[i:]))
		i += 4
	}
	for ; i < n; i++ {
		dst[i] = src[i]
	}
}

// clearShared sets memory, which may be a map's, to zero.
//
//oobnet:hot
//go:norace
func clearShared(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, 0)
	}
	for i := range b {
		b[i] = 0
	}
}

// words copies bytes into words, the rest of the last one zero.
//
//oobnet:hot
//go:norace
func words(dst []uint64, src []byte) {
	for i := range dst {
		if len(src) >= 8 {
			dst[i] = binary.LittleEndian.Uint64(src)
			src = src[8:]
			continue
		}
		var w uint64
		for j, b := range src {
			w |= uint64(b) << (8 * j)
		}
		dst[i], src = w, nil
	}
}

// slab makes memory of n bytes, at an address that is a multiple of 8: 64-bit
// atomics need that.
func slab(n uint64) []byte {
	if n == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(make([]uint64, (n+7)/8)))), n)
}

func roundUp8(n int) int { return (n + 7) &^ 7 }
