package link_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/link"
)

// resizable has queues of one chunk and a half of one, and a pool of one and a
// bit.
var resizable = link.Layout{BufferSize: 4096, Queues: 2, RXBuffers: 1024, TXBuffers: 600, RXPopulated: 600, TXPopulated: 1}

func TestPopulated(t *testing.T) {
	small := link.Layout{BufferSize: 2048, Queues: 2, RXBuffers: 64, TXBuffers: 100, RXPopulated: 3, TXPopulated: 65}
	fixed := link.Layout{BufferSize: 2048, Queues: 2, RXBuffers: 64, TXBuffers: 100}
	for _, c := range []struct {
		layout link.Layout
		chunk  int
		want   [][2]int
	}{
		{resizable, 512, [][2]int{{0, 1024}, {1024, 1024}, {2048, 512}}},
		{small, 64, [][2]int{{0, 64}, {64, 64}, {128, 100}}},
		{fixed, 64, [][2]int{{0, 228}}},
	} {
		if err := c.layout.Check(); err != nil {
			t.Fatal(err)
		}
		if got := c.layout.Chunk(); got != c.chunk {
			t.Errorf("%+v: chunks of %d buffers, want %d", c.layout, got, c.chunk)
		}
		var got [][2]int
		for first, n := range c.layout.Populated() {
			got = append(got, [2]int{first, n})
			if err := c.layout.CheckChunks(first, n); err != nil {
				t.Error(err)
			}
		}
		if len(got) != len(c.want) || got[0] != c.want[0] || got[len(got)-1] != c.want[len(got)-1] {
			t.Errorf("%+v: populated %v, want %v", c.layout, got, c.want)
		}
	}
}

func TestPopulatedErrors(t *testing.T) {
	for name, spoil := range map[string]func(*link.Layout){
		"only the pool":        func(l *link.Layout) { l.RXPopulated = 0 },
		"only the queues":      func(l *link.Layout) { l.TXPopulated = 0 },
		"negative":             func(l *link.Layout) { l.RXPopulated = -1 },
		"more than the queue":  func(l *link.Layout) { l.RXPopulated = 1025 },
		"more than the pool":   func(l *link.Layout) { l.TXPopulated = 601 },
		"less than the device": func(l *link.Layout) { l.RXBuffers, l.RXPopulated = 8, 8 },
	} {
		bad := resizable
		spoil(&bad)
		if bad.Check() == nil {
			t.Errorf("%s: %+v passes", name, bad)
		}
	}
	for _, c := range [][2]int{{-512, 512}, {0, 0}, {0, -512}, {1, 512}, {0, 511}, {0, 3072}, {2560, 89}, {2560, 512}, {3072, 512}, {512, 1<<63 - 1}} {
		if err := resizable.CheckChunks(c[0], c[1]); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("CheckChunks(%d, %d): %v, want EINVAL", c[0], c[1], err)
		}
	}
}

func TestSparseMemory(t *testing.T) {
	region := make([]byte, resizable.Bytes())
	m, err := link.NewSparseMemory(region, resizable)
	if err != nil {
		t.Fatal(err)
	}
	last := uint32(resizable.Buffers() - 1)
	is := func(index uint32, want bool) {
		t.Helper()
		if got := m.Valid(link.Frame{Index: index, Len: 60}); got != want {
			t.Errorf("buffer %d is valid: %v, want %v", index, got, want)
		}
	}
	is(0, false)
	m.Mark(512, 512, true)
	m.Mark(2560, 88, true)
	is(511, false)
	is(512, true)
	is(1023, true)
	is(1024, false)
	is(last, true)
	is(last+1, false)
	m.Mark(512, 512, false)
	is(512, false)
	is(last, true)
	fixed := resizable
	fixed.RXPopulated, fixed.TXPopulated = 0, 0
	if _, err := link.NewSparseMemory(region, fixed); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("sparse memory of a fixed layout: %v, want EINVAL", err)
	}
	if m, err = link.NewMemory(region, resizable); err != nil {
		t.Fatal(err)
	}
	is(0, true) // a link that is no Resizer gives memory to all
}
