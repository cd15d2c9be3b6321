package vfio

import (
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbemodel"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbewire"
)

// TestSuiteIxgbe runs the contract of package link on two NICs and the wire between
// them. The models see to it that nothing is done that a datasheet forbids.
func TestSuiteIxgbe(t *testing.T) {
	for _, c := range []struct {
		name, chip string
		cfg        Config
	}{
		{"82599, MSI-X", "82599", Config{Queues: 1}},
		{"82599, MSI-X, 4 queues", "82599", Config{Queues: 4}},
		{"82599, INTx, tags", "82599", Config{Interrupts: INTx, With: VLANStrip | VLANInsert}},
		{"X540, MSI, small rings", "X540", Config{Interrupts: MSI, RXDescriptors: 64, TXDescriptors: 32}},
		{"X540, no interrupts", "X540", Config{Interrupts: NoInterrupts, Queues: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			linktest.Suite(t, func(t *testing.T) linktest.Wire { return ixgbeWire(t, chips[c.chip], &c.cfg) })
		})
	}
}

func ixgbeWire(t *testing.T, chip ixgbemodel.Chip, cfg *Config) linktest.Wire {
	leaktest.Check(t)
	near, far := ixgbewire.New(t, 1, ixgbewire.Config{Chip: chip}), ixgbewire.New(t, 2, ixgbewire.Config{Chip: chip})
	ixgbewire.Join(near, far)
	other := openPort(t, far, chip, &Config{Queues: 1, MTU: cfg.MTU})
	if err := other.SetPromiscuous(true); err != nil {
		t.Fatal(err)
	}
	peer, err := linktest.NewLinkPeer(other)
	if err != nil {
		t.Fatal(err)
	}
	reopen := func(t *testing.T) link.Link { return upLink{openPort(t, near, chip, cfg)} }
	return linktest.Wire{
		Link: reopen(t), Peer: peer, PeerMAC: peer.MAC(),
		PadTo: 60, Timeout: 10 * time.Second, DeviceAllocates: true,
		SetCarrier: func(up bool) { near.SetLink(up); far.SetLink(up) },
		Reopen:     reopen,
	}
}

// openPort opens a port, which is closed when the test is over.
func openPort(t testing.TB, p *ixgbewire.Port, chip ixgbemodel.Chip, cfg *Config) *Link {
	t.Helper()
	l, err := open(p.Open(t, ixgbewire.Config{Chip: chip}), cfg)
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
