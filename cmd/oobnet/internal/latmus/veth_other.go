//go:build !linux

package latmus

import (
	"context"
	"fmt"

	"github.com/oobnet/oobnet/link"
)

func (w *wire) openVeth(context.Context, *Options) error {
	return fmt.Errorf("--veth: %w on this system: leave it out to measure in memory", link.ErrNotSupported)
}
