// Package machine describes what a measurement ran on: a figure without it
// means nothing.
package machine

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Machine is recorded with each result. Fields that the platform does not tell
// are empty.
type Machine struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	Kernel      string `json:"kernel,omitempty"`
	CPU         string `json:"cpu,omitempty"`
	CPUs        int    `json:"cpus"`
	Hypervisor  string `json:"hypervisor,omitempty"`
	Governor    string `json:"governor,omitempty"`
	IdleDriver  string `json:"idle_driver,omitempty"`
	Isolated    string `json:"isolated_cpus,omitempty"`
	Mitigations string `json:"kernel_cmdline_mitigations,omitempty"`
	MemoryMiB   int    `json:"memory_mib,omitempty"`
	Go          string `json:"go"`
	GOMAXPROCS  int    `json:"gomaxprocs"`
	Revision    string `json:"revision,omitempty"`
	Modified    bool   `json:"modified,omitempty"`
}

// Describe looks at this machine and this binary.
func Describe() Machine {
	m := Machine{
		OS:         runtime.GOOS,
		Arch:       runtime.GOARCH,
		CPUs:       runtime.NumCPU(),
		Go:         runtime.Version(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				m.Revision = s.Value
			case "vcs.modified":
				m.Modified = s.Value == "true"
			}
		}
	}
	m.fromLinux("/")
	return m
}

// fromLinux reads the proc and sys files below root; where there are none it
// leaves the fields empty.
func (m *Machine) fromLinux(root string) {
	m.Kernel = line(root + "proc/sys/kernel/osrelease")
	cpuinfo := text(root + "proc/cpuinfo")
	m.CPU = field(cpuinfo, "model name")
	if strings.Contains(field(cpuinfo, "flags")+" ", " hypervisor ") {
		m.Hypervisor = "yes"
	}
	m.Governor = line(root + "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
	m.IdleDriver = line(root + "sys/devices/system/cpu/cpuidle/current_driver")
	m.Isolated = line(root + "sys/devices/system/cpu/isolated")
	for _, arg := range strings.Fields(text(root + "proc/cmdline")) {
		if v, ok := strings.CutPrefix(arg, "mitigations="); ok {
			m.Mitigations = v
		}
	}
	m.MemoryMiB = kibibytes(field(text(root+"proc/meminfo"), "MemTotal")) / 1024
}

func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

func line(path string) string { return strings.TrimSpace(text(path)) }

// field returns the value of the first "name : value" line.
func field(text, name string) string {
	for l := range strings.Lines(text) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func kibibytes(s string) int {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
