package arp_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/link"
)

// eth0 stands for a port; in a stack, *stack.Port is the Egress.
type eth0 struct{}

func (*eth0) Name() string { return "eth0" }

// A cache is fed with a static table and with what ARP learns; a sender looks
// its destination up; an operator looks at all of it.
func Example() {
	now := time.Unix(0, 0)
	cache, err := arp.NewCache(arp.Config{Now: func() time.Time { return now }})
	if err != nil {
		fmt.Println(err)
		return
	}
	spec := arp.Spec{
		Src: netip.MustParseAddr("10.0.0.1"), Via: new(eth0),
		SrcMAC: link.MAC{2, 0, 0, 0, 0, 1}, MTU: 1500,
	}

	statics, err := arp.ReadTable(strings.NewReader("10.0.0.2 02:00:00:00:00:0a  # drive"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range statics {
		spec.Dst, spec.MAC, spec.Permanent = s.Addr, s.MAC, true
		if _, err := cache.Learn(spec); err != nil {
			fmt.Println(err)
		}
	}

	spec.Permanent = false
	spec.NextHop, spec.MAC = netip.MustParseAddr("10.0.0.254"), link.MAC{2, 0, 0, 0, 0, 0xfe}
	spec.Dst = netip.MustParseAddr("192.0.2.7")
	if _, err := cache.Learn(spec); err != nil {
		fmt.Println(err)
	}

	if e := cache.Lookup(0xc0000207); e != nil { // 192.0.2.7
		e.Touch()
		fmt.Printf("% x\n\n", e.Header[:e.HeaderLen])
	}

	now = now.Add(25 * time.Second)
	for _, p := range cache.Due(now) {
		fmt.Printf("who has %v? tell %v\n\n", p.NextHop, p.Src)
	}
	if err := arp.WriteText(os.Stdout, cache.Dump()); err != nil {
		fmt.Println(err)
	}

	// Output:
	// 02 00 00 00 00 fe 02 00 00 00 00 01 08 00
	//
	// who has 10.0.0.254? tell 10.0.0.1
	//
	// DESTINATION  NEXT HOP    PORT  SOURCE    MAC                VLAN  MTU   CONFIRMED  USED  STATE
	// 10.0.0.2     -           eth0  10.0.0.1  02:00:00:00:00:0a  -     1500  -          -     permanent
	// 192.0.2.7    10.0.0.254  eth0  10.0.0.1  02:00:00:00:00:fe  -     1500  25.0s      0.0s  probing
}
