// Package guestdpdk holds tests in which DPDK drives two cards of a virtual
// machine: dpdk-testpmd, as Debian has it, with the cards bound to vfio-pci
// behind the guest's IOMMU, hands frames from one to the other. At the far ends of
// the cards' wires are virtio cards of the guest's kernel, in namespaces of their
// own, so that the kernel talks to itself through DPDK's drivers:
//
//	kernel, virtio ── wire ── card 0 ── testpmd ── card 1 ── wire ── virtio, kernel
//
// The cards are ours, models of register level, or QEMU's. The tests say nothing of
// oobnet's drivers: they say whether a model is one that a driver by others, written
// for the silicon, can use. On QEMU's igb, which is nobody's model of ours, they say
// whether the tests are right.
package guestdpdk

import (
	"path/filepath"
	"slices"
)

// testpmd is the program, as it is called in Debian's package dpdk.
const testpmd = "dpdk-testpmd"

// pluginsAt is where Debian keeps DPDK's plugins, and where DPDK looks for them:
// a folder for each version of its ABI.
const pluginsAt = "/usr/lib/*/dpdk/pmds-*"

// plugins are those that tests need and testpmd is not linked with, as it is with
// net_ixgbe. There are a hundred more, and the guest's root lies in its memory.
var plugins = []string{"mempool_ring", "net_e1000"}

// Programs are what a guest must have for these tests: see Config.Programs of
// package vmtest. Where the host has no DPDK they are names alone, and the tests
// skip.
func Programs() []string {
	names := []string{testpmd}
	for _, p := range plugins {
		// An error is a bad pattern, and ours is good.
		found, _ := filepath.Glob(filepath.Join(pluginsAt, "librte_"+p+".so.*.*"))
		slices.Sort(found)
		if len(found) > 0 {
			names = append(names, found[len(found)-1])
		}
	}
	return names
}
