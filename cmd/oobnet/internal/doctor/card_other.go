//go:build !linux

package doctor

import (
	"fmt"

	"github.com/oobnet/oobnet/link"
)

// LookAtCard needs Linux.
func LookAtCard(name string) (*Card, error) {
	return nil, fmt.Errorf("%s: interfaces are looked at under Linux: %w", name, link.ErrNotSupported)
}
