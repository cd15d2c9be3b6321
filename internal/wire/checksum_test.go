package wire

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// naiveSum is the checksum as RFC 1071, section 1, words it: 16 bits at a
// time, the last odd byte padded with zero, the carries added at the end.
func naiveSum(b []byte, sum uint64) uint16 {
	// The words of a 64-bit sum may be added in any order.
	for ; sum > 0xffff; sum = sum>>16 + sum&0xffff {
	}
	for len(b) > 1 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	for ; sum > 0xffff; sum = sum>>16 + sum&0xffff {
	}
	return uint16(sum)
}

// TestSumOfRFC1071 is the numerical example of section 3.
func TestSumOfRFC1071(t *testing.T) {
	if got := Fold(Sum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0)); got != 0xddf2 {
		t.Errorf("sum %#04x, want 0xddf2", got)
	}
}

func TestSumIsTheNaiveOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
		start := rapid.Uint64().Draw(t, "start")
		if got, want := Fold(Sum(b, start)), naiveSum(b, start); got != want {
			t.Fatalf("sum of %d bytes on %#x is %#04x, want %#04x", len(b), start, got, want)
		}
	})
}

// TestSumOfEachLength meets each way out of the unrolled loops, with the bytes
// that carry most.
func TestSumOfEachLength(t *testing.T) {
	b := make([]byte, 200)
	for _, fill := range []byte{0x00, 0x01, 0x7f, 0x80, 0xff} {
		for i := range b {
			b[i] = fill
		}
		for n := range b {
			for _, start := range []uint64{0, 1, 1<<32 - 1, 1<<64 - 2, 1<<64 - 1} {
				if got, want := Fold(Sum(b[:n], start)), naiveSum(b[:n], start); got != want {
					t.Fatalf("%d bytes of %#02x on %#x: %#04x, want %#04x", n, fill, start, got, want)
				}
			}
		}
	}
}

// TestSumInPieces: even pieces may be summed one after the other.
func TestSumInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes")
		cut := rapid.IntRange(0, len(b)/2).Draw(t, "cut") * 2
		if got, want := Fold(Sum(b[cut:], Sum(b[:cut], 0))), Fold(Sum(b, 0)); got != want {
			t.Fatalf("in pieces %#04x, whole %#04x", got, want)
		}
	})
}

func TestFold(t *testing.T) {
	for _, c := range []struct {
		sum  uint64
		want uint16
	}{
		{0, 0}, {1, 1}, {0xffff, 0xffff}, {0x10000, 1}, {0x1ffff, 1}, {0xffffffff, 0xffff}, {1 << 32, 1},
		{1 << 48, 1}, {1<<64 - 1, 0xffff}, {0xffff_ffff_0000_0000, 0xffff}, {0x8000_8000_8000_8000, 2},
	} {
		if got := Fold(c.sum); got != c.want {
			t.Errorf("Fold(%#x) = %#04x, want %#04x", c.sum, got, c.want)
		}
	}
	for range 10000 {
		sum := rand.Uint64()
		if got, want := Fold(sum), naiveSum(nil, sum); got != want {
			t.Fatalf("Fold(%#x) = %#04x, want %#04x", sum, got, want)
		}
	}
}

func TestPseudoSum(t *testing.T) {
	const src, dst = 0x0a000001, 0xc0a80102
	header := []byte{10, 0, 0, 1, 192, 168, 1, 2, 0, ProtocolUDP, 0x12, 0x34}
	if got, want := Fold(PseudoSum(src, dst, ProtocolUDP, 0x1234)), naiveSum(header, 0); got != want {
		t.Errorf("%#04x, want %#04x", got, want)
	}
}

func BenchmarkSum1472(b *testing.B) {
	buf := make([]byte, 1472) // a full datagram's payload
	b.SetBytes(int64(len(buf)))
	var sink uint64
	for b.Loop() {
		sink += Sum(buf, 0)
	}
	_ = sink
}
