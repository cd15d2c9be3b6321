package stack_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// oneAddress makes a stack with one address on a link.
func oneAddress(l link.Link, addr string, cfg *stack.DeviceConfig) (*stack.Stack, *stack.Device) {
	s, err := stack.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	d, err := s.Attach(l, cfg)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}); err != nil {
		log.Fatal(err)
	}
	return s, d
}

// Two stacks find each other by ARP before the first datagram, so that it is a
// fast one.
func Example() {
	left, right, err := loopback.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	here, device := oneAddress(left, "10.0.0.1/24", nil)
	defer here.Close()
	there, _ := oneAddress(right, "10.0.0.2/24", nil)
	defer there.Close()

	peer := netip.MustParseAddrPort("10.0.0.2:2000")
	if err := here.Solicit(context.Background(), peer.Addr(), arp.Permanent); err != nil {
		log.Fatal(err)
	}
	to, err := udp.Listen(there, peer, nil)
	if err != nil {
		log.Fatal(err)
	}
	from, err := udp.Dial(here, netip.AddrPort{}, peer, nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := from.Write([]byte("hello")); err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := to.Read(buf)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, slow datagrams: %d, port %s has %v\n",
		buf[:n], here.Stats().Demoted, device.Ports()[0].Name()[:4], device.Ports()[0].Addrs())
	// Output: hello, slow datagrams: 0, port loop has [10.0.0.1/24]
}

// In manual mode a device has no threads: the application polls it in its own
// cycle, as a PLC does, and the books say what came of each frame.
func ExampleDevice_Poll() {
	left, right, err := loopback.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	manual := &stack.DeviceConfig{Poll: link.Manual}
	here, _ := oneAddress(left, "10.0.0.1/24", manual)
	defer here.Close()
	there, device := oneAddress(right, "10.0.0.2/24", manual)
	defer there.Close()

	peer := netip.MustParseAddrPort("10.0.0.2:2000")
	// Nobody polls while ARP would wait for an answer: a static table instead.
	if err := here.SetNeighbor(peer.Addr(), right.MAC()); err != nil {
		log.Fatal(err)
	}
	to, err := udp.Listen(there, peer, nil)
	if err != nil {
		log.Fatal(err)
	}
	from, err := udp.Listen(here, netip.AddrPort{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		if _, err := from.WriteToUDPAddrPort([]byte{byte(i)}, peer); err != nil {
			log.Fatal(err)
		}
	}
	n, err := device.Poll(stack.MaxBatch)
	if err != nil {
		log.Fatal(err)
	}
	rx := device.Stats().RX
	fmt.Printf("took %d frames: %d of %d delivered, %d demoted, %d dropped\n",
		n, rx.Delivered, rx.Packets, rx.Demoted.Total(), rx.Dropped.Total())
	fmt.Println("waiting for their reader:", to.Stats().Held)
	// Output:
	// took 3 frames: 3 of 3 delivered, 0 demoted, 0 dropped
	// waiting for their reader: 3
}

// A device can begin small, and take more memory while it runs, up to what its
// config leaves room for. What it gives up, the machine has back.
func ExampleDevice_ResizePool() {
	wire, err := loopback.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	s, device := oneAddress(wire, "10.0.0.1/24", &stack.DeviceConfig{
		PoolSize: 512, MaxPoolSize: 8192, RXBuffers: 512, MaxRXBuffers: 4096,
	})
	defer s.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, buffers := range []int{8192, 1024} {
		if out, err := device.ResizePool(ctx, buffers); err != nil {
			log.Fatal(out, " buffers are still out: ", err)
		}
		st := device.Stats().Pool
		fmt.Printf("%d buffers to send, %d to receive, %d MiB\n", st.Size, st.RXSize, st.Memory>>20)
	}
	// Output:
	// 8192 buffers to send, 512 to receive, 34 MiB
	// 1024 buffers to send, 512 to receive, 6 MiB
}
