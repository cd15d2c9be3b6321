package vfio

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// pages is a bus on a machine with so many huge pages free, whatever the machine of
// the test has.
type pages struct {
	*model.Bus
	free int
}

func (p *pages) take(size int) bool {
	n := size / offheap.HugePageSize
	if n == 0 || n > p.free {
		return false
	}
	p.free -= n
	return true
}

func (p *pages) Alloc(size int) (bus.Memory, error) {
	m, err := p.Bus.Alloc(size)
	m.Huge = p.take(size)
	return m, err
}

func (p *pages) Populate(iova uint64, size int) (bool, error) {
	_, err := p.Bus.Populate(iova, size)
	return p.take(size), err
}

// TestNoHugePages: buffers in ordinary pages work, and it is said once how much of
// them does lie there, and how many pages are missing.
func TestNoHugePages(t *testing.T) {
	whole := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 1024, TXBuffers: 1024}
	growing := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 1 << 14, TXBuffers: 1 << 14, RXPopulated: 2048, TXPopulated: 1024}
	small := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 64, TXBuffers: 64}
	for _, c := range []struct {
		name   string
		layout link.Layout
		free   int
		says   []string // of the one event; none: there is none
	}{
		{"whole, none", whole, 0, []string{"4 MiB", "nr_hugepages by 2"}},
		{"whole, enough", whole, 2, nil},
		{"growing, none", growing, 0, []string{"6 MiB", "nr_hugepages by 3"}},
		{"growing, some", growing, 1, []string{"4 MiB", "nr_hugepages by 2"}},
		{"growing, enough", growing, 3, nil},
		{"too small for one", small, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaktest.Check(t)
			var seen events
			l, far := openModel(t, func(b *model.Bus) bus.Bus { return &pages{b, c.free} }, seen.add)
			if _, err := l.Attach(c.layout); err != nil {
				t.Fatal(err)
			}
			if c.layout.Resizable() { // which says no more of it
				if err := l.Populate(4096, 1024); err != nil {
					t.Fatal(err)
				}
			}
			receiveOne(t, l, far)
			var told []string
			for _, e := range seen.list {
				told = append(told, fmt.Sprint(e.State, e.Err))
			}
			if want := min(len(c.says), 1); len(told) != want {
				t.Fatalf("events %q, want %d", told, want)
			}
			for _, what := range c.says {
				if !strings.Contains(told[0], what) || seen.list[0].State != link.Up {
					t.Errorf("%q does not say %q", told[0], what)
				}
			}
		})
	}
}

// receiveOne has a frame come.
func receiveOne(t *testing.T, l *Link, far driver.Free) {
	t.Helper()
	q := l.Queue(0)
	if n := q.Fill([]uint32{3}); n != 1 {
		t.Fatalf("Fill took %d", n)
	}
	if err := far.Begin(); err != nil {
		t.Fatal(err)
	}
	came := far.Arrive(1, 60)
	far.End()
	var in [2]link.Frame
	if n := q.Receive(in[:]); came != 1 || n != 1 || in[0].Index != 3 {
		t.Errorf("%d frames came and %d were received: %+v", came, n, in[:n])
	}
}
