package sysinfo

import (
	"os"
	"path/filepath"
	"testing"
)

// tree writes files below a folder of their own, and returns it as a root.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir() + "/"
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRead(t *testing.T) {
	got := Read(tree(t, map[string]string{
		"proc/sys/kernel/osrelease":                                       "6.18.1\n",
		"proc/sys/kernel/version":                                         "#1 SMP PREEMPT_DYNAMIC Mon Jan 1 00:00:00 UTC 2026\n",
		"sys/kernel/debug/sched/preempt":                                  "none voluntary (full) lazy\n",
		"proc/cpuinfo":                                                    "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu hypervisor sse\n\nprocessor\t: 1\nmodel name\t: Other\n",
		"proc/meminfo":                                                    "MemTotal:       2097152 kB\nMemFree: 1 kB\n",
		"proc/cmdline":                                                    "quiet mitigations=off isolcpus=1\n",
		"proc/sys/kernel/sched_rt_runtime_us":                             "-1\n",
		"proc/sys/kernel/sched_rt_period_us":                              "1000000\n",
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor":            "performance\n",
		"sys/devices/system/cpu/cpu1/cpufreq/scaling_governor":            "performance\n",
		"sys/devices/system/cpu/cpu2/cpufreq/scaling_governor":            "ondemand\n",
		"sys/devices/system/cpu/cpuidle/current_driver":                   "haltpoll\n",
		"sys/devices/system/cpu/isolated":                                 "1-2\n",
		"sys/devices/system/cpu/nohz_full":                                "(null)\n",
		"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
	}))
	want := Info{
		Kernel: "6.18.1", Preempt: "PREEMPT_DYNAMIC (full)", CPU: "Some CPU", Hypervisor: "yes", Governor: "ondemand,performance",
		IdleDriver: "haltpoll", Isolated: "1-2", Clock: "tsc", Mitigations: "off", MemoryMiB: 2048, RTRuntime: -1, RTPeriod: 1000000,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestReadNothing(t *testing.T) {
	if got := Read(tree(t, nil)); got != (Info{RTRuntime: Unknown, RTPeriod: Unknown}) {
		t.Errorf("from an empty tree: %+v", got)
	}
}

func TestPreemptModels(t *testing.T) {
	for version, want := range map[string]string{
		"#1 SMP PREEMPT_RT Mon Jan 1": "PREEMPT_RT",
		"#1 SMP PREEMPT Mon Jan 1":    "PREEMPT",
		"#1 SMP Mon Jan 1":            "none",
		"":                            "",
	} {
		if got := Read(tree(t, map[string]string{"proc/sys/kernel/version": version})).Preempt; got != want {
			t.Errorf("%q: %q, want %q", version, got, want)
		}
	}
}

func TestAvailable(t *testing.T) {
	const mem = "MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"the machine's", map[string]string{"proc/meminfo": mem}, 1 << 30},
		{"nothing told", nil, Unknown},
		{"no limit", map[string]string{
			"proc/meminfo": mem, "proc/self/cgroup": "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.current": "1000\n",
		}, 1 << 30},
		{"a group above", map[string]string{
			"proc/meminfo": mem, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/memory.max": "5000\n", "sys/fs/cgroup/a/memory.current": "1000\n",
			"sys/fs/cgroup/a/b/memory.max": "9000\n", "sys/fs/cgroup/a/b/memory.current": "1000\n",
		}, 4000},
		{"over its limit", map[string]string{
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "5000\n", "sys/fs/cgroup/memory.current": "6000\n",
		}, 0},
		{"version 1", map[string]string{
			"proc/meminfo": mem, "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/x\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "7000\n", "sys/fs/cgroup/memory/x/memory.usage_in_bytes": "1000\n",
		}, 6000},
	} {
		if got := Available(tree(t, c.files)); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestLocked(t *testing.T) {
	if n := Locked(tree(t, map[string]string{"proc/self/status": "Name:\tx\nVmLck:\t      12 kB\n"})); n != 12<<10 {
		t.Errorf("%d bytes", n)
	}
	if n := Locked(tree(t, nil)); n != Unknown {
		t.Errorf("%d bytes where nothing is told", n)
	}
}
