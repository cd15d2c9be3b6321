package afxdp_test

import (
	"errors"
	"fmt"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
)

// An application hands the link to stack.Attach, which does all of this. By
// hand, it is a handful of calls.
func ExampleOpen() {
	l, err := afxdp.Open("eth1", &afxdp.Config{Queues: 1})
	if err != nil {
		fmt.Println(err) // what is wrong, and the way out
		return
	}
	defer l.Close()
	mem, err := l.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 512, TXBuffers: 512})
	if err != nil {
		fmt.Println(err)
		return
	}
	// From here on, IPv4 to 192.0.2.10 and ARP for it come here; all else
	// stays with the kernel.
	if err := l.Select(&link.Claims{IPv4: []link.ClaimIPv4{{Addr: [4]byte{192, 0, 2, 10}}}}); err != nil {
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

// Features are asked for; a link that has not all of them says which, and why.
// The capabilities name the clocks.
func ExampleFeatures() {
	l, err := afxdp.Open("eth1", &afxdp.Config{With: afxdp.RXTime | afxdp.TXChecksum})
	if errors.Is(err, link.ErrNotSupported) {
		fmt.Println(err)
		l, err = afxdp.Open("eth1", nil)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	c := l.Capabilities()
	fmt.Println("times of frames received:", c.RXClock, "sent:", c.TXClock, "to send:", c.LaunchClock)
	fmt.Println("checksums completed:", c.TXChecksum)
}
