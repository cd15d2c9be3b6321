package stack

import (
	"testing"

	"github.com/oobnet/oobnet/link"
)

// TestAdaptive: frames closer than AdaptiveSpin are polled for, for as long after
// the last one; a lone frame costs no spinning, and a pause ends it.
func TestAdaptive(t *testing.T) {
	const spin = int64(link.AdaptiveSpin)
	var a adaptive
	now := int64(1_000_000_000)
	// frame says that one has come and the queue is dry again after a time.
	frame := func(after int64) bool {
		now += after
		a.dry = false
		return a.polls(now)
	}
	if frame(0) {
		t.Error("the first frame is polled for")
	}
	if frame(spin) {
		t.Error("a frame after AdaptiveSpin is polled for")
	}
	for range 10 {
		if !frame(spin - 1) {
			t.Fatal("frames closer than AdaptiveSpin are not polled for")
		}
	}
	if !a.polls(now+spin-1) || a.polls(now+spin) {
		t.Error("polling does not last AdaptiveSpin after the last frame")
	}
	if frame(20 * spin) {
		t.Error("the frame after a pause is polled for")
	}
}
