package clock

import (
	"testing"
	"time"
)

func TestFakeAnswersUntilRestored(t *testing.T) {
	restore := Fake(func() int64 { return 42 })
	if a, b := Now(), Now(); a != 42 || b != 42 {
		t.Error("the clock did not ask the fake one")
	}
	restore()
	if Now() == 42 {
		t.Error("the fake clock was not put away")
	}
}

func TestNowAdvancesWithTime(t *testing.T) {
	at := time.Now() // before the first look, and d after the second
	a := Now()
	time.Sleep(2 * time.Millisecond)
	b := Now()
	d := time.Since(at)
	if got := time.Duration(b - a); got <= 0 || got > d {
		t.Fatalf("clock went on by %v while %v passed", got, d)
	}
}
