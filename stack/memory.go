package stack

import (
	"unsafe"

	"github.com/oobnet/oobnet/internal/rt"
)

// settleMemory makes the memory of the device what the options say.
func (d *Device) settleMemory() {
	if d.cfg.LockMemory {
		d.refused = rt.LockMemory(false)
	}
	if !d.cfg.Prefault {
		return
	}
	touch(d.packets)
	touch(d.queued)
	touch(d.next)
	touch(d.shares)
	for _, r := range d.rx {
		rt.Prefault(r.demote.bytes)
	}
}

// touch prefaults a slice that nobody else uses yet.
func touch[T any](s []T) {
	if len(s) > 0 {
		rt.Prefault(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0]))))
	}
}

// Refused is what the machine refused of the options in DeviceConfig that are not
// one thread's: LockMemory. nil: nothing. Threads has it too, where there are any.
func (d *Device) Refused() error { return d.refused }
