package clock

import (
	"testing"
	"time"
)

func TestNowAdvancesWithTime(t *testing.T) {
	a, at := Now(), time.Now()
	time.Sleep(2 * time.Millisecond)
	b, d := Now(), time.Since(at)
	if got := time.Duration(b - a); got <= 0 || got > d {
		t.Fatalf("clock went on by %v while %v passed", got, d)
	}
}
