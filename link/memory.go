package link

import (
	"fmt"
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
	return nil
}

// Memory is a link's region, outside the Go heap. It is immutable; the bytes
// of a buffer belong to the buffer's owner.
type Memory struct {
	base   unsafe.Pointer
	size   int
	layout Layout
}

// NewMemory describes region, which must hold layout.Bytes bytes and stay
// mapped for as long as the Memory is used. Only links call it.
func NewMemory(region []byte, layout Layout) (*Memory, error) {
	if err := layout.Check(); err != nil {
		return nil, err
	}
	if len(region) < layout.Bytes() {
		return nil, fmt.Errorf("link: region of %d bytes: the layout needs %d", len(region), layout.Bytes())
	}
	return &Memory{base: unsafe.Pointer(unsafe.SliceData(region)), size: layout.BufferSize, layout: layout}, nil
}

// Layout returns how the region is cut.
func (m *Memory) Layout() Layout { return m.layout }

// Buffer returns all bytes of a buffer. The index must be one of the layout's.
func (m *Memory) Buffer(index uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(m.base, int(index)*m.size)), m.size)
}

// Bytes returns the frame's bytes. A frame that a link handed out lies inside
// its buffer; whoever builds one must see to that.
func (m *Memory) Bytes(f Frame) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(m.base, int(f.Index)*m.size+int(f.Off))), int(f.Len))
}

// Valid reports whether the frame lies inside a buffer of the region. Links
// check what a device or a caller gave them with it.
func (m *Memory) Valid(f Frame) bool {
	return int(f.Index) < m.layout.Buffers() && int(f.Off)+int(f.Len) <= m.size
}

// Home returns the receive queue that a buffer belongs to, or -1 for the TX pool.
func (m *Memory) Home(index uint32) int {
	if int(index) >= m.layout.RXTotal() {
		return -1
	}
	return int(index) / m.layout.RXBuffers
}
