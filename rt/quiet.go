package rt

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sync"

	"github.com/oobnet/oobnet/internal/sysinfo"
)

// quietRoom is how much Quiet lets the program grow where the system does not
// tell what memory there is, bytes: most machines that run a loop have it.
const quietRoom = 1 << 30

// quiet is what all Quiets of the process have in common.
var quiet struct {
	sync.Mutex
	limits []int64 // of those under way
	// What held before the first of them began.
	percent int
	limit   int64
}

// Quiet runs f with the garbage collector held off, and returns how many
// collections ran meanwhile: none, unless the backstop was met or f asked for
// one. It collects first, so that f begins with all the room there is, and no
// collection is under way when f begins.
//
// The backstop is a memory limit (runtime/debug.SetMemoryLimit): the program's
// own, if it has one; otherwise what it uses when f begins and half of what the
// machine, or the control group, has left then. A program that reaches it
// collects as often as it must to stay below, which is not quiet, and alive.
//
// Calls may be nested and concurrent. The first to begin turns the collector
// off, the last to end turns it on again, as it was before; the lowest limit of
// those under way holds. Who changes either by runtime/debug meanwhile finds
// it undone. A collection is due soon after the end, if f made garbage.
//
// It is for a span of time, a measurement, a motion, a shift, not for a single
// cycle: the collection before it takes milliseconds.
func Quiet(f func()) (collections uint64) { return QuietUnder(0, f) }

// QuietUnder is Quiet with the backstop at limit, bytes of memory that the
// runtime has mapped, as GOMEMLIMIT counts; 0 or less: Quiet's. The program's
// own limit holds if it is lower.
func QuietUnder(limit int64, f func()) (collections uint64) {
	limit = beginQuiet(limit)
	// f may panic, and its caller recover.
	defer endQuiet(limit)
	before := gcCycles()
	f()
	return gcCycles() - before
}

// beginQuiet returns the limit that it booked.
func beginQuiet(limit int64) int64 {
	quiet.Lock()
	defer quiet.Unlock()
	first := len(quiet.limits) == 0
	if first {
		quiet.limit = debug.SetMemoryLimit(-1) // reads it
		runtime.GC()
	}
	if limit <= 0 {
		limit = backstop(quiet.limit)
	}
	quiet.limits = append(quiet.limits, limit)
	// The limit comes before the collector is off, not after.
	debug.SetMemoryLimit(min(quiet.limit, slices.Min(quiet.limits)))
	if first {
		quiet.percent = debug.SetGCPercent(-1)
	}
	return limit
}

func endQuiet(limit int64) {
	quiet.Lock()
	defer quiet.Unlock()
	i := slices.Index(quiet.limits, limit)
	quiet.limits = slices.Delete(quiet.limits, i, i+1)
	if len(quiet.limits) > 0 {
		debug.SetMemoryLimit(min(quiet.limit, slices.Min(quiet.limits)))
		return
	}
	debug.SetGCPercent(quiet.percent)
	debug.SetMemoryLimit(quiet.limit)
}

// backstop is the limit for who names none.
func backstop(own int64) int64 {
	if own != math.MaxInt64 {
		return own
	}
	room := sysinfo.Available("/") / 2
	if room < 0 {
		room = quietRoom
	}
	return inUse() + room
}

// inUse is the memory that a limit counts, bytes: what the runtime has mapped
// and not handed back.
func inUse() int64 {
	return int64(metric("/memory/classes/total:bytes") - metric("/memory/classes/heap/released:bytes"))
}

func gcCycles() uint64 { return metric("/gc/cycles/total:gc-cycles") }

// metric reads a number of runtime/metrics, 0 if this runtime does not have it.
func metric(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
