package udp_test

import (
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// attach makes a stack with one address on a link.
func attach(l link.Link, addr string, cfg *stack.DeviceConfig) *stack.Stack {
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
	return s
}

// An echo server and its client, on two stacks at the ends of a wire in memory.
func Example() {
	left, right, err := loopback.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	here, there := attach(left, "10.0.0.1/24", nil), attach(right, "10.0.0.2/24", nil)
	defer here.Close()
	defer there.Close()

	server, err := udp.Listen(there, netip.MustParseAddrPort("10.0.0.2:7"), nil)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return // closed
			}
			if _, err := server.WriteToUDPAddrPort(buf[:n], from); err != nil {
				log.Print(err)
			}
		}
	}()

	client, err := udp.Dial(here, netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.2:7"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := client.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Write([]byte("hello")); err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, err := client.Read(buf)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s from %v\n", buf[:n], client.RemoteAddr())
	// Output: hello from 10.0.0.2:7
}

// Without a copy: the sender writes into the buffer that is sent, the receiver
// reads the buffer that was received, and gives it back.
func ExampleConn_Receive() {
	left, right, err := loopback.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	here, there := attach(left, "10.0.0.1/24", nil), attach(right, "10.0.0.2/24", nil)
	defer here.Close()
	defer there.Close()
	from, err := udp.Listen(here, netip.MustParseAddrPort("10.0.0.1:1000"), nil)
	if err != nil {
		log.Fatal(err)
	}
	to, err := udp.Listen(there, netip.MustParseAddrPort("10.0.0.2:2000"), nil)
	if err != nil {
		log.Fatal(err)
	}

	lease, err := from.Reserve(4)
	if err != nil {
		log.Fatal(err)
	}
	copy(lease.Payload(), "ping")
	if err := lease.SendTo(netip.MustParseAddrPort("10.0.0.2:2000")); err != nil {
		log.Fatal(err)
	}

	d, err := to.Receive()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s from %v\n", d.Payload(), d.From())
	d.Release()
	// Output: ping from 10.0.0.1:1000
}

// A handler answers in the RX step itself; in manual mode that is the
// application's own cycle, and no thread but its own takes part.
func ExampleConfig_handler() {
	left, right, err := loopback.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	manual := &stack.DeviceConfig{Poll: link.Manual}
	here, there := attach(left, "10.0.0.1/24", manual), attach(right, "10.0.0.2/24", manual)
	defer here.Close()
	defer there.Close()
	// Each knows the other beforehand: nothing has to be asked for.
	if err := here.SetNeighbor(netip.MustParseAddr("10.0.0.2"), right.MAC()); err != nil {
		log.Fatal(err)
	}
	if err := there.SetNeighbor(netip.MustParseAddr("10.0.0.1"), left.MAC()); err != nil {
		log.Fatal(err)
	}

	var server *udp.Conn
	server, err = udp.Listen(there, netip.MustParseAddrPort("10.0.0.2:7"), &udp.Config{
		Handler: func(d udp.Datagram) {
			if _, err := server.WriteToUDPAddrPort(d.Payload(), d.From()); err != nil {
				log.Print(err)
			}
			d.Release()
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	client, err := udp.Dial(here, netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.2:7"), nil)
	if err != nil {
		log.Fatal(err)
	}
	for cycle := range 3 {
		if _, err := fmt.Fprintf(client, "cycle %d", cycle); err != nil {
			log.Fatal(err)
		}
		// What there.Poll takes, it has answered when it returns.
		for _, s := range []*stack.Stack{there, here} {
			if _, err := s.Devices()[0].Poll(stack.MaxBatch); err != nil {
				log.Fatal(err)
			}
		}
		buf := make([]byte, 100)
		n, err := client.Read(buf)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", buf[:n])
	}
	// Output:
	// cycle 0
	// cycle 1
	// cycle 2
}
