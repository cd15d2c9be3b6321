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
//
//	make test-vm VMFLAGS="-suite ixgbe-dpdk"
//
// runs them, if the host has DPDK, which hack/deps.sh installs. A register that is
// written as it may not be, or a descriptor that is wrong, is a violation of a
// model, and fails the run in a row of its own.
//
// # What DPDK's ixgbe does that Linux's does not
//
// Seen with 22.11; each is what a model has to bear, and what our own driver should
// leave alone.
//
//   - The first word of the 82599's EEPROM it reads bit by bit, by EEC.
//   - A receive queue's head it writes when the queue is enabled already. One that
//     was stopped by itself begins anew so.
//   - It does not wait for the X540's transmit queues to be enabled.
//   - For link interrupts alone it switches MSI-X on in the configuration space, and
//     leaves GPIE as for one vector and IVAR_MISC empty.
//   - What it reports as received are the counters of queues (QPRC, QBRC), not those
//     of the port.
//   - That a UDP checksum is wrong it believes no 82599.
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
