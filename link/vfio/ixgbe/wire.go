package ixgbe

import (
	"fmt"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

const (
	// phyWait bounds one access to the PHY.
	phyWait = 20 * time.Millisecond
	// pipelineWait bounds negotiation's leaving its first state.
	pipelineWait = 40 * time.Millisecond
)

// Registers of the X540's PHY, by device and number (IEEE Std 802.3, clause 45; X540
// 6.6), and their bits.
var (
	phyPower     = phyRegister{30, 0} // vendor's
	phyAN        = phyRegister{7, 0}
	phyAdvert    = phyRegister{7, 0x10}
	phyAdvert10G = phyRegister{7, 0x20}
	phyAdvert1G  = phyRegister{7, 0xc400} // vendor's
)

const (
	phyLowPower  = 1 << 11
	phyRestartAN = 1 << 9
	phyEnableAN  = 1 << 12
	advert100M   = 1 << 8
	advert10G    = 1 << 12
	advert1G     = 1 << 15
)

type phyRegister struct{ device, number uint32 }

// lan is which of the card's ports this is.
func (d *device) lan() uint32 { return d.Regs.Read32(driver.RegSTATUS) >> statusPort & 1 }

// phyOwner is the bit of the port's PHY in the semaphore.
func (d *device) phyOwner() uint32 { return syncPHY << d.lan() }

// Status implements driver.Device (8.2.3.22.20). The clock goes at the wire's pace,
// and keeps no time that nobody takes.
func (d *device) Status() driver.Status {
	if d.Regs.Read32(driver.RegSTATUS) == bus.AllOnes {
		return driver.Status{Gone: true}
	}
	d.FreeTime()
	v := d.Regs.Read32(regLINKS)
	if v&linksUp == 0 {
		return driver.Status{}
	}
	s := driver.Status{Up: true, FullDuplex: true, Speed: [4]int{0, 100, 1000, 10000}[v>>linksSpeed&3]}
	if d.Started() && s.Speed != d.paced {
		d.setPace(s.Speed)
	}
	return s
}

// programWire has the port come up (4.6.4). What is up and asked to be nothing else
// stays as it is, unless it is up by force: for the loopback, or after one.
func (d *device) programWire() {
	loop := d.About.On&driver.Loopback != 0
	if d.chip.port == copper {
		force(d.Regs, regMACC, maccForceUp, loop)
		d.programPHY()
		return
	}
	if v := d.Regs.Read32(regESDP); d.chip.port == fiber && v&(esdpLaserPin|esdpLaserOff) == esdpLaserPin|esdpLaserOff {
		d.Regs.Write32(regESDP, v&^esdpLaserOff) // the kernel's driver leaves it dark
	}
	if d.speed != 0 || loop || d.Regs.Read32(regAUTOC)&autocForceUp != 0 || !d.Status().Up {
		d.writeAUTOC()
	}
}

// force sets a bit, or clears it, if it is not so.
func force(r *bus.Registers, offset, bit uint32, on bool) {
	if v := r.Read32(offset); v&bit != 0 != on {
		r.Write32(offset, v^bit)
	}
}

// writeAUTOC sets the speed, or what the NIC's memory says, and has the port begin
// anew (8.2.3.22.19). Firmware that looks for a link by itself writes this register,
// too, and agrees by the semaphore.
func (d *device) writeAUTOC() {
	v := d.autoc &^ autocForceUp
	if d.About.On&driver.Loopback != 0 {
		v |= autocForceUp
	}
	switch d.speed {
	case 10000:
		v = v&^autocMode | autoc10Serial
		d.Regs.Write32(regAUTOC2, d.Regs.Read32(regAUTOC2)&^autoc2Serial|autoc2SFI)
	case 1000:
		v = v&^(autocMode|autoc1PMD) | autoc1AN
	}
	d.Own(&d.chip.semaphore, syncMAC)
	defer d.Disown(&d.chip.semaphore, syncMAC)
	if (v^d.Regs.Read32(regAUTOC))&autocMode != 0 {
		// With another mode the data path begins anew only if the mode's highest bit
		// has changed, too, and negotiation with it; so the drivers of Linux and DPDK.
		d.Regs.Write32(regAUTOC, v^autocHighest|autocRestart)
		d.Until(pipelineWait, func() bool { return d.Regs.Read32(regANLP1)&anlpState != 0 })
	}
	d.Regs.Write32(regAUTOC, v|autocRestart)
}

// programPHY wakes the X540's PHY, which negotiates then; the kernel's driver puts
// it to sleep when it lets go of the NIC (X540 4.6.4).
func (d *device) programPHY() {
	d.Own(&d.chip.semaphore, d.phyOwner())
	defer d.Disown(&d.chip.semaphore, d.phyOwner())
	if v, ok := d.readPHY(phyPower); ok && v&phyLowPower != 0 {
		d.writePHY(phyPower, v&^phyLowPower)
	}
	d.advertise()
}

// advertise has the PHY offer the speed asked for, or all, and negotiate if it did
// not: no reset of the NIC reaches what a process before this one asked of it.
func (d *device) advertise() bool {
	changed := false
	for _, offer := range []struct {
		at    phyRegister
		bit   uint32
		speed int
	}{{phyAdvert10G, advert10G, 10000}, {phyAdvert1G, advert1G, 1000}, {phyAdvert, advert100M, 100}} {
		was, ok := d.readPHY(offer.at)
		v := was &^ offer.bit
		if d.speed == 0 || d.speed == offer.speed {
			v |= offer.bit
		}
		if !ok || v != was && !d.writePHY(offer.at, v) {
			return false
		}
		changed = changed || v != was
	}
	v, ok := d.readPHY(phyAN)
	if ok && (changed || v&phyEnableAN == 0) {
		return d.writePHY(phyAN, v|phyRestartAN|phyEnableAN)
	}
	return ok
}

// readPHY reads a register of the PHY, which is ours (8.2.3.22.11): first which one,
// then what is in it.
func (d *device) readPHY(at phyRegister) (uint32, bool) {
	ok := d.phy(at, 0) && d.phy(at, mscaRead)
	return d.Regs.Read32(regMSRWD) >> msrwdRead, ok
}

func (d *device) writePHY(at phyRegister, value uint32) bool {
	if !d.phy(at, 0) {
		return false
	}
	d.Regs.Write32(regMSRWD, value)
	return d.phy(at, mscaWrite)
}

// phy has the NIC talk to the PHY, and waits for it.
func (d *device) phy(at phyRegister, operation uint32) bool {
	d.Regs.Write32(regMSCA, operation|at.number|at.device<<mscaDevice|d.lan()<<mscaPHY|mscaGo)
	return d.Until(phyWait, func() bool { return d.Regs.Read32(regMSCA)&mscaGo == 0 })
}

// SetSpeed implements driver.Speeder: of a cage 1 and 10 Gbit/s, of the X540 100
// Mbit/s, too. What a backplane speaks is set up in the NIC's memory.
func (d *device) SetSpeed(mbits int) error {
	ok := mbits == 0 || mbits == 1000 || mbits == 10000
	switch d.chip.port {
	case backplane:
		ok = mbits == 0
	case copper:
		ok = ok || mbits == 100
	}
	if !ok {
		return d.Fail(fmt.Errorf("%d Mbit/s: no speed that the %s can be set to: %w", mbits, d.About.Model, link.ErrNotSupported))
	}
	d.speed = mbits
	if !d.Started() {
		return nil // Start will
	}
	if d.chip.port != copper {
		d.writeAUTOC()
		return nil
	}
	d.Own(&d.chip.semaphore, d.phyOwner())
	defer d.Disown(&d.chip.semaphore, d.phyOwner())
	if !d.advertise() {
		return d.Fail(fmt.Errorf("its PHY did not answer in %v: %w", phyWait, syscall.EIO))
	}
	return nil
}
