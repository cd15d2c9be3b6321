package latmus

import (
	"context"
	"encoding/json"
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

// childEnv tells this program that it is the child of a test: a process that may
// not do what real time and AF_XDP take.
const childEnv = "OOBNET_LATMUS_TEST_CHILD"

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

// refusedChild runs with a priority that it does not get, and prints the report.
func refusedChild() error {
	if err := unix.Setrlimit(unix.RLIMIT_RTPRIO, &unix.Rlimit{}); err != nil {
		return err
	}
	o := short()
	o.Duration, o.Priority = 200*time.Millisecond, DefaultPriority
	r, err := Run(context.Background(), o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func TestRefusedPrivilegesAreReported(t *testing.T) {
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
		err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_NICE, 0, 0, 0)
		if err != nil && os.Getuid() == 0 {
			started <- fmt.Errorf("drop CAP_SYS_NICE: %w", err)
			return
		}
		started <- cmd.Start()
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("child: %v\n%s", err, out.String())
	}
	var r Report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil || r.Sent == 0 || r.Received == 0 {
		t.Fatalf("%v in %s", err, out.String())
	}
	all := strings.Join(r.Refused, "\n")
	device := func(thread string) string {
		return fmt.Sprintf("%q to SCHED_FIFO 10: operation not permitted", r.Interface+thread)
	}
	for _, want := range []string{
		`"latmus.tx" to SCHED_FIFO 10: operation not permitted`, `"latmus.rx" to SCHED_FIFO 10`, device(".rx"), device(".tx"), "CAP_SYS_NICE",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %s", want, all)
		}
	}
}
