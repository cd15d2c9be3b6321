package filter_test

import (
	"fmt"
	"log"

	"github.com/oobnet/oobnet/filter"
)

// A program of an object file, here at work on a frame by hand: a stack does
// that for its devices, or has the kernel do it.
func ExampleLoadFile() {
	p, err := filter.LoadFile("testdata/verdict.o") // what it does is in verdict.c
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p)
	in, err := p.Instance(1)
	if err != nil {
		log.Fatal(err)
	}
	frame := make([]byte, 60)
	frame[14] = byte(filter.Accept) // the program returns this byte
	packets := []filter.Packet{{Buffer: frame, Len: len(frame)}}
	in.Run(0, packets)
	fmt.Println(packets[0].Action == filter.ActionAccept)

	seen, err := in.Map("seen") // it counts, by verdict
	if err != nil {
		log.Fatal(err)
	}
	n, err := seen.Lookup([]byte{1, 0, 0, 0})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n)
	// Output:
	// program verdict of SEC("oobnet")
	// true
	// [1 0 0 0 0 0 0 0]
}
