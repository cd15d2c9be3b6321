package vfiouser

import (
	"io"
	"testing"
)

// BenchmarkRegisterRead is the round trip that a guest's register access waits
// for, less the monitor's part of it.
func BenchmarkRegisterRead(b *testing.B) {
	_, path := serve(b)
	c := greeted(b, path)
	ask, reply := message(cmdRegionRead, access(0, 8, 4)), make([]byte, headerSize+16+4)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.c.Write(ask); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c.c, reply); err != nil {
			b.Fatal(err)
		}
	}
}
