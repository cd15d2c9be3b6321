package loopback

import (
	"testing"

	headers "github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

func TestUnknownFeature(t *testing.T) {
	if l, err := New(&Config{With: allFeatures + 1}); err == nil {
		l.Close()
		t.Error("a feature that there is not was taken")
	}
}

// TestStrictOffload: what the strictest NICs would get wrong is refused, so that
// whoever relies on it is found out here.
func TestStrictOffload(t *testing.T) {
	l, err := New(&Config{With: TXChecksum | VLANInsert})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mem, err := l.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 2, TXBuffers: 1})
	if err != nil {
		t.Fatal(err)
	}
	q := l.Queue(0)
	for _, c := range []struct {
		name     string
		size     int // of the datagram's payload
		behind   int // bytes after it
		flags    link.Flags
		received int // bytes; 0: it is refused
	}{
		{"a datagram", 100, 0, link.FlagChecksumOffload, 142},
		{"with something behind it", 100, 1, link.FlagChecksumOffload, 0},
		{"the longest", DefaultMTU - 28, 0, link.FlagVLANStripped | link.FlagChecksumOffload, DefaultMTU + 18},
		{"longer with its tag than the wire takes", DefaultMTU - 28, 1, link.FlagVLANStripped, 0},
	} {
		f := link.Frame{Index: 2, Len: uint16(42 + c.size + c.behind), Meta: link.Meta{Flags: c.flags, VLAN: 5}}
		b := mem.Bytes(f)
		clear(b)
		headers.PutEthernet(b, l.MAC(), l.MAC(), 0, headers.TypeIPv4)
		headers.PutIPv4(b[14:], 1, 2, headers.ProtocolUDP, 64, 0, 28+c.size)
		headers.PutUDPPartial(b[34:][:8+c.size], 1, 2, 3, 4)
		before := q.Stats().TXInvalid
		q.Fill([]uint32{0})
		if q.Send([]link.Frame{f}) != 1 || q.Reclaim(make([]uint32, 1)) != 1 {
			t.Fatalf("%s: was not taken and completed", c.name)
		}
		in := make([]link.Frame, 1)
		switch n := q.Receive(in); {
		case c.received == 0 && (n != 0 || q.Stats().TXInvalid != before+1):
			t.Errorf("%s: received %d, refused %d", c.name, n, q.Stats().TXInvalid-before)
		case c.received != 0 && (n != 1 || int(in[0].Len) != c.received):
			t.Errorf("%s: received %d of %d bytes, want %d", c.name, n, in[0].Len, c.received)
		}
	}
}
