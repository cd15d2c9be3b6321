package latmus

import "golang.org/x/sys/unix"

// involuntary counts how often the kernel took the calling thread off its core
// although it wanted to run: getrusage(2), RUSAGE_THREAD.
func involuntary() int64 {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &ru) != nil {
		return 0
	}
	return ru.Nivcsw
}
