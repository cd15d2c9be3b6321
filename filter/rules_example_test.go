package filter_test

import (
	"fmt"
	"net/netip"

	"github.com/oobnet/oobnet/filter"
)

// PTP and a control loop are this stack's, one station's frames are nobody's,
// and everything else is the host's.
func ExampleNewRules() {
	rules, err := filter.NewRules(filter.Skip,
		filter.Rule{SrcMACs: [][6]byte{{2, 0, 0, 0, 0, 9}}, Verdict: filter.Drop},
		filter.Rule{DstPorts: []filter.Range{{Lo: 319, Hi: 320}}, Verdict: filter.Accept},
		filter.Rule{
			VLANs:     []filter.Range{filter.Only(5)},
			Dst:       []netip.Prefix{netip.MustParsePrefix("10.0.5.0/24")},
			Protocols: []uint8{17},
			Verdict:   filter.Accept,
		},
	)
	if err != nil {
		panic(err)
	}
	fmt.Print(rules)
	// Output:
	// drop src-mac 02:00:00:00:00:09
	// accept dport 319-320
	// accept vlan 5 dst 10.0.5.0/24 proto udp
	// default skip
}

func ExampleEVLRule() {
	rules, err := filter.EVLRule(42, 100, 101)
	if err != nil {
		panic(err)
	}
	fmt.Print(rules)
	_, err = filter.EVLRule(1)
	fmt.Println(err)
	// Output:
	// accept vlan 42,100-101 ethertype ipv4
	// default skip
	// filter: VLAN id 1: out-of-band traffic has an id from 2 to 4094: invalid argument
}

func ExampleParseRules() {
	rules, err := filter.ParseRules(`
		accept ethertype ethercat,0x88f7   # the fieldbus, and PTP
		accept vlan 5 dst 239.0.0.0/8 dport 5000-5010
		default skip
	`)
	if err != nil {
		panic(err)
	}
	instance, err := rules.Instance(1)
	if err != nil {
		panic(err)
	}
	frame := []byte{1, 1, 5, 4, 0, 0, 2, 0, 0, 0, 0, 1, 0x88, 0xa4}
	packets := []filter.Packet{{Buffer: frame, Len: len(frame)}}
	instance.Run(0, packets)
	fmt.Println(filter.Verdict(packets[0].Action), instance.RuleHits())

	_, err = filter.ParseRules("accept vlan 5,4095")
	fmt.Println(err)
	// Output:
	// accept [1 0 0]
	// filter: line 1, column 15: VLAN id 4095: at most 4094, 0 for untagged
}
