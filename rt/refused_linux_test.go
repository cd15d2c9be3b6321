package rt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// childEnv tells this program that it is the child of a test: a process without
// the rights that real time takes.
const childEnv = "OOBNET_RT_TEST_CHILD"

func TestMain(m *testing.M) {
	if _, ok := os.LookupEnv(childEnv); ok {
		if err := refusedChild(); err != nil {
			fmt.Println("FAIL", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// refusedChild asks for all there is to be refused.
func refusedChild() error {
	for resource, limit := range map[int]uint64{unix.RLIMIT_RTPRIO: 0, unix.RLIMIT_MEMLOCK: 64 << 10} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limit %d: %w", resource, err)
		}
	}
	cfg := Config{Priority: 50, Lock: LockAll, CPUs: []int{1023}}
	c, err := NewCycle(&cfg)
	if err != nil {
		return err
	}
	var started Report
	c.cfg.Started = func(r Report) { started = r }
	ran := 0
	err = c.Run(context.Background(), func(Tick) error {
		if ran++; ran == 5 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		return fmt.Errorf("the cycle did not run: %w", err)
	}
	r := c.Report()
	fmt.Printf("refused=%d started=%d eperm=%v einval=%v\n", len(r.Refused), len(started.Refused), errors.Is(r.Err(), unix.EPERM), errors.Is(r.Err(), unix.EINVAL))
	fmt.Println(strings.Join(r.Lines(), "\n"))

	cfg.Strict = true
	if c, err = NewCycle(&cfg); err != nil {
		return err
	}
	err = c.Run(context.Background(), func(Tick) error { return errEnough })
	fmt.Printf("strict: ran=%v eperm=%v\n", errors.Is(err, errEnough), errors.Is(err, unix.EPERM))
	e := Environment()
	fmt.Printf("priority=%d locked=%d\n", e.MaxPriority, e.MaxLocked)
	return nil
}

func TestRefusalsAreReported(t *testing.T) {
	leaktest.Check(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childEnv+"=refused")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	started := make(chan error)
	go func() {
		// What the bounding set of a thread lacks, no program that it starts
		// has. The thread ends with this goroutine.
		runtime.LockOSThread()
		for _, capability := range []uintptr{unix.CAP_SYS_NICE, unix.CAP_IPC_LOCK} {
			// Refused to who is not root, and has none of these anyway.
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil && os.Getuid() == 0 {
				started <- fmt.Errorf("drop capability %d: %w", capability, err)
				return
			}
		}
		started <- cmd.Start()
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("child: %v\n%s", err, out.String())
	}
	for _, want := range []string{
		"refused=3 started=3 eperm=true einval=true",
		"refused: rt: lock memory: operation not permitted: locked memory is limited to 64 KiB",
		`refused: rt: thread "cycle" to CPUs [1023]: invalid argument`,
		`refused: rt: thread "cycle" to SCHED_FIFO 50: operation not permitted: it takes CAP_SYS_NICE`,
		"strict: ran=false eperm=true",
		"priority=0 locked=65536",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q in\n%s", want, out.String())
		}
	}
}

// TestThreadIsAsAsked looks at the cycle's thread from inside.
func TestThreadIsAsAsked(t *testing.T) {
	leaktest.Check(t)
	cfg := Config{Name: "servo", CPUs: []int{0}}
	if Environment().MaxPriority >= 10 {
		cfg.Priority = 10
	} else {
		t.Log("without a priority: neither CAP_SYS_NICE nor an rtprio limit")
	}
	c, err := NewCycle(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Run(t.Context(), func(Tick) error {
		comm, err := os.ReadFile("/proc/thread-self/comm")
		if err != nil {
			return err
		}
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(0, &set); err != nil {
			return err
		}
		attr, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			return err
		}
		if string(comm) != "servo\n" || set.Count() != 1 || !set.IsSet(0) || int(attr.Priority) != cfg.Priority {
			return fmt.Errorf("thread %q on %d CPUs with priority %d", comm, set.Count(), attr.Priority)
		}
		// A thread of SCHED_FIFO has no slack, by the kernel's own rule.
		if slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || slack > 1 {
			return fmt.Errorf("timer slack %d ns, %w", slack, err)
		}
		return errEnough
	})
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
	r := c.Report()
	if r.Err() != nil || len(r.Lines()) != 1 || r.Thread != "servo" {
		t.Errorf("report: %v", r.Lines())
	}
}

func TestLockAndUnlock(t *testing.T) {
	if Environment().MaxLocked != Unlimited {
		t.Skip("needs CAP_IPC_LOCK or ulimit -l unlimited")
	}
	if err := Lock(LockOnFault); err != nil {
		t.Fatal(err)
	}
	Prefault(make([]byte, 1<<20))
	if n := Environment().Locked; n < 1<<20 {
		t.Errorf("%d bytes are locked", n)
	}
	if err := Lock(LockNone); err != nil {
		t.Error(err)
	}
	if n := Environment().Locked; n != 0 {
		t.Errorf("%d bytes are still locked", n)
	}
}
