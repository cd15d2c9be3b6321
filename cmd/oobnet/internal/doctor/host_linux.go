package doctor

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/rt"
)

// trySocket makes an AF_XDP socket, which touches no interface, and closes it.
func trySocket() error {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// capabilities are those that oobnet makes use of. CAP_SYS_ADMIN has CAP_BPF in it.
func capabilities() map[string]bool {
	return map[string]bool{
		"CAP_NET_ADMIN": rt.Capable(unix.CAP_NET_ADMIN),
		"CAP_NET_RAW":   rt.Capable(unix.CAP_NET_RAW),
		"CAP_BPF":       rt.Capable(unix.CAP_BPF) || rt.Capable(unix.CAP_SYS_ADMIN),
	}
}
