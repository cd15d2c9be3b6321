package rt

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/sysinfo"
)

func TestEnvironmentOfThisProcess(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40))
	t.Setenv("GOMAXPROCS", "2")
	e := Environment()
	if e.Go != runtime.Version() || e.GOMAXPROCS != runtime.GOMAXPROCS(0) || !e.FixedProcs || e.GOGC != -1 || e.GOMEMLIMIT != 1<<40 {
		t.Errorf("%+v", e)
	}
	t.Setenv("GOMAXPROCS", "")
	debug.SetGCPercent(123)
	if e := Environment(); e.GOGC != 123 || e.FixedProcs {
		t.Errorf("%+v", e)
	}
	text, err := json.Marshal(e)
	if err != nil || !strings.Contains(string(text), `"gomemlimit_bytes":1099511627776`) {
		t.Errorf("%s, %v", text, err)
	}
	if runtime.GOOS == "linux" && (e.Kernel == "" || e.MaxLocked < 0 || e.TimerSlack < 0) {
		t.Errorf("%+v", e)
	}
}

func TestLinesOfAnEnvironment(t *testing.T) {
	good := Env{
		Kernel: "6.18.1-rt", Preempt: "PREEMPT_RT", Governor: "performance", ClockSource: "tsc", Isolated: "2-3",
		RTRuntime: -1, RTPeriod: time.Second, MaxPriority: 99, MaxLocked: Unlimited, TimerSlack: 1,
		Go: "go1.26", GOMAXPROCS: 4, CPUs: 4, GOGC: 100, GOMEMLIMIT: Unlimited, OS: "linux", Arch: "amd64",
	}
	bad := Env{
		Kernel: "6.18.1", Preempt: "PREEMPT_DYNAMIC (full)", Virtual: true, Governor: "powersave", ClockSource: "hpet",
		RTRuntime: 950 * time.Millisecond, RTPeriod: time.Second, MaxLocked: 8 << 20, TimerSlack: 50 * time.Microsecond,
		Go: "go1.26", GOMAXPROCS: 1, CPUs: 4, GOGC: -1, GOMEMLIMIT: Unlimited, OS: "linux", Arch: "amd64",
	}
	for _, c := range []struct {
		e       Env
		want    string
		remarks int
	}{
		{good, `kernel             6.18.1-rt
preemption         PREEMPT_RT
virtual machine    no
governor           performance
idle driver        unknown
clock source       tsc
isolated CPUs      2-3
tickless CPUs      none
real-time share    all
max. priority      99
max. locked memory unlimited
locked memory      0 KiB
timer slack        1ns
go                 go1.26
GOMAXPROCS         4 of 4 CPUs
GOGC               100
GOMEMLIMIT         unlimited`, 0},
		{bad, "", 8},
	} {
		lines := c.e.Lines()
		if got := strings.Join(lines, "\n"); c.want != "" && got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
		remarks := 0
		for _, l := range lines {
			if strings.Contains(l, ": ") {
				remarks++
			}
		}
		if remarks != c.remarks {
			t.Errorf("%d remarks, want %d:\n%s", remarks, c.remarks, strings.Join(lines, "\n"))
		}
	}
	if lines := strings.Join((Env{OS: "windows", Arch: "arm64", MaxLocked: -1, Locked: -1, TimerSlack: -1}).Lines(), "\n"); strings.Count(lines, "unknown") != 8 ||
		!strings.Contains(lines, "windows/arm64") {
		t.Errorf("where nothing is told:\n%s", lines)
	}
}

// TestPreemptRT reads what kernels tell: a PREEMPT_RT kernel whose mode may be
// chosen shows it to root, and is no less a PREEMPT_RT kernel.
func TestPreemptRT(t *testing.T) {
	for _, c := range []struct {
		version, modes string
		want           bool
	}{
		{"#1 SMP PREEMPT_RT Debian 6.12.43-1", "", true},
		{"#1 SMP PREEMPT_RT Debian 7.2.1-1", "full (lazy)\n", true},
		{"#1 SMP PREEMPT_DYNAMIC Debian 6.12.43-1", "none voluntary (full)\n", false},
		{"#1 SMP PREEMPT Debian 5.10.1-1", "", false},
		{"#1 SMP Debian 5.10.1-1", "", false},
		{"", "", false},
	} {
		root := t.TempDir() + "/"
		for name, text := range map[string]string{"proc/sys/kernel/version": c.version, "sys/kernel/debug/sched/preempt": c.modes} {
			if text == "" {
				continue
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(root+name), 0o755), os.WriteFile(root+name, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		var e Env
		e.machine(sysinfo.Read(root))
		if e.RealTime() != c.want {
			t.Errorf("%q, %q: preemption %q is real time: %v, want %v", c.version, c.modes, e.Preempt, e.RealTime(), c.want)
		}
		remarked := strings.Contains(strings.Join(e.Lines(), "\n"), "not PREEMPT_RT")
		if wanted := c.version != "" && !c.want; remarked != wanted {
			t.Errorf("%q: remark %v, want %v", e.Preempt, remarked, wanted)
		}
	}
}

func TestThrottlingInNumbers(t *testing.T) {
	for _, c := range []struct {
		runtime, period int64
		want            string
	}{
		{950000, 1000000, "950ms of 1s"},
		{-1, 1000000, "all"},
		{sysinfo.Unknown, sysinfo.Unknown, "unknown"},
	} {
		var e Env
		e.machine(sysinfo.Info{RTRuntime: c.runtime, RTPeriod: c.period})
		if got := e.share(); got != c.want {
			t.Errorf("%d of %d us: %q, want %q", c.runtime, c.period, got, c.want)
		}
	}
	if Unlimited != math.MaxInt64 {
		t.Error("GOMEMLIMIT's way to say unlimited is another")
	}
}
