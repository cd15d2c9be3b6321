package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

// tree writes files below a folder of their own, and returns it as a root.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir() + "/"
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLookAtHost(t *testing.T) {
	leaktest.Check(t)
	const idle = "sys/devices/system/cpu/cpu0/cpuidle/"
	h := lookAtHost(tree(t, map[string]string{
		"sys/kernel/btf/vmlinux":                      "\x9f\xeb",
		"proc/sys/net/core/bpf_jit_enable":            "1\n",
		"proc/meminfo":                                "HugePages_Free:       12\nHugepagesize:       2048 kB\n",
		"sys/kernel/mm/transparent_hugepage/enabled":  "always [madvise] never\n",
		"sys/kernel/mm/ksm/run":                       "1\n",
		"sys/devices/system/cpu/smt/active":           "1\n",
		idle + "state0/name":                          "POLL\n",
		idle + "state0/latency":                       "0\n",
		idle + "state2/name":                          "C6\n",
		idle + "state2/latency":                       "133\n",
		idle + "state2/disable":                       "0\n",
		idle + "state1/name":                          "C1\n",
		idle + "state1/latency":                       "2\n",
		idle + "state3/name":                          "C10\n",
		idle + "state3/latency":                       "890\n",
		idle + "state3/disable":                       "1\n",
		"proc/77/comm":                                "irqbalance\n",
		"sys/class/iommu/dmar0/uevent":                "",
		"sys/bus/pci/drivers/vfio-pci/new_id":         "",
		"sys/bus/pci/devices/0000:02:00.0/vendor":     "0x8086\n",
		"sys/bus/pci/devices/0000:02:00.0/device":     "0x10c9\n",
		"sys/bus/pci/devices/0000:02:00.0/class":      "0x020000\n",
		"sys/bus/pci/devices/0000:02:00.0/numa_node":  "-1\n",
		"sys/bus/pci/devices/0000:02:00.0/net/e/none": "",
	}))
	if !h.BTF || h.JIT != 1 || h.HugeFree != 12 || h.HugeKiB != 2048 || h.THP != "madvise" || h.KSM != 1 || h.SMT != 1 || !h.Balancer || !h.IOMMU || !h.VFIO {
		t.Errorf("%+v", h)
	}
	if got := fmt.Sprint(h.Sleeps); got != "[{POLL 0} {C1 2} {C6 133}]" {
		t.Errorf("sleeps %s", got)
	}
	if h.PCI != nil || len(h.Functions) != 1 || model(h.Functions[0]) == nil {
		t.Errorf("PCI %v, %v", h.Functions, h.PCI)
	}
}

// TestLookAtThisHost sees that a real machine is understood.
func TestLookAtThisHost(t *testing.T) {
	leaktest.Check(t)
	findings := LookAtHost().Judge()
	if len(findings) < 20 {
		t.Errorf("only %d findings", len(findings))
	}
	for _, f := range findings {
		if f.Found == "" || (f.Level != OK) != (f.Why != "") || (f.Level != OK) != (f.Mend != "") {
			t.Errorf("%+v", f)
		}
	}
}

func TestLookAtCard(t *testing.T) {
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	var c *Card
	if err := w.A.DoErr(func() (err error) {
		c, err = LookAtCard(w.A.IfName)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if c.Driver != "veth" || !c.Up || !c.Carrier || c.MTU != 1500 || c.Queues != 1 || c.Program != 0 || len(c.Features) == 0 {
		t.Errorf("%+v", c)
	}
	for _, f := range c.Judge(ideal()) {
		if f.Level == Bad || f.Found == "" || (f.Level != OK) != (f.Mend != "") {
			t.Errorf("%+v", f)
		}
	}
}

func TestNoSuchCard(t *testing.T) {
	leaktest.Check(t)
	if _, err := LookAtCard("no-such-if"); !errors.Is(err, syscall.ENODEV) {
		t.Error(err)
	}
}

func TestInterrupts(t *testing.T) {
	root := tree(t, map[string]string{
		"dev/124": "", "dev/25": "", "dev/x": "", "dev/126": "",
		"irq/124/effective_affinity_list": "0\n", "irq/25/effective_affinity_list": "1-2\n",
	})
	if got := fmt.Sprint(interrupts(root+"dev", root+"irq")); got != "[{25 1-2} {124 0}]" {
		t.Error(got)
	}
}
