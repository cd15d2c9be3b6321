package driver

import (
	"fmt"

	"github.com/oobnet/oobnet/link"
)

// Limits of a ring: lengths are multiples of 128 bytes, so of 8 descriptors (SDM
// 3.2.6, 3.4; 82576 7.1.9, 7.2.2.5); ours are powers of two.
const (
	minDescriptors = 8
	maxDescriptors = 4096
	// defaultDescriptors hold 5 ms of full frames at 1 Gbit/s, 0.3 ms of the
	// shortest.
	defaultDescriptors = 512
)

// SettleRings puts the default in place of a 0 and refuses what no ring has.
func (i *Info) SettleRings() error {
	for _, n := range []*int{&i.RXDescriptors, &i.TXDescriptors} {
		if *n == 0 {
			*n = defaultDescriptors
		}
		if *n < minDescriptors || *n > maxDescriptors || *n&(*n-1) != 0 {
			return fmt.Errorf("%d descriptors: want a power of two from %d to %d", *n, minDescriptors, maxDescriptors)
		}
	}
	return nil
}

// CheckFeatures refuses what is not Supported, and half of the switch that
// stripping and inserting tags is on most NICs here (CTRL.VME).
func (i *Info) CheckFeatures(f Features) error {
	const vlan = VLANStrip | VLANInsert
	switch {
	case f&^i.Supported != 0:
		return fmt.Errorf("features %#x: with %d queues the NIC has only %#x of them: %w", f, i.Queues, f&i.Supported, link.ErrNotSupported)
	case !i.TagsApart && f&vlan != 0 && f&vlan != vlan:
		return fmt.Errorf("stripping and inserting VLAN tags is one switch of this NIC: ask for both or for none: %w", link.ErrNotSupported)
	}
	return nil
}
