package carrier_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/carrier"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

func TestAwait(t *testing.T) {
	leaktest.Check(t)
	l, err := loopback.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l.SetState(link.Down)
	d, err := s.Attach(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	err = carrier.Await(t.Context(), d, 50*time.Millisecond)
	if took := time.Since(start); !errors.Is(err, syscall.ENETDOWN) || !strings.Contains(err.Error(), "plug in the cable") || took < 50*time.Millisecond {
		t.Errorf("without a carrier, after %v: %v", took, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := carrier.Await(ctx, d, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}

	time.AfterFunc(50*time.Millisecond, func() { l.SetState(link.Up) })
	if err := carrier.Await(t.Context(), d, time.Minute); err != nil {
		t.Errorf("the wire came up: %v", err)
	}
	if _, err := d.EnablePort(nil); err != nil {
		t.Errorf("and a port cannot be enabled: %v", err)
	}

	l.SetState(link.Gone)
	if err := carrier.Await(t.Context(), d, time.Hour); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("of a device that is gone: %v", err)
	}
}
