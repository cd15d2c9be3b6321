package link_test

import (
	"fmt"
	"log"

	"github.com/oobnet/oobnet/link"
)

// A region of two queues with a TX pool, as a link cuts it, and a frame in one
// of its buffers.
func ExampleMemory() {
	layout := link.Layout{BufferSize: 2048, Queues: 2, RXBuffers: 4, TXBuffers: 8}
	mem, err := link.NewMemory(make([]byte, layout.Bytes()), layout)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(layout.Buffers(), "buffers,", layout.Bytes(), "bytes")
	fmt.Println("buffer 0 belongs to queue", mem.Home(0), "and buffer 7 to queue", mem.Home(7))
	fmt.Println("the TX pool begins at buffer", layout.RXTotal(), "whose home is", mem.Home(8))

	f := link.Frame{Index: 8, Off: 64, Len: 60}
	copy(mem.Bytes(f), "a frame, in place")
	fmt.Printf("%s\n", mem.Buffer(8)[64:81])

	f.Len = 2048 // would reach out of the buffer
	fmt.Println("valid:", mem.Valid(f))
	// Output:
	// 16 buffers, 32768 bytes
	// buffer 0 belongs to queue 0 and buffer 7 to queue 1
	// the TX pool begins at buffer 8 whose home is -1
	// a frame, in place
	// valid: false
}

// The zero value of a poll mode is the adaptive one; Ixl's numbers translate.
func ExampleIxlPollMode() {
	var mode link.PollMode
	fmt.Println(mode, mode == link.Adaptive)
	for _, n := range []int{0, -1, -2, 5} {
		fmt.Println(n, link.IxlPollMode(n))
	}
	// Output:
	// adaptive true
	// 0 busy
	// -1 manual
	// -2 block
	// 5 block 5 ms
}
