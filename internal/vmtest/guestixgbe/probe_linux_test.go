package guestixgbe

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/vmtest/inside"
)

// TestProbe wants what the driver reads of the card: address, link, EEPROM,
// module, registers.
func TestProbe(t *testing.T) {
	leaktest.Check(t)
	c := card(t)
	r := newRig(t)
	if out := r.ethtool("-P"); !strings.Contains(out, "52:54:00:00:01:01") {
		t.Errorf("not the address of the EEPROM, 52:54:00:00:01:01: %s", out)
	}
	settings, err := r.A.Exec("ethtool", r.A.IfName)
	if err != nil {
		t.Fatalf("%v\n%s", err, settings)
	}
	port := map[string]string{"82599": "FIBRE", "x540": "Twisted Pair"}[c.Model]
	for _, want := range []string{"Speed: 10000Mb/s", "Duplex: Full", "Link detected: yes", "Port: " + port} {
		if !strings.Contains(string(settings), want) {
			t.Errorf("ethtool does not say %q:\n%s", want, settings)
		}
	}
	if out := r.ethtool("-i"); !strings.Contains(out, "driver: ixgbe") || !strings.Contains(out, c.Address) {
		t.Errorf("ethtool -i: %s", out)
	}
	if c.Model == "82599" {
		if out := r.ethtool("-m"); !strings.Contains(out, "10GBASE-SR") && !strings.Contains(out, "10G Ethernet") {
			t.Errorf("the module in the cage: %s", out)
		}
	}
	r.ethtool("-e", "offset", "0", "length", "128")
	r.ethtool("-d")
	r.ping(3, 56)
}

// TestReload unloads the driver and loads it again.
func TestReload(t *testing.T) {
	leaktest.Check(t)
	c := card(t)
	if err := unix.DeleteModule("ixgbe", 0); err != nil {
		t.Fatalf("unload ixgbe: %v", err)
	}
	if got := c.Bound(t); got != "" {
		t.Errorf("driver %q after ixgbe was unloaded", got)
	}
	f, err := os.Open("/modules/ixgbe.ko")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		t.Fatalf("load ixgbe: %v", err)
	}
	if err := inside.WaitNetdev(c.Address); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	r.ping(3, 1472)
}

// TestRebind gives the card away and back.
func TestRebind(t *testing.T) {
	leaktest.Check(t)
	c := card(t)
	c.Bind(t, "")
	c.Bind(t, "ixgbe")
	newRig(t).ping(3, 56)
}
