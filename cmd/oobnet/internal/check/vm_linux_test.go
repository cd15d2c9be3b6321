package check

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/machine"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
	"github.com/oobnet/oobnet/link/vfio"
)

// TestVM runs the whole on a card of a virtual machine, and skips elsewhere.
func TestVM(t *testing.T) {
	leaktest.Check(t)
	card := guesttest.First(t)
	if card.Driver != "vfio-pci" {
		t.Skipf("the card's driver is %q: this is for link/vfio", card.Driver)
	}
	c, err := Describe(pci.Sys, card.Address)
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{When: time.Now(), Card: c, Machine: machine.Describe()}
	var b bytes.Buffer
	if err := r.WriteHead(&b); err != nil {
		t.Fatal(err)
	}
	open := func(cfg *vfio.Config) (NIC, error) { return vfio.Open(card.Address, cfg) }
	r.Steps = Run(context.Background(), open, func(s Step) {
		if err := WriteStep(&b, s); err != nil {
			t.Error(err)
		}
	})
	if err := r.WriteEnd(&b); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &b)
	for _, s := range r.Steps {
		if s.Result != Pass {
			t.Errorf("%s: %s: %s", s.Name, s.Result, s.Found)
		}
	}
}
