package vfio

import "github.com/oobnet/oobnet/link/vfio/internal/driver"

// Registers returns registers that say how the NIC is set up, for reports of what
// is wrong: none whose reading changes anything. It is empty of a NIC that is
// closed, gone or has none to show.
func (l *Link) Registers() (all []Register) {
	_ = l.change(func() error { // who is closed has none
		if d, ok := l.dev.(driver.Dumper); ok {
			all = d.Dump()
		}
		return nil
	})
	return all
}
