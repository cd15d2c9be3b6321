package guesttest

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/internal/vmtest/inside"
)

// Card is a network card under test, and its peer: what package vmtest has
// plugged in.
type Card struct {
	Model   string // by QEMU's name
	Address string // on PCI, as 0000:00:04.0
	Peer    string // address of the card at the other end of the wire, which the kernel drives
	Driver  string // what the card was bound to when the tests began
	Cable   string // QEMU's name of its end of the wire; "" where we model the card ourselves
}

// SetCable plugs the card's cable in or pulls it, until the test ends. The card
// sees it soon after, and its peer never: they are at different ports of a hub.
func (c Card) SetCable(t testing.TB, in bool) {
	t.Helper()
	if !in {
		t.Cleanup(func() {
			if err := inside.Card(c).SetCable(true); err != nil {
				t.Error(err)
			}
		})
	}
	if err := inside.Card(c).SetCable(in); err != nil {
		t.Fatal(err)
	}
}

// Mark begins a task, by its number, in the trace of a card that we model
// ourselves.
func (c Card) Mark(t testing.TB, task uint32) {
	t.Helper()
	if err := inside.Mark(c.Address, task); err != nil {
		t.Fatal(err)
	}
}

// Cards returns the cards that this virtual machine has for tests, in order of
// their slots, or skips the test, with the reason, where there are none.
func Cards(t testing.TB) []Card {
	t.Helper()
	text := os.Getenv(inside.CardsEnv)
	if text == "" {
		t.Skip("needs a virtual machine: \"make test-vm\"")
	}
	var cards []Card
	if err := json.Unmarshal([]byte(text), &cards); err != nil {
		t.Fatalf("guesttest: %s: %v", inside.CardsEnv, err)
	}
	if len(cards) == 0 {
		t.Skip("this virtual machine has no card for tests")
	}
	return cards
}

// First returns the first card, or skips the test as [Cards] does. The card is
// given back to the driver that it had at first when the test ends.
func First(t testing.TB) Card {
	t.Helper()
	c := Cards(t)[0]
	t.Cleanup(func() {
		if err := inside.Bind(c.Address, c.Driver); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Bind takes the card from its driver and gives it to another, as "vfio-pci" or
// "igb", or to none if that is "", by the means of "oobnet bind". When it returns,
// the card's interface is there, if its driver makes one.
func (c Card) Bind(t testing.TB, driver string) {
	t.Helper()
	if err := inside.Bind(c.Address, driver); err != nil {
		t.Fatal(err)
	}
}

// Bound is the name of the card's driver now, "" if it has none.
func (c Card) Bound(t testing.TB) string {
	t.Helper()
	return pci.Sys.Driver(c.Address)
}

// Netdev is the name of the interface that the kernel has made of the card.
func (c Card) Netdev(t testing.TB) string { return netdev(t, c.Address) }

// PeerNetdev is the name of the interface at the other end of the wire.
func (c Card) PeerNetdev(t testing.TB) string { return netdev(t, c.Peer) }

func netdev(t testing.TB, address string) string {
	t.Helper()
	name, err := inside.Netdev(address)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Group is the number of the card's IOMMU group: /dev/vfio/<group> is there
// while a card of it has the driver vfio-pci.
func (c Card) Group(t testing.TB) string {
	t.Helper()
	f, err := pci.Sys.Read(c.Address)
	if err != nil {
		t.Fatal(err)
	}
	return f.Group
}
