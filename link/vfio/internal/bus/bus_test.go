package bus

import (
	"encoding/binary"
	"testing"
	"unsafe"
)

func TestRegistersAreLittleEndianWords(t *testing.T) {
	words := make([]uint32, 4)
	mapped := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 16)
	r, err := NewRegisters(mapped)
	if err != nil {
		t.Fatal(err)
	}
	r.Write32(4, 0x01020304)
	if got := mapped[4:8]; got[0] != 4 || got[3] != 1 {
		t.Errorf("stored % x, want 04 03 02 01", got)
	}
	if mapped[0] != 0 || mapped[8] != 0 {
		t.Error("a neighbour was written")
	}
	if got := r.Read32(4); got != 0x01020304 {
		t.Errorf("read %#x", got)
	}
	r.Write32(16, 5)
	if got := r.Read32(16); got != AllOnes {
		t.Errorf("a register outside of the BAR reads as %#x", got)
	}
	if _, err := NewRegisters(mapped[1:9]); err == nil {
		t.Error("registers at an odd address were taken")
	}
}

// The bytes that a device finds are the same whatever the processor's order:
// the word that LE64 makes is stored as that processor stores it.
func TestDescriptorWordsOnBothOrders(t *testing.T) {
	const word = 0x0123456789abcdef
	var little, big, want [8]byte
	binary.LittleEndian.PutUint64(want[:], word)
	binary.LittleEndian.PutUint64(little[:], order64(word, false))
	binary.BigEndian.PutUint64(big[:], order64(word, true))
	if little != want || big != want {
		t.Errorf("little-endian host stores % x, big-endian % x, want % x", little, big, want)
	}
	var here uint64 = LE64(word)
	if got := *(*[8]byte)(unsafe.Pointer(&here)); got != want {
		t.Errorf("this host stores % x, want % x", got, want)
	}
}

func BenchmarkWrite32(b *testing.B) {
	words := make([]uint32, 4)
	r, err := NewRegisters(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 16))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r.Write32(8, 1)
	}
}
