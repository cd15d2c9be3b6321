package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/internal/pci/pcitest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// onCards runs bind or unbind on a made-up PCI bus.
func onCards(b *pci.Binder, args ...string) (stdout, stderr string, err error) {
	root := &cobra.Command{Use: "oobnet", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(bindCommand(b), unbindCommand(b))
	var out, errs bytes.Buffer
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	err = root.Execute()
	return out.String(), errs.String(), err
}

// rack is a machine with a bit of everything.
func rack() []pcitest.Card {
	return []pcitest.Card{
		{Addr: "0000:00:0a.0", Vendor: 0x1af4, Device: 0x1041, Class: pcitest.Ethernet, Driver: "virtio-pci", NUMA: -1, Netdev: "eth0", Up: true, Virtio: true},
		{Addr: "0000:00:1c.0", Vendor: 0x8086, Device: 0x3420, Class: pcitest.Bridge, Driver: "pcieport", Group: "7"},
		{Addr: "0000:02:00.0", Vendor: 0x8086, Device: 0x10c9, Class: pcitest.Ethernet, Driver: "igb", Group: "7", Netdev: "eth1"},
		{Addr: "0000:02:00.1", Vendor: 0x8086, Device: 0x10c9, Class: pcitest.Ethernet, Driver: "igb", Group: "7", Netdev: "eth2"},
		{Addr: "0000:03:00.0", Vendor: 0x8086, Device: 0x10d3, Class: pcitest.Ethernet, Driver: "e1000e", Group: "12", NUMA: 1, Netdev: "eth3", Away: true},
		{Addr: "0000:04:00.0", Vendor: 0x144d, Device: 0xa808, Class: pcitest.Disk, Driver: "nvme", Group: "13", NUMA: 1},
		{Addr: "0000:05:00.0", Vendor: 0x15b3, Device: 0x1017, Class: pcitest.Ethernet, Group: "14", NUMA: 1},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestBindList(t *testing.T) {
	leaktest.Check(t)
	_, b := pcitest.New(t, rack()...)
	if _, _, err := onCards(b, "bind", "0000:02:00.0"); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string]string{
		"bind.txt": "bind --list", "bind_all.txt": "bind --list --all", "bind.json": "bind --list --json",
	} {
		out, stderr, err := onCards(b, strings.Fields(args)...)
		if err != nil || stderr != "" {
			t.Fatalf("%s: %v, %q", args, err, stderr)
		}
		golden(t, name, out)
	}
}

func TestBindListOfNone(t *testing.T) {
	_, b := pcitest.New(t)
	if out, stderr, err := onCards(b, "bind", "--list"); err != nil || out != "" || !strings.Contains(stderr, "--all") {
		t.Errorf("%q, %q, %v", out, stderr, err)
	}
	if out, stderr, err := onCards(b, "bind", "--list", "--json"); err != nil || strings.TrimSpace(out) != "[]" || stderr != "" {
		t.Errorf("%q, %q, %v", out, stderr, err)
	}
}

func TestBindAndUnbind(t *testing.T) {
	leaktest.Check(t)
	_, b := pcitest.New(t, rack()...)
	for _, c := range []struct{ args, out, stderr string }{
		{"bind 02:00.0", "0000:02:00.0: igb -> vfio-pci\n0000:02:00.1: igb -> vfio-pci\n", ""},
		{"bind 0000:02:00.1", "", "nothing to do"},
		{"bind 0000:02:00.1 --json", "[]\n", ""},
		{"unbind 0000:02:00.1", "0000:02:00.1: vfio-pci -> igb\n0000:02:00.0: vfio-pci -> igb\n", ""},
		{"bind --force 0000:03:00.0", "0000:03:00.0: e1000e -> vfio-pci\n", ""},
		{"bind 0000:05:00.0", "0000:05:00.0: - -> vfio-pci\n", "no driver for a device 15b3:1017"},
		{"unbind 05:00.0", "0000:05:00.0: vfio-pci -> -\n", ""},
	} {
		out, stderr, err := onCards(b, strings.Fields(c.args)...)
		if err != nil || out != c.out || !strings.Contains(stderr, c.stderr) || (c.stderr == "") != (stderr == "") {
			t.Errorf("%s: %q, %q, %v", c.args, out, stderr, err)
		}
	}
	out, _, err := onCards(b, "unbind", "--json", "03:00.0")
	var done []map[string]string
	if err == nil {
		err = json.Unmarshal([]byte(out), &done)
	}
	if err != nil || len(done) != 1 || done[0]["address"] != "0000:03:00.0" || done[0]["from"] != "vfio-pci" || done[0]["to"] != "e1000e" {
		t.Errorf("%v in %s", err, out)
	}
}

// TestUnbindInPart sees that what was moved is told beside what was not.
func TestUnbindInPart(t *testing.T) {
	leaktest.Check(t)
	k, b := pcitest.New(t, rack()...)
	if _, _, err := onCards(b, "bind", "02:00.0"); err != nil {
		t.Fatal(err)
	}
	k.Refuse = func(file, _ string) error {
		if strings.Contains(file, "0000:02:00.0/driver/unbind") {
			return syscall.EIO
		}
		return nil
	}
	out, _, err := onCards(b, "unbind", "02:00.0")
	if !errors.Is(err, syscall.EIO) || out != "0000:02:00.1: vfio-pci -> igb\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestBindBadInput(t *testing.T) {
	_, b := pcitest.New(t, rack()...)
	for _, c := range []struct{ args, want string }{
		{"bind", "--list"},
		{"bind eth1", "lspci -D"},
		{"bind 09:00.0", "no such PCI device"},
		{"bind 00:0a.0", "intel_iommu=on"},
		{"bind 00:1c.0", "is a bridge"},
		{"bind 03:00.0", "another network namespace"},
		{"bind 04:00.0", "no network card"},
		{"bind 02:00.0 03:00.0", "at most 1"},
		{"bind 02:00.0 --all", "--list"},
		{"bind --list 02:00.0", "no address"},
		{"bind --list --force", "changes nothing"},
		{"unbind", "bind --list"},
		{"unbind 02:00.0", "nothing to undo"},
		{"unbind nonsense", "lspci -D"},
	} {
		out, _, err := onCards(b, strings.Fields(c.args)...)
		switch {
		case err == nil || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q in it", c.args, err, c.want)
		case strings.Contains(err.Error(), "\n") || out != "":
			t.Errorf("%s: %q, wrote %q", c.args, err, out)
		}
	}
}
