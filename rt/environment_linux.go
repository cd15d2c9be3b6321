package rt

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/rt"
	"github.com/oobnet/oobnet/internal/sysinfo"
)

// process looks at the limits and rights of this process.
func (e *Env) process() {
	e.MaxPriority = int(min(limit(unix.RLIMIT_RTPRIO), MaxPriority))
	if rt.Capable(unix.CAP_SYS_NICE) {
		e.MaxPriority = MaxPriority
	}
	e.MaxLocked = limit(unix.RLIMIT_MEMLOCK)
	if rt.MayLockMemory() {
		e.MaxLocked = Unlimited
	}
	e.Locked = max(sysinfo.Locked("/"), -1)
	e.TimerSlack = -1
	if ns, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err == nil {
		e.TimerSlack = time.Duration(ns)
	}
}

// limit is the soft limit of a resource, -1 if it cannot be read.
func limit(resource int) int64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(resource, &l); err != nil {
		return -1
	}
	if l.Cur == unix.RLIM_INFINITY || l.Cur > Unlimited {
		return Unlimited
	}
	return int64(l.Cur)
}
