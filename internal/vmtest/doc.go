// Package vmtest runs test packages in a virtual machine, under a Debian kernel
// of choice and on network cards that QEMU models: what a container's kernel
// cannot offer (VFIO, an IOMMU, AF_XDP in zero copy, 802.1Q) is there, and a
// driver is tested against the kernel's own stack at the other end of a wire.
//
//	image, err := kernel.Fetch(ctx, vmtest.Cache(root))
//	report, err := vmtest.Boot(ctx, root, vmtest.Config{
//		Kernel: image,
//		Cards:  []vmtest.Card{{Model: "igb", Driver: "vfio-pci"}},
//		Runs:   []vmtest.Run{{Package: "link/vfio"}},
//		Output: os.Stdout,
//	})
//
// Nothing of it is an image of a disk, and no shell runs: the guest's root is
// an archive in memory, made for each boot, of the kernel's modules, the
// compiled test binaries with their testdata, and one program of ours, which
// is the guest's init (internal/vmtest/guest). QEMU emulates (TCG), so no
// privileges are needed here, and in the guest tests are root. A boot takes
// some seconds, tests run five to ten times slower than natively.
//
// "make test-vm" runs the matrix of hack/vmtest: suites by kernel and card.
//
// A card and its peer are at two ports of a hub, which is a wire that neither
// switches off for the other. Its cable can be pulled all the same: the guest
// has a third serial port, which QEMU's monitor reads.
//
// # Cards that QEMU has not
//
// The 82599 and the X540 are models of ours (link/vfio/internal/ixgbemodel), a
// process each, which QEMU reaches by vfio-user and, for frames, by a pair of
// datagram sockets. It takes a QEMU of its own, 11.1, which [FetchModels] gets
// with the libraries it needs, installed nowhere. What the guest's driver did to
// such a card that its datasheet forbids is in [Report].Models, and
// Config.Traces keeps each access to a register.
//
// # How to add
//
// A suite: a line in the table of hack/vmtest/matrix.go. Tests that want a card
// ask guesttest.Cards for it, and skip elsewhere; all others run as they are.
//
// A card: a line in kernelDrivers in boot_linux.go, if QEMU models it. One of
// ours: a program such as link/vfio/internal/ixgbemodel/serve, and a line in
// model_linux.go.
//
// A kernel: a line in Kernels in kernel_linux.go, if Debian has it.
//
// # How a guest fails
//
// A test that fails is in the [Result]. A guest whose kernel stumbles, which
// powers off before it is done, or which is silent for longer than the run may
// take is an error, which shows the ends of its console and of the test's
// output. In all cases QEMU is gone when [Boot] returns.
//
// The package is for Linux: elsewhere it is empty.
package vmtest
