package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/rt"
)

const (
	// oldestKernel has all of AF_XDP that link/afxdp uses.
	oldestKernel = "5.15"
	// wantedLocked is a device with eight queues in the default sizes, bytes: a
	// queue has 1024 buffers of a page, the TX pool 2048.
	wantedLocked = (8*1024 + 2048) * 4096
	// wantedHuge is the memory of one queue and a pool, bytes.
	wantedHuge = (1024 + 2048) * 4096
	// deepSleep is a latency of idle CPUs, us, that a cycle of 1 ms notices.
	deepSleep = 10
	// evlPriority is what EVL's network threads have in SCHED_FIFO.
	evlPriority = 50
	// onKernelLine says where kernel options go.
	onKernelLine = " on the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub, update-grub, reboot)"
)

// Judge says what is good and what is not.
func (h *Host) Judge() []Finding {
	if !h.linux() {
		l := list{area: "kernel"}
		l.judge(false, Bad, "system", h.OS+"/"+h.Arch, "AF_XDP and VFIO need Linux; links in memory work here", "run it on Linux "+oldestKernel+" or later")
		return l.findings
	}
	return slices.Concat(h.kernel(), h.rights(), h.memory(), h.processors(), h.ioMMU())
}

func (h *Host) kernel() []Finding {
	l := list{area: "kernel"}
	l.judge(!older(h.Kernel, oldestKernel), Bad, "release", h.Kernel, "AF_XDP links need "+oldestKernel+" or later", "install a later kernel")
	found := "yes"
	if h.XDPSockets != nil {
		found = h.XDPSockets.Error()
	}
	l.judge(h.XDPSockets == nil, Bad, "AF_XDP sockets", found, "no AF_XDP link without them", "run as root, or with CAP_NET_RAW; a kernel of your own needs CONFIG_XDP_SOCKETS=y")
	l.judge(h.BTF, Warn, "BTF", yes(h.BTF), "eBPF objects that relocate themselves (CO-RE) do not load, and hardware metadata is out of reach", "use a kernel with CONFIG_DEBUG_INFO_BTF=y")
	l.judge(h.JIT != 0, Warn, "eBPF compiler", map[bool]string{true: "on", false: "off"}[h.JIT != 0], "filters are interpreted", "sysctl -w net.core.bpf_jit_enable=1")
	l.judge(h.RealTime(), Warn, "preemption", or(h.Preempt, "not told"), "the kernel itself may keep a thread waiting for milliseconds", "apt install linux-image-rt-"+h.Arch)
	good := !strings.Contains("hpet acpi_pm refined-jiffies jiffies", or(h.ClockSource, "none"))
	l.judge(good, Warn, "clock source", or(h.ClockSource, "not told"), "each reading of the clock is a system call", "clocksource=tsc"+onKernelLine)
	return l.findings
}

func (h *Host) rights() []Finding {
	l := list{area: "rights"}
	for _, c := range []struct{ name, why string }{
		{"CAP_NET_ADMIN", "AF_XDP programs cannot be attached"},
		{"CAP_NET_RAW", "AF_XDP sockets cannot be made"},
		{"CAP_BPF", "filters and AF_XDP programs cannot be loaded"},
	} {
		l.judge(h.Caps[c.name], Bad, c.name, yes(h.Caps[c.name]), c.why,
			"sudo setcap cap_net_admin,cap_net_raw,cap_bpf,cap_sys_nice,cap_ipc_lock+ep PROGRAM, or run as root")
	}
	l.judge(h.MaxPriority >= evlPriority, Warn, "real-time priority", "up to "+strconv.Itoa(h.MaxPriority),
		"threads have no say against other programs: SCHED_FIFO "+strconv.Itoa(evlPriority)+" is refused", "sudo setcap cap_sys_nice+ep PROGRAM, or: ulimit -r 99")
	l.judge(h.MaxLocked >= wantedLocked, Warn, "locked memory", size(h.MaxLocked),
		fmt.Sprintf("a link's region may be refused: one of 8 queues takes %s", size(wantedLocked)), "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit")
	return l.findings
}

