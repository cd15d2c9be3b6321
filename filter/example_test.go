package filter_test

import (
	"fmt"

	"github.com/oobnet/oobnet/filter"
)

// The verdicts have EVL's numbers.
func ExampleVerdict() {
	for v := filter.Drop; v <= filter.VLAN; v++ {
		fmt.Println(int(v), v)
	}
	// Output:
	// 0 drop
	// 1 accept
	// 2 skip
	// 3 vlan
}
