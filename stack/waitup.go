package stack

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
)

const (
	// CarrierTime is how long a carrier may take that will come: at 1 Gbit/s two ends
	// take up to 4 s to agree, at 10 Gbit/s over copper up to 10 s.
	CarrierTime = 15 * time.Second
	// waitUpLook is how often WaitUp looks.
	waitUpLook = 10 * time.Millisecond
)

// WaitUp waits for the device's carrier, without which EnablePort makes no port. A
// NIC of link/vfio has none when it was just attached: it agrees with the other end
// on a speed first, which takes less than CarrierTime: a good deadline for ctx, which
// alone bounds the wait. Where the wire is up, as in memory, it returns at once. It is
// safe for concurrent use; a device in manual mode needs no Poll meanwhile.
//
// The error wraps ENETDOWN and ctx's if that ends first, ENODEV for a device that is
// gone, net.ErrClosed for one that is closed.
func (d *Device) WaitUp(ctx context.Context) error {
	look := time.NewTicker(waitUpLook)
	defer look.Stop()
	for {
		f := d.fault.Load()
		switch state := d.link.State(); {
		case f != nil && f.final:
			return f.error
		case state == link.Gone:
			return fmt.Errorf("stack: device %s is gone: %w", d.name, syscall.ENODEV)
		case f == nil && state == link.Up:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stack: device %s has no carrier: plug in the cable, or bring up what is at its other end: %w",
				d.name, errors.Join(syscall.ENETDOWN, ctx.Err()))
		case <-look.C:
		}
	}
}
