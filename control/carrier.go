package control

import (
	"context"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// carrierTime is how long a device that was just opened may take until it has a
// carrier: a NIC of link/vfio agrees with the other end on a speed first, which
// takes up to 4 s at 1 Gbit/s and up to 10 s over copper at 10 Gbit/s.
const carrierTime = 10 * time.Second

// carrierLook is how often to look.
const carrierLook = 10 * time.Millisecond

// awaitCarrier waits until a port of the device can be enabled, for the most of the
// time that a request has. If it cannot then, EnablePort says why.
func awaitCarrier(ctx context.Context, d *stack.Device) {
	limit := carrierTime
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)*3/4)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	look := time.NewTicker(carrierLook)
	defer look.Stop()
	for {
		switch state := d.Link().State(); {
		case state == link.Up && d.Fault() == nil, state == link.Gone:
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}
