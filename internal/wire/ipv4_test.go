package wire

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// fromAKernel is a header as Linux sent it, its checksum the kernel's: UDP, 115
// bytes in all, from 192.168.0.1 to 192.168.0.199, with DF.
var fromAKernel = []byte{
	0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
	0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
}

// packet is a header with room for its total length behind it.
func packet(header []byte, total int) []byte {
	b := make([]byte, max(total, len(header)))
	copy(b, header)
	return b
}

func TestParseIPv4(t *testing.T) {
	h, err := ParseIPv4(packet(fromAKernel, 115), false)
	want := IPv4{Src: 0xc0a80001, Dst: 0xc0a800c7, HeaderLen: 20, TotalLen: 115, Protocol: ProtocolUDP, TTL: 64}
	if err != IPv4OK || h != want {
		t.Errorf("%+v, %d; want %+v", h, err, want)
	}
	// Padding behind the packet is nobody's.
	if h, err := ParseIPv4(packet(fromAKernel, 1500), false); err != IPv4OK || h != want {
		t.Errorf("with padding: %+v, %d", h, err)
	}
}

// reseal makes the checksum right again.
func reseal(b []byte) []byte {
	b[10], b[11] = 0, 0
	n := min(max(int(b[0]&0xf)*4, IPv4HeaderLen), len(b))
	binary.BigEndian.PutUint16(b[10:], ^naiveSum(b[:n], 0))
	return b
}

func TestParseIPv4FindsWhatIsWrong(t *testing.T) {
	with := func(change func(b []byte)) []byte {
		b := packet(fromAKernel, 115)
		change(b)
		return reseal(b)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want IPv4Error
	}{
		{"nothing", nil, IPv4Truncated},
		{"19 bytes", fromAKernel[:19], IPv4Truncated},
		{"version 6", with(func(b []byte) { b[0] = 0x65 }), IPv4BadVersion},
		{"version 0", with(func(b []byte) { b[0] = 0x05 }), IPv4BadVersion},
		{"header of 16 bytes", with(func(b []byte) { b[0] = 0x44 }), IPv4BadHeaderLen},
		{"header of 0 bytes", with(func(b []byte) { b[0] = 0x40 }), IPv4BadHeaderLen},
		{"header longer than the bytes", with(func(b []byte) { b[0] = 0x4f })[:40], IPv4BadHeaderLen},
		{"total length under the header's", with(func(b []byte) { b[2], b[3] = 0, 19 }), IPv4BadTotalLen},
		{"total length over the bytes", with(func(b []byte) { b[2], b[3] = 0, 116 }), IPv4BadTotalLen},
		{"total length 0", with(func(b []byte) { b[2], b[3] = 0, 0 }), IPv4BadTotalLen},
		{"options", with(func(b []byte) { b[0] = 0x46 }), IPv4OK},
		{"header alone", with(func(b []byte) { b[2], b[3] = 0, 20 })[:20], IPv4OK},
	} {
		if _, err := ParseIPv4(c.b, false); err != c.want {
			t.Errorf("%s: %d, want %d", c.name, err, c.want)
		}
	}
}

// TestOneBitBreaksTheChecksum: ones' complement finds every single bit, in
// plain headers and in those with options; who says that a device has verified
// it is believed.
func TestOneBitBreaksTheChecksum(t *testing.T) {
	for _, ihl := range []byte{5, 6, 15} {
		good := packet(fromAKernel, 115)
		good[0] = 0x40 | ihl
		reseal(good)
		for bit := range int(ihl) * 32 {
			if bit < 32 || bit/8 == 10 || bit/8 == 11 {
				continue // version and lengths fail by themselves; two zeros of the sum are equal
			}
			b := bytes.Clone(good)
			b[bit/8] ^= 1 << (bit % 8)
			if _, err := ParseIPv4(b, false); err != IPv4BadChecksum {
				t.Fatalf("header of %d words, bit %d: %d, want a bad checksum", ihl, bit, err)
			}
			if _, err := ParseIPv4(b, true); err != IPv4OK {
				t.Fatalf("header of %d words, bit %d: %d, though verified", ihl, bit, err)
			}
		}
	}
}

func TestFragments(t *testing.T) {
	for field, want := range map[uint16]bool{
		0: false, FlagDF: false, FlagMF: true, 1: true, FragmentOffset: true, FlagDF | FlagMF: true, 0x8000: false,
	} {
		b := packet(fromAKernel, 115)
		binary.BigEndian.PutUint16(b[6:], field)
		h, err := ParseIPv4(reseal(b), false)
		if err != IPv4OK || h.Fragment != want {
			t.Errorf("flags and offset %#04x: fragment %v, %d; want %v", field, h.Fragment, err, want)
		}
	}
}

func TestIPv4RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := IPv4{
			Src: rapid.Uint32().Draw(t, "src"), Dst: rapid.Uint32().Draw(t, "dst"),
			HeaderLen: IPv4HeaderLen, TotalLen: rapid.IntRange(IPv4HeaderLen, 65535).Draw(t, "len"),
			Protocol: rapid.Uint8().Draw(t, "protocol"), TTL: rapid.Uint8().Draw(t, "ttl"), TOS: rapid.Uint8().Draw(t, "tos"),
		}
		b := bytes.Repeat([]byte{0xee}, want.TotalLen)
		if n := PutIPv4(b, want.Src, want.Dst, want.Protocol, want.TTL, want.TOS, want.TotalLen); n != IPv4HeaderLen {
			t.Fatalf("a header of %d bytes", n)
		}
		if sum := naiveSum(b[:IPv4HeaderLen], 0); sum != 0xffff {
			t.Fatalf("the checksum verifies to %#04x", sum)
		}
		if h, err := ParseIPv4(b, false); err != IPv4OK || h != want {
			t.Fatalf("%+v, %d; want %+v", h, err, want)
		}
		if binary.BigEndian.Uint16(b[6:]) != FlagDF || b[4] != 0 || b[5] != 0 {
			t.Fatal("an atomic datagram has DF and no identification (RFC 6864)")
		}
	})
}

// TestMarkIPv4: a header marked later is the one that was marked from the start.
func TestMarkIPv4(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src, dst := rapid.Uint32().Draw(t, "src"), rapid.Uint32().Draw(t, "dst")
		tos, ttl, size := rapid.Uint8().Draw(t, "tos")&^3, rapid.Uint8().Draw(t, "ttl"), rapid.IntRange(20, 65535).Draw(t, "size")
		for ecn := range uint8(4) {
			var marked, want [IPv4HeaderLen]byte
			PutIPv4(marked[:], src, dst, ProtocolUDP, ttl, tos, size)
			MarkIPv4(marked[:], ecn)
			PutIPv4(want[:], src, dst, ProtocolUDP, ttl, tos|ecn, size)
			if marked != want {
				t.Fatalf("ECN %d: % x, want % x", ecn, marked, want)
			}
		}
	})
}
