package vfiouser_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/oobnet/oobnet/internal/vfiouser"
)

// adder is a card with one register, which adds up what is written to it, and
// raises an interrupt each time.
type adder struct {
	config *vfiouser.ConfigSpace
	server *vfiouser.Server
	sum    byte
}

func (*adder) Info() vfiouser.Info {
	return vfiouser.Info{
		Regions: []vfiouser.Region{
			0:                     {Size: 4096, Readable: true, Writable: true},
			vfiouser.ConfigRegion: {Size: 256, Readable: true, Writable: true},
		},
		Vectors: map[vfiouser.IRQ]int{vfiouser.MSI: 1},
	}
}

func (a *adder) Read(region int, offset uint64, b []byte) error {
	if region == vfiouser.ConfigRegion {
		a.config.Read(offset, b)
		return nil
	}
	b[0] = a.sum
	return nil
}

func (a *adder) Write(region int, offset uint64, b []byte) error {
	if region == vfiouser.ConfigRegion {
		a.config.Write(offset, b)
		return nil
	}
	a.sum += b[0]
	return a.server.Interrupt(vfiouser.MSI, 0)
}

func (a *adder) Reset() error { a.sum = 0; return nil }

// A card stands in a guest when QEMU is started with the options printed.
func Example() {
	dir, err := os.MkdirTemp("", "card")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "socket")

	// Vendor and device ID, and the class: a device of no class.
	card := &adder{config: vfiouser.NewConfigSpace(0x1234, 0x0001, 0xff0000, 1)}
	card.config.AddCapability(vfiouser.CapMSI, make([]byte, 12), []byte{1, 0, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	if card.server, err = vfiouser.Listen(path, card, nil); err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() { done <- card.server.Serve() }()

	fmt.Println("-object memory-backend-memfd,id=ram,size=1G,share=on -machine q35,memory-backend=ram")
	fmt.Println(`-device {"driver":"vfio-user-pci","socket":{"type":"unix","path":"..."}}`)

	if err := card.server.Close(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(errors.Is(<-done, net.ErrClosed))
	// Output:
	// -object memory-backend-memfd,id=ram,size=1G,share=on -machine q35,memory-backend=ram
	// -device {"driver":"vfio-user-pci","socket":{"type":"unix","path":"..."}}
	// true
}
