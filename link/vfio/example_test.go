package vfio_test

import (
	"fmt"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio"
)

// An application hands the link to stack.Attach, which does all of this. By
// hand, it is a handful of calls.
func ExampleOpen() {
	l, err := vfio.Open("0000:02:00.0", &vfio.Config{OnEvent: func(e vfio.Event) { fmt.Println(e.State, e.Err) }})
	if err != nil {
		fmt.Println(err) // what is wrong, and the way out
		return
	}
	defer l.Close()
	mem, err := l.Attach(link.Layout{BufferSize: 2048, Queues: l.Queues(), RXBuffers: 512, TXBuffers: 512})
	if err != nil {
		fmt.Println(err)
		return
	}
	// The NIC takes unicast to its own address and broadcast. This group, too:
	if err := l.Select(&link.Claims{IPv4: []link.ClaimIPv4{{Addr: [4]byte{224, 0, 1, 129}}}}); err != nil {
		fmt.Println(err)
		return
	}
	q := l.Queue(0)
	for i := range uint32(512) {
		q.Fill([]uint32{i})
	}
	frames := make([]link.Frame, 64)
	for q.WaitReceive(-1) == nil {
		for _, f := range frames[:q.Receive(frames)] {
			fmt.Printf("% x\n", mem.Bytes(f))
			q.Fill([]uint32{f.Index})
		}
	}
}

// The NICs that there are drivers for.
func ExampleModels() {
	for _, m := range vfio.Models()[:3] {
		fmt.Printf("%04x:%04x %s (%s)\n", m.Vendor, m.Device, m.Name, m.Driver)
	}
	// Output:
	// 8086:100e 82540EM (e1000)
	// 8086:100f 82545EM (e1000)
	// 8086:10d3 82574L (e1000)
}
