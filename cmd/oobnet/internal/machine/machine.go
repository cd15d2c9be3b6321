// Package machine describes what a measurement ran on: a figure without it
// means nothing.
package machine

import (
	"runtime"
	"runtime/debug"

	"github.com/oobnet/oobnet/internal/sysinfo"
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
	info := sysinfo.Read(root)
	m.Kernel, m.CPU, m.Hypervisor, m.MemoryMiB = info.Kernel, info.CPU, info.Hypervisor, info.MemoryMiB
	m.Governor, m.IdleDriver, m.Isolated, m.Mitigations = info.Governor, info.IdleDriver, info.Isolated, info.Mitigations
}
