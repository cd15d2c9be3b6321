// Package sysinfo reads what the system tells about itself in files: the parts
// of the machine and of the kernel that a measurement, or a real-time thread,
// depends on.
package sysinfo

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Info holds what Linux tells. Fields that a system does not tell are empty, or
// Unknown.
type Info struct {
	Kernel      string // release
	Preempt     string // PREEMPT_RT, PREEMPT_DYNAMIC, PREEMPT; with the mode in brackets where the kernel shows it
	CPU         string // model
	Hypervisor  string // "yes" in a virtual machine
	Governor    string // of all CPUs, with commas if they differ
	IdleDriver  string
	Isolated    string // CPUs of isolcpus=, as a list of ranges
	NoHZFull    string // CPUs of nohz_full=, the same
	Clock       string // clock source
	Mitigations string // of the kernel's command line
	MemoryMiB   int    // of the machine
	// RTRuntime of each RTPeriod, us, may go to real-time threads; -1: all.
	RTRuntime, RTPeriod int64
}

// Unknown stands for a number that the system does not tell.
const Unknown = -2

// Read reads the proc and sys files below root, "/" but in tests.
func Read(root string) Info {
	cpuinfo := text(root + "proc/cpuinfo")
	info := Info{
		Kernel:     Line(root + "proc/sys/kernel/osrelease"),
		Preempt:    preempt(root),
		CPU:        field(cpuinfo, "model name"),
		Governor:   governors(root),
		IdleDriver: Line(root + "sys/devices/system/cpu/cpuidle/current_driver"),
		Isolated:   Line(root + "sys/devices/system/cpu/isolated"),
		NoHZFull:   Line(root + "sys/devices/system/cpu/nohz_full"),
		Clock:      Line(root + "sys/devices/system/clocksource/clocksource0/current_clocksource"),
		MemoryMiB:  int(kibibytes(field(text(root+"proc/meminfo"), "MemTotal")) / 1024),
		RTRuntime:  Number(root + "proc/sys/kernel/sched_rt_runtime_us"),
		RTPeriod:   Number(root + "proc/sys/kernel/sched_rt_period_us"),
	}
	if slices.Contains(strings.Fields(field(cpuinfo, "flags")), "hypervisor") {
		info.Hypervisor = "yes"
	}
	if info.NoHZFull == "(null)" {
		info.NoHZFull = "" // what kernels print for none
	}
	for _, arg := range strings.Fields(text(root + "proc/cmdline")) {
		if v, ok := strings.CutPrefix(arg, "mitigations="); ok {
			info.Mitigations = v
		}
	}
	return info
}

// preempt is the model that the kernel was built for, from its version line;
// with PREEMPT_DYNAMIC the mode is chosen at boot and shown to root alone.
func preempt(root string) string {
	version := strings.Fields(Line(root + "proc/sys/kernel/version"))
	for _, model := range []string{"PREEMPT_RT", "PREEMPT_DYNAMIC", "PREEMPT"} {
		if !slices.Contains(version, model) {
			continue
		}
		if _, mode, ok := strings.Cut(Line(root+"sys/kernel/debug/sched/preempt"), "("); ok {
			mode, _, _ = strings.Cut(mode, ")")
			return model + " (" + mode + ")"
		}
		return model
	}
	if len(version) > 0 {
		return "none"
	}
	return ""
}

func governors(root string) string {
	paths, err := filepath.Glob(root + "sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
	if err != nil {
		return ""
	}
	var names []string
	for _, p := range paths {
		names = append(names, Line(p))
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// Available is the memory that this process can still get, bytes: what the
// machine has left, or what its control group leaves it. Unknown where the
// system does not tell.
func Available(root string) int64 {
	left := kibibytes(field(text(root+"proc/meminfo"), "MemAvailable")) << 10
	if left == 0 {
		left = Unknown
	}
	for l := range strings.Lines(text(root + "proc/self/cgroup")) {
		_, rest, _ := strings.Cut(l, ":")
		controllers, path, _ := strings.Cut(strings.TrimSpace(rest), ":")
		top, limit, used := root+"sys/fs/cgroup", "memory.max", "memory.current"
		switch {
		case slices.Contains(strings.Split(controllers, ","), "memory"): // version 1
			top, limit, used = top+"/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
		case controllers != "":
			continue
		}
		// A group is limited by all above it, too.
		for dir := filepath.Clean("/" + path); ; dir = filepath.Dir(dir) {
			group := filepath.Join(top, dir)
			if l, u := Number(filepath.Join(group, limit)), Number(filepath.Join(group, used)); l >= 0 && u >= 0 && (left < 0 || max(l-u, 0) < left) {
				left = max(l-u, 0)
			}
			if dir == "/" {
				break
			}
		}
	}
	return left
}

// Locked is the memory that this process has locked, bytes; Unknown where the
// system does not tell.
func Locked(root string) int64 {
	v := field(text(root+"proc/self/status"), "VmLck")
	if v == "" {
		return Unknown
	}
	return kibibytes(v) << 10
}

// Meminfo is a line of /proc/meminfo: KiB, or a number of pages.
func Meminfo(root, name string) int64 {
	digits, _, _ := strings.Cut(field(text(root+"proc/meminfo"), name), " ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return Unknown
	}
	return n
}

func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// Line is what a file holds, without the space around it; empty if it cannot be read.
func Line(path string) string { return strings.TrimSpace(text(path)) }

// Number is the file's number, Unknown if it is not there or is none ("max").
func Number(path string) int64 {
	n, err := strconv.ParseInt(Line(path), 10, 64)
	if err != nil {
		return Unknown
	}
	return n
}

// field returns the value of the first "name : value" line.
func field(text, name string) string {
	for l := range strings.Lines(text) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// kibibytes reads "123 kB", 0 if it is not that.
func kibibytes(s string) int64 {
	digits, _, _ := strings.Cut(s, " ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
