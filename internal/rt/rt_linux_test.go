package rt

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
)

func TestGoNamesAndPinsItsThread(t *testing.T) {
	leaktest.Check(t)
	type seen struct {
		name    string
		cpus    int
		refused error
	}
	done := make(chan seen, 1)
	var s seen
	Go(Options{Name: "loop0.rx-and-more-letters", CPUs: []int{0}}, func(err error) { s.refused = err }, func() {
		comm, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(unix.Gettid()) + "/comm")
		if err != nil {
			t.Error(err)
		}
		s.name = strings.TrimSpace(string(comm))
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(0, &set); err != nil {
			t.Error(err)
		}
		s.cpus = set.Count()
		done <- s
	})
	got := <-done
	if got.name != "loop0.rx-and-mo" || got.cpus != 1 || got.refused != nil {
		t.Errorf("thread: %+v", got)
	}
}

func TestGoReportsWhatWasRefused(t *testing.T) {
	leaktest.Check(t)
	refused := make(chan error, 1)
	Go(Options{Name: "x", CPUs: []int{1023}}, func(err error) { refused <- err }, func() {})
	if err := <-refused; !errors.Is(err, unix.EINVAL) {
		t.Errorf("pinned to a CPU that does not exist: %v", err)
	}
}
