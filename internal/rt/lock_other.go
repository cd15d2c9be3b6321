//go:build !linux

package rt

import (
	"errors"
	"fmt"
)

// LockMemory keeps the memory of the process in RAM on Linux only.
func LockMemory(bool) error {
	return fmt.Errorf("rt: lock memory: %w on this system", errors.ErrUnsupported)
}

// UnlockMemory has nothing to take back.
func UnlockMemory() error { return nil }
