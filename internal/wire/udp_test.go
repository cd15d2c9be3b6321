package wire

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// Any two addresses.
const (
	ipA = 0xc0000201
	ipB = 0xc6336402
)

// TestUDPKnownChecksum is a datagram summed by hand: 10.0.0.1:1 to 10.0.0.2:2,
// payload "hi". Pseudo-header 0a00+0001+0a00+0002+0011+000a = 141e, header
// 0001+0002+000a = 000d, payload 6869: 7c94, complement 836b.
func TestUDPKnownChecksum(t *testing.T) {
	b := append(make([]byte, UDPHeaderLen), "hi"...)
	PutUDP(b, 0x0a000001, 0x0a000002, 1, 2)
	if want := []byte{0, 1, 0, 2, 0, 10, 0x83, 0x6b, 'h', 'i'}; !bytes.Equal(b, want) {
		t.Errorf("% x, want % x", b, want)
	}
}

func TestParseUDP(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want UDP
		ok   bool
	}{
		{"empty payload", []byte{0, 7, 0, 9, 0, 8, 0xab, 0xcd}, UDP{7, 9, 8, 0xabcd}, true},
		{"padding", []byte{0, 7, 0, 9, 0, 8, 0, 0, 1, 2, 3}, UDP{7, 9, 8, 0}, true},
		{"length over the bytes", []byte{0, 7, 0, 9, 0, 9, 0, 0}, UDP{}, false},
		{"length under the header", []byte{0, 7, 0, 9, 0, 7, 0, 0}, UDP{}, false},
		{"length 0", []byte{0, 7, 0, 9, 0, 0, 0, 0}, UDP{}, false},
		{"7 bytes", []byte{0, 7, 0, 9, 0, 8, 0}, UDP{}, false},
		{"nothing", nil, UDP{}, false},
	} {
		if h, ok := ParseUDP(c.b); ok != c.ok || ok && h != c.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, h, ok, c.want, c.ok)
		}
	}
}

func TestUDPRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := rapid.SliceOfN(rapid.Byte(), 0, 1472).Draw(t, "payload")
		src, dst := rapid.Uint32().Draw(t, "src"), rapid.Uint32().Draw(t, "dst")
		from, to := rapid.Uint16().Draw(t, "from"), rapid.Uint16().Draw(t, "to")
		b := append(make([]byte, UDPHeaderLen), payload...)
		PutUDP(b, src, dst, from, to)
		h, ok := ParseUDP(b)
		if !ok || h.SrcPort != from || h.DstPort != to || h.Len != len(b) {
			t.Fatalf("%+v, %v", h, ok)
		}
		if h.Checksum == 0 {
			t.Fatal("a checksum was computed, and says that none was (RFC 768)")
		}
		if !UDPChecksumOK(b, src, dst) {
			t.Fatal("the own checksum is wrong")
		}
		if sum := naiveSum(b, PseudoSum(src, dst, ProtocolUDP, len(b))); sum != 0xffff {
			t.Fatalf("it verifies to %#04x by the naive sum", sum)
		}
		bit := rapid.IntRange(0, len(b)*8-1).Draw(t, "bit")
		b[bit/8] ^= 1 << (bit % 8)
		if UDPChecksumOK(b, src, dst) && binary.BigEndian.Uint16(b[6:]) != 0 {
			t.Fatalf("bit %d was flipped, and the checksum is right", bit)
		}
	})
}

// TestZeroChecksumIsSentAsOnes finds a payload whose checksum comes out as 0,
// which would mean that there is none (RFC 768).
func TestZeroChecksumIsSentAsOnes(t *testing.T) {
	b := make([]byte, UDPHeaderLen+2)
	PutUDP(b, ipA, ipB, 5, 6)
	// Adding the checksum to the words of the payload brings the sum to ones.
	copy(b[8:], b[6:8])
	PutUDP(b, ipA, ipB, 5, 6)
	if got := binary.BigEndian.Uint16(b[6:]); got != 0xffff {
		t.Fatalf("checksum %#04x, want 0xffff", got)
	}
	if !UDPChecksumOK(b, ipA, ipB) {
		t.Error("it does not verify")
	}
}

func TestNoChecksum(t *testing.T) {
	b := []byte{0, 1, 0, 2, 0, 10, 0, 0, 'h', 'i'}
	if !UDPChecksumOK(b, ipA, ipB) {
		t.Error("a datagram without a checksum is a good one (RFC 768)")
	}
}

func TestPartialChecksum(t *testing.T) {
	b := []byte{0, 1, 0, 2, 0, 10, 0, 0, 'h', 'i'}
	binary.BigEndian.PutUint16(b[6:], naiveSum(nil, PseudoSum(ipA, ipB, ProtocolUDP, len(b))))
	if !UDPChecksumPartial(b, ipA, ipB) {
		t.Error("the pseudo-header's sum is not seen")
	}
	if UDPChecksumOK(b, ipA, ipB) {
		t.Error("a partial checksum passes for a whole one")
	}
	if b[9]++; !UDPChecksumPartial(b, ipA, ipB) {
		t.Error("a partial checksum says nothing about the payload")
	}
	if b[7]++; UDPChecksumPartial(b, ipA, ipB) {
		t.Error("any checksum passes for a partial one")
	}
}

