package igb_test

import (
	"fmt"

	"github.com/oobnet/oobnet/link/vfio/igb"
)

// The link finds a driver by the ids in its entry.
func Example() {
	for _, m := range igb.Driver.Models {
		fmt.Printf("%04x:%04x %s\n", m.Vendor, m.Device, m.Name)
	}
	// Output:
	// 8086:10c9 82576
	// 8086:10e8 82576 quad
	// 8086:1526 82576 quad ET2
	// 8086:1521 I350
	// 8086:1533 I210
	// 8086:157b I210 flashless
}
