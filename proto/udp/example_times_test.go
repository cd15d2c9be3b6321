package udp_test

import (
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Where the time goes between two applications: on the way down, and up.
func ExampleConn_SetTimestamping() {
	left, right, err := loopback.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	here, there := attach(left, "10.0.0.1/24", nil), attach(right, "10.0.0.2/24", nil)
	defer here.Close()
	defer there.Close()
	to := netip.MustParseAddrPort("10.0.0.2:7")
	if err := here.SetNeighbor(to.Addr(), right.MAC()); err != nil {
		log.Fatal(err)
	}
	receiver, err := udp.Listen(there, to, nil)
	if err != nil {
		log.Fatal(err)
	}
	sender, err := udp.Dial(here, netip.AddrPort{}, to, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range []*udp.Conn{sender, receiver} {
		if err := c.SetTimestamping(stack.TimeAll); err != nil {
			log.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second)) // an open socket takes any
	}
	id, err := sender.WriteTimed([]byte("hello"), netip.AddrPort{})
	if err != nil {
		log.Fatal(err)
	}
	times := make([]stack.IOTimes, 8)
	n, err := sender.ReadTXTimes(times)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range times[:n] {
		fmt.Println("sent", s.ID == id, s.Device-s.Delivery >= 0)
	}
	m := udp.Message{Buf: make([]byte, 1500)}
	if err := receiver.ReadMsg(&m); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %v\n", m.Buf[:m.N], m.Times.Delivery >= m.Times.Device)
	// Output:
	// sent true true
	// hello: true
}
