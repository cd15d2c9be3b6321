// Package netns makes a private Ethernet wire out of two network namespaces
// and a veth pair, and runs code on either end of it.
//
// Tests, the demo and the benchmarks send their traffic over such a wire, so
// that no packet of ours ever meets an interface that somebody needs. The wire
// is quiet: IPv6 is off, so nothing is sent that the test did not send or the
// kernel does not owe it (an ARP reply, an ICMP error).
//
// It needs Linux and the right to make namespaces, which in practice is root:
// see [Available]. On other systems everything returns an error that wraps
// [errors.ErrUnsupported].
//
// A namespace belongs to a thread, not to a goroutine. [Host.Do] hides that.
// What code inside Do opens stays in the namespace when Do has returned; what
// it starts with a go statement runs in the namespace of the process.
// /sys still shows the interfaces of the process's own namespace there, because
// it is a mount; /proc/sys/net follows the thread.
package netns

import (
	"net"
	"net/netip"
	"os/exec"
)

// Offloads says at which end of a wire the kernel's transmit offloads are
// switched off: checksumming and segmentation. Over a veth the kernel leaves
// both to a device that does not exist, and a receiver that looks at raw
// frames sees partial checksums and segments far over the MTU.
type Offloads int

// Choices of Config.Offloads.
const (
	// OffloadsOffB leaves A as the kernel made it and makes B, the kernel's
	// own end in most tests, send complete frames.
	OffloadsOffB Offloads = iota
	// OffloadsOff makes both ends send complete frames.
	OffloadsOff
	// OffloadsOn leaves both ends alone, so that partial checksums are seen.
	OffloadsOn
)

// Interface names at the two ends, in namespaces of their own.
const (
	IfNameA = "oob0"
	IfNameB = "peer0"
)

// MACs of the two ends when Config gives none: locally administered, and easy
// to tell apart in a dump.
var (
	DefaultMACA = [6]byte{0x02, 0x00, 0x5e, 0x00, 0x00, 0x0a}
	DefaultMACB = [6]byte{0x02, 0x00, 0x5e, 0x00, 0x00, 0x0b}
)

// Config describes a wire. The zero value, and a nil *Config, is one queue,
// 1500 bytes of MTU, no addresses, B without transmit offloads.
type Config struct {
	// Queues is the number of receive and of transmit queues at each end; 0: 1.
	Queues int
	// MTU in bytes; 0: 1500.
	MTU int
	// MACA and MACB; zero: DefaultMACA and DefaultMACB.
	MACA, MACB [6]byte
	// AddrA and AddrB are the addresses that the kernel gets at each end; the
	// zero Prefix for none, so that the address is the stack's alone.
	AddrA, AddrB netip.Prefix
	// Offloads that stay on.
	Offloads Offloads
	// Ends are two interfaces of the process's own namespace, with a wire
	// between them, to make A and B of instead of a veth pair. Close gives them
	// back. Where A has not as many queues as asked for, the error wraps
	// [errors.ErrUnsupported]. The second alone makes a wire of which this
	// kernel has the end B: a driver in user space has the other, and Wire.A
	// is nil.
	Ends [2]string
}

// Wire is a veth pair between two namespaces. Close removes all of it.
// Methods may be called from any goroutine. A is nil where a driver in user
// space has that end: see [Config].
type Wire struct {
	A, B *Host
}

// Borrowed says that the ends are interfaces that were there before
// (Config.Ends): cards, with what cards do and do not. False after Close.
func (w *Wire) Borrowed() bool { return w.B != nil && w.B.lent != "" }

// Host is one end of a wire: a namespace and its interface. The fields are
// set by Make and not changed after; MAC is the one the interface was made with.
type Host struct {
	// Namespace is the name as `ip netns` knows it.
	Namespace string
	// IfName and IfIndex name the interface inside the namespace.
	IfName  string
	IfIndex int
	MAC     [6]byte

	ns   handle
	lent string // what the interface was called where it was taken from
}

// ListenUDP opens a UDP socket of the kernel's on this host. The caller closes it.
func (h *Host) ListenUDP(local netip.AddrPort) (*net.UDPConn, error) {
	var c *net.UDPConn
	err := h.DoErr(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local))
		return err
	})
	return c, err
}

// DialUDP opens a connected UDP socket of the kernel's on this host; the zero
// local address leaves the choice to the kernel. The caller closes it.
func (h *Host) DialUDP(local, remote netip.AddrPort) (*net.UDPConn, error) {
	var from *net.UDPAddr
	if local.IsValid() {
		from = net.UDPAddrFromAddrPort(local)
	}
	var c *net.UDPConn
	err := h.DoErr(func() (err error) {
		c, err = net.DialUDP("udp4", from, net.UDPAddrFromAddrPort(remote))
		return err
	})
	return c, err
}

// Exec runs a command on this host, waits for it, and returns what it wrote
// to both outputs.
func (h *Host) Exec(name string, args ...string) ([]byte, error) {
	var out []byte
	err := h.DoErr(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	return out, err
}

// DoErr is [Host.Do] for a function that can fail, and fails itself where Do
// would panic: when the namespace cannot be entered.
func (h *Host) DoErr(f func() error) error {
	var err error
	if enter := h.do(func() { err = f() }); enter != nil {
		return enter
	}
	return err
}

// Do runs f on a thread that is inside the host's namespace, and returns when
// f has. A panic in f, and a Goexit as t.FailNow makes it, goes on in the
// caller. Do panics when the namespace cannot be entered, which happens only
// after the wire has been closed.
func (h *Host) Do(f func()) {
	if err := h.do(f); err != nil {
		panic(err)
	}
}
