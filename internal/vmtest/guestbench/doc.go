// Package guestbench holds one test, which compares: the stack over link/vfio
// with the kernel's driver and sockets, on the same card of a virtual machine,
// taking turns in one run. "make test-vm" prints its table; a goal that was
// missed is in it, and fails nothing, for the figures are an emulation's.
//
// # What is compared
//
// One thread on the guest's first processor does all there is to do: the stack in
// manual mode, where the application calls Device.Poll; or a locked thread with
// sendmmsg, recvmmsg, or recv without waiting, on a socket of which one queue of
// the card and its interrupt are on that processor too. The other end of the wire
// is the same for both: a virtio card of the guest's kernel, and a thread and
// interrupts on the other processor.
//
// Datagrams have 64 bytes. What was sent is what the card has counted. What was
// received is what the application was given, of a stream from the peer that never
// pauses. The IOMMU translates nothing for the kernel's driver. An echo is the time from the write to the answer, one at a time; the
// kernel's is the best of three ways to wait.
//
// QEMU's virtual processors share the machine with whatever else it does, which
// costs a turn up to nine tenths of its figure. So a figure is the best of all
// turns of a side, which alternate, and says what the two cost in emulated
// instructions and in the card's emulation, not in time on hardware.
package guestbench
