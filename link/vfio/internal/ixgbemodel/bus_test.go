package ixgbemodel_test

import (
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbemodel"
)

// A driver reaches the model through a bus, registers and memory.
func TestBehindABus(t *testing.T) {
	leaktest.Check(t)
	b, err := model.New(bus.ID{Vendor: 0x8086, Device: uint16(ixgbemodel.Chip82599)}, ixgbemodel.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	d, err := ixgbemodel.New(ixgbemodel.Config{Chip: ixgbemodel.Chip82599, MAC: [6]byte{2, 3, 4, 5, 6, 7}, Memory: ixgbemodel.Flat(b)})
	if err != nil {
		t.Fatal(err)
	}
	b.OnRead, b.OnWrite = d.Read32, d.Write32
	r, err := b.Registers(0, ixgbemodel.Size)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Read32(0x5400); got != 0x05040302 {
		t.Errorf("RAL(0) %#x, want 0x05040302", got)
	}
	r.Write32(0x5080, 1)
	if v := d.Violations(); len(v) != 1 {
		t.Errorf("violations %v, want that of a reserved bit", v)
	}
}
