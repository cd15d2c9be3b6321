package loopback

import (
	"sync/atomic"
	"time"
)

// sleeper lets one goroutine wait for any number of wakers.
//
// The one who sleeps raises asleep, looks once more for what it waits for, and
// then blocks. A waker first makes that something visible and then looks at
// asleep. Go's atomics are sequentially consistent, so one of the two sees the
// other, and no wake-up is lost.
//
// Whoever takes asleep from 1 to 0 owns the duty: a waker that does sends one
// token, a sleeper that does is owed none. So no token is ever left over.
type sleeper struct {
	asleep atomic.Uint32 // the receive side sets it; wakers clear it, or the receive side itself
	token  chan struct{}
	timer  *time.Timer
	waits  atomic.Uint64 // written by the receive side; Stats reads it
}

func (s *sleeper) init() {
	s.token = make(chan struct{}, 1)
	s.timer = time.NewTimer(time.Hour)
	s.timer.Stop()
}

// sleep blocks until wake or for d, without limit if d is negative. It does
// not block if ready, called once the flag is up, says so.
func (s *sleeper) sleep(d time.Duration, ready func() bool) {
	s.asleep.Store(1)
	if !ready() {
		s.waits.Add(1)
		if s.block(d) {
			return
		}
	}
	if !s.asleep.CompareAndSwap(1, 0) {
		// A waker was faster: its token is here or about to be.
		<-s.token
	}
}

// block reports whether it took a token.
func (s *sleeper) block(d time.Duration) bool {
	if d < 0 {
		<-s.token
		return true
	}
	s.timer.Reset(d)
	select {
	case <-s.token:
		s.timer.Stop()
		return true
	case <-s.timer.C:
		return false
	}
}

// wake ends the sleep under way, if any, and reports whether there was one. It
// costs one atomic load when nobody sleeps. It never blocks: only the waker
// that clears the flag sends, and the channel has room for that token.
func (s *sleeper) wake() bool {
	if s.asleep.Load() == 0 || !s.asleep.CompareAndSwap(1, 0) {
		return false
	}
	s.token <- struct{}{}
	return true
}
