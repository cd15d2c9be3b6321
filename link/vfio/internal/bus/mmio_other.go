//go:build !amd64 && !arm64

package bus

import (
	"sync/atomic"
	"unsafe"
)

// Elsewhere an atomic access is the nearest that Go has: one access of the
// right width, with full barriers. The other side is the device.

func load32(p unsafe.Pointer) uint32 { return LE32(atomic.LoadUint32((*uint32)(p))) }

func store32(p unsafe.Pointer, v uint32) { atomic.StoreUint32((*uint32)(p), LE32(v)) }
