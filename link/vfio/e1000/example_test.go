package e1000_test

import (
	"fmt"

	"github.com/oobnet/oobnet/link/vfio/e1000"
)

// The link finds a driver by the ids in its entry.
func Example() {
	for _, m := range e1000.Driver.Models {
		fmt.Printf("%04x:%04x %s\n", m.Vendor, m.Device, m.Name)
	}
	// Output:
	// 8086:100e 82540EM
	// 8086:100f 82545EM
	// 8086:10d3 82574L
	// 8086:10f6 82574LA
}
