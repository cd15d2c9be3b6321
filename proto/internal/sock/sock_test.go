package sock_test

import (
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/oobnet/oobnet/proto/internal/sock"
)

// TestBooks against two plain numbers.
func TestBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b sock.Books
		held, got := 0, uint64(0)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			switch {
			case held > 0 && rapid.Bool().Draw(t, "release"):
				b.Release()
				held--
			case held > 0 && rapid.Bool().Draw(t, "undo"):
				b.Undo()
				held--
				got--
			default:
				n, limit := rapid.IntRange(0, 64).Draw(t, "n"), rapid.IntRange(0, 200).Draw(t, "limit")
				want := max(0, min(n, limit-held))
				if k := b.Hold(n, limit); k != want {
					t.Fatalf("held %d of %d, want %d", k, n, want)
				}
				held += want
				got += uint64(want)
			}
			if b.Held() != held || b.Got() != got {
				t.Fatalf("%d held, %d got, want %d, %d", b.Held(), b.Got(), held, got)
			}
		}
	})
}

// TestDeadline sets its bit and no other, and takes it back when it moves.
func TestDeadline(t *testing.T) {
	const mine, other = 2, 5
	var attention atomic.Uint32
	attention.Store(other)
	var d sock.Deadline
	d.Init(&attention, mine)
	for range 2 {
		first := d.Channel()
		d.Move(time.Now().Add(-time.Second))
		<-first
		if attention.Load() != mine|other {
			t.Fatalf("attention %b", attention.Load())
		}
		d.Move(time.Time{})
		if attention.Load() != other || d.Channel() == first {
			t.Fatalf("attention %b after it moved", attention.Load())
		}
		d.Move(time.Now().Add(time.Millisecond))
		<-d.Channel()
		d.Move(time.Now().Add(time.Hour))
	}
	d.Stop()
	if attention.Load() != other {
		t.Errorf("attention %b after Stop", attention.Load())
	}
}

// TestReaders: a word is kept for who comes to sleep, one wakes one, and who
// rises passes it on.
func TestReaders(t *testing.T) {
	var r sock.Readers
	r.Init()
	if r.Asleep() {
		t.Error("somebody sleeps")
	}
	r.Wake()
	r.Wake() // one word is enough
	r.Announce()
	r.Sleep(nil, nil)
	r.Announce()
	if !r.Asleep() {
		t.Error("nobody sleeps")
	}
	r.Rise() // the other one is told
	r.Sleep(nil, nil)
	r.Rise()
	if r.Asleep() {
		t.Error("somebody sleeps yet")
	}
	done := make(chan struct{})
	close(done)
	r.Sleep(nil, done)
	r.Sleep(done, nil)
}

func TestSpin(t *testing.T) {
	var s sock.Spin
	if s.Lasts(0) || s.Lasts(-1) {
		t.Error("no time lasts")
	}
	if !s.Lasts(time.Hour) {
		t.Error("an hour is over at once")
	}
	s = sock.Spin{}
	for start := time.Now(); s.Lasts(time.Millisecond); {
		if time.Since(start) > time.Minute {
			t.Fatal("it does not end")
		}
	}
}
