//go:build !unix

package udp

import "syscall"

// errMultihop is what EVL reports for a peer behind a gateway. This system has
// no such number; unreachable is what it comes to.
const errMultihop = syscall.EHOSTUNREACH
