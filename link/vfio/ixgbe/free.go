package ixgbe

import (
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// newFree makes a device of this family that costs nothing. Of its queues the
// first is played.
func newFree(b *model.Bus) driver.Free {
	// The wire is up at 10 Gbit/s, and the address is one of our own: 02 is
	// locally administered, "oo" marks the house.
	wake := func() {
		b.Set(regLINKS, linksUp|3<<linksSpeed)
		b.Set(regRAL, 0x006f6f02)
		b.Set(regRAL+4, 0x0100|driver.RahAV)
		b.Set(regEEC, eecAutoRead)
		b.Set(regEEMNGCTL, 1<<eemngDone)
		b.Set(regRDRXCTL, rdrxReady)
		b.Set(regSECRXSTAT, secrxEmpty)
	}
	wake()
	b.OnWrite = func(offset, value uint32) {
		switch offset {
		case driver.RegCTRL:
			const reset = driver.CtrlRST | ctrlLinkReset
			if value&reset != 0 {
				wake() // the reset is over at once
			}
			value &^= reset
		case regEICR, regEIMC, regEIMCEX, regEIMCEX + 4:
			value = 0
		case regMSCA:
			value &^= mscaGo
		}
		b.Set(offset, value)
	}
	return driver.NewAdvancedRings(b, chip82599Fiber.layout())
}
