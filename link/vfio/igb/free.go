package igb

import (
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// newFree makes a device of this family that costs nothing. Of its queues the
// first is played.
func newFree(b *model.Bus) driver.Free {
	// The wire is up at 1 Gbit/s, and the address is one of our own: 02 is
	// locally administered, "oo" marks the house.
	wake := func() {
		b.Set(driver.RegSTATUS, driver.StatusLU|driver.StatusFD|2<<driver.StatusSpeed)
		b.Set(driver.RegRAL, 0x006f6f02)
		b.Set(driver.RegRAH, 0x0100|driver.RahAV)
	}
	wake()
	b.OnRead = func(offset uint32) uint32 {
		switch offset {
		case driver.RegMDIC:
			return driver.MdicReady | driver.PhyAutoneg
		case regEEC, regEECI210:
			return eecAutoRead
		}
		return b.Get(offset)
	}
	b.OnWrite = func(offset, value uint32) {
		switch offset {
		case driver.RegCTRL:
			if value&driver.CtrlRST != 0 {
				wake() // the reset is over at once
			}
			value &^= driver.CtrlRST
		case driver.RegICR, driver.RegIMC, regEICR, regEIMC:
			value = 0
		}
		b.Set(offset, value)
	}
	return driver.NewAdvancedRings(b, chip82576.layout())
}
