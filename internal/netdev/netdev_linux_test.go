package netdev

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

// TestFeatures asks for a veth's: its driver has had these since 6.3.
func TestFeatures(t *testing.T) {
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	if w.Borrowed() {
		t.Skip("needs a veth pair: what a card can do is its driver's")
	}
	var info Info
	var err, none error
	w.A.Do(func() {
		info, err = Features(w.A.IfIndex)
		_, none = Features(1 << 20)
	})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if info.Index != w.A.IfIndex || info.XDP&(XDPBasic|XDPRedirect) != XDPBasic|XDPRedirect || info.XDP&XDPZeroCopy != 0 || info.ZeroCopySegments != 0 {
		t.Errorf("XDP: %+v", info)
	}
	// The driver has told of metadata since 6.3, the family since 6.8.
	if m := info.RXMetadata; m != 0 && m&(RXTimestamp|RXHash) != RXTimestamp|RXHash {
		t.Errorf("metadata of received frames: %v", m)
	}
	if info.XSK != 0 {
		t.Errorf("veth has no hardware, and claims %v", info.XSK)
	}
	if !errors.Is(none, unix.ENODEV) {
		t.Errorf("no such interface: %v, want ENODEV", none)
	}
}

// answer is a message with these bytes behind its header.
func answer(kind uint16, payload ...byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, make([]byte, unix.SizeofNlMsghdr-6)...)
	return append(b, payload...)
}

func errorNumber(errno int32) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(-errno))
}

func TestParse(t *testing.T) {
	whole := answer(0x20, 1, 1, 0, 0, 6, 0, 1, 0x80, 7, 7, 0, 0, 8, 0, 2, 0, 1, 2, 3, 4)
	seen := map[uint16][]byte{}
	if err := parse(whole, func(kind uint16, value []byte) { seen[kind] = value }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || string(seen[1]) != "\x07\x07" || string(seen[2]) != "\x01\x02\x03\x04" {
		t.Errorf("attributes %v", seen)
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":          {nil, unix.EBADMSG},
		"no header":        {whole[:8], unix.EBADMSG},
		"less than it has": {whole[:30], unix.EBADMSG},
		"no command":       {answer(0x20), unix.EBADMSG},
		"an error":         {answer(unix.NLMSG_ERROR, errorNumber(int32(unix.ENODEV))...), unix.ENODEV},
		"no error":         {answer(unix.NLMSG_ERROR, errorNumber(0)...), unix.EBADMSG},
	} {
		if err := parse(c.b, func(uint16, []byte) { t.Errorf("%s: attributes", name) }); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// FuzzEachAttribute: values lie in what was given, and the walk ends.
func FuzzEachAttribute(f *testing.F) {
	f.Add([]byte{6, 0, 1, 0, 7, 7, 0, 0, 4, 0, 2, 0})
	f.Add([]byte{5, 0, 1, 0, 7})
	f.Add([]byte{0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		EachAttribute(b, func(kind uint16, value []byte) {
			total += unix.SizeofRtAttr + len(value)
			if kind > attributeType {
				t.Errorf("kind %#x", kind)
			}
			Number(value)
		})
		if total > len(b) {
			t.Errorf("%d bytes of attributes in %d", total, len(b))
		}
	})
}
