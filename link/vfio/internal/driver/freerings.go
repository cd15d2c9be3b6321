package driver

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
)

// FreeRings is the far end of the first queue of a device that costs nothing. It
// implements Free.
type FreeRings struct {
	*model.Bus
	// RX and TX are where the registers of the rings begin.
	RX, TX uint32
	// Came is the second word of the receive descriptor of a frame, but for the
	// length, which stands at the bit LengthAt.
	Came     uint64
	LengthAt uint
	// Of a transmit descriptor's second word Report asks for Finished, and Last
	// ends a frame.
	Report, Finished, Last uint64

	rx, tx         []uint64 // the driver's rings
	rxHead, txHead uint32
}

// NewAdvancedRings makes the far end of queues with advanced descriptors.
func NewAdvancedRings(b *model.Bus, layout *AdvancedLayout) *FreeRings {
	return &FreeRings{
		Bus: b, RX: layout.RX, TX: layout.TX, Came: rxDone | rxEnd | rxIP | rxL4, LengthAt: rxLength,
		Report: txReport, Finished: txDone, Last: txEnd,
	}
}

// Begin implements Free.
func (f *FreeRings) Begin() error {
	ring := func(at uint32) []uint64 {
		iova := uint64(f.Get(at+RingLow)) | uint64(f.Get(at+RingHigh))<<32
		return bus.Words(f.At(iova, int(f.Get(at+RingLength))))
	}
	f.rx, f.tx = ring(f.RX), ring(f.TX)
	return f.Unhook()
}

// End implements Free.
func (f *FreeRings) End() {
	f.Set(f.TX+RingHead, f.Get(f.TX+RingTail))
	f.Hook()
}

// Arrive implements Free.
func (f *FreeRings) Arrive(n, length int) int {
	mask, tail := uint32(len(f.rx)/2-1), f.Get(f.RX+RingTail)
	came := 0
	for ; came < n && f.rxHead != tail; came++ {
		// The driver reads it on another goroutine, perhaps.
		atomic.StoreUint64(&f.rx[2*f.rxHead+1], bus.LE64(f.Came|uint64(length)<<f.LengthAt))
		f.rxHead = (f.rxHead + 1) & mask
	}
	return came
}

// Leave implements Free.
func (f *FreeRings) Leave() int {
	mask, tail := uint32(len(f.tx)/2-1), f.Get(f.TX+RingTail)
	left := 0
	for ; f.txHead != tail; f.txHead = (f.txHead + 1) & mask {
		w := bus.LE64(f.tx[2*f.txHead+1])
		if w&f.Report != 0 {
			atomic.StoreUint64(&f.tx[2*f.txHead+1], bus.LE64(w|f.Finished)) // the driver reads it
		}
		if w&f.Last != 0 {
			left++
		}
	}
	f.Set(f.TX+RingHead, tail)
	return left
}
