package stack_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// attachLoopback attaches a link in a state to a stack that ends with the test.
func attachLoopback(t *testing.T, state link.State) (*loopback.Link, *stack.Device) {
	t.Helper()
	l, err := loopback.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l.SetState(state)
	d, err := s.Attach(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l, d
}

// TestWaitUp: the carrier comes late, not at all, or for a device that has ended.
func TestWaitUp(t *testing.T) {
	leaktest.Check(t)
	l, d := attachLoopback(t, link.Down)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := d.WaitUp(ctx)
	if !errors.Is(err, syscall.ENETDOWN) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "plug in the cable") {
		t.Errorf("without a carrier: %v", err)
	}
	if _, err := d.EnablePort(nil); !errors.Is(err, syscall.ENETDOWN) || !strings.Contains(err.Error(), "WaitUp") {
		t.Errorf("a port without a carrier: %v", err)
	}

	time.AfterFunc(50*time.Millisecond, func() { l.SetState(link.Up) })
	if err := d.WaitUp(t.Context()); err != nil {
		t.Errorf("the carrier came: %v", err)
	}
	if _, err := d.EnablePort(nil); err != nil {
		t.Errorf("and no port: %v", err)
	}

	l.SetState(link.Down)
	ended := make(chan error, 1)
	go func() { ended <- d.WaitUp(t.Context()) }()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a device that was closed meanwhile: %v", err)
	}
}

func TestWaitUpGone(t *testing.T) {
	leaktest.Check(t)
	l, d := attachLoopback(t, link.Up)
	l.SetState(link.Gone)
	if err := d.WaitUp(t.Context()); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("of a device that is gone: %v", err)
	}
}
