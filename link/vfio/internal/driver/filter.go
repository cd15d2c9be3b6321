package driver

import (
	"encoding/binary"
	"fmt"

	"github.com/oobnet/oobnet/link"
)

// KeepFilter checks a filter against what the NIC can compare, and keeps it.
func (g *Gigabit) KeepFilter(f *Filter) error {
	if len(f.Unicast) > MaxUnicast {
		return g.Fail(fmt.Errorf("%d unicast addresses: the NIC compares %d beside its own: use Promiscuous", len(f.Unicast), MaxUnicast))
	}
	g.Filter = *f
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
func (g *Gigabit) SetMAC(mac link.MAC) error {
	g.About.MAC = mac
	g.writeAddress(0, mac)
	g.Settle()
	return nil
}

// WriteFilter writes addresses, multicast hash and VLAN table (SDM 13.5, 82576
// 7.1.2).
func (g *Gigabit) WriteFilter() {
	f := &g.Filter
	for i := range Addresses {
		switch {
		case i == 0:
			g.writeAddress(0, g.About.MAC)
		case i <= len(f.Unicast):
			g.writeAddress(i, f.Unicast[i-1])
		default:
			g.Regs.Write32(RegRAH+8*uint32(i), 0)
		}
	}
	var hash, vlans [TableWords]uint32
	for _, mac := range f.Multicast {
		// RCTL.MO is 0: bits 47 to 36 of the address.
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
		g.Regs.Write32(RegMTA+4*i, hash[i])
		for range g.VLANWrites {
			g.Regs.Write32(RegVFTA+4*i, vlans[i])
		}
	}
}

// writeAddress sets receive address i, valid (SDM 13.5.2, 13.5.3). The half
// without the valid bit is written first.
func (g *Gigabit) writeAddress(i int, mac link.MAC) {
	g.Regs.Write32(RegRAL+8*uint32(i), binary.LittleEndian.Uint32(mac[:]))
	g.Regs.Write32(RegRAH+8*uint32(i), uint32(binary.LittleEndian.Uint16(mac[4:]))|RahAV)
}
