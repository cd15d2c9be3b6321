package afxdp

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

// The oldest kernel that has all that is used here.
const oldestMajor, oldestMinor = 5, 15

// checkKernel refuses a kernel that is too old, by its release ("6.18.44-x").
func checkKernel() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("ask for the kernel's release: %w", err)
	}
	return checkRelease(unix.ByteSliceToString(u.Release[:]))
}

func checkRelease(release string) error {
	major, rest, _ := strings.Cut(release, ".")
	minor := rest
	if i := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' }); i >= 0 {
		minor = rest[:i]
	}
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if errA != nil || errB != nil {
		return nil // an unreadable release is no reason to refuse a kernel
	}
	if a < oldestMajor || a == oldestMajor && b < oldestMinor {
		return fmt.Errorf("kernel %s is too old: AF_XDP links need Linux %d.%d or later: %w", release, oldestMajor, oldestMinor, link.ErrNotSupported)
	}
	return nil
}

// device is a network interface as found at Open. The control socket keeps
// the namespace in which index means it.
type device struct {
	control int // a datagram socket for ioctls
	name    string
	index   int
	mac     link.MAC
	mtu     int
	up      bool
	driver  string
	queues  int
	// xdpProgram is the id of the XDP program that was there before us, 0 for none.
	xdpProgram uint32
	// carrier: it had one when it was opened.
	carrier bool
	// vlanFilter: it drops frames of VLANs that the kernel has not asked for.
	vlanFilter bool
	// restoreVLAN: the device stripped VLAN tags before Open and is to again.
	restoreVLAN bool
	// restoreTimes is what the device took the times of before Open; nil: it was
	// not told otherwise.
	restoreTimes *unix.HwTstampConfig
}

// findDevice looks the interface up in the calling thread's network namespace.
func findDevice(name string) (_ *device, err error) {
	d := &device{name: name, driver: "unknown"}
	if d.control, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open a control socket: %w", err)
	}
	if err := d.read(); err != nil {
		unix.Close(d.control)
		return nil, err
	}
	return d, nil
}

// read asks the kernel for all that is in a device.
func (d *device) read() error {
	if len(d.name) >= unix.IFNAMSIZ {
		return fmt.Errorf("no such interface: a name has at most %d bytes: %w", unix.IFNAMSIZ-1, unix.ENODEV)
	}
	var req interfaceRequest
	copy(req.name[:], d.name)
	for _, ask := range []struct {
		op   uintptr
		take func()
	}{
		{unix.SIOCGIFINDEX, func() { d.index = int(req.value) }},
		{unix.SIOCGIFMTU, func() { d.mtu = int(req.value) }},
		{unix.SIOCGIFFLAGS, func() { d.up = req.short()&unix.IFF_UP != 0 }},
		{unix.SIOCGIFHWADDR, func() { copy(d.mac[:], req.hardwareAddress()) }},
	} {
		errno := d.ioctl(ask.op, &req)
		if errno == unix.ENODEV {
			return fmt.Errorf("no such interface: see `ip link`: %w", errno)
		}
		if errno != 0 {
			return fmt.Errorf("ask for the interface's properties: %w", errno)
		}
		ask.take()
	}
	if req.short() != unix.ARPHRD_ETHER { // the family of the hardware address
		return fmt.Errorf("not an Ethernet interface (hardware type %d): %w", req.short(), link.ErrNotSupported)
	}
	if info, err := unix.IoctlGetEthtoolDrvinfo(d.control, d.name); err == nil {
		d.driver = unix.ByteSliceToString(info.Driver[:])
	}
	a, err := readAttributes(d.index)
	if err != nil {
		return err
	}
	d.xdpProgram, d.carrier = a.xdpProgram, a.carrier
	d.queues = d.countQueues(a.rxQueues, a.txQueues)
	d.vlanFilter = d.filtersVLANs()
	return nil
}

// ethtoolChannels is struct ethtool_channels of linux/ethtool.h.
type ethtoolChannels struct {
	cmd                                          uint32
	maxRX, maxTX, maxOther, maxCombined          uint32
	rxCount, txCount, otherCount, combinedCounts uint32
}

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct {
	cmd  uint32
	data uint32
}

// ethtoolRequest is struct ifreq with a pointer in it.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// ethFlagRXVLAN is ETH_FLAG_RXVLAN of linux/ethtool.h: the device takes VLAN
// tags out of the frames it receives.
const ethFlagRXVLAN = 1 << 8

func (d *device) ethtool(data unsafe.Pointer) error {
	name, err := d.currentName()
	if err != nil {
		return err
	}
	req := ethtoolRequest{data: data}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.control), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return errno
	}
	return nil
}

