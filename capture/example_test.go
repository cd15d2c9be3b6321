package capture_test

import (
	"bytes"
	"fmt"
	"log"
	"net/netip"
	"strings"

	"github.com/oobnet/oobnet/capture"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// What a device drops, as text. A file for Wireshark is the same without Format.
func Example() {
	wire, err := loopback.New(&loopback.Config{Name: "lab"})
	if err != nil {
		log.Fatal(err)
	}
	s, err := stack.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	d, err := s.Attach(wire, nil)
	if err != nil {
		log.Fatal(err)
	}
	p, err := d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}})
	if err != nil {
		log.Fatal(err)
	}

	var out bytes.Buffer
	session, err := capture.Start(d, &out, &capture.Config{Filter: "udp and outbound", Format: capture.Text})
	if err != nil {
		log.Fatal(err)
	}
	c, err := udp.Listen(s, netip.MustParseAddrPort("10.0.0.1:7"), &udp.Config{MulticastPort: p})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.WriteToUDPAddrPort([]byte("hello"), netip.MustParseAddrPort("239.1.2.3:5000")); err != nil {
		log.Fatal(err)
	}
	if err := session.Stop(); err != nil {
		log.Fatal(err)
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	_, line, _ = strings.Cut(line, " ") // without the time
	fmt.Println(line)
	// Output: lab  Out IP 10.0.0.1.7 > 239.1.2.3.5000: UDP, length 5 [sent]
}
