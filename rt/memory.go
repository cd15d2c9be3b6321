package rt

import "github.com/oobnet/oobnet/internal/rt"

// LockMode is how the memory of the process is kept in RAM.
type LockMode int

const (
	// LockNone leaves it to the system to take pages away.
	LockNone LockMode = iota
	// LockOnFault keeps each page from the moment in which it is first
	// touched. What is touched before the loop begins never faults again, and
	// what the Go runtime only reserves costs no RAM.
	LockOnFault
	// LockAll brings all pages into RAM at once, those of later mappings too.
	// The runtime maps its heap by 64 MiB, and with it each page of those is
	// zeroed at once, on the thread that happened to need one more.
	LockAll
)

// String is the mode's name.
func (m LockMode) String() string {
	switch m {
	case LockNone:
		return "none"
	case LockOnFault:
		return "on fault"
	case LockAll:
		return "all"
	}
	return "unknown"
}

// Lock keeps the memory that the process has, and all that it will have, in
// RAM, until Unlock. It is the process's, not the calling thread's; a second
// call replaces the mode of the first. LockNone is Unlock.
//
// The runtime hands memory back to the system by unmapping it when it is
// locked, and maps it anew: under LockAll that zeroes it at once, which makes
// the runtime's scavenger a source of noise. LockOnFault with [Prefault] for
// what the loop uses is the better choice for most.
//
// Errors: EPERM wrapped where locked memory is limited and CAP_IPC_LOCK is
// missing (a Go program does not survive to meet the limit, so Lock does not
// even try), ENOMEM, and errors.ErrUnsupported on systems other than Linux.
func Lock(mode LockMode) error {
	if mode == LockNone {
		return Unlock()
	}
	return rt.LockMemory(mode == LockOnFault)
}

// Unlock takes Lock back. Errors are the system's.
func Unlock() error { return rt.UnlockMemory() }

// Prefault writes to each page of b what stands there, so that the loop meets
// no page fault in it. b is the caller's for that time. With [Lock] the pages
// stay.
func Prefault(b []byte) { rt.Prefault(b) }