// countQueues is how many queues can both receive and send. The kernel's
// device structure has as many as the driver may ever use; ethtool knows how
// many are in use.
func (d *device) countQueues(rx, tx int) int {
	c := ethtoolChannels{cmd: unix.ETHTOOL_GCHANNELS}
	if d.ethtool(unsafe.Pointer(&c)) == nil {
		if n := int(c.combinedCounts + min(c.rxCount, c.txCount)); n > 0 {
			return n
		}
	}
	return max(1, min(rx, tx))
}

// keepVLANTags makes the device leave VLAN tags in the frames: one that it
// carries beside the frame is invisible to an XDP program. A device that
// cannot be told has nothing to be told, or leaves the tags in anyway.
func (d *device) keepVLANTags() {
	v := ethtoolValue{cmd: unix.ETHTOOL_GFLAGS}
	if d.ethtool(unsafe.Pointer(&v)) != nil || v.data&ethFlagRXVLAN == 0 {
		return
	}
	v.cmd, v.data = unix.ETHTOOL_SFLAGS, v.data&^ethFlagRXVLAN
	d.restoreVLAN = d.ethtool(unsafe.Pointer(&v)) == nil
}

const (
	// carrierWait bounds how long Open waits for the carrier that it has cost: a
	// gigabit port negotiates for 2 to 4 s. carrierPause is between two looks.
	carrierWait  = 5 * time.Second
	carrierPause = 5 * time.Millisecond
)

// awaitCarrier waits until a device that had a carrier has it again. A network
// card's driver begins anew to put a program in place, and its port negotiates
// again: what is sent to it meanwhile is lost. If the carrier stays away, that
// is no error: somebody may have pulled the cable.
func (d *device) awaitCarrier() error {
	if !d.carrier {
		return nil
	}
	for deadline := time.Now().Add(carrierWait); ; time.Sleep(carrierPause) {
		a, err := readAttributes(d.index)
		if err != nil || a.carrier || time.Now().After(deadline) {
			return err
		}
	}
}

// close undoes what Open did to the device.
func (d *device) close() error {
	d.leaveTimes()
	if d.restoreVLAN {
		v := ethtoolValue{cmd: unix.ETHTOOL_GFLAGS}
		if d.ethtool(unsafe.Pointer(&v)) == nil {
			v.cmd, v.data = unix.ETHTOOL_SFLAGS, v.data|ethFlagRXVLAN
			_ = d.ethtool(unsafe.Pointer(&v)) // the device may be gone
		}
		d.restoreVLAN = false
	}
	return unix.Close(d.control)
}

// interfaceRequest is struct ifreq: a name and a union, here of a number, a
// short, and a struct sockaddr with a hardware address.
type interfaceRequest struct {
	name  [unix.IFNAMSIZ]byte
	value int32
	rest  [20]byte
}

func (r *interfaceRequest) short() uint16 { return *(*uint16)(unsafe.Pointer(&r.value)) }

// hardwareAddress lies after the two bytes of the family.
func (r *interfaceRequest) hardwareAddress() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(&r.value), 2)), len(link.MAC{}))
}

func (d *device) ioctl(op uintptr, req *interfaceRequest) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.control), op, uintptr(unsafe.Pointer(req)))
	return errno
}

// currentName is what the interface is called now: it may have been renamed.
func (d *device) currentName() (string, error) {
	req := interfaceRequest{value: int32(d.index)}
	if errno := d.ioctl(unix.SIOCGIFNAME, &req); errno != 0 {
		return "", errno
	}
	name, _, _ := bytes.Cut(req.name[:], []byte{0})
	return string(name), nil
}

// state asks the kernel; it does not allocate.
func (d *device) state() link.State {
	req := interfaceRequest{value: int32(d.index)}
	if d.ioctl(unix.SIOCGIFNAME, &req) != 0 {
		return link.Gone
	}
	req.value = 0
	if d.ioctl(unix.SIOCGIFFLAGS, &req) != 0 {
		return link.Gone
	}
	if flags := req.short(); flags&unix.IFF_UP == 0 || flags&unix.IFF_RUNNING == 0 {
		return link.Down
	}
	return link.Up
}

// isVirtual says that the frames of a driver may come from this same machine,
// or its host, with transport checksums left for a device that does not exist.
func isVirtual(driver string) bool {
	switch driver {
	case "veth", "netkit", "virtio_net", "tun", "tap", "macvlan", "macvtap", "ipvlan", "bridge",
		"dummy", "ifb", "hv_netvsc", "vif", "xen_netfront", "vmxnet3", "openvswitch":
		return true
	}
	return false
}
