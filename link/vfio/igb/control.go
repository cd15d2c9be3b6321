package igb

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Status implements driver.Device (8.2.2).
func (d *device) Status() driver.Status {
	v := d.regs.Read32(regSTATUS)
	if v == bus.AllOnes {
		return driver.Status{Gone: true}
	}
	speeds := [4]int{10, 100, 1000, 1000}
	return driver.Status{Up: v&statusLU != 0, FullDuplex: v&statusFD != 0, Speed: speeds[v>>statusSpeed&3]}
}

// causes are those that matter where there is one vector.
const causes = causeRXDW | causeRXDMT0 | causeRXO | causeLSC

// Arm implements driver.Device (7.3.2).
func (d *device) Arm(queue int) {
	if d.cfg.Interrupts == bus.MSIX {
		d.regs.Write32(regEIMS, 1<<queue)
	} else {
		d.regs.Write32(regIMS, causes)
	}
}

// Disarm implements driver.Device.
func (d *device) Disarm(queue int) {
	if d.cfg.Interrupts == bus.MSIX {
		d.regs.Write32(regEIMC, 1<<queue)
	} else {
		d.regs.Write32(regIMC, causes)
	}
}

// Cause implements driver.Device. Reading acknowledges; with MSI-X the message
// itself has acknowledged its vector (EIAC).
func (d *device) Cause() (c driver.Cause) {
	v := d.regs.Read32(regICR)
	switch {
	case v == bus.AllOnes:
		return driver.DeviceGone
	case v&causeLSC != 0:
		return driver.LinkChanged
	}
	return 0
}

// started says whether Start has programmed the NIC: before, settings are kept
// for it.
func (d *device) started() bool { return d.region.Memory != nil }

// settle waits until the device has what was written before: writes are posted
// on the bus, a read is not.
func (d *device) settle() { d.regs.Read32(regSTATUS) }

// SetFilter implements driver.Device.
func (d *device) SetFilter(f *driver.Filter) error {
	if len(f.Unicast) > maxUnicast {
		return d.fail(fmt.Errorf("%d unicast addresses: the NIC compares %d beside its own: use Promiscuous", len(f.Unicast), maxUnicast))
	}
	d.filter = *f
	if d.started() {
		d.writeFilter()
		d.regs.Write32(regRCTL, d.receiveControl())
		d.settle()
	}
	return nil
}

// SetMAC implements driver.Device.
func (d *device) SetMAC(mac link.MAC) error {
	d.info.MAC = mac
	d.writeAddress(0, mac)
	d.settle()
	return nil
}

// writeFilter writes addresses, multicast hash and VLAN table (7.1.2).
func (d *device) writeFilter() {
	f := &d.filter
	for i := range addresses {
		switch {
		case i == 0:
			d.writeAddress(0, d.info.MAC)
		case i <= len(f.Unicast):
			d.writeAddress(i, f.Unicast[i-1])
		default:
			d.regs.Write32(regRAH+8*uint32(i), 0)
		}
	}
	var hash, vlans [tableWords]uint32
	for _, mac := range f.Multicast {
		// RCTL.MO is 0: bits 47 to 36 of the address.
		h := binary.LittleEndian.Uint16(mac[4:]) >> 4
		hash[h>>5] |= 1 << (h & 31)
	}
	vlans[0] = 1 // a tag with VLAN 0 is a priority
	for _, id := range f.VLANs {
		vlans[id>>5&(tableWords-1)] |= 1 << (id & 31)
	}
	for i := range uint32(tableWords) {
		if f.AllVLANs {
			vlans[i] = ^uint32(0)
		}
		d.regs.Write32(regMTA+4*i, hash[i])
		for range d.chip.vlanWrites {
			d.regs.Write32(regVFTA+4*i, vlans[i])
		}
	}
}

// writeAddress sets receive address i, valid (8.10.8, 8.10.9). The half without
// the valid bit is written first.
func (d *device) writeAddress(i int, mac link.MAC) {
	d.regs.Write32(regRAL+8*uint32(i), binary.LittleEndian.Uint32(mac[:]))
	d.regs.Write32(regRAH+8*uint32(i), uint32(binary.LittleEndian.Uint16(mac[4:]))|rahAV)
}

// SetFeatures implements driver.Device.
func (d *device) SetFeatures(on driver.Features) error {
	if err := d.checkFeatures(on); err != nil {
		return d.fail(err)
	}
	d.info.On = on
	d.info.RXHeadroom = d.headroom()
	if d.started() {
		d.programFeatures()
		d.programSpread()
		d.settle()
	}
	return nil
}

// defaultKey is the hash's to begin with: the one of the examples in the
// specification of RSS, so that anybody can check where a flow goes.
var defaultKey = [40]byte{
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
}

// Spread implements driver.Spreader.
func (d *device) Spread() driver.Spread { return d.spread }

// SetSpread implements driver.Spreader.
func (d *device) SetSpread(s *driver.Spread) error {
	for i, q := range s.Table {
		if int(q) >= len(d.queues) {
			return d.fail(fmt.Errorf("entry %d of the RSS table is queue %d: there are %d, from 0: %w", i, q, len(d.queues), syscall.EINVAL))
		}
	}
	d.spread = *s
	if d.started() {
		d.programSpread()
		d.settle()
	}
	return nil
}

// Count implements driver.Device (8.19). The low half of a pair is read first:
// reading the high one clears both.
func (d *device) Count(c *driver.Counters) {
	now := d.unread
	d.unread = driver.Counters{}
	sum := func(registers ...uint32) (n uint64) {
		for _, r := range registers {
			n += uint64(d.regs.Read32(r))
		}
		return n
	}
	pair := func(low, high uint32) uint64 {
		v := uint64(d.regs.Read32(low))
		return v | uint64(d.regs.Read32(high))<<32
	}
	if !d.Status().Gone {
		read := driver.Counters{
			RXPackets: sum(regGPRC), RXBytes: pair(regGORCL, regGORCH), RXMulticast: sum(regMPRC), RXBroadcast: sum(regBPRC),
			TXPackets: sum(regGPTC), TXBytes: pair(regGOTCL, regGOTCH), RXMissed: sum(regMPC),
			RXErrors: sum(regCRCERRS, regALGNERRC, regRXERRC, regRUC, regRFC, regROC, regRJC),
			TXErrors: sum(regECOL, regLATECOL),
		}
		drops := d.readDrops()
		if !d.Status().Gone { // and was not on the way
			d.missed(&read, drops)
			now.Add(&read)
		}
	}
	c.Add(&now)
}

// readDrops returns what found no descriptor, by queue (RQDPC).
func (d *device) readDrops() (drops [16]uint32) {
	for i := range d.queues {
		at := regQueueRX + queueStep*uint32(i) + rxDropped
		drops[i] = d.regs.Read32(at)
		if d.chip.dropsStay {
			d.regs.Write32(at, 0)
		}
	}
	return drops
}

// missed accounts for frames that were not received. What the NIC as a whole has
// missed is a single queue's; of several nobody knows.
func (d *device) missed(read *driver.Counters, drops [16]uint32) {
	if len(d.queues) == 1 {
		d.queues[0].missed += read.RXMissed
	}
	for i := range d.queues {
		d.queues[i].missed += uint64(drops[i])
		read.RXMissed += uint64(drops[i])
	}
}
