//go:build unix && !linux

package offheap

import "golang.org/x/sys/unix"

// noReserve is Linux's; elsewhere what nobody may touch counts for nothing.
const noReserve = 0

func populate(b []byte, _ int) (huge bool, err error) {
	if err := overlay(b, -1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
		return false, err
	}
	touch(b)
	return false, nil
}
