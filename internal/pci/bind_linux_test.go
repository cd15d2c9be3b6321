package pci_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/internal/pci/pcitest"
)

// Addresses of the cards of most tests: one group of a card with two ports and
// the bridge above it.
const (
	port0  = "0000:02:00.0"
	port1  = "0000:02:00.1"
	bridge = "0000:00:1c.0"
)

func twoPorts() []pcitest.Card {
	return []pcitest.Card{
		{Addr: port0, Vendor: 0x8086, Device: 0x10c9, Class: pcitest.Ethernet, Driver: "igb", Group: "7", Netdev: "eth1"},
		{Addr: port1, Vendor: 0x8086, Device: 0x10c9, Class: pcitest.Ethernet, Driver: "igb", Group: "7", Netdev: "eth2"},
		{Addr: bridge, Vendor: 0x8086, Device: 0x3420, Class: pcitest.Bridge, Driver: "pcieport", Group: "7"},
	}
}

// state is each function's driver and override.
func state(t *testing.T, b *pci.Binder) map[string]string {
	t.Helper()
	list, err := b.Sys.List()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, f := range list {
		m[f.Addr] = f.Driver + "/" + f.Override
	}
	return m
}

func wantState(t *testing.T, b *pci.Binder, want map[string]string) {
	t.Helper()
	if d := cmp.Diff(want, state(t, b)); d != "" {
		t.Error(d)
	}
}

// records are the names of what the Binder has noted.
func records(t *testing.T, b *pci.Binder) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(b.Run, "*.json*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i] = filepath.Base(list[i])
	}
	return list
}

// wantError wants an error that wraps one and says what is wrong and the mend.
func wantError(t *testing.T, err, wraps error, says ...string) {
	t.Helper()
	if !errors.Is(err, wraps) {
		t.Errorf("%v: does not wrap %v", err, wraps)
	}
	if err == nil {
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%v: does not say %q", err, s)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q: more than a line", err)
	}
}

func TestBindAndUnbind(t *testing.T) {
	leaktest.Check(t)
	k, b := pcitest.New(t, twoPorts()...)
	before := state(t, b)
	done, err := b.Bind("02:00.0", false)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]pci.Change{{Addr: port0, From: "igb", To: pci.VFIO}, {Addr: port1, From: "igb", To: pci.VFIO}}, done); d != "" {
		t.Error(d)
	}
	wantState(t, b, map[string]string{port0: "vfio-pci/vfio-pci", port1: "vfio-pci/vfio-pci", bridge: "pcieport/"})
	if got, err := b.Former(); err != nil || !cmp.Equal(got, map[string]string{port0: "igb", port1: "igb"}) {
		t.Errorf("former drivers %v, %v", got, err)
	}
	if d := cmp.Diff([]string{
		"devices/" + port0 + "/driver_override vfio-pci", "devices/" + port0 + "/driver/unbind " + port0, "drivers_probe " + port0,
		"devices/" + port1 + "/driver_override vfio-pci", "devices/" + port1 + "/driver/unbind " + port1, "drivers_probe " + port1,
	}, k.Log); d != "" {
		t.Error(d)
	}

	// Another member's address does for the way back, in reverse order.
	k.Log = nil
	done, err = b.Unbind(port1, false)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]pci.Change{{Addr: port1, From: pci.VFIO, To: "igb"}, {Addr: port0, From: pci.VFIO, To: "igb"}}, done); d != "" {
		t.Error(d)
	}
	wantState(t, b, before)
	if left := records(t, b); len(left) != 0 {
		t.Errorf("left noted: %v", left)
	}
	_, err = b.Unbind(port0, false)
	wantError(t, err, syscall.ENXIO, port0, "to igb", "nothing to undo")
}

func TestBindWhatIsBound(t *testing.T) {
	leaktest.Check(t)
	k, b := pcitest.New(t, twoPorts()...)
	if _, err := b.Bind(port0, false); err != nil {
		t.Fatal(err)
	}
	k.Log = nil
	if done, err := b.Bind(port1, false); err != nil || len(done) != 0 || len(k.Log) != 0 {
		t.Errorf("bound again: %v, %v, writes %v", done, err, k.Log)
	}
	if left := records(t, b); !cmp.Equal(left, []string{port0 + ".json"}) {
		t.Errorf("noted: %v", left)
	}
}

// TestFormerState sees that a function without a driver, and one with an
// override of the administrator's, get back what they had.
func TestFormerState(t *testing.T) {
	leaktest.Check(t)
	cards := twoPorts()
	cards[1].Driver, cards[1].Netdev = "", ""
	k, b := pcitest.New(t, cards...)
	if err := k.Write(filepath.Join(b.Sys.Dir(port0), "driver_override"), "igb\n"); err != nil {
		t.Fatal(err)
	}
	before := state(t, b)
	for range 2 {
		if _, err := b.Bind(port0, false); err != nil {
			t.Fatal(err)
		}
		wantState(t, b, map[string]string{port0: "vfio-pci/vfio-pci", port1: "vfio-pci/vfio-pci", bridge: "pcieport/"})
		if _, err := b.Unbind(port0, false); err != nil {
			t.Fatal(err)
		}
		wantState(t, b, before)
	}
}

func TestBindRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(k *pcitest.Kernel, cards []pcitest.Card)
		addr   string
		wraps  error
		says   string
		forced bool // goes with force
	}{
		"no address":         {nil, "eth1", syscall.EINVAL, "no PCI address", false},
		"no device":          {nil, "0000:03:00.0", fs.ErrNotExist, "lspci -D", false},
		"a bridge":           {nil, bridge, syscall.EINVAL, "is a bridge", false},
		"no IOMMU":           {func(_ *pcitest.Kernel, c []pcitest.Card) { c[0].Group = "" }, port0, syscall.ENODEV, "intel_iommu=on", false},
		"up":                 {func(_ *pcitest.Kernel, c []pcitest.Card) { c[0].Up = true }, port0, syscall.EBUSY, "ip link set eth1 down", true},
		"member up":          {func(_ *pcitest.Kernel, c []pcitest.Card) { c[1].Up = true }, port0, syscall.EBUSY, "ip link set eth2 down", true},
		"in a namespace":     {func(_ *pcitest.Kernel, c []pcitest.Card) { c[0].Away = true }, port0, syscall.EBUSY, "another network namespace", true},
		"a disk":             {func(_ *pcitest.Kernel, c []pcitest.Card) { c[0].Class, c[0].Driver = pcitest.Disk, "nvme" }, port0, syscall.EBUSY, "no network card, and the kernel's driver nvme", true},
		"a disk with a card": {func(_ *pcitest.Kernel, c []pcitest.Card) { c[1].Class, c[1].Driver = pcitest.Disk, "nvme" }, port0, syscall.EBUSY, port1 + ", which is in IOMMU group 7 with " + port0, true},
	} {
		t.Run(name, func(t *testing.T) {
			leaktest.Check(t)
			cards := twoPorts()
			if c.change != nil {
				c.change(nil, cards)
			}
			k, b := pcitest.New(t, cards...)
			before := state(t, b)
			_, err := b.Bind(c.addr, false)
			wantError(t, err, c.wraps, c.says)
			wantState(t, b, before)
			if len(k.Log) != 0 || len(records(t, b)) != 0 {
				t.Errorf("refused, but wrote %v, noted %v", k.Log, records(t, b))
			}
			_, err = b.Bind(c.addr, true)
			if c.forced != (err == nil) {
				t.Fatalf("with force: %v", err)
			}
			if c.forced {
				if _, err := b.Unbind(c.addr, false); err != nil {
					t.Error(err)
				}
				wantState(t, b, before)
			}
		})
	}
	t.Run("vfio-pci not loaded", func(t *testing.T) {
		k, b := pcitest.New(t, twoPorts()...)
		k.Unload(pci.VFIO)
		_, err := b.Bind(port0, true)
		wantError(t, err, fs.ErrNotExist, "modprobe vfio-pci")
	})
	t.Run("no right to note", func(t *testing.T) {
		_, b := pcitest.New(t, twoPorts()...)
		// Root may write anywhere but through a file.
		b.Run = filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(b.Run, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		before := state(t, b)
		if _, err := b.Bind(port0, false); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%v", err)
		}
		wantState(t, b, before)
	})
}

// TestBindUndoes has each write fail in turn, and sees that all is as it was.
func TestBindUndoes(t *testing.T) {
	leaktest.Check(t)
	for n := 1; ; n++ {
		k, b := pcitest.New(t, twoPorts()...)
		before := state(t, b)
		writes := 0
		k.Refuse = func(string, string) error {
			if writes++; writes == n {
				return syscall.EIO
			}
			return nil
		}
		_, err := b.Bind(port0, false)
		if err == nil {
			if n != 7 {
				t.Errorf("binding took %d writes, want 6", n-1)
			}
			return
		}
		wantError(t, err, syscall.EIO, "everything is as it was")
		wantState(t, b, before)
		if left := records(t, b); len(left) != 0 {
			t.Errorf("write %d failed: left noted: %v", n, left)
		}
	}
}

// TestBindCannotUndo has the second port refuse VFIO and the first one not come
// back: that stays noted, and a later unbind mends it.
func TestBindCannotUndo(t *testing.T) {
	leaktest.Check(t)
	k, b := pcitest.New(t, twoPorts()...)
	before := state(t, b)
	k.Refuse = func(file, value string) error {
		if strings.HasSuffix(file, port1+"/driver/unbind") || strings.HasSuffix(file, port0+"/driver_override") && value == "igb" {
			return syscall.EIO
		}
		return nil
	}
	_, err := b.Bind(port1, false) // in order of addresses all the same
	wantError(t, err, syscall.EIO, port1, "undoing it failed", "oobnet unbind", port0)
	if left := records(t, b); !cmp.Equal(left, []string{port1 + ".json"}) {
		t.Errorf("noted: %v", left)
	}
	k.Refuse = nil
	if _, err := b.Unbind(port0, false); err != nil {
		t.Fatal(err)
	}
	wantState(t, b, before)
	if left := records(t, b); len(left) != 0 {
		t.Errorf("left noted: %v", left)
	}
}

