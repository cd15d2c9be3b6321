package driver

import "github.com/oobnet/oobnet/link/vfio/internal/bus/model"

// Free is a device that costs nothing: plain memory where the registers would
// be, and a far end that is as fast as it is asked to be. A driver's own cost is
// what is measured on it.
type Free interface {
	// Begin ends the part of the model that answers where a driver waits for the
	// device, and leaves plain memory. The driver has started.
	Begin() error
	// Arrive completes up to n receive descriptors with frames of a length, and
	// returns how many: as if the frames had come. It writes no frame's bytes.
	Arrive(n, length int) int
	// Leave completes all that was sent, and returns how many frames.
	Leave() int
	// End brings back what Begin has ended, before the driver stops.
	End()
}

// FreeOpener makes the model of a family's NICs on a bus of plain memory.
type FreeOpener func(*model.Bus) Free
