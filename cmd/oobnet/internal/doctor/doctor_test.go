package doctor

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/netdev"
	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/rt"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ideal is a machine without a fault.
func ideal() *Host {
	return &Host{
		Env: rt.Env{
			OS: runtime.GOOS, Arch: "amd64", Kernel: "6.12.43-rt-amd64", Preempt: "PREEMPT_RT", Governor: "performance", ClockSource: "tsc",
			Isolated: "2-3", NoHZFull: "2-3", RTRuntime: -1, RTPeriod: time.Second, MaxPriority: 99, MaxLocked: rt.Unlimited, CPUs: 4,
		},
		BTF: true, JIT: 1, Caps: map[string]bool{"CAP_NET_ADMIN": true, "CAP_NET_RAW": true, "CAP_BPF": true},
		HugeFree: 64, HugeKiB: 2048, THP: "madvise", Sleeps: []Sleep{{"POLL", 0}, {"C1", 2}}, IOMMU: true, VFIO: true,
		Functions: []*pci.Function{
			{Addr: "0000:00:1c.0", Class: 0x060400, Group: "7", Members: []string{"0000:00:1c.0", "0000:02:00.0"}},
			{Addr: "0000:02:00.0", Vendor: 0x8086, Device: 0x10c9, Class: 0x020000, Driver: "igb", Group: "7", Members: []string{"0000:00:1c.0", "0000:02:00.0"}},
			{Addr: "0000:03:00.0", Vendor: 0x1af4, Device: 0x1041, Class: 0x020000, Driver: "virtio-pci"},
		},
	}
}

// idealCard is an interface without a fault.
func idealCard() *Card {
	return &Card{
		Name: "eth1", Driver: "igc", Bus: "0000:04:00.0", MTU: 1500, Up: true, Carrier: true, Queues: 1, MaxQueues: 4,
		XDP: netdev.Info{
			XDP:        netdev.XDPBasic | netdev.XDPRedirect | netdev.XDPTransmit | netdev.XDPZeroCopy,
			RXMetadata: netdev.RXTimestamp | netdev.RXHash, XSK: netdev.XSKTXTimestamp | netdev.XSKLaunchTime,
		},
		Rings: Rings{256, 4096, 256, 4096}, Features: map[string]bool{"rx-gro": true},
		Interrupts: []Interrupt{{124, "0"}, {125, "2"}},
	}
}

// needLinux skips what is judged on Linux alone.
func needLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("there is nothing to judge but Linux")
	}
}

func TestIdeal(t *testing.T) {
	needLinux(t)
	h := ideal()
	for _, f := range append(h.Judge(), idealCard().Judge(h)...) {
		if f.Level != OK || f.Why != "" || f.Mend != "" || f.Found == "" {
			t.Errorf("%+v", f)
		}
	}
}

// TestModeOfPreemption: a PREEMPT_RT kernel is one in each of its modes.
func TestModeOfPreemption(t *testing.T) {
	needLinux(t)
	h := ideal()
	h.Preempt = "PREEMPT_RT (lazy)"
	if found := only(h.Judge()); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
}

// only returns the findings that are not OK.
func only(findings []Finding) (list []Finding) {
	for _, f := range findings {
		if f.Level != OK {
			list = append(list, f)
		}
	}
	return list
}

