package stack

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

func newQueue() (*demoteQueue, *parker) {
	p := new(parker)
	p.init()
	return newDemoteQueue(2048, p), p
}

// TestDemoteQueueBounds fills it, empties it, and goes round the ring.
func TestDemoteQueueBounds(t *testing.T) {
	q, _ := newQueue()
	frame := func(n int) []byte {
		b := make([]byte, 60)
		wire.PutEthernet(b, link.MAC{1}, link.MAC{2}, 0, wire.TypeARP)
		copy(b[20:], fmt.Sprint(n))
		return b
	}
	put, took := 0, 0
	for round := range 5 {
		for q.put(uint32(put), frame(put), link.Frame{}) {
			put++
		}
		if put-took != demoteSlots {
			t.Fatalf("round %d: %d frames in a queue of %d", round, put-took, demoteSlots)
		}
		for range demoteSlots - round {
			ok := q.take(func(port uint32, b []byte) {
				if port != uint32(took) || !bytes.Equal(b, frame(took)) {
					t.Fatalf("frame %d: port %d, % x", took, port, b)
				}
			})
			if !ok {
				t.Fatal("it says that it is empty")
			}
			took++
		}
	}
	for q.take(func(uint32, []byte) { took++ }) {
	}
	if took != put || !q.empty() {
		t.Errorf("%d frames in, %d out", put, took)
	}
}

// TestDemoteTakesTheTagOff: the in-band stage has a port for each VLAN.
func TestDemoteTakesTheTagOff(t *testing.T) {
	for _, c := range []struct {
		name  string
		tci   uint16
		flags link.Flags
		want  uint16
		size  int
	}{
		{"untagged", 0, 0, wire.TypeIPv4, 60},
		{"tagged", 0x2064, 0, wire.TypeIPv4, 56},
		{"stripped", 0, link.FlagVLANStripped, wire.TypeIPv4, 60},
		{"a tag behind the stripped one", 0x64, link.FlagVLANStripped, wire.TypeVLAN, 60},
	} {
		q, _ := newQueue()
		b := bytes.Repeat([]byte{0xab}, 60)
		wire.PutEthernet(b, link.MAC{1, 2, 3}, link.MAC{4, 5, 6}, c.tci, wire.TypeIPv4)
		if !q.put(1, b, link.Frame{Meta: link.Meta{Flags: c.flags}}) {
			t.Fatal("full")
		}
		q.take(func(_ uint32, got []byte) {
			if len(got) != c.size || uint16(got[12])<<8|uint16(got[13]) != c.want || !bytes.Equal(got[:12], b[:12]) {
				t.Errorf("%s: %d bytes, % x", c.name, len(got), got[:18])
			}
		})
	}
}

// TestDemoteQueueBetweenTwo: one puts, one takes, as the RX step and the
// in-band goroutine do.
func TestDemoteQueueBetweenTwo(t *testing.T) {
	leaktest.Check(t)
	q, p := newQueue()
	const frames = 50000
	done := make(chan int)
	go func() {
		n := 0
		for n < frames {
			if !q.take(func(port uint32, b []byte) {
				if port != uint32(n) || b[20] != byte(n) {
					t.Errorf("frame %d where %d is due", port, n)
				}
				n++
			}) {
				p.park(func() bool { return !q.empty() })
			}
		}
		done <- n
	}()
	b := make([]byte, 60)
	for n := 0; n < frames; {
		if b[20] = byte(n); q.put(uint32(n), b, link.Frame{}) {
			n++
		}
		q.wake()
	}
	<-done
}
