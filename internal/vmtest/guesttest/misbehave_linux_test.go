package guesttest_test

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMisbehave does what the tests of package vmtest ask for, which see
// whether they notice.
func TestMisbehave(t *testing.T) {
	switch how := os.Getenv("OOBNET_VM_MISBEHAVE"); how {
	case "":
		t.Skip("it is for the tests of package vmtest")
	case "fail":
		t.Error("as asked for")
	case "stop":
		// No limit of the process's own helps against that.
		if err := unix.Kill(unix.Getpid(), unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	case "crash":
		if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
	default:
		t.Fatalf("no idea how to %q", how)
	}
}
