package e1000

import (
	"encoding/binary"
	"fmt"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Status implements driver.Device (SDM 13.4.2).
func (d *device) Status() driver.Status {
	v := d.regs.Read32(regSTATUS)
	if v == bus.AllOnes {
		return driver.Status{Gone: true}
	}
	speeds := [4]int{10, 100, 1000, 1000}
	return driver.Status{Up: v&statusLU != 0, FullDuplex: v&statusFD != 0, Speed: speeds[v>>statusSpeed&3]}
}

// Arm implements driver.Device (SDM 13.4.20).
func (d *device) Arm(int) { d.regs.Write32(regIMS, d.causes) }

// Disarm implements driver.Device.
func (d *device) Disarm(int) { d.regs.Write32(regIMC, d.causes) }

// Cause implements driver.Device. Reading acknowledges. With MSI-X the message
// has acknowledged what it told of (82574 7.4.5, EIAC), and only the change of
// the wire is left; that is written, and nothing else: the write arrives later,
// and would take a cause that has come meanwhile for the old one.
func (d *device) Cause() (c driver.Cause) {
	v := d.regs.Read32(regICR)
	if v == bus.AllOnes {
		return driver.DeviceGone
	}
	if v&causeLSC != 0 {
		c |= driver.LinkChanged
		if d.cfg.Interrupts == bus.MSIX {
			d.regs.Write32(regICR, causeLSC)
		}
	}
	return c
}

// SetFilter implements driver.Device.
func (d *device) SetFilter(f *driver.Filter) error {
	if len(f.Unicast) > maxUnicast {
		return d.fail(fmt.Errorf("%d unicast addresses: the NIC compares %d beside its own: use Promiscuous", len(f.Unicast), maxUnicast))
	}
	d.filter = *f
	if d.region.Memory == nil {
		return nil // Start will write it
	}
	d.writeFilter()
	if v := d.receiveControl(); v != d.rctl.Load() {
		d.rctl.Store(v)
		if d.receiving.Load() {
			d.regs.Write32(regRCTL, v|rctlEN)
		}
	}
	d.settle()
	return nil
}

// settle waits until the device has what was written before: writes are posted
// on the bus, a read is not.
func (d *device) settle() { d.regs.Read32(regSTATUS) }

// SetMAC implements driver.Device.
func (d *device) SetMAC(mac link.MAC) error {
	d.info.MAC = mac
	d.writeAddress(0, mac)
	d.settle()
	return nil
}

// writeFilter writes addresses, multicast hash and VLAN table (SDM 13.5).
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
		d.regs.Write32(regVFTA+4*i, vlans[i])
	}
}

// writeAddress sets receive address i, valid (SDM 13.5.2, 13.5.3). The half
// without the valid bit is written first.
func (d *device) writeAddress(i int, mac link.MAC) {
	d.regs.Write32(regRAL+8*uint32(i), binary.LittleEndian.Uint32(mac[:]))
	d.regs.Write32(regRAH+8*uint32(i), uint32(binary.LittleEndian.Uint16(mac[4:]))|rahAV)
}

// SetFeatures implements driver.Device.
func (d *device) SetFeatures(on driver.Features) error {
	if err := d.info.CheckFeatures(on); err != nil {
		return d.fail(err)
	}
	d.info.On = on
	if d.region.Memory != nil {
		d.programFeatures()
		d.settle()
	}
	return nil
}

// Count implements driver.Device (SDM 13.7). The low half of a pair is read
// first: reading the high one clears both.
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
			TXPackets: sum(regGPTC), TXBytes: pair(regGOTCL, regGOTCH), RXMissed: d.readMissed(),
			RXErrors: sum(regCRCERRS, regALGNERRC, regRXERRC, regCEXTERR, regRUC, regRFC, regROC, regRJC),
			TXErrors: sum(regECOL, regLATECOL),
		}
		if !d.Status().Gone { // and was not on the way
			now.Add(&read)
		}
	}
	d.missed += now.RXMissed
	c.Add(&now)
}

// readMissed returns what MPC has counted since the last time. Hardware clears it
// by the read; QEMU's 82540EM does not, and shows the same at a second look.
func (d *device) readMissed() uint64 {
	v := d.regs.Read32(regMPC)
	if v == 0 {
		return 0
	}
	again := d.regs.Read32(regMPC)
	if again < v {
		return uint64(v) + uint64(again)
	}
	n := again - d.sticky
	d.sticky = again
	return uint64(n)
}

// Lost implements driver.Queue: what the NIC has missed it has missed for its
// only queue.
func (q *queue) Lost() (noBuffer, invalid uint64) { return q.dev.missed, q.invalid.Load() }
