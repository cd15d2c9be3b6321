//go:build !unix

package control

import "syscall"

// Without a server on this system there are no names to tell.
func errnoName(syscall.Errno) string { return "" }

func errnoByName(string) (syscall.Errno, bool) { return 0, false }
