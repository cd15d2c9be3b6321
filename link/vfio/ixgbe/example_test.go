package ixgbe_test

import (
	"fmt"

	"github.com/oobnet/oobnet/link/vfio/ixgbe"
)

// The link finds a driver by the ids in its entry.
func Example() {
	for _, m := range ixgbe.Driver.Models {
		if m.Name == "82599" || m.Name == "X540" {
			fmt.Printf("%04x:%04x %s\n", m.Vendor, m.Device, m.Name)
		}
	}
	// Output:
	// 8086:10fb 82599
	// 8086:1528 X540
}
