package vfio

import (
	"fmt"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
)

// modelRegisters is the largest BAR of the NICs that there are drivers for, bytes.
const modelRegisters = 128 << 10

// OpenFree makes a link on a device that costs nothing, of the model with a name
// of Models. Between Attach and Stop whoever measures calls Begin and End of the
// device, on the goroutine that uses the queue.
func OpenFree(name string, cfg *Config) (*Link, *FreeDevice, error) {
	for _, d := range drivers {
		for _, m := range d.Models {
			if m.Name != name || d.Free == nil {
				continue
			}
			b, err := model.New(bus.ID{Vendor: m.Vendor, Device: m.Device}, modelRegisters)
			if err != nil {
				return nil, nil, fmt.Errorf("vfio: %w", err)
			}
			far := &FreeDevice{Free: d.Free(b), Doorbells: b.Writes.Load}
			l, err := open(b, cfg)
			return l, far, err
		}
	}
	return nil, nil, fmt.Errorf("vfio: no driver for a %q has a free device: see Models: %w", name, link.ErrNotSupported)
}
