//go:build unix

package udp

import "syscall"

// errMultihop is what EVL reports for a peer behind a gateway.
const errMultihop = syscall.EMULTIHOP
