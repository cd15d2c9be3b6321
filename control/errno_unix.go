//go:build unix

package control

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// maxErrno is beyond the numbers of every Unix.
const maxErrno = 256

func errnoName(e syscall.Errno) string { return unix.ErrnoName(e) }

func errnoByName(name string) (syscall.Errno, bool) {
	for e := syscall.Errno(1); name != "" && e < maxErrno; e++ {
		if unix.ErrnoName(e) == name {
			return e, true
		}
	}
	return 0, false
}
