//go:build unix

package stack

import "syscall"

// errMultihop is what EVL reports for a peer behind a gateway.
const errMultihop = syscall.EMULTIHOP
