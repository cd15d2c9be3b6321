package link

import (
	"fmt"
	"iter"
	"math/bits"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Limits of a layout. The buffer limits are EVL's: one page by default, four
// at most (https://v4.xenomai.org, "Out-of-band networking", port parameters).
const (
	PageSize      = 4096
	MinBufferSize = 2048
	MaxBufferSize = 4 * PageSize
	// MaxBuffers bounds the buffers of one region: an index has 20 bits in
	// the stack's lists, and one value of them stands for none.
	MaxBuffers = 1<<20 - 1
	// ChunkSize is the memory that a Resizer puts behind buffers at a time,
	// bytes: a huge page. A queue whose buffers take less is a chunk of its own,
	// of MinChunkSize at least: the largest page of the machines that oobnet
	// runs on.
	ChunkSize    = 2 << 20
	MinChunkSize = 64 << 10
)

// Layout is how a region is cut: first the receive buffers, queue by queue,
// then the TX pool.
type Layout struct {
	// BufferSize in bytes, a power of two from MinBufferSize to MaxBufferSize.
	BufferSize int
	// Queues as the link has them.
	Queues int
	// RXBuffers of each queue, a power of two.
	RXBuffers int
	// TXBuffers of the whole device.
	TXBuffers int
	// RXPopulated of each queue's buffers, and TXPopulated of the pool's, the
	// first ones, have memory when Attach returns; the others get it from a
	// Resizer. Both 0: all have it, as long as the link is open. A link that is no
	// Resizer gives it to all.
	RXPopulated, TXPopulated int
}

// Resizable says that buffers can get and lose their memory after Attach.
func (l Layout) Resizable() bool { return l.RXPopulated != 0 || l.TXPopulated != 0 }

// Chunk is how many buffers get and lose their memory together: from a multiple
// of it on, and as many; a power of two. The pool's last chunk may have fewer.
func (l Layout) Chunk() int { return min(ChunkSize/l.BufferSize, l.RXBuffers) }

// Populated yields the runs of buffers that have memory when Attach returns, in
// whole chunks: the first of each, and how many.
func (l Layout) Populated() iter.Seq2[int, int] {
	up := func(n int) int { return (n + l.Chunk() - 1) &^ (l.Chunk() - 1) }
	return func(yield func(first, n int) bool) {
		if !l.Resizable() {
			yield(0, l.Buffers())
			return
		}
		for q := range l.Queues {
			if !yield(q*l.RXBuffers, up(l.RXPopulated)) {
				return
			}
		}
		yield(l.RXTotal(), min(up(l.TXPopulated), l.TXBuffers))
	}
}

// CheckChunks returns an error that wraps EINVAL, unless the buffers from first
// on, n of them, are whole chunks.
func (l Layout) CheckChunks(first, n int) error {
	chunk, end := l.Chunk(), first+n
	if first < 0 || n <= 0 || n > l.Buffers() || end > l.Buffers() || first%chunk != 0 || end%chunk != 0 && end != l.Buffers() {
		return fmt.Errorf("link: buffers %d to %d of %d: want whole chunks of %d: %w", first, end, l.Buffers(), chunk, syscall.EINVAL)
	}
	return nil
}

// RXTotal is the number of receive buffers of all queues: the first index of
// the TX pool.
func (l Layout) RXTotal() int { return l.Queues * l.RXBuffers }

// Buffers is the number of all buffers.
func (l Layout) Buffers() int { return l.RXTotal() + l.TXBuffers }

// Bytes is the size of the region.
func (l Layout) Bytes() int { return l.Buffers() * l.BufferSize }

// Check returns an error that names the first field out of its range.
func (l Layout) Check() error {
	switch {
	case l.BufferSize < MinBufferSize || l.BufferSize > MaxBufferSize || l.BufferSize&(l.BufferSize-1) != 0:
		return fmt.Errorf("link: buffer size %d: want a power of two from %d to %d", l.BufferSize, MinBufferSize, MaxBufferSize)
	case l.Queues < 1:
		return fmt.Errorf("link: %d queues: want at least 1", l.Queues)
	case l.RXBuffers < 1 || l.RXBuffers&(l.RXBuffers-1) != 0:
		return fmt.Errorf("link: %d receive buffers a queue: want a power of two", l.RXBuffers)
	case l.TXBuffers < 1:
		return fmt.Errorf("link: %d transmit buffers: want at least 1", l.TXBuffers)
	case l.Buffers() > MaxBuffers:
		return fmt.Errorf("link: %d buffers in all: want at most %d", l.Buffers(), MaxBuffers)
	}
	return l.checkPopulated()
}

func (l Layout) checkPopulated() error {
	switch {
	case !l.Resizable():
	case l.RXPopulated < 1 || l.RXPopulated > l.RXBuffers:
		return fmt.Errorf("link: %d of %d receive buffers a queue with memory: want 1 to all", l.RXPopulated, l.RXBuffers)
	case l.TXPopulated < 1 || l.TXPopulated > l.TXBuffers:
		return fmt.Errorf("link: %d of %d transmit buffers with memory: want 1 to all", l.TXPopulated, l.TXBuffers)
	case l.Chunk()*l.BufferSize < MinChunkSize:
		return fmt.Errorf("link: %d receive buffers of %d bytes: memory comes and goes by %d bytes: want %d at least",
			l.RXBuffers, l.BufferSize, MinChunkSize, MinChunkSize/l.BufferSize)
	}
	return nil
}

// Memory is a link's region, outside the Go heap. The bytes of a buffer belong
// to the buffer's owner; which buffers have memory changes where the link is a
// Resizer, everything else is immutable.
type Memory struct {
	base   unsafe.Pointer
	size   int
	layout Layout
	// populated says for each chunk whether it has memory: written by Mark, on
	// the link's control path, and read by both sides of each queue. nil: all have.
	populated []atomic.Bool
	shift     int // logarithm of a chunk's buffers
}

// NewMemory describes region, which must hold layout.Bytes bytes and stay
// mapped for as long as the Memory is used. All buffers count as populated. Only
// links call it.
func NewMemory(region []byte, layout Layout) (*Memory, error) {
	if err := layout.Check(); err != nil {
		return nil, err
	}
	if len(region) < layout.Bytes() {
		return nil, fmt.Errorf("link: region of %d bytes: the layout needs %d", len(region), layout.Bytes())
	}
	return &Memory{base: unsafe.Pointer(unsafe.SliceData(region)), size: layout.BufferSize, layout: layout}, nil
}

// NewSparseMemory is NewMemory for a Resizer: no buffer is populated until Mark
// says so.
func NewSparseMemory(region []byte, layout Layout) (*Memory, error) {
	m, err := NewMemory(region, layout)
	if err != nil {
		return nil, err
	}
	if !layout.Resizable() {
		return nil, fmt.Errorf("link: sparse memory for a layout that says nothing of memory: set RXPopulated and TXPopulated: %w", syscall.EINVAL)
	}
	chunk := layout.Chunk()
	m.shift = bits.TrailingZeros(uint(chunk))
	m.populated = make([]atomic.Bool, (layout.Buffers()+chunk-1)/chunk)
	return m, nil
}

// Mark notes that whole chunks have memory from now on, or that they have none.
// Only links call it: after the memory has come, and before it goes.
func (m *Memory) Mark(first, n int, populated bool) {
	for chunk := first >> m.shift; chunk <= (first+n-1)>>m.shift; chunk++ {
		m.populated[chunk].Store(populated)
	}
}

// Layout returns how the region is cut.
func (m *Memory) Layout() Layout { return m.layout }

// Buffer returns all bytes of a buffer. The index must be one of the layout's,
// and populated.
func (m *Memory) Buffer(index uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(m.base, int(index)*m.size)), m.size)
}

// Bytes returns the frame's bytes. A frame that a link handed out lies inside
// its buffer; whoever builds one must see to that.
func (m *Memory) Bytes(f Frame) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(m.base, int(f.Index)*m.size+int(f.Off))), int(f.Len))
}

// Valid reports whether the frame lies inside a buffer of the region, which has
// memory. Links check what a device or a caller gave them with it.
func (m *Memory) Valid(f Frame) bool {
	return int(f.Index) < m.layout.Buffers() && int(f.Off)+int(f.Len) <= m.size && m.Populated(f.Index)
}

// Populated reports whether a buffer of the region has memory.
func (m *Memory) Populated(index uint32) bool {
	return m.populated == nil || m.populated[index>>m.shift].Load()
}

// Home returns the receive queue that a buffer belongs to, or -1 for the TX pool.
func (m *Memory) Home(index uint32) int {
	if int(index) >= m.layout.RXTotal() {
		return -1
	}
	return int(index) / m.layout.RXBuffers
}
