package kernel

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests: _IO(';', 100+n) (include/uapi/linux/vfio.h).
const (
	base = ';'<<8 + 100

	containerGetAPIVersion  = base + 0
	containerCheckExtension = base + 1
	containerSetIOMMU       = base + 2
	groupGetStatus          = base + 3
	groupSetContainer       = base + 4
	groupGetDeviceFD        = base + 6
	deviceGetInfo           = base + 7
	deviceGetRegionInfo     = base + 8
	deviceGetIRQInfo        = base + 9
	deviceSetIRQs           = base + 10
	deviceReset             = base + 11
	iommuGetInfo            = base + 12 // of a container; of a device 12 and 13 are others
	iommuMapDMA             = base + 13
	iommuUnmapDMA           = base + 14
)

// Values and flags of the same file.
const (
	apiVersion     = 0
	type1v2        = 3 // the IOMMU model
	groupViable    = 1 << 0
	deviceCanReset = 1 << 0
	devicePCI      = 1 << 1
	regionRead     = 1 << 0
	regionWrite    = 1 << 1
	regionMmap     = 1 << 2
	mapRead        = 1 << 0
	mapWrite       = 1 << 1
	infoCaps       = 1 << 1 // of iommuInfo

	irqDataNone    = 1 << 0
	irqDataEventFD = 1 << 2
	irqUnmask      = 1 << 4
	irqTrigger     = 1 << 5

	regionConfig = 7
	irqINTx      = 0
	irqMSI       = 1
	irqMSIX      = 2
	irqError     = 3
	irqRequest   = 4

	capIOVARanges = 1
	iommuPages    = 4096 // IOVAs and sizes are multiples of it
)

type groupStatus struct{ argsz, flags uint32 }

type deviceInfo struct {
	argsz, flags, regions, _, _, _ uint32 // irqs, cap_offset, pad
}

type regionInfo struct {
	argsz, flags, index, _ uint32 // cap_offset
	size, offset           uint64
}

type irqInfo struct{ argsz, _, index, count uint32 } // flags

// irqSetHeader is followed by count int32 where they are eventfds.
type irqSetHeader struct{ argsz, flags, index, start, count uint32 }

type iommuInfo struct {
	argsz, flags   uint32
	pageSizes      uint64
	capOffset, pad uint32
}

type capHeader struct {
	id, version uint16
	next        uint32
}

type iovaRanges struct {
	capHeader
	count, reserved uint32
}

type iovaRange struct{ start, end uint64 } // end is the last one

type dmaMap struct {
	argsz, flags      uint32
	vaddr, iova, size uint64
}

type dmaUnmap struct {
	argsz, _   uint32 // flags
	iova, size uint64
}

// The kernel reads and writes these: their sizes are its own.
const (
	_ = -(unsafe.Sizeof(groupStatus{}) ^ 8)
	_ = -(unsafe.Sizeof(deviceInfo{}) ^ 24)
	_ = -(unsafe.Sizeof(regionInfo{}) ^ 32)
	_ = -(unsafe.Sizeof(irqInfo{}) ^ 16)
	_ = -(unsafe.Sizeof(irqSetHeader{}) ^ 20)
	_ = -(unsafe.Sizeof(iommuInfo{}) ^ 24)
	_ = -(unsafe.Sizeof(iovaRanges{}) ^ 16)
	_ = -(unsafe.Sizeof(iovaRange{}) ^ 16)
	_ = -(unsafe.Sizeof(dmaMap{}) ^ 32)
	_ = -(unsafe.Sizeof(dmaUnmap{}) ^ 24)
)

// ioctl makes one call with an argument by value.
func ioctl(fd int, request, arg uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
		if done, err := settled(errno); done {
			return int(n), err
		}
	}
}

// ioctlPtr makes one call with an argument by address. The address is taken in
// the call itself: only so does the runtime leave a variable where it is. It
// moves those of a stack that grows, on the way into any function between.
func ioctlPtr[T any](fd int, request uintptr, arg *T) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(arg)))
		if done, err := settled(errno); done {
			return int(n), err
		}
	}
}

// settled says whether a call has come to an end, and which.
func settled(errno unix.Errno) (done bool, err error) {
	switch errno {
	case 0:
		return true, nil
	case unix.EINTR:
		return false, nil
	}
	return true, errno
}

// getRegion describes a region of a device.
func getRegion(device int, index uint32) (regionInfo, error) {
	r := regionInfo{index: index}
	r.argsz = uint32(unsafe.Sizeof(r))
	if _, err := ioctlPtr(device, deviceGetRegionInfo, &r); err != nil {
		return r, fmt.Errorf("describe region %d: %w", index, err)
	}
	return r, nil
}

// vectors is how many interrupts of an index a device has.
func vectors(device int, index uint32) int {
	i := irqInfo{index: index}
	i.argsz = uint32(unsafe.Sizeof(i))
	if _, err := ioctlPtr(device, deviceGetIRQInfo, &i); err != nil {
		return 0 // an index that this kernel or this device has not
	}
	return int(i.count)
}

// setIRQs sends one request about interrupts; fds only with irqDataEventFD.
func setIRQs(device int, flags, index, count uint32, fds []int) error {
	const words = unsafe.Sizeof(irqSetHeader{}) / 4
	b := make([]int32, int(words)+len(fds))
	h := (*irqSetHeader)(unsafe.Pointer(&b[0]))
	*h = irqSetHeader{argsz: uint32(4 * len(b)), flags: flags, index: index, count: count}
	for i, fd := range fds {
		b[int(words)+i] = int32(fd)
	}
	_, err := ioctlPtr(device, deviceSetIRQs, &b[0])
	return err
}

// ranges are the IOVAs that an IOMMU translates, nil if the kernel does not say.
func ranges(container int) ([]iovaRange, error) {
	info := iommuInfo{}
	size := uint32(unsafe.Sizeof(info))
	info.argsz = size
	if _, err := ioctlPtr(container, iommuGetInfo, &info); err != nil {
		return nil, fmt.Errorf("describe the IOMMU: %w", err)
	}
	if info.argsz <= size || info.argsz > 1<<20 {
		return nil, nil
	}
	// Words, so that what stands in it is aligned.
	words := make([]uint64, (info.argsz+7)/8)
	full := (*iommuInfo)(unsafe.Pointer(&words[0]))
	full.argsz = info.argsz
	if _, err := ioctlPtr(container, iommuGetInfo, full); err != nil {
		return nil, fmt.Errorf("describe the IOMMU: %w", err)
	}
	if full.flags&infoCaps == 0 {
		return nil, nil
	}
	return findRanges(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), info.argsz), full.capOffset), nil
}

// findRanges walks the chain of capabilities in what the kernel has written.
func findRanges(b []byte, at uint32) []iovaRange {
	const header, entry = uint32(unsafe.Sizeof(iovaRanges{})), uint32(unsafe.Sizeof(iovaRange{}))
	size := uint32(len(b))
	for links := 0; at != 0 && links < 16; links++ {
		if at%8 != 0 || at > size || size-at < header {
			return nil
		}
		c := (*iovaRanges)(unsafe.Pointer(&b[at]))
		if c.id != capIOVARanges {
			at = c.next
			continue
		}
		if c.count == 0 || c.count > (size-at-header)/entry {
			return nil
		}
		return append([]iovaRange(nil), unsafe.Slice((*iovaRange)(unsafe.Pointer(&b[at+header])), c.count)...)
	}
	return nil
}