// TestHostFaults has one fault at a time, and sees that it is the one found.
func TestHostFaults(t *testing.T) {
	needLinux(t)
	for _, c := range []struct {
		name  string
		level Level
		mend  string
		fault func(*Host)
	}{
		{"release", Bad, "kernel", func(h *Host) { h.Kernel = "5.10.0" }},
		{"release", Bad, "kernel", func(h *Host) { h.Kernel = "4.19" }},
		{"AF_XDP sockets", Bad, "CAP_NET_RAW", func(h *Host) { h.XDPSockets = syscall.EPERM }},
		{"BTF", Warn, "BTF", func(h *Host) { h.BTF = false }},
		{"eBPF compiler", Warn, "bpf_jit_enable=1", func(h *Host) { h.JIT = 0 }},
		{"preemption", Warn, "linux-image-rt-amd64", func(h *Host) { h.Preempt = "PREEMPT_DYNAMIC" }},
		{"clock source", Warn, "clocksource=tsc", func(h *Host) { h.ClockSource = "hpet" }},
		{"CAP_NET_ADMIN", Bad, "setcap", func(h *Host) { h.Caps["CAP_NET_ADMIN"] = false }},
		{"CAP_NET_RAW", Bad, "setcap", func(h *Host) { h.Caps["CAP_NET_RAW"] = false }},
		{"CAP_BPF", Bad, "setcap", func(h *Host) { h.Caps["CAP_BPF"] = false }},
		{"real-time priority", Warn, "ulimit -r", func(h *Host) { h.MaxPriority = 0 }},
		{"locked memory", Warn, "ulimit -l", func(h *Host) { h.MaxLocked = 8 << 20 }},
		{"huge pages", Warn, "nr_hugepages=12", func(h *Host) { h.HugeFree = 0 }},
		{"huge pages", Warn, "nr_hugepages", func(h *Host) { h.HugeFree, h.HugeKiB = -2, -2 }},
		{"transparent huge pages", Warn, "madvise", func(h *Host) { h.THP = "never" }},
		{"same-page merging", Warn, "ksm/run", func(h *Host) { h.KSM = 1 }},
		{"number", Warn, "two CPUs", func(h *Host) { h.CPUs = 1 }},
		{"machine", Warn, "vcpupin", func(h *Host) { h.Virtual = true }},
		{"isolated", Warn, "isolcpus", func(h *Host) { h.Isolated = "" }},
		{"without a tick", Warn, "nohz_full", func(h *Host) { h.NoHZFull = "" }},
		{"governor", Warn, "frequency-set", func(h *Host) { h.Governor = "powersave" }},
		{"deepest sleep", Warn, "idle-set -D 10", func(h *Host) { h.Sleeps = append(h.Sleeps, Sleep{"C6", 133}) }},
		{"threads share cores", Warn, "smt/control", func(h *Host) { h.SMT = 1 }},
		{"real-time share", Warn, "sched_rt_runtime_us", func(h *Host) { h.RTRuntime = 950 * time.Millisecond }},
		{"irqbalance", Warn, "smp_affinity", func(h *Host) { h.Balancer = true }},
		{"PCI", Warn, "/sys/bus/pci/devices", func(h *Host) { h.PCI = errors.New("no sysfs") }},
		{"IOMMU", Warn, "intel_iommu=on", func(h *Host) { h.IOMMU = false }},
		{"vfio-pci", Warn, "modprobe", func(h *Host) { h.VFIO = false }},
		{"82576 0000:02:00.0", Warn, "IOMMU", func(h *Host) { h.Functions[1].Group = "" }},
		{"82576 0000:02:00.0", Warn, "oobnet bind 0000:02:00.0", func(h *Host) {
			h.Functions[1].Members = append(h.Functions[1].Members, "0000:03:00.0")
		}},
	} {
		h := ideal()
		c.fault(h)
		found := only(h.Judge())
		if len(found) != 1 || found[0].Name != c.name || found[0].Level != c.level || found[0].Why == "" || found[0].Mend == "" || !strings.Contains(found[0].Mend, c.mend) {
			t.Errorf("%s: found %+v", c.name, found)
		}
	}
}

func TestOtherSystems(t *testing.T) {
	h := ideal()
	h.OS = "plan9"
	if found := h.Judge(); len(found) != 1 || found[0].Level != Bad || found[0].Found != "plan9/amd64" || found[0].Why == "" || found[0].Mend == "" {
		t.Errorf("found %+v", found)
	}
}

func TestCardFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		level Level
		mend  string
		fault func(*Card)
	}{
		{"state", Bad, "ip link set eth1 up", func(c *Card) { c.Up, c.Carrier = false, false }},
		{"carrier", Warn, "cable", func(c *Card) { c.Carrier = false }},
		{"XDP program", Bad, "ip link set eth1 xdp off", func(c *Card) { c.Program = 12 }},
		{"XDP", Warn, "6.3", func(c *Card) { c.XDPError = fmt.Errorf("netdev: %w", errors.ErrUnsupported) }},
		{"XDP", Warn, "oobnet doctor -i eth1", func(c *Card) { c.XDPError = syscall.EIO }},
		{"XDP in the driver", Warn, "another NIC", func(c *Card) { c.XDP.XDP &^= netdev.XDPRedirect }},
		{"zero copy", Warn, "another NIC", func(c *Card) { c.XDP.XDP &^= netdev.XDPZeroCopy }},
		{"MTU", Bad, "mtu 3498", func(c *Card) { c.MTU = 9000 }},
		{"MTU", Warn, "mtu 3498", func(c *Card) { c.MTU = 3800 }},
		{"rx-lro", Warn, "ethtool -K eth1 lro off", func(c *Card) { c.Features["rx-lro"] = true }},
		{"rx-gro-hw", Warn, "ethtool -K eth1 rx-gro-hw off", func(c *Card) { c.Features["rx-gro-hw"] = true }},
		{"queues", Warn, "ethtool -L eth1 combined 1", func(c *Card) { c.Queues = 4 }},
		{"rings", Warn, "ethtool -g eth1", func(c *Card) { c.RingsError = syscall.EIO }},
		{"coalescing", Warn, "rx-usecs 0", func(c *Card) { c.Coalescing.RX = 50 }},
		{"coalescing", Warn, "adaptive-rx off", func(c *Card) { c.Coalescing.Adaptive = true }},
		{"coalescing", Warn, "ethtool -c eth1", func(c *Card) { c.CoalescingError = syscall.EIO }},
		{"interrupts on CPUs", Warn, "/proc/irq/124/", func(c *Card) { c.Interrupts[1].CPUs = "0-1" }},
	} {
		card := idealCard()
		c.fault(card)
		found := only(card.Judge(ideal()))
		if len(found) != 1 || found[0].Name != c.name || found[0].Level != c.level || found[0].Why == "" || found[0].Mend == "" || !strings.Contains(found[0].Mend, c.mend) {
			t.Errorf("%s: found %+v", c.name, found)
		}
	}
	// What a driver does not have at all is no finding.
	card := idealCard()
	card.RingsError, card.CoalescingError, card.Interrupts = syscall.EOPNOTSUPP, syscall.EOPNOTSUPP, nil
	if found := only(card.Judge(ideal())); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
}

func TestOldKernelNeedsNoWakeup(t *testing.T) {
	h := ideal()
	h.Kernel = "5.3.0"
	if found := only(idealCard().Judge(h)); len(found) != 1 || found[0].Name != "need_wakeup" {
		t.Errorf("found %+v", found)
	}
}

func TestCPULists(t *testing.T) {
	for in, want := range map[string]string{"": "[]", "3": "[3]", "1-3,7": "[1 2 3 7]", "x,2": "[2]", "5-3": "[]"} {
		if got := fmt.Sprint(cpus(in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if n := len(cpus("0-1000000000")); n != maxCPUs {
		t.Errorf("%d CPUs of a list without end", n)
	}
}

// TestWrite compares with a golden file, and sees that colour moves no column.
func TestWrite(t *testing.T) {
	findings := []Finding{
		{"kernel", "release", OK, "6.12", "", ""},
		{"kernel", "eBPF compiler", Warn, "off", "filters are interpreted", "sysctl -w net.core.bpf_jit_enable=1"},
		{"eth1", "state", Bad, "down", "nothing is sent or received", "ip link set eth1 up"},
		{"eth1", "rings", Warn, "EIO", "not to be seen", "ethtool -g eth1"},
	}
	var plain, colour bytes.Buffer
	if err := errors.Join(Write(&plain, findings, false), Write(&colour, findings, true)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "report.txt")
	if *update {
		if err := os.WriteFile(path, plain.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if plain.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", &plain, want)
	}
	bare := colour.String()
	for _, c := range colours {
		bare = strings.ReplaceAll(bare, c, "")
	}
	bare = strings.ReplaceAll(bare, "\x1b[0m", "")
	for i, line := range strings.Split(bare, "\n") {
		if got, want := strings.Fields(line), strings.Fields(strings.Split(plain.String(), "\n")[i]); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("line %d with colour: %q, want %q", i, got, want)
		}
	}
}
