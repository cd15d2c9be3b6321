package wire

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

var (
	macA = [6]byte{0x02, 0, 0, 0, 0, 0x0a}
	macB = [6]byte{0x02, 0, 0, 0, 0, 0x0b}
)

func TestParseEthernet(t *testing.T) {
	head := "\x02\x00\x00\x00\x00\x0b\x02\x00\x00\x00\x00\x0a"
	for _, c := range []struct {
		name, tail string
		want       Ethernet
		ok         bool
	}{
		{"plain", "\x08\x00", Ethernet{Type: TypeIPv4, Len: 14}, true},
		{"tagged", "\x81\x00\xe0\x64\x08\x06", Ethernet{Type: TypeARP, TCI: 7<<PCPShift | 100, Tagged: true, Len: 18}, true},
		{"priority tag", "\x81\x00\xa0\x00\x08\x00", Ethernet{Type: TypeIPv4, TCI: 5 << PCPShift, Tagged: true, Len: 18}, true},
		{"two tags", "\x81\x00\x00\x64\x81\x00\x00\x65\x08\x00", Ethernet{Type: TypeVLAN, TCI: 100, Tagged: true, Len: 18}, true},
		{"service tag", "\x88\xa8\x00\x64\x81\x00", Ethernet{Type: TypeQinQ, Len: 14}, true},
		{"802.3 length", "\x00\x2e", Ethernet{Type: 46, Len: 14}, true},
		{"short", "\x08", Ethernet{}, false},
		{"tag cut", "\x81\x00\x00\x64\x08", Ethernet{}, false},
	} {
		h, ok := ParseEthernet([]byte(head + c.tail))
		if ok != c.ok || ok && h != c.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, h, ok, c.want, c.ok)
		}
	}
	if _, ok := ParseEthernet(nil); ok {
		t.Error("a header in no bytes")
	}
}

func TestEthernetRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tci := rapid.Uint16().Draw(t, "tci")
		// A tag in the type's place is the next header's.
		etherType := rapid.Uint16().Filter(func(v uint16) bool { return v != TypeVLAN }).Draw(t, "type")
		b := bytes.Repeat([]byte{0xee}, 32)
		n := PutEthernet(b, macA, macB, tci, etherType)
		h, ok := ParseEthernet(b)
		if want := (Ethernet{Type: etherType, TCI: tci, Tagged: tci != 0, Len: n}); !ok || h != want {
			t.Fatalf("%+v, %v; want %+v", h, ok, want)
		}
		if MAC(b) != macA || MAC(b[6:]) != macB {
			t.Fatalf("addresses % x", b[:12])
		}
		if !bytes.Equal(b[n:], bytes.Repeat([]byte{0xee}, 32-n)) {
			t.Fatal("bytes behind the header were written")
		}
	})
}

func TestMAC48(t *testing.T) {
	b := []byte{1, 2, 3, 4, 5, 6, 0xaa, 0xbb}
	if got := MAC48(b); got != 0x010203040506 {
		t.Errorf("%#x", got)
	}
	if MAC48(append(BroadcastMAC[:], 0, 0)) != 1<<48-1 {
		t.Error("broadcast is not all ones")
	}
}

// TestMulticastMAC has the example of RFC 1112, section 6.4: the low 23 bits.
func TestMulticastMAC(t *testing.T) {
	for group, want := range map[[4]byte][6]byte{
		{224, 0, 0, 1}:       {0x01, 0x00, 0x5e, 0, 0, 1},
		{239, 255, 255, 255}: {0x01, 0x00, 0x5e, 0x7f, 0xff, 0xff},
		{224, 128, 1, 2}:     {0x01, 0x00, 0x5e, 0, 1, 2},
	} {
		if got := MulticastMAC(group); got != want {
			t.Errorf("%v: % x, want % x", group, got, want)
		}
	}
}

// TestInsertTag at either end of a buffer, against a frame that was built with it.
func TestInsertTag(t *testing.T) {
	const tci = 0x6064
	plain := make([]byte, EthernetHeaderLen+VLANTagLen)
	n := PutEthernet(plain, macA, macB, 0, TypeARP)
	plain = append(plain[:n], "payload"...)
	want := make([]byte, EthernetHeaderLen+VLANTagLen)
	PutEthernet(want, macA, macB, tci, TypeARP)
	want = append(want, "payload"...)
	for _, c := range []struct {
		name       string
		off, room  int
		length, at int
		ok         bool
	}{
		{"room before", 4, len(plain) + 4, len(plain), 0, true},
		{"much room before", 20, 100, len(plain), 16, true},
		{"room behind", 0, len(plain) + 4, len(plain), 0, true},
		{"a little before, room behind", 3, len(plain) + 7, len(plain), 3, true},
		{"no room", 3, len(plain) + 6, len(plain), 3, false},
		{"no header", 8, 100, EthernetHeaderLen - 1, 8, false},
		{"outside", 90, 100, len(plain), 90, false},
	} {
		buf := make([]byte, c.room)
		copy(buf[c.off:], plain[:c.length])
		before := bytes.Clone(buf)
		at, length, ok := InsertTag(buf, c.off, c.length, tci)
		switch {
		case ok != c.ok || at != c.at:
			t.Errorf("%s: at %d, %v; want %d, %v", c.name, at, ok, c.at, c.ok)
		case !ok && (length != c.length || !bytes.Equal(buf, before)):
			t.Errorf("%s: was changed", c.name)
		case ok && !bytes.Equal(buf[at:][:length], want):
			t.Errorf("%s: % x, want % x", c.name, buf[at:][:length], want)
		}
	}
}
