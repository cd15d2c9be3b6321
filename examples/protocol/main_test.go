package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

func Example() {
	main()
	// Output: dnab fo tuo ,olleh
}

// pair is two ends with the protocol, closed when the test ends.
func pair(t *testing.T) (asks, peer *quiz, to link.MAC) {
	t.Helper()
	left, right, err := loopback.Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	asks, peer = host(left), host(right)
	t.Cleanup(func() {
		if err := errors.Join(asks.port.Device().Stack().Close(), peer.port.Device().Stack().Close()); err != nil {
			t.Error(err)
		}
	})
	return asks, peer, right.MAC()
}

// TestManyQuestions: each gets its own answer, and no buffer is lost.
func TestManyQuestions(t *testing.T) {
	leaktest.Check(t)
	asks, peer, to := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range 3000 { // more than there are buffers
		text := []byte(fmt.Sprint("question ", i))
		reply, err := asks.Ask(ctx, to, string(text))
		slices.Reverse(text)
		if err != nil || reply != string(text) {
			t.Fatalf("%q, %v", reply, err)
		}
	}
	// The last batch is counted, and its buffers come back, after its answer.
	stacktest.Eventually(t, "all is delivered, and nothing held", func() bool {
		st := peer.port.Device().Stats()
		return st.RX.Delivered == 3000 && st.RX.Dropped.Total() == 0 && st.Pool.RXHeld <= 16
	})
}

// TestNoAnswer: whoever is not there does not answer, and who closes answers no
// more.
func TestNoAnswer(t *testing.T) {
	leaktest.Check(t)
	asks, peer, to := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := asks.Ask(ctx, link.MAC{2, 9, 9, 9, 9, 9}, "anyone?"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stranger: %v", err)
	}
	waits := make(chan error, 1)
	go func() {
		_, err := peer.Ask(context.Background(), link.MAC{2, 9, 9, 9, 9, 9}, "anyone?")
		waits <- err
	}()
	if err := peer.port.Device().Stack().UnregisterProtocol(stack.EtherType(etherType), peer); err != nil {
		t.Fatal(err)
	}
	if err := <-waits; !errors.Is(err, os.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	short, cancel2 := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel2()
	if _, err := asks.Ask(short, to, "still there?"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an end without the protocol: %v", err)
	}
}
