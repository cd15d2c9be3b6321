package rt

import (
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// settings reads what Quiet changes.
func settings() (percent int, limit int64) {
	return int(int64(metric("/gc/gogc:percent"))), debug.SetMemoryLimit(-1)
}

// sink keeps the compiler from leaving garbage unmade.
var sink []byte

// litter makes n MiB of garbage.
func litter(n int) {
	for range n {
		sink = make([]byte, 1<<20)
	}
	sink = nil
}

// restored fails the test if the settings at its end are others.
func restored(t *testing.T) {
	leaktest.Check(t)
	percent, limit := settings()
	t.Cleanup(func() {
		if p, l := settings(); p != percent || l != limit {
			t.Errorf("percent %d, limit %d afterwards; before %d and %d", p, l, percent, limit)
		}
	})
}

func TestQuietHoldsCollectionOff(t *testing.T) {
	restored(t)
	n := Quiet(func() {
		if p, l := settings(); p != -1 || l == math.MaxInt64 {
			t.Errorf("percent %d, limit %d", p, l)
		}
		litter(100)
	})
	if n != 0 {
		t.Errorf("%d collections", n)
	}
	if n := Quiet(runtime.GC); n == 0 {
		t.Error("a collection that f asked for is not counted")
	}
	// The same garbage is collected without Quiet: else the above shows nothing.
	before := gcCycles()
	litter(100)
	if gcCycles() == before {
		t.Error("100 MiB of garbage were not collected")
	}
}

func TestQuietHasABackstop(t *testing.T) {
	restored(t)
	debug.FreeOSMemory() // what earlier tests left is room, too
	limit := inUse() + 16<<20
	if n := QuietUnder(limit, func() { litter(200) }); n == 0 {
		t.Error("200 MiB of garbage in 16 MiB of room without a collection")
	}
}

func TestQuietKeepsALowerLimitOfTheProgram(t *testing.T) {
	restored(t)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40))
	Quiet(func() {
		if _, l := settings(); l != 1<<40 {
			t.Errorf("limit %d, the program's own is %d", l, int64(1)<<40)
		}
	})
	QuietUnder(1<<41, func() {
		if _, l := settings(); l != 1<<40 {
			t.Errorf("limit %d, above the program's own", l)
		}
	})
}

func TestQuietNested(t *testing.T) {
	restored(t)
	defer debug.SetGCPercent(debug.SetGCPercent(150))
	QuietUnder(1<<40, func() {
		QuietUnder(1<<41, func() {
			if p, l := settings(); p != -1 || l != 1<<40 {
				t.Errorf("inside: percent %d, limit %d", p, l)
			}
		})
		QuietUnder(1<<39, func() {
			if _, l := settings(); l != 1<<39 {
				t.Errorf("the lower limit does not hold: %d", l)
			}
		})
		if p, l := settings(); p != -1 || l != 1<<40 {
			t.Errorf("between: percent %d, limit %d", p, l)
		}
	})
	if p, _ := settings(); p != 150 {
		t.Errorf("percent %d afterwards", p)
	}
}

func TestQuietConcurrent(t *testing.T) {
	restored(t)
	var threads sync.WaitGroup
	for i := range 4 {
		threads.Go(func() {
			for range 5 {
				QuietUnder(1<<40+int64(i), func() {
					if p, _ := settings(); p != -1 {
						t.Errorf("percent %d", p)
					}
				})
			}
		})
	}
	threads.Wait()
}

func TestQuietIsEndedByAPanic(t *testing.T) {
	restored(t)
	defer func() {
		if recover() == nil {
			t.Error("the panic did not come through")
		}
	}()
	Quiet(func() { panic("f's") })
}
