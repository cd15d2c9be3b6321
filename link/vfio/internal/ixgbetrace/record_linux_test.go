package ixgbetrace

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
)

// recorder lets Linux's own driver do the tasks, in a guest whose card is our
// model: the trace is written on the other side of it.
type recorder struct {
	*testing.T
	card guesttest.Card
}

// mark begins a task by its name; "": what is not compared.
func (r recorder) mark(name string) {
	r.Helper()
	for n, known := range Tasks {
		if known == name {
			r.card.Mark(r, uint32(n))
			return
		}
	}
	r.Fatalf("there is no task %q", name)
}

func (r recorder) run(program string, args ...string) {
	r.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		r.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

// awaitCarrier waits until the driver has seen its link.
func (r recorder) awaitCarrier(netdev string) {
	r.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		// It cannot be read while the interface is down.
		if b, err := os.ReadFile("/sys/class/net/" + netdev + "/carrier"); err == nil && strings.TrimSpace(string(b)) == "1" {
			return
		}
	}
	r.Fatalf("%s has no carrier", netdev)
}

func TestRecordLinux(t *testing.T) {
	leaktest.Check(t)
	r := recorder{t, guesttest.First(t)}
	if r.card.Driver != "ixgbe" {
		t.Skipf("the card's driver is %q: this is for Linux's ixgbe", r.card.Driver)
	}
	// Nobody but the driver has anything to say.
	for _, file := range []string{"all", "default"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+file+"/disable_ipv6", []byte("1"), 0o644); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	r.card.Bind(t, "")
	r.mark("init")
	r.card.Bind(t, "ixgbe")
	r.mark("")
	netdev := r.card.Netdev(t)
	for _, task := range []struct {
		name string
		args []string
	}{
		{"up", []string{"ip", "link", "set", netdev, "up"}},
		{"down", []string{"ip", "link", "set", netdev, "down"}},
		{"", []string{"ip", "link", "set", netdev, "up"}},
		{"reset", []string{"ethtool", "-K", netdev, "ntuple", "on"}}, // it resets to do so
		{"mtu", []string{"ip", "link", "set", netdev, "mtu", "9000"}},
	} {
		r.mark(task.name)
		r.run(task.args[0], task.args[1:]...)
		if task.name != "down" {
			r.awaitCarrier(netdev)
		}
		r.mark("")
	}
}
