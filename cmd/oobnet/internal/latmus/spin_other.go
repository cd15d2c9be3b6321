//go:build !linux

package latmus

import (
	"fmt"
	"net"

	"github.com/oobnet/oobnet/link"
)

// spinSocket is Linux's.
type spinSocket struct{}

func newSpinSocket(*net.UDPConn, net.Addr) (*spinSocket, error) {
	return nil, fmt.Errorf("sockets that spin: %w on this system: leave --poll manual or --vs kernel out", link.ErrNotSupported)
}

func (*spinSocket) read([]byte) int   { return 0 }
func (*spinSocket) write([]byte) bool { return false }
