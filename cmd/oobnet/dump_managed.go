package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/oobnet/oobnet/capture"
	"github.com/oobnet/oobnet/control"
)

// dumpManaged captures in the process behind the control socket, until ctx ends,
// which is no error.
func dumpManaged(ctx context.Context, f *dumpFlags, out io.Writer) (*capture.Stats, error) {
	client, err := control.Dial(f.socket)
	if err != nil {
		return nil, fmt.Errorf("%w (or --take, to capture without a running stack)", err)
	}
	defer client.Close()
	in := control.CaptureRequest{Filter: f.Filter, Format: "pcapng", Snap: f.Snap, Slots: f.Slots, Count: f.Count}
	if f.Format == capture.Text {
		in.Format = "text"
	}
	end := &tail{w: out}
	err = client.Capture(ctx, f.device, in, end)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // it ended before it began
	}
	if st, ok := capture.ReadStats(end.last); ok {
		return &st, err
	}
	return nil, err
}

// tailSize is enough for the last block of a capture file, bytes.
const tailSize = 1024

// tail keeps the end of what is written.
type tail struct {
	w    io.Writer
	last []byte
}

func (t *tail) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	t.last = append(t.last, b[:n]...)
	if len(t.last) > tailSize {
		t.last = append(t.last[:0], t.last[len(t.last)-tailSize:]...)
	}
	return n, err
}
