package afxdp

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// releaseWait bounds the retries of a bind that found the queue busy: the
	// kernel releases a closed AF_XDP socket in the background, up to 64 ms
	// later as measured. Two seconds leave room for a loaded machine.
	releaseWait  = 2 * time.Second
	releasePause = 2 * time.Millisecond
	// sendBudget is how many frames one sendto may move in copy mode, where
	// the kernel lets it be set (6.17); 32 otherwise. 256 frames take the
	// kernel some 200 us, long enough to hide the system call.
	sendBudget = 256
)

// setSocketOption sets an option of the XDP level whose value is a struct or a number.
func setSocketOption[T any](fd, option int, value *T) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option),
		uintptr(unsafe.Pointer(value)), unsafe.Sizeof(*value), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// socketOption reads such an option.
func socketOption[T any](fd, option int, value *T) error {
	size := uint32(unsafe.Sizeof(*value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option),
		uintptr(unsafe.Pointer(value)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// newSocket opens an AF_XDP socket in the calling thread's network namespace.
func newSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EPERM):
		return -1, fmt.Errorf("open an AF_XDP socket: %w: run as root, or give the program CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF", err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return -1, fmt.Errorf("open an AF_XDP socket: %w: the kernel was built without CONFIG_XDP_SOCKETS", err)
	case err != nil:
		return -1, fmt.Errorf("open an AF_XDP socket: %w", err)
	}
	return fd, nil
}

// registerUMEM makes the region the UMEM of the socket, with so much room for
// requests before each frame to send, bytes.
func registerUMEM(fd int, region []byte, chunk, room int) error {
	reg := unix.XDPUmemReg{
		Addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(region)))),
		Len:  uint64(len(region)),
		Size: uint32(chunk),
	}
	if room > 0 {
		reg.Flags, reg.Tx_metadata_len = unix.XDP_UMEM_TX_METADATA_LEN, uint32(room)
	}
	err := setSocketOption(fd, unix.XDP_UMEM_REG, &reg)
	if errors.Is(err, unix.ENOBUFS) {
		return fmt.Errorf("register %d bytes of memory: %w: over the limit of locked memory: raise it (ulimit -l, LimitMEMLOCK=) or give the program CAP_IPC_LOCK", len(region), err)
	}
	if err != nil {
		return fmt.Errorf("register %d bytes of memory in chunks of %d: %w", len(region), chunk, err)
	}
	return nil
}

// bindSocket binds a socket to a queue, and waits for a socket that was closed
// just before to be released.
func bindSocket(fd int, to *unix.SockaddrXDP) error {
	deadline := time.Now().Add(releaseWait)
	for {
		err := unix.Bind(fd, to)
		if !errors.Is(err, unix.EBUSY) {
			return explainBind(err, to)
		}
		if time.Now().After(deadline) {
			return explainBind(err, to)
		}
		time.Sleep(releasePause)
	}
}

func explainBind(err error, to *unix.SockaddrXDP) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("bind queue %d: %w: another AF_XDP socket has it: stop its program, or choose other queues (Config.FirstQueue, Config.Queues)", to.QueueID, err)
	case errors.Is(err, unix.ENETDOWN):
		return fmt.Errorf("bind queue %d: %w: the interface is down: `ip link set up` it", to.QueueID, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("bind queue %d: %w: the interface is gone", to.QueueID, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("bind queue %d: %w: no such queue, or a buffer size that the driver does not take", to.QueueID, err)
	}
	return fmt.Errorf("bind queue %d: %w", to.QueueID, err)
}

// mappedRings are the rings of one queue.
type mappedRings struct {
	rx   ring[unix.XDPDesc]
	fill ring[uint64]
	// The two sides work on different cores: each writes its own lines.
	_    [cacheLine]byte
	tx   ring[unix.XDPDesc]
	done ring[uint64]
}

// makeRings makes and maps a queue's rings: fill, completion and receive ring
// on the socket that receives, the transmit ring on the one that sends.
func (m *mappedRings) makeRings(rxFD, txFD int, rxSize, txSize uint32) error {
	for _, r := range []struct {
		what   string
		fd     int
		option int
		size   uint32
	}{
		{"fill", rxFD, unix.XDP_UMEM_FILL_RING, rxSize},
		{"completion", rxFD, unix.XDP_UMEM_COMPLETION_RING, txSize},
		{"receive", rxFD, unix.XDP_RX_RING, rxSize},
		{"transmit", txFD, unix.XDP_TX_RING, txSize},
	} {
		if err := setSocketOption(r.fd, r.option, &r.size); err != nil {
			return fmt.Errorf("make a %s ring of %d entries: %w", r.what, r.size, err)
		}
	}
	var rxAt, txAt unix.XDPMmapOffsets
	err := errors.Join(socketOption(rxFD, unix.XDP_MMAP_OFFSETS, &rxAt), socketOption(txFD, unix.XDP_MMAP_OFFSETS, &txAt))
	if err != nil {
		return fmt.Errorf("ask for the layout of the rings: %w", err)
	}
	var errs [4]error
	m.fill, errs[0] = mapRing[uint64](rxFD, unix.XDP_UMEM_PGOFF_FILL_RING, &rxAt.Fr, rxSize)
	m.done, errs[1] = mapRing[uint64](rxFD, unix.XDP_UMEM_PGOFF_COMPLETION_RING, &rxAt.Cr, txSize)
	m.rx, errs[2] = mapRing[unix.XDPDesc](rxFD, unix.XDP_PGOFF_RX_RING, &rxAt.Rx, rxSize)
	m.tx, errs[3] = mapRing[unix.XDPDesc](txFD, unix.XDP_PGOFF_TX_RING, &txAt.Tx, txSize)
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("map the rings: %w", err)
	}
	return nil
}

func (m *mappedRings) detach() error {
	return errors.Join(m.fill.detach(), m.done.detach(), m.rx.detach(), m.tx.detach())
}

func (m *mappedRings) unmap() error {
	return errors.Join(m.fill.unmap(), m.done.unmap(), m.rx.unmap(), m.tx.unmap())
}

// tuneSend lets one call move as many frames as it can. Neither setting is
// needed to work, so a kernel or a sandbox that refuses them is no error.
func tuneSend(fd int, ringSize uint32) {
	budget := min(sendBudget, ringSize)
	_ = setSocketOption(fd, unix.XDP_MAX_TX_SKB_BUDGET, &budget)
	// Copied frames count against the send buffer until the peer has consumed
	// them; what is in flight is bounded by the ring already.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, math.MaxInt32/2)
}

// isZeroCopy asks the kernel how the socket was bound.
func isZeroCopy(fd int) (bool, error) {
	var options uint32
	if err := socketOption(fd, unix.XDP_OPTIONS, &options); err != nil {
		return false, fmt.Errorf("ask how the socket moves frames: %w", err)
	}
	return options&unix.XDP_OPTIONS_ZEROCOPY != 0, nil
}
