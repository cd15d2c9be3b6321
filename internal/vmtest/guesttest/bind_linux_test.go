package guesttest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
)

// TestBinder is "oobnet bind" and "unbind" on a kernel: what they refuse, what
// force takes all the same, and that everything is as it was in the end.
func TestBinder(t *testing.T) {
	leaktest.Check(t)
	c := guesttest.First(t)
	driver := own[c.Model]
	c.Bind(t, driver)
	before := function(t, c)
	if before.Driver != driver || before.Override != "" {
		t.Fatalf("the card has driver %q, override %q at first", before.Driver, before.Override)
	}
	name := c.Netdev(t)
	up(t, name)
	b := pci.System()
	_, err := b.Bind(c.Address, false)
	refused(t, err, "ip link set "+name+" down")
	if got := c.Bound(t); got != driver {
		t.Errorf("refused, the card has driver %q", got)
	}

	moved(t, []pci.Change{{Addr: c.Address, From: driver, To: pci.VFIO}})(b.Bind(c.Address, true))
	if f := function(t, c); f.Driver != pci.VFIO || len(f.Netdevs) != 0 {
		t.Errorf("bound, the card has driver %q and interfaces %v", f.Driver, f.Netdevs)
	}
	moved(t, nil)(b.Bind(c.Address, false))
	if was, err := b.Former(); err != nil || was[c.Address] != driver {
		t.Errorf("noted %v, %v", was, err)
	}

	f, err := os.OpenFile(filepath.Join("/dev/vfio", c.Group(t)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Unbind(c.Address, false)
	refused(t, err, "fuser "+f.Name())
	if got := c.Bound(t); got != pci.VFIO {
		t.Errorf("in use, the card went to driver %q", got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	moved(t, []pci.Change{{Addr: c.Address, From: pci.VFIO, To: driver}})(b.Unbind(c.Address, false))
	c.Bind(t, driver) // has it, and waits for the interface
	after := function(t, c)
	for _, f := range []*pci.Function{before, after} {
		for i := range f.Netdevs {
			f.Netdevs[i].Up = false // a new interface is down
		}
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("after unbind (-before +after):\n%s", d)
	}
	if left, err := filepath.Glob(filepath.Join(b.Run, "*.json*")); err != nil || len(left) > 0 {
		t.Errorf("still noted: %v, %v", left, err)
	}
	if _, err := b.Unbind(c.Address, false); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("what is not bound was unbound: %v", err)
	}
}

func function(t *testing.T, c guesttest.Card) *pci.Function {
	t.Helper()
	f, err := pci.Sys.Read(c.Address)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func refused(t *testing.T, err error, says string) {
	t.Helper()
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), says) {
		t.Errorf("%v: want EBUSY, with the way out: %s", err, says)
	}
}

func moved(t *testing.T, want []pci.Change) func([]pci.Change, error) {
	t.Helper()
	return func(done []pci.Change, err error) {
		t.Helper()
		if d := cmp.Diff(want, done); err != nil || d != "" {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
	}
}
