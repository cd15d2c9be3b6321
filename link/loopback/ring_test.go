package loopback

import "testing"

// The indexes of a ring wrap at 2^32.
func TestRingWraps(t *testing.T) {
	var r ring[uint32]
	r.init(4)
	const start = 1<<32 - 3
	r.prod.head.Store(start)
	r.prod.seen = start
	r.cons.tail.Store(start)
	r.cons.seen = start
	out := make([]uint32, 4)
	for i := range uint32(10) {
		in := []uint32{3 * i, 3*i + 1, 3*i + 2}
		if n := r.put(in); n != 3 {
			t.Fatalf("round %d: put %d of 3", i, n)
		}
		if n := r.put(in); n != 1 {
			t.Fatalf("round %d: put %d with room for 1", i, n)
		}
		if n := r.take(out); n != 4 || [3]uint32(out[:3]) != [3]uint32(in) || out[3] != in[0] || !r.empty() {
			t.Fatalf("round %d: took %d: %v", i, n, out)
		}
	}
}
