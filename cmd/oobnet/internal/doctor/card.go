package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oobnet/oobnet/internal/netdev"
)

const (
	// maxMTU is what a frame and its headroom leave of a page, bytes; native XDP
	// without segments fits nativeMTU in most drivers: a page less headroom, the
	// kernel's own description of the buffer, and the Ethernet header.
	maxMTU    = 3822
	nativeMTU = 3498
	// longCoalescing is a delay of interrupts, us, that a cycle of 1 ms notices.
	longCoalescing = 10
)

// Card is what there is to know of a network interface. What its driver does not
// tell has an error beside it.
type Card struct {
	Name, Driver, Bus string
	MTU               int
	Up, Carrier       bool
	// Program is the id of the XDP program on it, 0: none.
	Program uint32
	// XDP is what its driver can do for AF_XDP.
	XDP      netdev.Info
	XDPError error
	// Queues that receive, and the most that there can be; 0: not told.
	Queues, MaxQueues int
	Rings             Rings
	RingsError        error
	Coalescing        Coalescing
	CoalescingError   error
	// Features of the driver, by ethtool's names.
	Features map[string]bool
	// Interrupts of the device and the CPUs that they go to.
	Interrupts []Interrupt
}

// Rings are the descriptors of a queue, and the most that there can be.
type Rings struct{ RX, MaxRX, TX, MaxTX uint32 }

// Coalescing is how long the interrupts of received frames wait, us.
type Coalescing struct {
	RX       uint32
	Adaptive bool
}

func (c Coalescing) String() string {
	if c.Adaptive {
		return fmt.Sprintf("receive %d us, adaptive", c.RX)
	}
	return fmt.Sprintf("receive %d us", c.RX)
}

// Interrupt is one of a device's.
type Interrupt struct {
	Number int
	CPUs   string // a list of ranges
}

// hurting are features that merge or change frames before a program sees them.
var hurting = []struct{ feature, flag, why string }{
	{"rx-lro", "lro", "frames are merged; drivers refuse XDP with it"},
	{"rx-gro-hw", "rx-gro-hw", "frames are merged by the hardware; most drivers refuse XDP with it"},
}

// Judge says what is good and what is not on a host.
func (c *Card) Judge(h *Host) []Finding {
	l := list{area: c.Name}
	l.ok("driver", or(c.Driver, "not told")+where(c.Bus))
	l.judge(c.Up, Bad, "state", map[bool]string{true: "up", false: "down"}[c.Up], "nothing is sent or received", "ip link set "+c.Name+" up")
	if c.Up {
		l.judge(c.Carrier, Warn, "carrier", yes(c.Carrier), "there is nobody at the other end", "plug in the cable, or bring up what is at its other end")
	}
	c.judgeXDP(&l, h.Kernel)
	c.judgeFrames(&l)
	c.judgeQueues(&l)
	c.judgeInterrupts(&l, h.Isolated)
	return l.findings
}

func where(bus string) string {
	if bus == "" {
		return ""
	}
	return " at " + bus
}

func (c *Card) judgeXDP(l *list, kernel string) {
	if c.Program != 0 {
		l.judge(false, Bad, "XDP program", fmt.Sprintf("id %d", c.Program), "another program has the interface; ours cannot be attached beside it",
			"bpftool prog show id "+fmt.Sprint(c.Program)+", then end its owner, or: ip link set "+c.Name+" xdp off")
	} else {
		l.ok("XDP program", "none")
	}
	wakeup := !older(kernel, "5.4")
	l.judge(wakeup, Warn, "need_wakeup", yes(wakeup), "each batch costs a system call, wanted or not", "install a later kernel")
	switch {
	case errors.Is(c.XDPError, errors.ErrUnsupported):
		l.judge(false, Warn, "XDP", "not told", "what the driver can do is seen when a link is opened", "install a kernel of 6.3 or later, which tells")
		return
	case c.XDPError != nil:
		l.judge(false, Warn, "XDP", c.XDPError.Error(), "what the driver can do is seen when a link is opened",
			"strace -f -e trace=network oobnet doctor -i "+c.Name+", which shows the call that failed: a sandbox may forbid it")
		return
	}
	can := c.XDP.XDP
	native := can&netdev.XDPBasic != 0 && can&netdev.XDPRedirect != 0
	l.judge(native, Warn, "XDP in the driver", yes(native), "AF_XDP works in the generic mode: the kernel makes its own buffer of each frame first", "another NIC or driver: igb, ixgbe, i40e, ice, igc, mlx5 have it")
	zero := can&netdev.XDPZeroCopy != 0
	l.judge(zero, Warn, "zero copy", yes(zero), "each frame is copied once", "another NIC or driver: ixgbe, i40e, ice, igc, mlx5 have it")
	l.ok("receive metadata", c.XDP.RXMetadata.String())
	l.ok("transmit metadata", c.XDP.XSK.String())
}

