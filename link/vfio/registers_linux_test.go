package vfio

import (
	"slices"
	"testing"
)

// TestRegisters: reading them changes nothing, twice the same comes out, and there
// are none of a NIC that is closed.
func TestRegisters(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		r := newRig(t, card, nil)
		first, again := r.Registers(), r.Registers()
		if !slices.Equal(first, again) {
			t.Errorf("first %x, then %x", first, again)
		}
		if shows := card != "e1000" && card != "e1000e"; shows != (len(first) > 0) {
			t.Fatalf("%d registers", len(first))
		}
		names := map[string]uint32{}
		for _, f := range first {
			if f.Value == 1<<32-1 {
				t.Errorf("%s at %#x reads as nothing", f.Name, f.Offset)
			}
			names[f.Name] = f.Value
		}
		if len(names) != len(first) {
			t.Errorf("%d names of %d registers", len(names), len(first))
		}
		const enabled = 1 << 25
		if len(first) > 0 && (names["RXDCTL0"]&enabled == 0 || names["RDLEN0"] == 0 || names["STATUS"] == 0) {
			t.Errorf("queue 0 of a link at work: %x", names)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if left := r.Registers(); left != nil {
			t.Errorf("a closed NIC shows %x", left)
		}
	})
}
