package rt

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// LockMemory keeps all memory that the process has, and all that it will have,
// in RAM: at once, or each page from the moment in which it is first touched.
//
// It refuses, with EPERM wrapped, where the amount of locked memory is limited:
// the runtime ends the process when a mapping of its own meets that limit, and
// it maps 64 MiB at a time.
func LockMemory(onFault bool) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return fmt.Errorf("rt: lock memory: RLIMIT_MEMLOCK: %w", err)
	}
	if limit.Cur != unix.RLIM_INFINITY && !MayLockMemory() {
		return fmt.Errorf("rt: lock memory: %w: locked memory is limited to %d KiB, and the Go runtime does not survive to meet that: lift it (ulimit -l unlimited, LimitMEMLOCK=infinity) or give CAP_IPC_LOCK",
			unix.EPERM, limit.Cur>>10)
	}
	flags := unix.MCL_CURRENT | unix.MCL_FUTURE
	if onFault {
		flags |= unix.MCL_ONFAULT
	}
	if err := unix.Mlockall(flags); err != nil {
		return fmt.Errorf("rt: lock memory: mlockall: %w", err)
	}
	return nil
}

// UnlockMemory takes LockMemory back, for all memory of the process.
func UnlockMemory() error {
	if err := unix.Munlockall(); err != nil {
		return fmt.Errorf("rt: unlock memory: munlockall: %w", err)
	}
	return nil
}

// MayLockMemory says whether this thread may lock memory beyond
// RLIMIT_MEMLOCK: it has CAP_IPC_LOCK in the first user namespace, which is the
// only one that counts for it.
func MayLockMemory() bool {
	if !Capable(unix.CAP_IPC_LOCK) {
		return false
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || strings.Join(strings.Fields(string(ids)), " ") == "0 0 4294967295"
}

// Capable says whether a capability, unix.CAP_*, is effective for this thread.
func Capable(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // 32 capabilities each
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective>>(capability%32)&1 != 0
}
