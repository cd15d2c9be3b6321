package netnstest

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/oobnet/oobnet/internal/vmtest/inside"
)

// cards returns the interfaces of a virtual machine's card and of its peer, or
// nothing where there is no such card or VFIO has it.
func cards(t testing.TB) (ends [2]string) {
	t.Helper()
	var all []inside.Card
	text := os.Getenv(inside.CardsEnv)
	if text == "" {
		return ends
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("netnstest: %s: %v", inside.CardsEnv, err)
	}
	if len(all) == 0 || all[0].Driver == "vfio-pci" {
		return ends
	}
	for i, address := range []string{all[0].Address, all[0].Peer} {
		name, err := inside.Netdev(address)
		if err != nil {
			t.Fatalf("netnstest: %v", err)
		}
		ends[i] = name
	}
	return ends
}