// TestVFIODoesNotTakeIt is a probe that the kernel reports no error of.
func TestVFIODoesNotTakeIt(t *testing.T) {
	leaktest.Check(t)
	k, b := pcitest.New(t, twoPorts()...)
	before := state(t, b)
	k.Refuse = func(file, _ string) error {
		if file == "bus/pci/drivers_probe" && !b.Sys.HasDriver("nobody") {
			k.Unload(pci.VFIO)
		}
		return nil
	}
	_, err := b.Bind(port0, false)
	wantError(t, err, syscall.ENODEV, "vfio-pci did not take it", "dmesg", "everything is as it was")
	wantState(t, b, before)
}

func TestUnbindWithoutTheFormerDriver(t *testing.T) {
	leaktest.Check(t)
	cards := twoPorts()
	k, b := pcitest.New(t, cards...)
	if _, err := b.Bind(port0, false); err != nil {
		t.Fatal(err)
	}
	k.Unload("igb")
	_, err := b.Unbind(port0, false)
	wantError(t, err, fs.ErrNotExist, "modprobe igb", "and 1 more")
	wantState(t, b, map[string]string{port0: "/", port1: "/", bridge: "pcieport/"})
	k.Load("igb")
	if _, err := b.Unbind(port0, false); err != nil {
		t.Fatal(err)
	}
	wantState(t, b, map[string]string{port0: "igb/", port1: "igb/", bridge: "pcieport/"})
}

// TestUnbindAfterOthers leaves alone what is gone and what someone else has
// given to another driver.
func TestUnbindAfterOthers(t *testing.T) {
	leaktest.Check(t)
	k, b := pcitest.New(t, twoPorts()...)
	if _, err := b.Bind(port0, false); err != nil {
		t.Fatal(err)
	}
	k.Load("uio")
	dir := b.Sys.Dir(port0)
	for _, w := range [][2]string{{dir + "/driver_override", "uio\n"}, {dir + "/driver/unbind", port0}, {string(b.Sys) + "/bus/pci/drivers_probe", port0}} {
		if err := k.Write(w[0], w[1]); err != nil {
			t.Fatal(err)
		}
	}
	k.Pull(port1)
	if done, err := b.Unbind(port0, false); err != nil || len(done) != 0 {
		t.Errorf("%v, %v", done, err)
	}
	wantState(t, b, map[string]string{port0: "uio/uio", bridge: "pcieport/"})
	if left := records(t, b); len(left) != 0 {
		t.Errorf("left noted: %v", left)
	}
}

func TestUnbindWhatWasNotNoted(t *testing.T) {
	leaktest.Check(t)
	_, b := pcitest.New(t, twoPorts()...)
	if _, err := b.Bind(port0, false); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(b.Run); err != nil {
		t.Fatal(err)
	}
	done, err := b.Unbind(port0, false)
	if d := cmp.Diff([]pci.Change{{Addr: port0, From: pci.VFIO, To: "igb"}}, done); err != nil || d != "" {
		t.Error(err, d)
	}
	wantState(t, b, map[string]string{port0: "igb/", port1: "vfio-pci/vfio-pci", bridge: "pcieport/"})
}

func TestUnbindRefusesWhatIsInUse(t *testing.T) {
	leaktest.Check(t)
	k, b := pcitest.New(t, twoPorts()...)
	if _, err := b.Bind(port0, false); err != nil {
		t.Fatal(err)
	}
	k.Open["7"] = true
	_, err := b.Unbind(port0, false)
	wantError(t, err, syscall.EBUSY, "fuser /dev/vfio/7", "--force")
	wantState(t, b, map[string]string{port0: "vfio-pci/vfio-pci", port1: "vfio-pci/vfio-pci", bridge: "pcieport/"})
	if _, err := b.Unbind(port0, true); err != nil {
		t.Error(err)
	}
}

func TestDamagedRecord(t *testing.T) {
	leaktest.Check(t)
	k, b := pcitest.New(t, twoPorts()...)
	if err := os.MkdirAll(b.Run, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(b.Run, "0000:09:00.0.json")
	if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := b.Bind(port0, false)
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "delete it") || len(k.Log) != 0 {
		t.Errorf("%v, writes %v", err, k.Log)
	}
}

// TestOneAtATime begins a second bind in the midst of one.
func TestOneAtATime(t *testing.T) {
	leaktest.Check(t)
	k, b := pcitest.New(t, twoPorts()...)
	var second []error
	k.Refuse = func(file, _ string) error {
		if file == "bus/pci/drivers_probe" && second == nil {
			_, err := b.Bind(port1, false)
			second = append(second, err)
		}
		return nil
	}
	if _, err := b.Bind(port0, false); err != nil {
		t.Fatal(err)
	}
	if len(second) != 1 {
		t.Fatal("there was no second bind")
	}
	wantError(t, second[0], syscall.EBUSY, "another bind or unbind")
	if _, err := b.Unbind(port0, false); err != nil {
		t.Error(err)
	}
}
