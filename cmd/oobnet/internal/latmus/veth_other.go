//go:build !linux

package latmus

import (
	"fmt"

	"github.com/oobnet/oobnet/link"
)

func (w *wire) openVeth(*Options) error {
	return fmt.Errorf("--veth: %w on this system: leave it out to measure in memory", link.ErrNotSupported)
}
