package e1000

import (
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// newFree makes a device of this family that costs nothing.
func newFree(b *model.Bus) driver.Free {
	// The wire is up at 1 Gbit/s, and the address is one of our own.
	b.Set(driver.RegSTATUS, driver.StatusLU|driver.StatusFD|2<<driver.StatusSpeed)
	b.OnRead = func(offset uint32) uint32 {
		switch offset {
		case driver.RegMDIC:
			return driver.MdicReady | driver.PhyAutoneg
		case regEERD:
			return b.Get(regEERD) | eerdDone8254x | eerdDone82574
		case regEECD:
			return eecdAutoRead
		}
		return b.Get(offset)
	}
	b.OnWrite = func(offset, value uint32) {
		switch offset {
		case driver.RegCTRL:
			value &^= driver.CtrlRST // the reset is over at once
		case regEERD:
			// 02, locally administered; "oo" marks the house.
			words := [3]uint32{0x6f02, 0x006f, 0x0100}
			word := value >> eerdShift8254x
			if value>>eerdShift82574 < 3 {
				word = value >> eerdShift82574
			}
			value = words[word%3] << 16
		case driver.RegICR, driver.RegIMC:
			value = 0
		}
		b.Set(offset, value)
	}
	return &driver.FreeRings{
		Bus: b, RX: regRX, TX: regTX, Came: rxDone | rxEnd | rxIP | rxL4,
		Report: txReport, Finished: txDone, Last: txEnd,
	}
}
