package pci_test

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/internal/pci/pcitest"
)

func TestParseAddr(t *testing.T) {
	for given, want := range map[string]string{
		"0000:02:00.0": "0000:02:00.0", "02:00.0": "0000:02:00.0", " 0000:0A:1F.7\n": "0000:0a:1f.7", "10000:e1:00.0": "10000:e1:00.0",
	} {
		if got, err := pci.ParseAddr(given); got != want || err != nil {
			t.Errorf("ParseAddr(%q) = %q, %v, want %q", given, got, err, want)
		}
	}
	for _, bad := range []string{"", "eth0", "0000:02:00.8", "0000:02:20.0", "2:0.0", "../../etc", "0000:02:00.0/.."} {
		if got, err := pci.ParseAddr(bad); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "lspci -D") {
			t.Errorf("ParseAddr(%q) = %q, %v", bad, got, err)
		}
	}
}

func TestRead(t *testing.T) {
	_, b := pcitest.New(t,
		pcitest.Card{Addr: "0000:02:00.0", Vendor: 0x8086, Device: 0x10c9, Class: pcitest.Ethernet, Driver: "igb", Group: "7", NUMA: 1, Netdev: "eth1", Up: true},
		pcitest.Card{Addr: "0000:02:00.1", Vendor: 0x8086, Device: 0x10c9, Class: pcitest.Ethernet, Driver: "igb", Group: "7", Netdev: "eth2", Away: true},
		pcitest.Card{Addr: "0000:00:0a.0", Vendor: 0x1af4, Device: 0x1041, Class: pcitest.Ethernet, Driver: "virtio-pci", NUMA: -1, Netdev: "eth3", Virtio: true},
		pcitest.Card{Addr: "0000:00:1c.0", Vendor: 0x8086, Device: 0x3420, Class: pcitest.Bridge, NUMA: -1},
	)
	list, err := b.Sys.List()
	if err != nil {
		t.Fatal(err)
	}
	group := []string{"0000:02:00.0", "0000:02:00.1"}
	want := []*pci.Function{
		{Addr: "0000:00:0a.0", Vendor: 0x1af4, Device: 0x1041, Class: 0x020000, Driver: "virtio-pci", NUMA: -1, Netdevs: []pci.Netdev{{Name: "eth3"}}},
		{Addr: "0000:00:1c.0", Vendor: 0x8086, Device: 0x3420, Class: 0x060400, NUMA: -1},
		{Addr: "0000:02:00.0", Vendor: 0x8086, Device: 0x10c9, Class: 0x020000, Driver: "igb", Group: "7", Members: group, NUMA: 1, Netdevs: []pci.Netdev{{Name: "eth1", Up: true}}},
		{Addr: "0000:02:00.1", Vendor: 0x8086, Device: 0x10c9, Class: 0x020000, Driver: "igb", Group: "7", Members: group, Away: true},
	}
	if d := cmp.Diff(want, list); d != "" {
		t.Error(d)
	}
	for i, is := range [][3]bool{{true, true, false}, {false, false, true}, {true, true, false}, {true, true, false}} {
		f := list[i]
		if got := [3]bool{f.Ethernet(), f.Network(), f.Bridge()}; got != is {
			t.Errorf("%s: Ethernet, network, bridge: %v, want %v", f.Addr, got, is)
		}
	}
	if f, err := b.Sys.Read("02:00.0"); err != nil || f.Addr != "0000:02:00.0" {
		t.Errorf("by a short address: %+v, %v", f, err)
	}
}

func TestNoBus(t *testing.T) {
	if list, err := pci.Tree(t.TempDir()).List(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "PCI bus") {
		t.Errorf("%v, %v", list, err)
	}
}
