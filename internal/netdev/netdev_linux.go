package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The family and its attributes (linux/netdev.h).
const (
	familyName = "netdev"
	version    = 1
	cmdDevGet  = 1

	attrIndex      = 1
	attrXDP        = 3
	attrSegments   = 4
	attrRXMetadata = 5
	attrXSK        = 6
)

const (
	// headerSize is that of struct nlmsghdr and of struct genlmsghdr together.
	headerSize = unix.SizeofNlMsghdr + unix.GENL_HDRLEN
	// answerSize is more than any answer here: that of the controller lists a
	// family's operations, some hundred bytes.
	answerSize = 1 << 14
	// patience bounds the wait for an answer, which the kernel gives before the
	// request returns, seconds.
	patience = 5
)

// Features asks for one interface, by its index in the network namespace of the
// calling thread. Errors wrap errors.ErrUnsupported where the kernel does not
// know the family, and ENODEV where there is no such interface.
func Features(index int) (Info, error) {
	info, err := ask(index)
	if err != nil {
		return Info{}, fmt.Errorf("features of interface %d: %w", index, err)
	}
	return info, nil
}

func ask(index int) (Info, error) {
	info := Info{Index: index}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return info, fmt.Errorf("open a netlink socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience}); err != nil {
		return info, err
	}
	var family uint16
	name := append([]byte(familyName), 0)
	err = request(fd, unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, unix.CTRL_ATTR_FAMILY_NAME, name, func(kind uint16, value []byte) {
		if kind == unix.CTRL_ATTR_FAMILY_ID && len(value) >= 2 {
			family = binary.NativeEndian.Uint16(value)
		}
	})
	if errors.Is(err, unix.ENOENT) {
		return info, fmt.Errorf("the kernel does not tell: Linux 6.3 and later do: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return info, err
	}
	which := binary.NativeEndian.AppendUint32(nil, uint32(index))
	err = request(fd, family, cmdDevGet, attrIndex, which, func(kind uint16, value []byte) {
		switch kind {
		case attrXDP:
			info.XDP = XDPFeatures(Number(value))
		case attrSegments:
			info.ZeroCopySegments = int(Number(value))
		case attrRXMetadata:
			info.RXMetadata = RXMetadata(Number(value))
		case attrXSK:
			info.XSK = XSKFeatures(Number(value))
		}
	})
	return info, err
}

// request sends a command with one attribute, and shows those of the answer.
func request(fd int, family uint16, command uint8, kind uint16, value []byte, use func(kind uint16, value []byte)) error {
	length := unix.SizeofRtAttr + len(value)
	m := make([]byte, headerSize+align(length))
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], family)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST)
	m[unix.SizeofNlMsghdr], m[unix.SizeofNlMsghdr+1] = command, version
	binary.NativeEndian.PutUint16(m[headerSize:], uint16(length))
	binary.NativeEndian.PutUint16(m[headerSize+2:], kind)
	copy(m[headerSize+unix.SizeofRtAttr:], value)
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask by netlink: %w", err)
	}
	b := make([]byte, answerSize)
	n, err := receive(fd, b)
	if err != nil {
		return fmt.Errorf("wait for netlink's answer: %w", err)
	}
	return parse(b[:n], use)
}

// receive waits for one answer.
func receive(fd int, b []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(fd, b, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, fmt.Errorf("none within %d s: %w", patience, os.ErrDeadlineExceeded)
		}
		return n, err
	}
}

// parse shows the attributes of an answer of one message, or returns the error
// that it brings.
func parse(b []byte, use func(kind uint16, value []byte)) error {
	if len(b) < unix.SizeofNlMsghdr {
		return fmt.Errorf("netlink's answer is cut off: %w", unix.EBADMSG)
	}
	length := binary.NativeEndian.Uint32(b)
	if length < unix.SizeofNlMsghdr || length > uint32(len(b)) {
		return fmt.Errorf("netlink's answer of %d bytes says %d: %w", len(b), length, unix.EBADMSG)
	}
	kind, b := binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:length]
	if len(b) < unix.GENL_HDRLEN {
		return fmt.Errorf("netlink's answer is cut off: %w", unix.EBADMSG)
	}
	if kind == unix.NLMSG_ERROR {
		if errno := -int32(binary.NativeEndian.Uint32(b)); errno != 0 {
			return unix.Errno(errno)
		}
		return fmt.Errorf("netlink acknowledges and does not answer: %w", unix.EBADMSG)
	}
	EachAttribute(b[unix.GENL_HDRLEN:], use)
	return nil
}

// attributeType masks two flag bits off an attribute's type (NLA_TYPE_MASK of
// linux/netlink.h).
const attributeType = 0x3fff

// EachAttribute walks netlink attributes: length, type, value, padded to four
// bytes. It ends at one whose length is not right.
func EachAttribute(b []byte, use func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return
		}
		use(binary.NativeEndian.Uint16(b[2:])&attributeType, b[unix.SizeofRtAttr:length])
		b = b[min(len(b), align(length)):]
	}
}

func align(length int) int { return (length + unix.RTA_ALIGNTO - 1) &^ (unix.RTA_ALIGNTO - 1) }

// Number reads an attribute that holds one number, of 32 or 64 bits; others are 0.
func Number(value []byte) uint64 {
	switch {
	case len(value) >= 8:
		return binary.NativeEndian.Uint64(value)
	case len(value) >= 4:
		return uint64(binary.NativeEndian.Uint32(value))
	}
	return 0
}
