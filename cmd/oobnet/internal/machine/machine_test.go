package machine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFromLinuxFiles(t *testing.T) {
	root := t.TempDir() + "/"
	for name, content := range map[string]string{
		"proc/sys/kernel/osrelease": "6.18.1\n",
		"proc/cpuinfo":              "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu hypervisor sse\n\nprocessor\t: 1\nmodel name\t: Other\n",
		"proc/meminfo":              "MemTotal:       2097152 kB\nMemFree: 1 kB\n",
		"proc/cmdline":              "quiet mitigations=off isolcpus=1\n",
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
		"sys/devices/system/cpu/isolated":                      "1\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var m Machine
	m.fromLinux(root)
	want := Machine{Kernel: "6.18.1", CPU: "Some CPU", Hypervisor: "yes", MemoryMiB: 2048, Mitigations: "off", Governor: "performance", Isolated: "1"}
	if m != want {
		t.Errorf("got %+v\nwant %+v", m, want)
	}
}

func TestNoLinuxFiles(t *testing.T) {
	var m Machine
	m.fromLinux(t.TempDir() + "/")
	if m != (Machine{}) {
		t.Errorf("got %+v from an empty tree", m)
	}
}

func TestDescribe(t *testing.T) {
	if m := Describe(); m.Go == "" || m.CPUs < 1 || m.OS == "" {
		t.Errorf("%+v", m)
	}
}
