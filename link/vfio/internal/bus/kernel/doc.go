// Package kernel is the bus of a PCI function that Linux has given to this
// process: VFIO with groups and containers (Documentation/driver-api/vfio.rst,
// include/uapi/linux/vfio.h). A kernel's other way to the same, a device file
// and iommufd, would be a second implementation of Open beside this one.
//
// A group has a container of its own, which the functions of it that this process
// has open share: the kernel opens a group once. So they share the addresses that
// devices see, too, and each could reach the others' memory, as the hardware would
// let it anyway. A function's registers are mapped; memory is mapped for it at
// addresses of our own; its interrupts write eventfds. Closing the descriptors gives
// all of it back, so that a process that dies leaves nothing behind but a function
// that the next one resets.
package kernel
