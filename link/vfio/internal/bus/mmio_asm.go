//go:build amd64 || arm64

package bus

import "unsafe"

// load32 and store32 are one move each, in assembly, with the barriers that
// Registers promises.

//go:noescape
func load32(p unsafe.Pointer) uint32

//go:noescape
func store32(p unsafe.Pointer, v uint32)
