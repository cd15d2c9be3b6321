package afxdp

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/netdev"
)

// attributes are what only the route socket says of an interface.
type attributes struct {
	rxQueues, txQueues int
	xdpProgram         uint32 // id of the XDP program on it, 0 for none
	carrier            bool   // it is up, has a carrier, and the kernel has taken note of that
}

// hasCarrier are the flags of an interface that sends and receives: the first
// follows the carrier at once, the other after the kernel has dealt with it.
const hasCarrier = unix.IFF_LOWER_UP | unix.IFF_RUNNING

// readAttributes asks the kernel for the interfaces of the calling thread's
// network namespace (rtnetlink(7), RTM_GETLINK), and picks one.
func readAttributes(index int) (a attributes, err error) {
	dump, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return a, fmt.Errorf("list the interfaces: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(dump)
	if err != nil {
		return a, fmt.Errorf("list the interfaces: %w", err)
	}
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		i := (*unix.IfInfomsg)(unsafe.Pointer(unsafe.SliceData(m.Data)))
		if int(i.Index) != index {
			continue
		}
		a.carrier = i.Flags&hasCarrier == hasCarrier
		netdev.EachAttribute(m.Data[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
			switch kind {
			case unix.IFLA_NUM_RX_QUEUES:
				a.rxQueues = int(netdev.Number(value))
			case unix.IFLA_NUM_TX_QUEUES:
				a.txQueues = int(netdev.Number(value))
			case unix.IFLA_XDP:
				netdev.EachAttribute(value, func(kind uint16, value []byte) {
					if kind == unix.IFLA_XDP_PROG_ID {
						a.xdpProgram = uint32(netdev.Number(value))
					}
				})
			}
		})
		return a, nil
	}
	return a, fmt.Errorf("list the interfaces: %w", unix.ENODEV)
}
