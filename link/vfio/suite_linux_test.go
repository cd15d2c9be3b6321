package vfio

import (
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/qtest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/bustest"
)

// peerMAC is where the suite's frames go: QEMU's wire has no station.
var peerMAC = link.MAC{0x52, 0x54, 0, 0, 0, 2}

// wireTime is how long a frame may take. QEMU's e1000 receives nothing for 1 s
// after its receiver was switched on, and a test of the suite that expects losses
// waits for a tenth of this time only.
const wireTime = 15 * time.Second

// TestSuite runs the contract of package link on QEMU's models of all NICs.
func TestSuite(t *testing.T) {
	for _, c := range []struct {
		name, card string
		cfg        Config
	}{
		{"82540EM, INTx", "e1000", Config{}},
		{"82574, MSI-X", "e1000e", Config{}},
		{"82574, MSI, tags", "e1000e", Config{Interrupts: MSI, With: VLANStrip | VLANInsert}},
		{"82576, MSI-X", "igb", Config{Queues: 1}},
		{"82576, MSI-X, 4 queues", "igb", Config{Queues: 4}},
		{"82576, INTx, tags", "igb", Config{Interrupts: INTx, With: VLANStrip | VLANInsert}},
		{"82574, no interrupts", "e1000e", Config{Interrupts: NoInterrupts, RXDescriptors: 64, TXDescriptors: 32}},
	} {
		t.Run(c.name, func(t *testing.T) {
			linktest.Suite(t, func(t *testing.T) linktest.Wire { return suiteWire(t, c.card, &c.cfg) })
		})
	}
}

// upLink is a link of which Attach waits for the wire, as the suite expects it: a
// real PHY negotiates, and QEMU's igb takes half a second.
type upLink struct{ *Link }

func (l upLink) Attach(layout link.Layout) (*link.Memory, error) {
	mem, err := l.Link.Attach(layout)
	for end := time.Now().Add(wireTime); err == nil && l.State() != link.Up && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	return mem, err
}

func suiteWire(t *testing.T, card string, cfg *Config) linktest.Wire {
	leaktest.Check(t)
	m := qtest.Start(t, qtest.Config{Device: card})
	reopen := func(t *testing.T) link.Link { return upLink{openOn(t, m, cfg)} }
	return linktest.Wire{
		Link: reopen(t), Peer: &bustest.Peer{Machine: m}, PeerMAC: peerMAC,
		PadTo: 60, Timeout: wireTime,
		// QEMU keeps what does not fit for later, and models no loss.
		LossUncounted:   true,
		DeviceAllocates: true,
		SetCarrier: func(up bool) {
			if err := m.SetLink(up); err != nil {
				t.Error(err)
			}
		},
		Reopen: reopen,
	}
}

// openOn opens the card of a machine.
func openOn(t testing.TB, m *qtest.Machine, cfg *Config) *Link {
	t.Helper()
	l, err := open(bustest.On(m), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
