//go:build !linux

package rt

import (
	"errors"
	"fmt"
)

// Raise is Linux's.
func Raise(int) error {
	return fmt.Errorf("rt: priorities of threads: %w on this system", errors.ErrUnsupported)
}

// Lower is Linux's.
func Lower(int) error { return Raise(0) }
