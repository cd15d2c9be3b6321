package afxdp

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

// ownQueue is a queue whose rings nobody else has, for what a side costs by itself.
func ownQueue(tb testing.TB) *queue {
	tb.Helper()
	layout := link.Layout{BufferSize: link.MinBufferSize, Queues: 1, RXBuffers: 64, TXBuffers: 64}
	mem, err := link.NewMemory(make([]byte, layout.Bytes()), layout)
	if err != nil {
		tb.Fatal(err)
	}
	q := &queue{link: &Link{dev: &device{mtu: 1500}}, memory: mem, held: make([]uint16, layout.Buffers()), shift: 11}
	own := func() ring[unix.XDPDesc] {
		return ring[unix.XDPDesc]{
			producer: new(uint32), consumer: new(uint32), flags: new(uint32),
			slots: unsafe.Pointer(unsafe.SliceData(make([]unix.XDPDesc, minRing))), size: minRing,
		}
	}
	q.rx, q.tx = own(), own()
	return q
}

// BenchmarkSendOnly is Send of a batch alone, with nobody behind the ring.
func BenchmarkSendOnly(b *testing.B) {
	q := ownQueue(b)
	frames := make([]link.Frame, benchBatch)
	for i := range frames {
		frames[i] = link.Frame{Index: uint32(64 + i), Off: 22, Len: 106}
		copy(q.memory.Bytes(frames[i]), benchFrame())
	}
	b.ReportAllocs()
	for b.Loop() {
		if q.Send(frames) != benchBatch {
			b.Fatal("Send did not take all")
		}
		*q.tx.consumer = q.tx.prod // as the kernel would
		for _, f := range frames {
			q.held[f.Index] = 0
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch), "ns/frame")
}

// BenchmarkReceiveRing is Receive of a batch alone, likewise.
func BenchmarkReceiveRing(b *testing.B) {
	q := ownQueue(b)
	for i := range uint32(minRing) {
		*q.rx.slot(i) = unix.XDPDesc{Addr: uint64(i)<<q.shift + headroom, Len: 106}
	}
	frames := make([]link.Frame, benchBatch)
	b.ReportAllocs()
	for b.Loop() {
		*q.rx.producer += benchBatch // as the kernel would
		for i := range uint32(benchBatch) {
			q.held[i] = markReceive
		}
		if q.Receive(frames) != benchBatch {
			b.Fatal("Receive did not give all")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch), "ns/frame")
}
