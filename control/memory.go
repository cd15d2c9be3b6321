package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oobnet/oobnet/stack"
)

// resizeTime is how long a request waits for buffers that are to go: those in
// the rings come in some 20 ms, those that sockets hold when they are read.
const resizeTime = time.Second

type resizeIn struct {
	Device string `path:"device" json:"-" doc:"its name, or that of a port on it"`
	Resize
}

// Resize asks for other numbers of buffers.
type Resize struct {
	PoolSize  int `json:"pool_size,omitempty" doc:"TX pool, buffers; 0: as it is"`
	RXBuffers int `json:"rx_buffers,omitempty" doc:"of each queue; 0: as it is"`
}

// Memory is what a device has.
type Memory struct {
	PoolSize int `json:"pool_size" doc:"TX pool, buffers"`
	RXSize   int `json:"rx_size" doc:"receive buffers of all queues"`
	Excess   int `json:"excess" doc:"buffers that are to go, and still out; the same request again waits for them"`
	Bytes    int `json:"bytes" doc:"behind the buffers"`
}

// resize changes the numbers of a device's buffers while frames flow.
func (s *Server) resize(ctx context.Context, in *resizeIn) (*Memory, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	d, err := s.deviceOf(in.Device)
	if err != nil {
		return nil, err
	}
	if in.PoolSize == 0 && in.RXBuffers == 0 {
		return nil, badRequest("want \"pool_size\", \"rx_buffers\" or both")
	}
	before := d.Stats()
	if in.PoolSize != 0 {
		if err := within(ctx, func(ctx context.Context) (int, error) { return d.ResizePool(ctx, in.PoolSize) }); err != nil {
			return nil, fmt.Errorf("control: pool of %s: %w", d.Name(), err)
		}
	}
	if in.RXBuffers != 0 {
		if err := s.resizeRX(ctx, d, in.RXBuffers, &before); err != nil {
			return nil, fmt.Errorf("control: receive buffers of %s: %w", d.Name(), err)
		}
	}
	st := d.Stats().Pool
	return &Memory{PoolSize: st.Size, RXSize: st.RXSize, Excess: st.Excess, Bytes: st.Memory}, nil
}

// resizeRX does it for each queue, or puts all back as it was before.
func (s *Server) resizeRX(ctx context.Context, d *stack.Device, buffers int, before *stack.DeviceStats) error {
	queues := len(before.Queues)
	for q := range queues {
		err := within(ctx, func(ctx context.Context) (int, error) { return d.ResizeRX(ctx, q, buffers) })
		if err == nil {
			continue
		}
		// All queues have had as many, unless the application changed one alone.
		former := before.Pool.RXSize / queues
		for back := range q {
			err = errors.Join(err, within(ctx, func(ctx context.Context) (int, error) { return d.ResizeRX(ctx, back, former) }))
		}
		return errors.Join(err, within(ctx, func(ctx context.Context) (int, error) { return d.ResizePool(ctx, before.Pool.Size) }))
	}
	return nil
}

// within gives a change its time. Buffers that are still out then are no error:
// they go when they come home.
func within(ctx context.Context, f func(context.Context) (out int, err error)) error {
	limited, cancel := context.WithTimeout(ctx, resizeTime)
	defer cancel()
	_, err := f(limited)
	if err != nil && limited.Err() != nil && errors.Is(err, limited.Err()) {
		return nil
	}
	return err
}
