//go:build !unix

package stack

import "syscall"

// errMultihop is what EVL reports for a peer behind a gateway. This system has
// no such number; unreachable is what it comes to.
const errMultihop = syscall.EHOSTUNREACH
