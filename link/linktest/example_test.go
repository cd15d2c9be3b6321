package linktest_test

import (
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
	"github.com/oobnet/oobnet/link/loopback"
)

// The test of a link hands the suite a way to open it.
func ExampleSuite() {
	_ = func(t *testing.T) { // TestSuite, in the link's package
		linktest.Suite(t, func(t *testing.T) linktest.Wire {
			l, err := loopback.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			return linktest.Wire{Link: l}
		})
	}
}

// A wire that loses every second frame on the way in.
func ExampleNewFault() {
	a, b, err := loopback.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	lossy := linktest.NewFault(a, linktest.FaultConfig{
		RX: linktest.Faults{Rule: func(_ []byte, n uint64) linktest.Action {
			if n%2 == 1 {
				return linktest.Drop
			}
			return linktest.Pass
		}},
	})
	defer lossy.Close()
	mem, err := lossy.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 64, TXBuffers: 64})
	if err != nil {
		log.Fatal(err)
	}
	q := lossy.Queue(0)
	for i := range uint32(64) {
		q.Fill([]uint32{i})
	}
	peer, err := linktest.NewLinkPeer(b)
	if err != nil {
		log.Fatal(err)
	}
	defer peer.Close()
	for i := range 4 {
		if err := peer.Send(fmt.Appendf(make([]byte, 14, 64), "frame %d", i)); err != nil {
			log.Fatal(err)
		}
	}
	if err := q.WaitReceive(time.Second); err != nil {
		log.Fatal(err)
	}
	in := make([]link.Frame, 8)
	for _, f := range in[:q.Receive(in)] {
		fmt.Printf("%s\n", mem.Bytes(f)[14:])
	}
	rx, _ := lossy.Counts()
	fmt.Println(rx.Passed, "passed,", rx.Dropped, "dropped")
	// Output:
	// frame 0
	// frame 2
	// 2 passed, 2 dropped
}
