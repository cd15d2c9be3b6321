//go:build !linux

package netdev

import (
	"errors"
	"fmt"
)

// Features needs Linux: elsewhere it wraps errors.ErrUnsupported.
func Features(index int) (Info, error) {
	return Info{}, fmt.Errorf("features of interface %d: only Linux tells: %w", index, errors.ErrUnsupported)
}
