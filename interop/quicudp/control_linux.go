package quicudp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// truncated says that a control message did not fit.
const truncated = unix.MSG_CTRUNC

// maxECN are the bits of a TOS byte that are the mark.
const maxECN = 3

// putTOS writes a control message as Linux does for IP_RECVTOS, of one byte, and
// returns its length; 0: it does not fit.
func putTOS(oob []byte, tos int) int {
	if len(oob) < unix.CmsgSpace(1) {
		return 0
	}
	clear(oob[:unix.CmsgSpace(1)])
	putHeader(oob, unix.IPPROTO_IP, unix.IP_TOS, 1)
	oob[unix.CmsgLen(0)] = byte(tos)
	return unix.CmsgSpace(1)
}

// putHeader writes the header of a control message of so many bytes. b need not
// be aligned.
func putHeader(b []byte, level, kind, size int) {
	h := unix.Cmsghdr{Level: int32(level), Type: int32(kind)}
	h.SetLen(unix.CmsgLen(size))
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(&h)), unix.SizeofCmsghdr))
}

// control is what the control messages of a write ask for.
type control struct {
	ecn     int
	segment int // bytes; 0: not to be cut
}

// parse reads the control messages of a write.
func parse(oob []byte) (c control, err error) {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return c, fmt.Errorf("control message: %w", err)
		}
		oob = rest
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(data) == 1:
			c.ecn = int(data[0]) & maxECN
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_SEGMENT && len(data) == 2:
			if c.segment = int(binary.NativeEndian.Uint16(data)); c.segment == 0 {
				return c, fmt.Errorf("segments of 0 bytes: %w", syscall.EINVAL)
			}
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO:
			// quic-go answers from the address that it was asked at, which the socket
			// does by itself.
		default:
			return c, fmt.Errorf("control message of level %d, type %d, %d bytes: %w", h.Level, h.Type, len(data), errors.ErrUnsupported)
		}
	}
	return c, nil
}
