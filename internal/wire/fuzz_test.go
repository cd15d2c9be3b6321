package wire

import (
	"encoding/binary"
	"testing"
)

// The invariants are what callers rely on when they cut the bytes: every
// length that a parser hands out lies inside of what it was given.

func FuzzParseEthernet(f *testing.F) {
	b := make([]byte, 60)
	for _, tci := range []uint16{0, 100, 0xe064} {
		f.Add(b[:PutEthernet(b, macA, macB, tci, TypeIPv4)])
	}
	f.Add([]byte{12: 0x81, 13: 0x00, 17: 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseEthernet(b)
		switch {
		case !ok:
			if len(b) >= EthernetHeaderLen+VLANTagLen {
				t.Fatalf("%d bytes are enough for any header", len(b))
			}
			return
		case h.Len > len(b):
			t.Fatalf("payload at %d of %d bytes", h.Len, len(b))
		case h.Tagged != (h.Len == EthernetHeaderLen+VLANTagLen), !h.Tagged && h.TCI != 0:
			t.Fatalf("tagged %v, TCI %#x, payload at %d", h.Tagged, h.TCI, h.Len)
		case h.Type != binary.BigEndian.Uint16(b[h.Len-2:]):
			t.Fatalf("type %#04x is not what stands before the payload", h.Type)
		case !h.Tagged && h.Type == TypeVLAN:
			t.Fatal("a tag was not seen")
		}
		// What was read can be written; a tag of zeros is written as none.
		if h.TCI == 0 {
			h.Tagged, h.Len = false, EthernetHeaderLen
		}
		if h.TCI == 0 && h.Type == TypeVLAN {
			return
		}
		out := make([]byte, EthernetHeaderLen+VLANTagLen)
		PutEthernet(out, MAC(b), MAC(b[6:]), h.TCI, h.Type)
		if again, ok := ParseEthernet(out); !ok || again != h {
			t.Fatalf("%+v became %+v", h, again)
		}
	})
}

func FuzzParseIPv4(f *testing.F) {
	f.Add(fromAKernel, false)
	f.Add(packet(fromAKernel, 115), false)
	f.Add(reseal(append([]byte{0x4f}, packet(fromAKernel, 115)[1:]...)), false)
	f.Add([]byte{0x45, 0, 0xff, 0xff, 19: 0}, true)
	f.Fuzz(func(t *testing.T, b []byte, verified bool) {
		h, err := ParseIPv4(b, verified)
		if err != IPv4OK {
			if err > IPv4BadChecksum || verified && err == IPv4BadChecksum {
				t.Fatalf("error %d of bytes that were verified: %v", err, verified)
			}
			return
		}
		switch {
		case h.HeaderLen < IPv4HeaderLen || h.HeaderLen%4 != 0 || h.HeaderLen > h.TotalLen || h.TotalLen > len(b):
			t.Fatalf("header of %d in a packet of %d in %d bytes", h.HeaderLen, h.TotalLen, len(b))
		case b[0]>>4 != 4:
			t.Fatal("another version passes")
		case !verified && naiveSum(b[:h.HeaderLen], 0) != 0xffff:
			t.Fatal("a wrong checksum passes")
		case h.Fragment != (binary.BigEndian.Uint16(b[6:])&0x3fff != 0):
			t.Fatalf("fragment %v with flags %#x", h.Fragment, b[6:8])
		}
		if h.HeaderLen > IPv4HeaderLen || h.Fragment {
			return
		}
		out := make([]byte, h.TotalLen)
		PutIPv4(out, h.Src, h.Dst, h.Protocol, h.TTL, h.TOS, h.TotalLen)
		if again, err := ParseIPv4(out, false); err != IPv4OK || again != h {
			t.Fatalf("%+v became %+v, %d", h, again, err)
		}
	})
}

func FuzzParseUDP(f *testing.F) {
	b := append(make([]byte, UDPHeaderLen), "hello"...)
	PutUDP(b, ipA, ipB, 7, 9)
	f.Add(b, uint32(ipA), uint32(ipB))
	f.Add(b[:8], uint32(0), uint32(0))
	f.Add([]byte{0, 1, 0, 2, 0, 8, 0, 0, 1}, uint32(ipA), uint32(ipB))
	f.Fuzz(func(t *testing.T, b []byte, src, dst uint32) {
		h, ok := ParseUDP(b)
		if !ok {
			return
		}
		if h.Len < UDPHeaderLen || h.Len > len(b) {
			t.Fatalf("length %d in %d bytes", h.Len, len(b))
		}
		d := b[:h.Len]
		good := h.Checksum == 0 || naiveSum(d, PseudoSum(src, dst, ProtocolUDP, len(d))) == 0xffff
		if UDPChecksumOK(d, src, dst) != good {
			t.Fatalf("the checksum %#04x passes: %v", h.Checksum, !good)
		}
		if want := h.Checksum == naiveSum(nil, PseudoSum(src, dst, ProtocolUDP, len(d))); UDPChecksumPartial(d, src, dst) != want {
			t.Fatalf("the checksum %#04x is partial: %v", h.Checksum, !want)
		}
		PutUDP(d, src, dst, h.SrcPort, h.DstPort)
		if again, ok := ParseUDP(d); !ok || again.SrcPort != h.SrcPort || again.DstPort != h.DstPort || again.Len != h.Len ||
			!UDPChecksumOK(d, src, dst) {
			t.Fatalf("%+v became %+v", h, again)
		}
	})
}

func FuzzParseARP(f *testing.F) {
	f.Add(request)
	f.Add(request[:27])
	f.Add(append(request[:8:8], make([]byte, 60)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := ParseARP(b)
		if !ok {
			return
		}
		out := make([]byte, ARPLen)
		PutARP(out, a)
		if string(out) != string(b[:ARPLen]) {
			t.Fatalf("% x became % x", b[:ARPLen], out)
		}
	})
}
