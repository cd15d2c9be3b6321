package driver

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// Registers of receive-side scaling (82576 7.1.1.7, 82599 7.1.2.8).
const (
	RegMRQC     = 0x5818 // several receive queues
	mrqcIPv4TCP = 1 << 16
	mrqcIPv4    = 1 << 17
	mrqcIPv6    = 1 << 20
	mrqcIPv6TCP = 1 << 21
	mrqcIPv4UDP = 1 << 22
	mrqcIPv6UDP = 1 << 23

	RegRETA  = 0x5c00 // hash to queue, four entries a word
	RegRSSRK = 0x5c80 // key of the hash, ten words

	RxcsumPCSD = 1 << 13 // of RXCSUM: the hash in the descriptor, as RSS wants it
)

// defaultKey is the hash's to begin with: the one of the examples in the
// specification of RSS, so that anybody can check where a flow goes.
var defaultKey = [40]byte{
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
}

// Spread implements Spreader.
func (a *Advanced) Spread() Spread { return a.spread }

// SetSpread implements Spreader.
func (a *Advanced) SetSpread(s *Spread) error {
	b := a.base
	for i, q := range s.Table {
		switch n := len(a.Queues); {
		case int(q) >= n:
			return b.Fail(fmt.Errorf("entry %d of the RSS table is queue %d: there are %d, from 0: %w", i, q, n, syscall.EINVAL))
		case int(q) >= b.About.MostSpread:
			return b.Fail(fmt.Errorf("entry %d of the RSS table is queue %d: the %s spreads over the first %d: %w", i, q, b.About.Model, b.About.MostSpread, syscall.EINVAL))
		}
	}
	a.spread = *s
	if b.Started() {
		a.writeSpread()
		b.Settle()
	}
	return nil
}

// ProgramSpread writes key and table of the hash, and the mode that the NIC has for
// it. RSS is on for good where there are several queues, since it may not be
// switched while frames come; with the feature off all flows lead to queue 0.
func (a *Advanced) ProgramSpread(mode uint32) {
	if len(a.Queues) == 1 {
		a.base.Regs.Write32(RegMRQC, 0)
		return
	}
	a.writeSpread()
	a.base.Regs.Write32(RegMRQC, mode|mrqcIPv4|mrqcIPv4TCP|mrqcIPv4UDP|mrqcIPv6|mrqcIPv6TCP|mrqcIPv6UDP)
}

func (a *Advanced) writeSpread() {
	if len(a.Queues) == 1 {
		return
	}
	r := a.base.Regs
	for i := range uint32(len(a.spread.Key) / 4) {
		r.Write32(RegRSSRK+4*i, binary.LittleEndian.Uint32(a.spread.Key[4*i:]))
	}
	var table [len(a.spread.Table)]uint8
	if a.base.About.On&RSS != 0 {
		table = a.spread.Table
	}
	for i := range uint32(len(table) / 4) {
		r.Write32(RegRETA+4*i, binary.LittleEndian.Uint32(table[4*i:]))
	}
}
