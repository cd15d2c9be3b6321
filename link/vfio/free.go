package vfio

import "github.com/oobnet/oobnet/link/vfio/internal/driver"

// FreeDevice is the far side of a link on a device that costs nothing: plain
// memory in the place of the NIC, and a wire as fast as it is asked to be. It is
// for measuring what link and driver cost by themselves.
type FreeDevice struct {
	driver.Free
	// Doorbells is how many registers the link has written since it was opened,
	// as long as Begin has not been called.
	Doorbells func() uint64
}
