package capture_test

import (
	"encoding/binary"
	"testing"
)

// file is what a reader makes of a pcapng file, by the specification and not by
// our writer.
type file struct {
	ifName, ifFilter string
	ifMAC            []byte
	resolution       int
	snap             uint32
	packets          []filePacket
	statistics       map[uint16]uint64 // by option
	complete         bool              // it has a statistics block
}

type filePacket struct {
	at            uint64 // ns since 1970
	data          []byte
	length        uint32
	flags, queue  uint32
	lost          uint64
	comment       string
	commentsCount int
}

// readFile reads a file of one section with one interface, and fails the test at
// what does not fit the format.
func readFile(t *testing.T, b []byte) *file {
	t.Helper()
	f := &file{statistics: make(map[uint16]uint64)}
	le := binary.LittleEndian
	for n := 0; len(b) > 0; n++ {
		if len(b) < 12 {
			t.Fatalf("block %d: %d bytes are left", n, len(b))
		}
		kind, size := le.Uint32(b), int(le.Uint32(b[4:]))
		if size < 12 || size%4 != 0 || size > len(b) || int(le.Uint32(b[size-4:])) != size {
			t.Fatalf("block %d, type %#x: length %d of %d", n, kind, size, len(b))
		}
		body := b[8 : size-4]
		b = b[size:]
		if want := map[int]uint32{0: 0x0a0d0d0a, 1: 1}[n]; want != 0 && kind != want {
			t.Fatalf("block %d is of type %#x, want %#x", n, kind, want)
		}
		switch kind {
		case 0x0a0d0d0a:
			if le.Uint32(body) != 0x1a2b3c4d || le.Uint16(body[4:]) != 1 || le.Uint16(body[6:]) != 0 {
				t.Fatalf("section header % x", body)
			}
			options(t, body[16:], func(uint16, []byte) {})
		case 1:
			if le.Uint16(body) != 1 {
				t.Fatalf("link type %d", le.Uint16(body))
			}
			f.snap = le.Uint32(body[4:])
			options(t, body[8:], func(code uint16, v []byte) {
				switch code {
				case 2:
					f.ifName = string(v)
				case 6:
					f.ifMAC = v
				case 9:
					f.resolution = int(v[0])
				case 11:
					f.ifFilter = string(v[1:])
				}
			})
		case 6:
			f.packets = append(f.packets, readPacket(t, body))
		case 5:
			f.complete = true
			options(t, body[12:], func(code uint16, v []byte) {
				if code >= 4 && code <= 8 {
					f.statistics[code] = le.Uint64(v)
				}
			})
		default:
			t.Fatalf("block %d is of type %#x", n, kind)
		}
	}
	return f
}

func readPacket(t *testing.T, body []byte) (p filePacket) {
	t.Helper()
	le := binary.LittleEndian
	if le.Uint32(body) != 0 {
		t.Fatalf("interface %d", le.Uint32(body))
	}
	p.at = uint64(le.Uint32(body[4:]))<<32 | uint64(le.Uint32(body[8:]))
	n := int(le.Uint32(body[12:]))
	p.length = le.Uint32(body[16:])
	p.data = body[20:][:n]
	options(t, body[20+(n+3)/4*4:], func(code uint16, v []byte) {
		switch code {
		case 1:
			p.comment = string(v)
			p.commentsCount++
		case 2:
			p.flags = le.Uint32(v)
		case 4:
			p.lost = le.Uint64(v)
		case 6:
			p.queue = le.Uint32(v)
		}
	})
	return p
}

// options calls f with each option; the list must have an end.
func options(t *testing.T, b []byte, f func(code uint16, v []byte)) {
	t.Helper()
	for {
		if len(b) < 4 {
			t.Fatal("the options have no end")
		}
		code, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if code == 0 {
			if n != 0 || len(b) != 4 {
				t.Fatalf("%d bytes behind the last option", len(b)-4)
			}
			return
		}
		padded := (n + 3) / 4 * 4
		if len(b) < 4+padded {
			t.Fatalf("option %d of %d bytes: %d are left", code, n, len(b)-4)
		}
		f(code, b[4:][:n])
		b = b[4+padded:]
	}
}
