package driver

import (
	"encoding/binary"
	"fmt"

	"github.com/oobnet/oobnet/link"
)

// Tables are where a NIC has its filters.
type Tables struct {
	// Addresses is the first of Count pairs of registers, low half first.
	Addresses uint32
	Count     int
	// MaxUnicast is how many addresses beside its own the NIC is given.
	MaxUnicast int
	// VLANs is the first word of the bitmap of VLANs, and VLANWrites how often each
	// is written.
	VLANs      uint32
	VLANWrites int
	// EveryGroup: all multicast is a multicast table that is full.
	EveryGroup bool
}

// KeepFilter checks a filter against what the NIC can compare, and keeps it.
func (b *Base) KeepFilter(f *Filter) error {
	if most := b.Tables.MaxUnicast; len(f.Unicast) > most {
		return b.Fail(fmt.Errorf("%d unicast addresses: the NIC compares %d beside its own: use Promiscuous", len(f.Unicast), most))
	}
	b.Filter = *f
	return nil
}

// ReceiveControl is what RCTL of a receiver at work has in all NICs, but for the
// bit that switches it on (SDM 13.4.22, 82576 8.10.1). The VLAN filter is always
// on, and its table says how much of one it is: each write of RCTL disturbs a
// receiver at work, of the table none.
func (g *Gigabit) ReceiveControl() uint32 {
	v := uint32(RctlBAM | RctlSECRC | RctlVFE)
	if g.Filter.Promiscuous {
		v |= RctlUPE
	}
	if g.Filter.Promiscuous || g.Filter.AllMulticast {
		v |= RctlMPE
	}
	return v
}

// SetMAC implements Device.
func (b *Base) SetMAC(mac link.MAC) error {
	b.About.MAC = mac
	b.writeAddress(0, mac)
	b.Settle()
	return nil
}

// WriteFilter writes addresses, multicast hash and VLAN table (SDM 13.5, 82576
// 7.1.2, 82599 7.1.1).
func (b *Base) WriteFilter() {
	f, t := &b.Filter, &b.Tables
	for i := range t.Count {
		switch {
		case i == 0:
			b.writeAddress(0, b.About.MAC)
		case i <= len(f.Unicast):
			b.writeAddress(i, f.Unicast[i-1])
		default:
			b.Regs.Write32(t.Addresses+8*uint32(i)+4, 0)
		}
	}
	var hash, vlans [TableWords]uint32
	for _, mac := range f.Multicast {
		// The NIC is told to take bits 47 to 36 of the address.
		h := binary.LittleEndian.Uint16(mac[4:]) >> 4
		hash[h>>5] |= 1 << (h & 31)
	}
	vlans[0] = 1 // a tag with VLAN 0 is a priority
	for _, id := range f.VLANs {
		vlans[id>>5&(TableWords-1)] |= 1 << (id & 31)
	}
	for i := range uint32(TableWords) {
		if f.AllVLANs {
			vlans[i] = ^uint32(0)
		}
		if t.EveryGroup && (f.AllMulticast || f.Promiscuous) {
			hash[i] = ^uint32(0)
		}
		b.Regs.Write32(RegMTA+4*i, hash[i])
		for range t.VLANWrites {
			b.Regs.Write32(t.VLANs+4*i, vlans[i])
		}
	}
}

// writeAddress sets receive address i, valid (SDM 13.5.2, 13.5.3). The half
// without the valid bit is written first.
func (b *Base) writeAddress(i int, mac link.MAC) {
	at := b.Tables.Addresses + 8*uint32(i)
	b.Regs.Write32(at, binary.LittleEndian.Uint32(mac[:]))
	b.Regs.Write32(at+4, uint32(binary.LittleEndian.Uint16(mac[4:]))|RahAV)
}
