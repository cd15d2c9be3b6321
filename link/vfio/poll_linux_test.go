package vfio

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// TestPollModes: frames arrive by each of Ixl's numbers for a poll mode, and by
// the adaptive mode, with each kind of interrupts and with none, after a pause and
// close behind each other.
func TestPollModes(t *testing.T) {
	leaktest.Check(t)
	modes := map[string]link.PollMode{"adaptive": link.Adaptive}
	for _, n := range []int{0, -1, -2, -77, 5} {
		modes[fmt.Sprintf("Ixl %d", n)] = link.IxlPollMode(n)
	}
	for _, c := range []struct {
		name, card string
		kind       Interrupts
	}{
		{"MSI-X", "e1000e", MSIX}, {"MSI", "e1000e", MSI}, {"INTx", "e1000e", INTx}, {"no interrupts", "e1000e", NoInterrupts},
		{"82599, MSI-X", "82599", MSIX}, {"82599, INTx", "82599", INTx},
	} {
		for mode, poll := range modes {
			t.Run(c.name+", "+mode, func(t *testing.T) {
				card := startCard(t, c.card)
				l, err := open(card.plug(), &Config{Interrupts: c.kind, Queues: 1})
				if err != nil {
					t.Fatal(err)
				}
				h := stacktest.On(t, l, netip.MustParsePrefix("10.0.0.1/24"), &stacktest.Options{NoPort: true, Device: stack.DeviceConfig{Poll: poll}})
				d, peer := h.Device, card.far
				stacktest.Eventually(t, "the wire is up", func() bool { return l.State() == link.Up })
				received := func() uint64 { return d.Stats().RX.Packets }
				arrive := func(n int) {
					t.Helper()
					want := received() + uint64(n)
					for range n {
						if err := peer.Send(testFrame(l.MAC(), nil)); err != nil {
							t.Fatal(err)
						}
					}
					for end := time.Now().Add(wireTime); received() < want; {
						if time.Now().After(end) {
							t.Fatalf("%d frames came of %d", received(), want)
						}
						if poll != link.Manual {
							time.Sleep(time.Millisecond)
							continue
						}
						if err := d.Wait(time.Second); err != nil {
							t.Fatal(err)
						}
						if _, err := d.Poll(64); err != nil {
							t.Fatal(err)
						}
					}
				}
				arrive(1)
				time.Sleep(30 * time.Millisecond) // longer than any mode polls: it blocks
				arrive(1)
				arrive(20)
				waits := l.Queue(0).Stats().Wakeups
				if poll != link.Manual && (waits == 0) != (poll == link.Busy) {
					t.Errorf("it waited %d times", waits)
				}
				stacktest.AssertBooks(t, d)
			})
		}
	}
}
