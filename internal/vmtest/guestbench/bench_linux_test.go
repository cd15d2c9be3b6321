package guestbench

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/netns"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio"
	"github.com/oobnet/oobnet/stack"
)

var (
	ours   = netip.MustParsePrefix("192.0.2.10/24")
	theirs = netip.MustParsePrefix("192.0.2.2/24")
)

const (
	payloadSize = 64
	batchSize   = 32

	sinkPort, echoPort, floodPort = 9, 7, 7000

	ownCPU, peerCPU = 0, 1

	// Sides take turns, of so many measurements of a turn's length.
	rounds, samples = 4, 2
	turn            = 500 * time.Millisecond
	// A turn of echoes ends with echoMost, or with its time if it has echoLeast.
	echoLeast, echoMost = 20, 500
	// lostAfter is when an answer counts as lost; more than lostAtMost of a
	// turn's are no measurement.
	lostAfter  = 200 * time.Millisecond
	lostAtMost = 20
	patience   = 20 * time.Second
)

// side is one of the two that are compared; each method is a measurement: frames
// or datagrams in thousands a second, microseconds.
type side interface {
	send(limit time.Duration) float64
	receive(limit time.Duration) float64
	echo(limit time.Duration) float64
	// settle ends a flood, and takes what is still on its way: a card that takes
	// nothing holds up the wire, and who sends.
	settle(stop func())
}

var _ = []side{(*kernelSide)(nil), (*ourSide)(nil)}

// TestBesideKernelDriver prints the table.
func TestBesideKernelDriver(t *testing.T) {
	card := guesttest.First(t)
	rows := []row{
		{name: "send", unit: "kpps", goal: goal{least: 1.5}},
		{name: "receive", unit: "kpps", goal: goal{least: 1.5}},
		{name: "echo p50", unit: "us", goal: goal{most: 0.8}},
	}
	for round := range rounds {
		for _, kernel := range []bool{round%2 == 0, round%2 != 0} {
			name := map[bool]string{true: "kernel", false: "ours"}[kernel]
			t.Run(fmt.Sprintf("%s, round %d", name, round), func(t *testing.T) {
				var into [3]*[]float64
				for i := range rows {
					into[i] = &rows[i].ours
					if kernel {
						into[i] = &rows[i].kernel
					}
				}
				var s side
				var p *peer
				if kernel {
					s, p = newKernelSide(t, card)
				} else {
					s, p = newOurSide(t, card)
				}
				measure(t, s, p, into)
			})
		}
	}
	if t.Failed() {
		return
	}
	fmt.Print(table(rows))
}

func measure(t *testing.T, s side, p *peer, into [3]*[]float64) {
	defer onCPU(t, ownCPU)()
	for range samples {
		kpps := s.send(turn)
		t.Logf("sent %.1f kpps", kpps)
		*into[0] = append(*into[0], kpps)
		stop := p.flood()
		kpps = s.receive(turn)
		s.settle(stop)
		t.Logf("received %.1f kpps", kpps)
		*into[1] = append(*into[1], kpps)
		stop = p.echo()
		us := s.echo(turn)
		stop()
		*into[2] = append(*into[2], us)
	}
}

// newKernelSide gives the card to the kernel's driver.
func newKernelSide(t *testing.T, card guesttest.Card) (*kernelSide, *peer) {
	t.Helper()
	card.Bind(t, "")
	// As on a machine whose kernel does without translation: VFIO's own is not
	// touched by it.
	group := "/sys/bus/pci/devices/" + card.Address + "/iommu_group/type"
	if err := os.WriteFile(group, []byte("identity"), 0); err != nil {
		t.Fatal(err)
	}
	card.Bind(t, card.Model)
	w := makeWire(t, &netns.Config{Ends: [2]string{card.Netdev(t), card.PeerNetdev(t)}, AddrA: ours})
	for i, h := range []*netns.Host{w.A, w.B} {
		at := []netip.Prefix{ours, theirs}[1-i]
		if err := h.AddNeighbour(at.Addr(), []*netns.Host{w.A, w.B}[1-i].MAC); err != nil {
			t.Fatal(err)
		}
	}
	if steer(t, netns.IfNameA, ownCPU) == 0 {
		t.Error("the card has no interrupt by its interface's name")
	}
	return &kernelSide{w.A, t}, newPeer(t, w.B)
}

// newOurSide gives the card to link/vfio.
func newOurSide(t *testing.T, card guesttest.Card) (*ourSide, *peer) {
	t.Helper()
	peerIf := card.PeerNetdev(t)
	card.Bind(t, "vfio-pci")
	w := makeWire(t, &netns.Config{Ends: [2]string{"", peerIf}})
	l, err := vfio.Open(card.Address, &vfio.Config{Queues: 1})
	if err != nil {
		t.Fatal(err)
	}
	o := &stacktest.Options{NoPort: true, Manual: true}
	h := stacktest.On(t, l, ours, o)
	stacktest.Eventually(t, "the wire to be up", func() bool { return l.State() == link.Up && h.Device.Fault() == nil })
	if h.Port, err = h.Device.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{ours}}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.Stack.SetNeighbor(theirs.Addr(), w.B.MAC), w.B.AddNeighbour(ours.Addr(), l.MAC())); err != nil {
		t.Fatal(err)
	}
	return &ourSide{h, l, t}, newPeer(t, w.B)
}

func makeWire(t *testing.T, c *netns.Config) *netns.Wire {
	t.Helper()
	c.AddrB = theirs
	w, err := netns.Make(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	// Both kinds of interrupts of the virtio card: received, and sent.
	if steer(t, "virtio*-input", peerCPU)+steer(t, "virtio*-output", peerCPU) == 0 {
		t.Error("the peer's card has no interrupts by its name")
	}
	return w
}

// echoes exchanges one datagram after the other, and returns the median time in
// microseconds.
func echoes(t testing.TB, limit time.Duration, write func(), answered func() bool) float64 {
	times := make([]float64, 0, echoMost)
	lost := 0
	for end := time.Now().Add(limit); len(times) < echoMost && (len(times) < echoLeast || time.Now().Before(end)); {
		start := time.Now()
		write()
		for !answered() {
			if time.Since(start) > lostAfter {
				break
			}
		}
		took := time.Since(start)
		if took > lostAfter {
			if lost++; lost > lostAtMost {
				t.Fatalf("%d answers of %d were lost", lost, len(times)+lost)
			}
			continue
		}
		times = append(times, float64(took.Nanoseconds())/1e3)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// rate is in thousands a second.
func rate(n uint64, start time.Time) float64 {
	return float64(n) / time.Since(start).Seconds() / 1e3
}
