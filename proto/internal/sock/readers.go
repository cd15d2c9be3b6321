package sock

import (
	"sync/atomic"
	"time"
)

// Readers are those that wait for something to read from a socket. What comes
// costs one load where nobody sleeps.
//
// A reader that is about to sleep says so (Announce), looks once more, sleeps,
// and rises. Whoever has put something where readers look asks afterwards
// whether somebody is asleep, and wakes one: so one of the two sees the other.
type Readers struct {
	// asleep counts readers that sleep or are about to: they add, and RX
	// threads look.
	asleep atomic.Int32
	// word wakes one reader; one that nobody waits for yet is kept.
	word chan struct{}
}

// Init goes before anybody else knows the socket.
func (r *Readers) Init() { r.word = make(chan struct{}, 1) }

// Asleep reports whether somebody sleeps, or is about to.
//
//oobnet:hot
func (r *Readers) Asleep() bool { return r.asleep.Load() != 0 }

// Wake wakes one sleeping reader. It does not block.
func (r *Readers) Wake() {
	select {
	case r.word <- struct{}{}:
	default:
	}
}

// Announce is said before the last look. Rise ends it.
func (r *Readers) Announce() { r.asleep.Add(1) }

// Sleep waits for a word, for the deadline to pass, or for the socket's end.
func (r *Readers) Sleep(passed, done <-chan struct{}) {
	select {
	case <-r.word:
	case <-passed:
	case <-done:
	}
}

// Rise ends what Announce began. One word wakes one reader, and it passes it
// on: there may be more to read.
func (r *Readers) Rise() {
	if r.asleep.Add(-1) > 0 {
		r.Wake()
	}
}

// Spin is a reader's polling before it sleeps. The zero value begins with the
// first question.
type Spin struct{ end time.Time }

// Lasts reports whether to look again at once: for d from the first question.
func (s *Spin) Lasts(d time.Duration) bool {
	if d <= 0 {
		return false
	}
	now := time.Now()
	if s.end.IsZero() {
		s.end = now.Add(d)
	}
	return now.Before(s.end)
}
