package e1000

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// free is a device of this family that costs nothing.
type free struct {
	*model.Bus
	rx, tx         []uint64 // the driver's rings
	rxHead, txHead uint32
}

func newFree(b *model.Bus) driver.Free {
	f := &free{Bus: b}
	// The wire is up at 1 Gbit/s, and the address is one of our own.
	b.Set(regSTATUS, statusLU|statusFD|2<<statusSpeed)
	b.OnRead = func(offset uint32) uint32 {
		switch offset {
		case regMDIC:
			return mdicReady | phyAutoneg
		case regEERD:
			return b.Get(regEERD) | eerdDone8254x | eerdDone82574
		case regEECD:
			return eecdAutoRead
		}
		return b.Get(offset)
	}
	b.OnWrite = func(offset, value uint32) {
		switch offset {
		case regCTRL:
			value &^= ctrlRST // the reset is over at once
		case regEERD:
			// 02, locally administered; "oo" marks the house.
			words := [3]uint32{0x6f02, 0x006f, 0x0100}
			word := value >> eerdShift8254x
			if value>>eerdShift82574 < 3 {
				word = value >> eerdShift82574
			}
			value = words[word%3] << 16
		case regICR, regIMC:
			value = 0
		}
		b.Set(offset, value)
	}
	return f
}

// Begin implements driver.Free.
func (f *free) Begin() error {
	ring := func(low, high, length uint32) []uint64 {
		at := uint64(f.Get(low)) | uint64(f.Get(high))<<32
		return bus.Words(f.At(at, int(f.Get(length))))
	}
	f.rx, f.tx = ring(regRDBAL, regRDBAH, regRDLEN), ring(regTDBAL, regTDBAH, regTDLEN)
	return f.Unhook()
}

// End implements driver.Free.
func (f *free) End() {
	f.Set(regTDH, f.Get(regTDT))
	f.Hook()
}

// Arrive implements driver.Free.
func (f *free) Arrive(n, length int) int {
	mask, tail := uint32(len(f.rx)/2-1), f.Get(regRDT)
	came := 0
	for ; came < n && f.rxHead != tail; came++ {
		// The driver reads it on another goroutine, perhaps.
		atomic.StoreUint64(&f.rx[2*f.rxHead+1], bus.LE64(uint64(length)|rxDone|rxEnd|rxIP|rxL4))
		f.rxHead = (f.rxHead + 1) & mask
	}
	return came
}

// Leave implements driver.Free.
func (f *free) Leave() int {
	mask, tail := uint32(len(f.tx)/2-1), f.Get(regTDT)
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
	f.Set(regTDH, tail)
	return left
}
