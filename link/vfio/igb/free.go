package igb

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// free is a device of this family that costs nothing. Of its queues it plays the
// first.
type free struct {
	*model.Bus
	rx, tx         []uint64 // the driver's rings
	rxHead, txHead uint32
}

func newFree(b *model.Bus) driver.Free {
	f := &free{Bus: b}
	// The wire is up at 1 Gbit/s, and the address is one of our own: 02 is
	// locally administered, "oo" marks the house.
	wake := func() {
		b.Set(regSTATUS, statusLU|statusFD|2<<statusSpeed)
		b.Set(regRAL, 0x006f6f02)
		b.Set(regRAH, 0x0100|rahAV)
	}
	wake()
	b.OnRead = func(offset uint32) uint32 {
		switch offset {
		case regMDIC:
			return mdicReady | phyAutoneg
		case regEEC, regEECI210:
			return eecAutoRead
		}
		return b.Get(offset)
	}
	b.OnWrite = func(offset, value uint32) {
		switch offset {
		case regCTRL:
			if value&ctrlRST != 0 {
				wake() // the reset is over at once
			}
			value &^= ctrlRST
		case regICR, regIMC, regEICR, regEIMC:
			value = 0
		}
		b.Set(offset, value)
	}
	return f
}

// Begin implements driver.Free.
func (f *free) Begin() error {
	ring := func(at uint32) []uint64 {
		iova := uint64(f.Get(at+ringLow)) | uint64(f.Get(at+ringHigh))<<32
		return bus.Words(f.At(iova, int(f.Get(at+ringLength))))
	}
	f.rx, f.tx = ring(regQueueRX), ring(regQueueTX)
	return f.Unhook()
}

// End implements driver.Free.
func (f *free) End() {
	f.Set(regQueueTX+ringHead, f.Get(regQueueTX+ringTail))
	f.Hook()
}

// Arrive implements driver.Free.
func (f *free) Arrive(n, length int) int {
	mask, tail := uint32(len(f.rx)/2-1), f.Get(regQueueRX+ringTail)
	came := 0
	for ; came < n && f.rxHead != tail; came++ {
		// The driver reads it on another goroutine, perhaps.
		atomic.StoreUint64(&f.rx[2*f.rxHead+1], bus.LE64(uint64(length)<<rxLength|rxDone|rxEnd|rxIP|rxL4))
		f.rxHead = (f.rxHead + 1) & mask
	}
	return came
}

// Leave implements driver.Free.
func (f *free) Leave() int {
	mask, tail := uint32(len(f.tx)/2-1), f.Get(regQueueTX+ringTail)
	left := 0
	for ; f.txHead != tail; f.txHead = (f.txHead + 1) & mask {
		w := bus.LE64(f.tx[2*f.txHead+1])
		if w&txReport != 0 {
			atomic.StoreUint64(&f.tx[2*f.txHead+1], bus.LE64(w|txDone)) // the driver reads it
		}
		if w&txEnd != 0 {
			left++
		}
	}
	f.Set(regQueueTX+ringHead, tail)
	return left
}
