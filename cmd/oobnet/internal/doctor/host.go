package doctor

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/internal/sysinfo"
	"github.com/oobnet/oobnet/link/vfio"
	"github.com/oobnet/oobnet/rt"
)

// Host is what there is to know of a machine and of this process's rights on it.
// Numbers that the machine does not tell are sysinfo.Unknown.
type Host struct {
	rt.Env
	// XDPSockets is why the kernel made no AF_XDP socket; nil: it did.
	XDPSockets error
	// BTF: the kernel describes its types. JIT: it compiles eBPF, 0 for no.
	BTF bool
	JIT int64
	// Caps are the capabilities of ours that the process has, by name.
	Caps map[string]bool

	// HugeFree are the free huge pages of the default size, HugeKiB.
	HugeFree, HugeKiB int64
	// THP is the mode of transparent huge pages; KSM: pages are merged, if 1.
	THP string
	KSM int64

	// Sleeps are the states that idle CPUs may sleep in, shallow ones first.
	Sleeps []Sleep
	// SMT: threads share cores, if 1.
	SMT int64
	// Balancer: irqbalance runs.
	Balancer bool

	// IOMMU: there is one in use. VFIO: the kernel's driver vfio-pci is there.
	IOMMU, VFIO bool
	// Functions of the PCI bus, and why they could not be read.
	Functions []*pci.Function
	PCI       error
}

// Sleep is a state of idle CPUs.
type Sleep struct {
	Name    string
	Latency int64 // us to wake up
}

// LookAtHost looks at this machine.
func LookAtHost() *Host { return lookAtHost("/") }

// lookAtHost reads the proc and sys files below root, "/" but in tests.
func lookAtHost(root string) *Host {
	h := &Host{
		Env: rt.Environment(), XDPSockets: trySocket(), Caps: capabilities(),
		BTF: exists(root + "sys/kernel/btf/vmlinux"), JIT: sysinfo.Number(root + "proc/sys/net/core/bpf_jit_enable"),
		THP: chosen(sysinfo.Line(root + "sys/kernel/mm/transparent_hugepage/enabled")),
		KSM: sysinfo.Number(root + "sys/kernel/mm/ksm/run"), SMT: sysinfo.Number(root + "sys/devices/system/cpu/smt/active"),
		Sleeps: sleeps(root), Balancer: running(root, "irqbalance"),
		HugeFree: sysinfo.Meminfo(root, "HugePages_Free"), HugeKiB: sysinfo.Meminfo(root, "Hugepagesize"),
		IOMMU: len(entries(root+"sys/class/iommu")) > 0, VFIO: pci.Tree(root + "sys").HasDriver(pci.VFIO),
	}
	h.Functions, h.PCI = pci.Tree(root + "sys").List()
	return h
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func entries(dir string) []os.DirEntry {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil // what is not there has no entries
	}
	return list
}

// chosen is the word in brackets of a file that lists what may be chosen.
func chosen(line string) string {
	_, rest, _ := strings.Cut(line, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// sleeps are the states of CPU 0 that are not switched off.
func sleeps(root string) (list []Sleep) {
	dir := root + "sys/devices/system/cpu/cpu0/cpuidle/"
	for _, e := range entries(dir) {
		state := dir + e.Name() + "/"
		if sysinfo.Number(state+"disable") == 1 {
			continue
		}
		list = append(list, Sleep{sysinfo.Line(state + "name"), sysinfo.Number(state + "latency")})
	}
	slices.SortFunc(list, func(a, b Sleep) int { return int(a.Latency - b.Latency) })
	return list
}

// running says whether there is a process of a name.
func running(root, name string) bool {
	paths, err := filepath.Glob(root + "proc/[0-9]*/comm")
	return err == nil && slices.ContainsFunc(paths, func(p string) bool { return sysinfo.Line(p) == name })
}

// model is ours for a PCI function, nil if none of our drivers knows it.
func model(f *pci.Function) *vfio.Model {
	for _, m := range vfio.Models() {
		if m.Vendor == f.Vendor && m.Device == f.Device {
			return &m
		}
	}
	return nil
}

// linux says whether there is anything to look at.
func (h *Host) linux() bool { return h.OS == "linux" && runtime.GOOS == "linux" }
