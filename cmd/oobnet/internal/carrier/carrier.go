// Package carrier waits for the wire of a device. A NIC that link/vfio has just
// opened agrees with the other end on a speed first, and until then no port of it
// can be enabled.
package carrier

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

const (
	// Limit is how long to wait: at 1 Gbit/s two ends take up to 4 s to agree, at
	// 10 Gbit/s over copper up to 10 s.
	Limit = 15 * time.Second
	// look is how often to look.
	look = 10 * time.Millisecond
)

// Await returns when a port of the device can be enabled: nil at once where the
// wire is up, as in memory. The error, after limit, wraps ENETDOWN; it is ENODEV
// for a device that is gone, and ctx's if that ends first.
func Await(ctx context.Context, d *stack.Device, limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		fault := d.Fault()
		switch state := d.Link().State(); {
		case state == link.Up && fault == nil:
			return nil
		case state == link.Gone:
			return fmt.Errorf("%s is gone: %w", d.Link().Name(), syscall.ENODEV)
		case time.Now().After(end):
			return fmt.Errorf("%s has no carrier after %v: plug in the cable, or bring up what is at its other end: %w", d.Link().Name(), limit, syscall.ENETDOWN)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: while waiting for its carrier: %w", d.Link().Name(), ctx.Err())
		case <-time.After(look):
		}
	}
}