func (h *Host) memory() []Finding {
	l := list{area: "memory"}
	kib := max(h.HugeKiB, 4)
	l.judge(h.HugeFree*kib<<10 >= wantedHuge, Warn, "huge pages", fmt.Sprintf("%d of %s free", max(h.HugeFree, 0), size(kib<<10)),
		"regions are made of small pages: more misses of the TLB, here and in an IOMMU", fmt.Sprintf("sysctl -w vm.nr_hugepages=%d", (2*wantedHuge>>10+kib-1)/kib))
	l.judge(h.THP != "never", Warn, "transparent huge pages", or(h.THP, "not told"),
		"a region without huge pages of its own gets small ones", "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
	l.judge(h.KSM != 1, Warn, "same-page merging", map[bool]string{true: "runs", false: "off"}[h.KSM == 1],
		"a page that was merged is copied when it is written next", "echo 2 > /sys/kernel/mm/ksm/run")
	return l.findings
}

func (h *Host) processors() []Finding {
	l := list{area: "CPUs"}
	l.judge(h.CPUs > 1, Warn, "number", strconv.Itoa(h.CPUs), "a thread that polls leaves nothing for the others", "give it two CPUs or more")
	l.judge(!h.Virtual, Warn, "machine", map[bool]string{true: "virtual", false: "real"}[h.Virtual],
		"its host may take a CPU away at any time", "run it on a machine of its own, or pin its CPUs on the host: virsh vcpupin")
	l.judge(h.Isolated != "", Warn, "isolated", or(h.Isolated, "none"), "other programs run on the CPUs of RX and TX threads", "isolcpus=managed_irq,domain,N"+onKernelLine)
	l.judge(h.NoHZFull != "", Warn, "without a tick", or(h.NoHZFull, "none"), "a tick interrupts each CPU 100 to 1000 times a second", "nohz_full=N rcu_nocbs=N"+onKernelLine)
	l.judge(h.Governor == "performance" || h.Governor == "", Warn, "governor", or(h.Governor, "none to be seen"),
		"a CPU is slow when the first packet comes after a pause", "cpupower frequency-set -g performance")
	deepest := Sleep{Name: "none to be seen"}
	if n := len(h.Sleeps); n > 0 {
		deepest = h.Sleeps[n-1]
	}
	l.judge(deepest.Latency <= deepSleep, Warn, "deepest sleep", fmt.Sprintf("%s, %d us", deepest.Name, deepest.Latency),
		"who sleeps wakes up late", fmt.Sprintf("cpupower idle-set -D %d, or hold /dev/cpu_dma_latency open", deepSleep))
	l.judge(h.SMT != 1, Warn, "threads share cores", map[bool]string{true: "yes", false: "no"}[h.SMT == 1],
		"a neighbour on the same core takes half of it, and of its caches", "echo off > /sys/devices/system/cpu/smt/control")
	l.judge(h.RTPeriod == 0 || h.RTRuntime < 0, Warn, "real-time share", h.share(),
		"a thread with a priority that polls stands still for the rest", "sysctl -w kernel.sched_rt_runtime_us=-1")
	l.judge(!h.Balancer, Warn, "irqbalance", map[bool]string{true: "runs", false: "does not run"}[h.Balancer],
		"interrupts move to CPUs of RX threads", "systemctl disable --now irqbalance, then write to /proc/irq/N/smp_affinity_list")
	return l.findings
}

func (h *Host) share() string {
	switch {
	case h.RTPeriod == 0:
		return "not told"
	case h.RTRuntime < 0:
		return "all"
	}
	return fmt.Sprintf("%v of %v", h.RTRuntime, h.RTPeriod)
}

// ioMMU is what link/vfio needs. There is nothing bad about a machine without
// it that has no NIC of ours.
func (h *Host) ioMMU() []Finding {
	l := list{area: "VFIO"}
	if h.PCI != nil {
		l.judge(false, Warn, "PCI", h.PCI.Error(), "link/vfio finds no NIC",
			"ls /sys/bus/pci/devices; if there is none: mount -t sysfs sysfs /sys (in a container: have it mounted); some machines have no PCI bus")
	}
	l.judge(h.IOMMU, Warn, "IOMMU", yes(h.IOMMU), "link/vfio does not work without one",
		"VT-d or AMD-Vi in the firmware, intel_iommu=on iommu=pt"+onKernelLine)
	l.judge(h.VFIO, Warn, "vfio-pci", map[bool]string{true: "loaded", false: "not loaded"}[h.VFIO], "no NIC can be given to a process", "modprobe vfio-pci")
	for _, f := range h.Functions {
		if m := model(f); m != nil {
			l.nic(f, m.Name, h.Functions)
		}
	}
	return l.findings
}

// nic judges a NIC that we have a driver for by who is in its group.
func (l *list) nic(f *pci.Function, model string, all []*pci.Function) {
	var others []string
	for _, g := range all {
		if g.Addr != f.Addr && !g.Bridge() && slices.Contains(f.Members, g.Addr) {
			others = append(others, g.Addr)
		}
	}
	name, has := model+" "+f.Addr, "driver "+or(f.Driver, "none")
	switch {
	case f.Group == "":
		l.judge(false, Warn, name, has+", no IOMMU group", "link/vfio cannot have it", "turn the IOMMU on")
	case len(others) > 0:
		l.judge(false, Warn, name, fmt.Sprintf("%s, group %s with %s", has, f.Group, strings.Join(others, ", ")),
			"what shares its group goes to VFIO with it", "another slot, or: oobnet bind "+f.Addr)
	default:
		l.ok(name, fmt.Sprintf("%s, group %s of its own", has, f.Group))
	}
}

// older compares releases by their first two numbers.
func older(release, than string) bool {
	a, b := numbers(release), numbers(than)
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}

func numbers(release string) (n [2]int) {
	for i, s := range strings.SplitN(release, ".", 3) {
		if i == len(n) {
			break
		}
		for _, c := range s {
			if c < '0' || c > '9' {
				break
			}
			n[i] = n[i]*10 + int(c-'0')
		}
	}
	return n
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n == rt.Unlimited:
		return "unlimited"
	case n < 0:
		return "not told"
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
