// Package vfio is a link on a NIC that this process owns whole: a driver of our
// own in user space, over Linux's VFIO. The kernel has no driver on the NIC, and
// nothing of its network stack; frames go from the wire into the link's region
// and from there to the wire, without a copy and without a system call.
//
// # How it is built
//
//	link.Link      what the stack knows
//	   │
//	vfio           the contract's side of a NIC: owners of buffers, waits, Stop
//	   │           and Drain, watchdog, hot unplug, claims to filters, counters
//	   ├──────▶ internal/driver   the seam between link and driver, and what drivers
//	   │                          of Intel's NICs share
//	e1000, igb, ixgbe   registers and descriptors of one family
//	   │
//	   ├──────▶ internal/bus      the seam between driver and bus
//	   │
//	bus/kernel     VFIO: groups, containers, mapped registers, DMA, eventfds
//	bus/model      plain memory, for tests and for the cost of a driver alone
//	bus/bustest    a device model of QEMU over qtest, for tests
//
// A driver is found by PCI id in a table. Read a driver from the top: registers
// used, init, receive, transmit, close, with the datasheet's section at each step.
//
// # When the wire is up
//
// Attach starts the NIC, which then agrees with the other end on a speed. Until it
// has, seconds later, the link is down and the stack makes no port on it:
// stack.Device.WaitUp waits for that.
//
// # What becomes of a received frame
//
// What a NIC says of a frame goes with it in link.Meta, if the feature is on: what
// its checksums are (RXChecksum), the tag that was taken out (VLANStrip), when it
// came (RXTime). A frame with an error has no flag, since nobody gets it: one that
// the wire damaged or that is too long or too short stays in the NIC and counts as
// RXErrors of Statistics; one that reaches a ring with an error, beyond the MTU or in
// parts, because it is longer than a buffer, is dropped by the driver, and counts as
// RXInvalid of the queue's Stats. A wrong checksum of IPv4 or UDP is no such error:
// whoever has the frame decides.
//
// # What it is tested on
//
// e1000 and igb run on QEMU's models of 82540EM, 82574 and 82576. ixgbe runs on a
// model of the 82599 and the X540 of our own (internal/ixgbemodel), which the drivers
// of Linux and DPDK accept, too. No driver here has met silicon yet:
// `oobnet check` tests a NIC by itself, and writes a report to send.
package vfio
