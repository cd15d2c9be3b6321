package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/machine"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/link/vfio"
)

func TestReport(t *testing.T) {
	leaktest.Check(t)
	root := t.TempDir()
	tree := pci.Tree(root)
	const addr = "0000:02:00.0"
	dir := tree.Dir(addr)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"vendor": "0x8086", "device": "0x10fb", "class": "0x020000", "revision": "0x01", "numa_node": "0",
		"subsystem_vendor": "0x8086", "subsystem_device": "0x000c", "current_link_speed": "5.0 GT/s PCIe", "current_link_width": "8",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Describe(tree, addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{
		When: time.Date(2026, 11, 21, 13, 0, 0, 0, time.UTC), Card: c,
		Machine: machine.Machine{OS: "linux", Kernel: "6.12", CPU: "a CPU", CPUs: 4, MemoryMiB: 1024, Go: "go1.26", Revision: "abc", Modified: true},
		Steps: []Step{{Name: "frames", Result: Pass, Found: "112 came back", Took: time.Second},
			{Name: "queues", Result: Fail, Found: "one\ntwo", Took: time.Second, Registers: []vfio.Register{{Name: "CTRL", Value: 5}, {Name: "LINKS", Value: 0x70000080}}},
			{Name: "times", Result: Skip, Found: "none"},
		},
	}
	var b strings.Builder
	if err := r.WriteHead(&b); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Steps {
		if err := WriteStep(&b, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.WriteEnd(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"0000:02:00.0, 2026-11-21 13:00:00 UTC", "(8086:10fb), revision 01, subsystem 8086:000c", "5.0 GT/s PCIe, x8", "ixgbe of link/vfio, revision abc with changes",
		"a CPU, 4 CPUs, 1024 MiB", "linux 6.12, go1.26", "hypervisor    -", "pass  frames                112 came back\n", "FAIL  queues                one; two\n      CTRL 00000005, LINKS 70000080\n", "skip  times",
		"\n1 passed, 1 failed, 1 skipped, in 2s\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	if _, err := Describe(tree, "0000:02:00.1"); err == nil {
		t.Error("a card that there is not was described")
	}
}
