package rt

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/oobnet/oobnet/internal/sysinfo"
)

// Unlimited stands for a limit that is none.
const Unlimited = math.MaxInt64

// Env is what a machine and a process give to real-time threads. Strings that
// the system does not tell are empty, numbers -1 unless said otherwise.
type Env struct {
	// Kernel release and how it is preempted: PREEMPT_RT, PREEMPT_DYNAMIC or
	// PREEMPT, with the mode in brackets where the kernel has one and root asks
	// (PREEMPT_RT has one since Linux 6.13), or none; RealTime reads it.
	Kernel  string `json:"kernel,omitempty"`
	Preempt string `json:"preempt,omitempty"`
	// Virtual: the machine is one, and shares its cores with others.
	Virtual bool `json:"virtual"`
	// Governor of the cores' frequency, IdleDriver that chooses their sleep,
	// ClockSource of the kernel.
	Governor    string `json:"governor,omitempty"`
	IdleDriver  string `json:"idle_driver,omitempty"`
	ClockSource string `json:"clock_source,omitempty"`
	// Isolated CPUs (isolcpus=) and those without a tick (nohz_full=), as lists
	// of ranges; empty: none.
	Isolated string `json:"isolated_cpus,omitempty"`
	NoHZFull string `json:"nohz_full_cpus,omitempty"`
	// RTRuntime of each RTPeriod may go to real-time threads; -1: all of it. A
	// RTPeriod of 0: the system does not tell.
	RTRuntime time.Duration `json:"rt_runtime_ns"`
	RTPeriod  time.Duration `json:"rt_period_ns"`

	// MaxPriority is the highest of SCHED_FIFO that this process may take,
	// 0: none; by capability (CAP_SYS_NICE) or by limit (RLIMIT_RTPRIO).
	MaxPriority int `json:"max_priority"`
	// MaxLocked is how much memory it may lock, bytes, Unlimited with
	// CAP_IPC_LOCK; Locked is how much it has locked. Lock wants Unlimited.
	MaxLocked int64 `json:"max_locked_bytes"`
	Locked    int64 `json:"locked_bytes"`
	// TimerSlack of the calling thread, which new ones inherit.
	TimerSlack time.Duration `json:"timer_slack_ns"`

	// Go's version; GOMAXPROCS, and whether it is fixed by the environment; the
	// CPUs that the process may use.
	Go         string `json:"go"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	FixedProcs bool   `json:"gomaxprocs_in_environment"`
	CPUs       int    `json:"cpus"`
	// GOGC in percent, -1: off. GOMEMLIMIT in bytes, Unlimited if there is none.
	GOGC       int   `json:"gogc"`
	GOMEMLIMIT int64 `json:"gomemlimit_bytes"`
	// Arch and OS that the program was built for.
	OS   string `json:"os"`
	Arch string `json:"arch"`
}

// Environment looks at this machine and this process. It reads some files, and
// changes nothing: not for the fast path, and good at any other time.
func Environment() Env {
	e := Env{
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		GOMAXPROCS: runtime.GOMAXPROCS(0), CPUs: runtime.NumCPU(),
		// Collection that is off is -1 in a number without a sign.
		GOGC: int(int64(metric("/gc/gogc:percent"))), GOMEMLIMIT: debug.SetMemoryLimit(-1),
	}
	n, err := strconv.Atoi(os.Getenv("GOMAXPROCS"))
	e.FixedProcs = err == nil && n > 0
	e.machine(sysinfo.Read("/"))
	e.process()
	return e
}

func (e *Env) machine(info sysinfo.Info) {
	e.Kernel, e.Preempt, e.Virtual = info.Kernel, info.Preempt, info.Hypervisor != ""
	e.Governor, e.IdleDriver, e.ClockSource = info.Governor, info.IdleDriver, info.Clock
	e.Isolated, e.NoHZFull = info.Isolated, info.NoHZFull
	if info.RTPeriod > 0 && info.RTRuntime != sysinfo.Unknown {
		e.RTPeriod = time.Duration(info.RTPeriod) * time.Microsecond
		e.RTRuntime = -1
		if info.RTRuntime >= 0 {
			e.RTRuntime = time.Duration(info.RTRuntime) * time.Microsecond
		}
	}
}

// RealTime says whether the kernel is PREEMPT_RT, whatever the mode that it shows.
func (e Env) RealTime() bool {
	model, _, _ := strings.Cut(e.Preempt, " ")
	return model == "PREEMPT_RT"
}

// Lines is the environment as text, one line for each thing, with a remark
// where it costs latency.
func (e Env) Lines() []string {
	var lines []string
	add := func(name, value, remark string) {
		if remark != "" {
			value += ": " + remark
		}
		lines = append(lines, fmt.Sprintf("%-18s %s", name, value))
	}
	add("kernel", or(e.Kernel, e.OS+"/"+e.Arch), "")
	add("preemption", or(e.Preempt, "unknown"), remark(e.Preempt != "" && !e.RealTime(), "not PREEMPT_RT, so the kernel itself may keep a thread waiting"))
	add("virtual machine", yes(e.Virtual), remark(e.Virtual, "the host may take a core away at any time"))
	add("governor", or(e.Governor, "unknown"), remark(e.Governor != "" && e.Governor != "performance", "cores change their frequency: set performance"))
	add("idle driver", or(e.IdleDriver, "unknown"), "")
	add("clock source", or(e.ClockSource, "unknown"), remark(e.ClockSource != "" && e.OS == "linux" && e.Arch == "amd64" && e.ClockSource != "tsc", "reading it is a system call"))
	add("isolated CPUs", or(e.Isolated, "none"), "")
	add("tickless CPUs", or(e.NoHZFull, "none"), "")
	add("real-time share", e.share(), "")
	add("max. priority", strconv.Itoa(e.MaxPriority), remark(e.MaxPriority == 0, "no SCHED_FIFO without CAP_SYS_NICE or an rtprio limit (ulimit -r)"))
	add("max. locked memory", bytes(e.MaxLocked), remark(e.MaxLocked != Unlimited, "Lock refuses without CAP_IPC_LOCK or ulimit -l unlimited"))
	add("locked memory", bytes(e.Locked), "")
	add("timer slack", e.slack(), "")
	add("go", e.Go, "")
	add("GOMAXPROCS", fmt.Sprintf("%d of %d CPUs", e.GOMAXPROCS, e.CPUs), remark(e.GOMAXPROCS == 1, "a cycle waits for whatever else runs"))
	add("GOGC", gogc(e.GOGC), remark(e.GOGC < 0 && e.GOMEMLIMIT == Unlimited, "with no GOMEMLIMIT nothing stops the heap from growing"))
	add("GOMEMLIMIT", bytes(e.GOMEMLIMIT), "")
	return lines
}

func (e Env) share() string {
	switch {
	case e.RTPeriod == 0:
		return "unknown"
	case e.RTRuntime < 0:
		return "all"
	}
	return fmt.Sprintf("%v of %v", e.RTRuntime, e.RTPeriod)
}

func (e Env) slack() string {
	if e.TimerSlack < 0 {
		return "unknown"
	}
	return e.TimerSlack.String()
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func remark(cost bool, s string) string {
	if cost {
		return s
	}
	return ""
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func gogc(percent int) string {
	if percent < 0 {
		return "off"
	}
	return strconv.Itoa(percent)
}

func bytes(n int64) string {
	switch {
	case n == Unlimited:
		return "unlimited"
	case n < 0:
		return "unknown"
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
