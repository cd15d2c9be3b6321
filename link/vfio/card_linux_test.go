package vfio

import (
	"testing"

	"github.com/oobnet/oobnet/internal/qtest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/bustest"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbemodel"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbetest"
)

// chips are the NICs of ixgbe that there are models of.
var chips = map[string]ixgbemodel.Chip{"82599": ixgbemodel.Chip82599, "X540": ixgbemodel.ChipX540}

// card is a model of a NIC, and what is at the other end of its cable.
type card struct {
	far   farEnd
	mac   link.MAC // its own address
	speed int      // Mbit/s
	// plug makes the bus on which the next link opens it.
	plug func() cardBus
}

// cardBus is a bus of which a test may take the device away.
type cardBus interface {
	bus.Bus
	// Request asks for the device, and Released says whether it was given back.
	Request()
	Released() bool
}

// farEnd is a peer with a hand on cable and card.
type farEnd interface {
	linktest.Peer
	SetLink(up bool) error
	Vanish()
}

// startCard makes a card of QEMU, by the name it has there, or one of chips. Of
// chips it has to be true at the end that nothing was done that the datasheet
// forbids.
func startCard(t testing.TB, name string) *card {
	t.Helper()
	chip, ours := chips[name]
	if !ours {
		m := qtest.Start(t, qtest.Config{Device: name})
		return &card{
			far: &bustest.Peer{Machine: m}, mac: link.MAC{0x52, 0x54, 0, 0x12, 0x34, 0x56}, speed: 1000,
			plug: func() cardBus { return bustest.On(m) },
		}
	}
	p := ixgbetest.New(t, 1, ixgbetest.Config{Chip: chip})
	return &card{
		far: ixgbetest.NewStation(p), mac: link.MAC{2, 0, 0, 0, 0, 1}, speed: 10000,
		plug: func() cardBus { return p.Open(t, ixgbetest.Config{Chip: chip}) },
	}
}