// TestUDPStart goes through what a device that completes checksums can get.
func TestUDPStart(t *testing.T) {
	frame := func(tci uint16, options int, change func(ip []byte)) []byte {
		b := make([]byte, EthernetHeaderLen+VLANTagLen)
		b = b[:PutEthernet(b, [6]byte{2}, [6]byte{4}, tci, TypeIPv4)]
		at := len(b)
		b = append(b, make([]byte, IPv4HeaderLen+options+UDPHeaderLen+2)...)
		PutIPv4(b[at:], ipA, ipB, ProtocolUDP, 64, 0, len(b)-at)
		b[at] += byte(options / 4)
		if change != nil {
			change(b[at:])
		}
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		want int
	}{
		{"untagged", frame(0, 0, nil), 34},
		{"tagged", frame(5, 0, nil), 38},
		{"options", frame(0, 40, nil), 74},
		{"not to be fragmented", frame(0, 0, func(ip []byte) { ip[6] = 0x40 }), 34},
		{"more fragments", frame(0, 0, func(ip []byte) { ip[6] = 0x20 }), 0},
		{"a later fragment", frame(0, 0, func(ip []byte) { ip[7] = 1 }), 0},
		{"TCP", frame(0, 0, func(ip []byte) { ip[9] = 6 }), 0},
		{"IPv6", frame(0, 0, func(ip []byte) { ip[0] = 0x65 }), 0},
		{"a header too short", frame(0, 0, func(ip []byte) { ip[0] = 0x44 }), 0},
		{"options cut short", frame(0, 0, func(ip []byte) { ip[0] = 0x4f }), 0},
		{"cut short", frame(0, 0, nil)[:41], 0},
		{"cut in the tag", frame(5, 0, nil)[:15], 0},
		{"nothing", nil, 0},
	} {
		if at, ok := UDPStart(c.b); ok != (c.want != 0) || at != c.want {
			t.Errorf("%s: %d, %v; want %d", c.name, at, ok, c.want)
		}
	}
}

// udpFrame is a frame with a datagram, and padding behind it, whose checksum is
// left to a device or not.
func udpFrame(tci uint16, size, padding int, partial bool) []byte {
	b := make([]byte, EthernetHeaderLen+VLANTagLen)
	at := PutEthernet(b, [6]byte{2}, [6]byte{4}, tci, TypeIPv4)
	b = append(b[:at], make([]byte, IPv4HeaderLen+UDPHeaderLen+size)...)
	for i := range size {
		b[len(b)-1-i] = byte(251*i + size)
	}
	PutIPv4(b[at:], ipA, ipB, ProtocolUDP, 64, 0, len(b)-at)
	put := PutUDP
	if partial {
		put = PutUDPPartial
	}
	put(b[at+IPv4HeaderLen:], ipA, ipB, 1, 2)
	for i := range padding {
		b = append(b, byte(0xa5+i)) // not zeros: they would not show
	}
	return b
}

// TestCompleteUDP: what is left to a device and then completed is what had been
// computed at once.
func TestCompleteUDP(t *testing.T) {
	for _, tci := range []uint16{0, 0x6064} {
		for _, padding := range []int{0, 1, 18} {
			for size := range 200 {
				want, got := udpFrame(tci, size, padding, false), udpFrame(tci, size, padding, true)
				start, _ := UDPStart(got)
				if !UDPChecksumPartial(got[start:][:UDPHeaderLen+size], ipA, ipB) {
					t.Fatalf("%d bytes: the field does not hold the pseudo-header's sum", size)
				}
				if !CompleteUDP(got) || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes: completed\n% x, want\n% x", size, got, want)
				}
			}
		}
	}
	// A payload that brings the sum to all ones: 0 would say that there is none.
	b := udpFrame(0, 2, 0, true)
	start, _ := UDPStart(b)
	b[len(b)-2], b[len(b)-1] = 0, 0
	rest := ^Fold(Sum(b[start:], 0))
	binary.BigEndian.PutUint16(b[len(b)-2:], rest)
	if !CompleteUDP(b) || binary.BigEndian.Uint16(b[start+UDPChecksumAt:]) != 0xffff {
		t.Errorf("a sum of 0 was sent as %#x", b[start+UDPChecksumAt:][:2])
	}
	long, none := udpFrame(0, 10, 0, true), udpFrame(0, 10, 0, true)
	long[start+5]++
	none[12] = 0x86
	for name, b := range map[string][]byte{"a length over the frame's end": long, "no IPv4": none, "nothing": nil} {
		before := bytes.Clone(b)
		if CompleteUDP(b) || !bytes.Equal(b, before) {
			t.Errorf("%s: was completed", name)
		}
	}
}
