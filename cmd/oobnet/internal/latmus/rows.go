package latmus

import "math/bits"

// Rows of a drawn histogram: four an octave, by value in ns.

// row that a value falls into.
func row(ns int64) int {
	if ns < 4 {
		return int(max(ns, 0))
	}
	octave := bits.Len64(uint64(ns)) - 1
	return octave*4 + int(ns>>(octave-2))&3 - 4
}

// rowStart is the least value of a row, ns.
func rowStart(k int) int64 {
	if k < 4 {
		return int64(k)
	}
	octave := (k + 4) / 4
	return int64(4+(k+4)%4) << (octave - 2)
}