func (c *Card) judgeFrames(l *list) {
	mtu := fmt.Sprint(c.MTU)
	switch mend := fmt.Sprintf("ip link set %s mtu %d", c.Name, nativeMTU); {
	case c.MTU > maxMTU:
		l.judge(false, Bad, "MTU", mtu, fmt.Sprintf("a frame has to fit a page: %d at most", maxMTU), mend)
	case c.MTU > nativeMTU:
		l.judge(false, Warn, "MTU", mtu, "most drivers refuse native XDP with it", mend)
	default:
		l.ok("MTU", mtu)
	}
	for _, h := range hurting {
		if c.Features[h.feature] {
			l.judge(false, Warn, h.feature, "on", h.why, fmt.Sprintf("ethtool -K %s %s off", c.Name, h.flag))
		}
	}
}

func (c *Card) judgeQueues(l *list) {
	if c.Queues > 0 {
		l.judge(c.Queues == 1, Warn, "queues", fmt.Sprintf("%d of %d", c.Queues, max(c.Queues, c.MaxQueues)),
			"a link has a thread for each, and memory; frames to a queue without a link stay the kernel's", fmt.Sprintf("ethtool -L %s combined 1", c.Name))
	}
	switch {
	case c.RingsError == nil:
		l.ok("rings", fmt.Sprintf("receive %d of %d, send %d of %d", c.Rings.RX, c.Rings.MaxRX, c.Rings.TX, c.Rings.MaxTX))
	case !errors.Is(c.RingsError, errors.ErrUnsupported):
		l.judge(false, Warn, "rings", c.RingsError.Error(), "not to be seen", "ethtool -g "+c.Name+" asks the same; dmesg has what the driver says of it")
	}
	switch co := c.Coalescing; {
	case c.CoalescingError == nil:
		l.judge(co.RX <= longCoalescing && !co.Adaptive, Warn, "coalescing", co.String(),
			"the first frame after a pause waits so long for its interrupt", fmt.Sprintf("ethtool -C %s adaptive-rx off rx-usecs 0", c.Name))
	case !errors.Is(c.CoalescingError, errors.ErrUnsupported):
		l.judge(false, Warn, "coalescing", c.CoalescingError.Error(), "not to be seen", "ethtool -c "+c.Name+" asks the same; dmesg has what the driver says of it")
	}
}

func (c *Card) judgeInterrupts(l *list, isolated string) {
	if len(c.Interrupts) == 0 {
		return
	}
	var list, on []string
	free := cpus(isolated)
	for _, i := range c.Interrupts {
		list = append(list, fmt.Sprintf("%d: %s", i.Number, i.CPUs))
		if slices.ContainsFunc(cpus(i.CPUs), func(n int) bool { return slices.Contains(free, n) }) {
			on = append(on, fmt.Sprint(i.Number))
		}
	}
	// An interrupt on an isolated CPU is right for the queue whose thread is there.
	name, found := "interrupts on CPUs", strings.Join(list, ", ")
	if len(free) > 0 && len(on) == 0 {
		l.judge(false, Warn, name, found, "none goes to an isolated CPU: each frame crosses from one CPU to another",
			fmt.Sprintf("echo N > /proc/irq/%d/smp_affinity_list, N the CPU of the queue's RX thread", c.Interrupts[0].Number))
		return
	}
	l.ok(name, found)
}

// cpus reads a list of ranges: "1-2,5".
func cpus(ranges string) (list []int) {
	for _, r := range strings.Split(ranges, ",") {
		var first, last int
		switch n, _ := fmt.Sscanf(r, "%d-%d", &first, &last); n { // what is no number is left out
		case 1:
			list = append(list, first)
		case 2:
			for i := first; i <= last && len(list) < maxCPUs; i++ {
				list = append(list, i)
			}
		}
	}
	return list
}

// maxCPUs bounds a list: the most that Linux can have.
const maxCPUs = 8192
