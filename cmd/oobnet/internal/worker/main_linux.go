package worker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownGroup keeps a terminal's Ctrl-C from the worker: the bench ends it in
// good order.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// job is a role at work.
type job interface {
	// run measures for d.
	run(d time.Duration) (Figures, error)
	// close gives back what outlives the process, or would hold up the next one.
	close()
}

// open starts a role.
func open(s Spec) (job, error) {
	switch s.Role {
	case KernelClient:
		return openClient(s)
	case KernelEcho:
		return openKernelEcho(s)
	case KernelSend, KernelBatch:
		return openKernelSender(s)
	case KernelSink:
		return openKernelSink(s)
	case OursEcho, OursSend, OursBatch, OursSink:
		return openOurs(s)
	case LinkBlast:
		return openBlast(s)
	}
	return nil, fmt.Errorf("no such role %q", s.Role)
}

// Main serves the role that the environment names, and exits; without one it
// returns at once.
func Main() {
	text, ok := os.LookupEnv(EnvVar)
	if !ok {
		return
	}
	if err := serve(text); err != nil {
		say(reply{Error: err.Error()})
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(text string) error {
	var s Spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("%s: %w", EnvVar, err)
	}
	// Nothing here allocates once it runs, on either side of a contest: the
	// collector would only add its own pauses.
	debug.SetGCPercent(-1)
	if err := pinProcess(s.CPU); err != nil {
		return err
	}
	runtime.LockOSThread()
	j, err := open(s)
	if err != nil {
		return err
	}
	defer j.close()
	say(reply{Ready: true})
	for scan := bufio.NewScanner(os.Stdin); scan.Scan(); {
		var r request
		if err := json.Unmarshal(scan.Bytes(), &r); err != nil {
			return err
		}
		f, err := j.run(r.Run)
		if err != nil {
			return err
		}
		say(reply{Figures: f})
	}
	return nil
}

// say writes one line. The bench may be gone: then the end of input follows.
func say(r reply) { _ = json.NewEncoder(os.Stdout).Encode(r) }

// pinProcess puts all threads that there are on one core. Threads made later
// inherit it from their makers.
func pinProcess(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(filepath.Base(t))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("pin to core %d: %w", cpu, err)
		}
	}
	return nil
}

// cpuTime is user and system time of the process, ns.
func cpuTime() (int64, error) {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0, err
	}
	return ru.Utime.Nano() + ru.Stime.Nano(), nil
}

// observe runs for d while another thread works, and reports what the counter
// and the processor time have gained.
func observe(d time.Duration, packets func() uint64) (Figures, error) {
	cpu0, err := cpuTime()
	if err != nil {
		return nil, err
	}
	n0, t0 := packets(), time.Now()
	time.Sleep(d)
	n, took := packets()-n0, time.Since(t0)
	cpu1, err := cpuTime()
	if err != nil {
		return nil, err
	}
	return Figures{"packets": float64(n), "cpu_ns": float64(cpu1 - cpu0), "seconds": took.Seconds()}, nil
}
