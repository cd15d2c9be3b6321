//go:build !linux

package quicudp

import (
	"fmt"

	"github.com/oobnet/oobnet/link"
)

const truncated = 0

// putTOS writes nothing: quic-go looks for control messages of its own platform.
func putTOS([]byte, int) int { return 0 }

type control struct{ ecn, segment int }

func parse(oob []byte) (c control, err error) {
	if len(oob) > 0 {
		err = fmt.Errorf("control messages need Linux: %w", link.ErrNotSupported)
	}
	return c, err
}
