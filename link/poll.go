package link

import (
	"fmt"
	"math"
	"time"
)

// PollMode says how a device's receive thread waits for frames. Negative and
// positive numbers mean what they mean in Ixl; its 0, which polls without
// end, is [Busy] here, so that a config left at zero does not burn a core a
// queue: see [IxlPollMode].
type PollMode int

const (
	// Adaptive polls while frames keep coming and blocks when they do not. It
	// decides by time, each time the queue runs dry: it keeps polling for
	// AdaptiveSpin after the last frame if the gap before that frame was
	// shorter than AdaptiveSpin, and blocks at once otherwise. So a flow of
	// more than 1/AdaptiveSpin frames a second is polled, and a lone frame
	// costs one wake-up and no spinning.
	Adaptive PollMode = 0
	// Manual has no threads: the application calls Device.Poll in its own
	// cycle, and may wait on Device.FD. Ixl calls it notify.
	Manual PollMode = -1
	// Block waits for the device without limit. So does any other negative number.
	Block PollMode = -2
	// Busy polls without end: one core a queue.
	Busy PollMode = math.MinInt
)

// AdaptiveSpin is how long an adaptive receiver polls an empty queue, and the
// gap between frames under which it does so. A blocked wait costs 10 to 60 us
// of wake-up: polling for about as long at most doubles the work of a flow
// that just missed it.
const AdaptiveSpin = 50 * time.Microsecond

// BlockTimeout blocks for at most d at a time, rounded up to milliseconds.
func BlockTimeout(d time.Duration) PollMode {
	ms := (d + time.Millisecond - 1) / time.Millisecond
	return PollMode(max(1, ms))
}

// IxlPollMode translates Ixl's number: 0 busy, -1 notify, other negative
// block, positive milliseconds.
func IxlPollMode(n int) PollMode {
	if n == 0 {
		return Busy
	}
	return PollMode(n)
}

// Timeout is how long one wait of this mode may last: 0 for none, negative for
// no limit.
func (m PollMode) Timeout() time.Duration {
	switch {
	case m == Busy || m == Manual:
		return 0
	case m > 0:
		return time.Duration(m) * time.Millisecond
	}
	return -1
}

func (m PollMode) String() string {
	switch {
	case m == Adaptive:
		return "adaptive"
	case m == Manual:
		return "manual"
	case m == Busy:
		return "busy"
	case m < 0:
		return "block"
	}
	return fmt.Sprintf("block %d ms", int(m))
}
