package wire

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// request is "who has 10.0.0.2? tell 10.0.0.1" (RFC 826).
var request = []byte{
	0, 1, 8, 0, 6, 4, 0, 1,
	0x02, 0, 0, 0, 0, 0x0a, 10, 0, 0, 1,
	0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
}

func TestParseARP(t *testing.T) {
	want := ARP{Op: ARPRequest, SenderMAC: macA, SenderIP: 0x0a000001, TargetIP: 0x0a000002}
	for _, b := range [][]byte{request, append(bytes.Clone(request), make([]byte, 18)...)} {
		if a, ok := ParseARP(b); !ok || a != want {
			t.Errorf("%+v, %v; want %+v", a, ok, want)
		}
	}
	b := make([]byte, ARPLen)
	if n := PutARP(b, want); n != ARPLen || !bytes.Equal(b, request) {
		t.Errorf("% x, want % x", b, request)
	}
}

func TestParseARPRefuses(t *testing.T) {
	for at := range 6 {
		b := bytes.Clone(request)
		b[at]++
		if _, ok := ParseARP(b); ok {
			t.Errorf("other hardware, protocol or sizes (byte %d) pass", at)
		}
	}
	for n := range ARPLen {
		if _, ok := ParseARP(request[:n]); ok {
			t.Errorf("%d bytes pass", n)
		}
	}
}

func TestARPRoundTrip(t *testing.T) {
	mac := rapid.Custom(func(t *rapid.T) (m [6]byte) {
		copy(m[:], rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "mac"))
		return m
	})
	rapid.Check(t, func(t *rapid.T) {
		want := ARP{
			Op: rapid.Uint16().Draw(t, "op"), SenderMAC: mac.Draw(t, "sender"), SenderIP: rapid.Uint32().Draw(t, "ip"),
			TargetMAC: mac.Draw(t, "target"), TargetIP: rapid.Uint32().Draw(t, "target ip"),
		}
		b := make([]byte, ARPLen)
		PutARP(b, want)
		if a, ok := ParseARP(b); !ok || a != want {
			t.Fatalf("%+v, %v; want %+v", a, ok, want)
		}
	})
}
