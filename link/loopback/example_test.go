package loopback_test

import (
	"fmt"
	"log"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
)

// A frame goes from one end of a wire to the other.
func ExamplePair() {
	a, b, err := loopback.Pair(&loopback.Config{Name: "cable"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	layout := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 64, TXBuffers: 64}
	memA, err := a.Attach(layout)
	if err != nil {
		log.Fatal(err)
	}
	memB, err := b.Attach(layout)
	if err != nil {
		log.Fatal(err)
	}
	rx, tx := b.Queue(0), a.Queue(0)

	// The receiver lends a buffer to its device.
	rx.Fill([]uint32{0})

	// The sender writes a frame into a buffer of its TX pool.
	out := link.Frame{Index: uint32(layout.RXTotal()), Len: 60}
	dst, payload := b.MAC(), memA.Bytes(out)[14:]
	copy(memA.Bytes(out), dst[:])
	copy(payload, "hello, wire")
	tx.Send([]link.Frame{out})
	if err := tx.Flush(); err != nil {
		log.Fatal(err)
	}

	if err := rx.WaitReceive(time.Second); err != nil {
		log.Fatal(err)
	}
	in := make([]link.Frame, 8)
	for _, f := range in[:rx.Receive(in)] {
		fmt.Printf("%s: %d bytes: %s\n", b.Name(), f.Len, memB.Bytes(f)[14:25])
		rx.Fill([]uint32{f.Index})
	}
	// Output: cable1: 60 bytes: hello, wire
}
