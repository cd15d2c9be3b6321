package stack_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// payload makes bytes of a number that say by their hash whether they are whole.
func payload(r *rand.Rand, n uint32, size int) []byte {
	b := make([]byte, sha256.Size+4+size)
	binary.BigEndian.PutUint32(b[sha256.Size:], n)
	for i := range size {
		b[sha256.Size+4+i] = byte(r.Uint32())
	}
	sum := sha256.Sum256(b[sha256.Size:])
	copy(b, sum[:])
	return b
}

// number is the payload's, if it is whole.
func number(b []byte) (n uint32, whole bool) {
	if len(b) < sha256.Size+4 {
		return 0, false
	}
	sum := sha256.Sum256(b[sha256.Size:])
	return binary.BigEndian.Uint32(b[sha256.Size:]), slices.Equal(b[:sha256.Size], sum[:])
}

// TestFaultyWire sends datagrams of all sizes, fragmented ones too, over a wire
// that loses, doubles, reorders, damages and delays frames both ways.
// Whatever arrives is whole and comes from the sender; the books add up, and
// Close, by the end of the test, finds every buffer.
//
// Where frames are damaged no datagram is longer than a frame: a checksum finds
// any one bit, but two, in two fragments, can make up for each other.
func TestFaultyWire(t *testing.T) {
	all := linktest.Faults{Drop: 0.05, Corrupt: 0.1, Duplicate: 0.1, Reorder: 0.1, Delay: 0.05}
	whole := all
	whole.Corrupt = 0
	for _, c := range []struct {
		name string
		cfg  linktest.FaultConfig
		// doubles: a datagram may come twice.
		doubles bool
	}{
		{"drop", linktest.FaultConfig{RX: linktest.Faults{Drop: 0.3}, TX: linktest.Faults{Drop: 0.3}}, false},
		{"corrupt", linktest.FaultConfig{RX: linktest.Faults{Corrupt: 0.5}, TX: linktest.Faults{Corrupt: 0.5}}, false},
		{"duplicate", linktest.FaultConfig{RX: linktest.Faults{Duplicate: 0.5}, TX: linktest.Faults{Duplicate: 0.5}}, true},
		{"reorder", linktest.FaultConfig{RX: linktest.Faults{Reorder: 0.5}, TX: linktest.Faults{Reorder: 0.5}}, false},
		{"delay", linktest.FaultConfig{RX: linktest.Faults{Delay: 0.3}, TX: linktest.Faults{Delay: 0.3}}, false},
		{"all", linktest.FaultConfig{RX: all, TX: all}, true},
		{"all but damage", linktest.FaultConfig{RX: whole, TX: whole}, true},
	} {
		for _, mode := range []link.PollMode{link.Adaptive, link.Busy} {
			t.Run(fmt.Sprintf("%s, %v", c.name, mode), func(t *testing.T) {
				leaktest.Check(t)
				const seed = 7
				c.cfg.Seed = seed
				la, lb, err := loopback.Pair(nil)
				if err != nil {
					t.Fatal(err)
				}
				fault := linktest.NewFault(la, c.cfg)
				o := &stacktest.Options{Device: stack.DeviceConfig{Poll: mode, RXBuffers: 256, PoolSize: 256}}
				a := stacktest.On(t, fault, netip.MustParsePrefix("10.0.0.1/24"), o)
				b := stacktest.On(t, lb, netip.MustParsePrefix("10.0.0.2/24"), o)
				stacktest.Know(t, a, b)
				longest := 5500 // in fragments
				if c.cfg.RX.Corrupt > 0 {
					longest = 1400
				}
				got := talk(t, a, b, seed, longest, c.doubles)
				rx, tx := fault.Counts()
				t.Logf("seed %d: %d datagrams arrived; faults: received %+v, sent %+v", seed, got, rx, tx)
				if got == 0 {
					t.Error("nothing arrived at all")
				}
				for _, h := range []*stacktest.Host{a, b} {
					stacktest.AssertBooks(t, h.Device)
					stacktest.AssertNothingHeld(t, h.Device)
				}
			})
		}
	}
}

// talk has both hosts send to each other, and checks what arrives. It returns
// how many datagrams did.
func talk(t *testing.T, a, b *stacktest.Host, seed uint64, longest int, doubles bool) (arrived int) {
	t.Helper()
	const each = 400
	var senders, readers sync.WaitGroup
	var mu sync.Mutex
	var conns []*udp.Conn
	for i, h := range []*stacktest.Host{a, b} {
		conns = append(conns, listen(t, h, h.At(uint16(100+i)), &udp.Config{Queue: 200}))
	}
	for i, c := range conns {
		peer := []*stacktest.Host{b, a}[i].At(uint16(101 - i))
		senders.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for n := range uint32(each) {
				size := r.IntN(1400)
				if r.IntN(20) == 0 {
					size = r.IntN(longest)
				}
				if _, err := c.WriteToUDPAddrPort(payload(r, n, size), peer); err != nil {
					t.Errorf("send: %v", err)
					return
				}
				if n%16 == 15 {
					time.Sleep(200 * time.Microsecond) // the reader's queue is short
				}
			}
		})
		readers.Go(func() {
			buf := make([]byte, 8000)
			seen := map[uint32]int{}
			for {
				n, from, err := c.ReadFromUDPAddrPort(buf)
				if err != nil {
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("read: %v", err)
					}
					break
				}
				number, whole := number(buf[:n])
				if !whole || from != peer || number >= each {
					t.Errorf("a damaged datagram of %d bytes from %v", n, from)
				}
				if seen[number]++; seen[number] > 1 && !doubles {
					t.Errorf("datagram %d came twice", number)
				}
			}
			mu.Lock()
			arrived += len(seen)
			mu.Unlock()
		})
	}
	senders.Wait()
	// Frames are held back for a millisecond: when for fifty nothing has come,
	// and the readers have all there was, that is the end.
	seen := uint64(0)
	stacktest.Eventually(t, "the wire is still", func() bool {
		before := seen
		seen = a.Device.Stats().RX.Packets + b.Device.Stats().RX.Packets
		time.Sleep(50 * time.Millisecond)
		return seen == before && conns[0].Stats().Held+conns[1].Stats().Held == 0
	})
	for _, c := range conns {
		if err := c.SetReadDeadline(time.Now()); err != nil {
			t.Error(err)
		}
	}
	readers.Wait()
	for _, c := range conns {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	return arrived
}
