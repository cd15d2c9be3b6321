package netnstest

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/oobnet/oobnet/internal/vmtest/inside"
)

// card is the virtual machine's first card, nil where there is none.
func card(t testing.TB) *inside.Card {
	t.Helper()
	var all []inside.Card
	text := os.Getenv(inside.CardsEnv)
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("netnstest: %s: %v", inside.CardsEnv, err)
	}
	if len(all) == 0 {
		return nil
	}
	return &all[0]
}

// cardDriver is the driver that the card had at first, "" if there is none.
func cardDriver(t testing.TB) string {
	t.Helper()
	if c := card(t); c != nil {
		return c.Driver
	}
	return ""
}

// cards returns the interfaces of a virtual machine's card and of its peer, or
// nothing where there is no such card or VFIO has it.
func cards(t testing.TB) (ends [2]string) {
	t.Helper()
	c := card(t)
	if c == nil || c.Driver == vfioDriver {
		return ends
	}
	return [2]string{netdev(t, c.Address), netdev(t, c.Peer)}
}

// vfioCard returns the address of a card that VFIO has, and the interface of
// its peer, or nothing where there is no such card.
func vfioCard(t testing.TB) (address, peer string) {
	t.Helper()
	c := card(t)
	if c == nil || c.Driver != vfioDriver {
		return "", ""
	}
	return c.Address, netdev(t, c.Peer)
}

func netdev(t testing.TB, address string) string {
	t.Helper()
	name, err := inside.Netdev(address)
	if err != nil {
		t.Fatalf("netnstest: %v", err)
	}
	return name
}
