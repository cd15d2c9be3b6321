// Package vfiouser serves a PCI device to a virtual machine monitor over a Unix
// socket: the server's side of the vfio-user protocol, version 0.0. The other
// side is QEMU's device vfio-user-pci (QEMU 11.1 has it), so a register model
// written in Go stands in a guest as a card, in front of any driver.
//
//	s, err := vfiouser.Listen(path, model, nil)
//	...
//	go s.Serve()                       // calls the model: Read, Write, Reset
//	s.Memory().Read(ring, descriptor)  // the guest's memory, by IOVA
//	s.Interrupt(vfiouser.MSIX, 0)      // an interrupt of the guest
//	s.Close()
//
// A [Device] says what it has ([Info]) and answers accesses, one at a time. What
// it wants of the guest it gets from the [Server], on any goroutine.
//
// A client is not trusted: lengths, ranges and descriptors are checked; a command
// that cannot be done is answered with an errno, and bytes that are no message
// end the connection. Memory that a client maps and then takes away is an error
// of the access (EFAULT), not the end of the process. A server has one client at
// a time. When it goes, its memory and its interrupts are forgotten and its
// descriptors closed; the device keeps its state, an asserted INTx too, for the
// next one. Who begins a message must finish it within [Config].Patience.
//
// A register access is one message and its reply: it costs the server two calls
// into the kernel and no memory.
//
// Memory that is mapped without a descriptor cannot be accessed: commands from
// server to client (DMA_READ, DMA_WRITE) are not sent. A guest needs shared
// memory (memory-backend-memfd,share=on). Refused with ENOTSUP: region I/O by
// descriptors, dirty pages, device features, migration. DMA_UNMAP takes, as
// Linux's VFIO does and a virtual IOMMU needs, any range that cuts no mapping,
// not only what was mapped at once.
//
// Linux only; elsewhere Listen fails with [errors.ErrUnsupported].
//
// Source: QEMU, docs/interop/vfio-user.rst; Linux, include/uapi/linux/vfio.h.
package vfiouser
