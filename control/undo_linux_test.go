package control_test

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/link"
)

// stubborn is a link that filters by itself, or refuses to.
type stubborn struct {
	link.Link
	refuse atomic.Bool
	once   atomic.Bool  // the next one is taken, refused are those behind it
	set    atomic.Value // *filter.Rules that is set, a nil one for none
}

func (s *stubborn) SetFilter(f filter.Filter) error {
	if s.refuse.Load() && !s.once.Swap(false) {
		return syscall.EIO
	}
	rules, _ := f.(*filter.Rules) // nil for none
	s.set.Store(rules)
	return nil
}

func (s *stubborn) Divert(bool) error                    { return nil }
func (s *stubborn) FilterStats() (st filter.Stats)       { return st }
func (s *stubborn) FilterMap(string) (filter.Map, error) { return nil, filter.ErrNoMap }

// newStubborn is a rig whose wire's end is stubborn.
func newStubborn(t *testing.T, cfg *control.Config) (*rig, *stubborn) {
	t.Helper()
	r := newRig(t, cfg)
	l := &stubborn{Link: r.ends["wire0"]}
	r.ends["wire0"] = l
	return r, l
}

// A request that needs the list of VLANs in force elsewhere, and cannot have it,
// leaves things as they were.
func TestRefusedVLANsUndo(t *testing.T) {
	r, l := newStubborn(t, nil)
	ctx := t.Context()
	if _, err := r.client.SetVLANs(ctx, "42"); err != nil {
		t.Fatal(err)
	}
	tagged := netip.MustParsePrefix("10.42.0.1/24")
	r.enable(t, "wire0.42", tagged)
	byVLANs := l.set.Load()
	expect := func(what string, err error, kind string, ports ...string) {
		t.Helper()
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: got %v", what, err)
		}
		d, err := r.client.Device(ctx, "wire0")
		if err != nil || d.Filter.Kind != kind || !slices.Equal(d.Ports, ports) {
			t.Errorf("%s: then %+v, %v", what, d, err)
		}
	}
	l.refuse.Store(true)
	_, err := r.client.EnablePort(ctx, control.EnableRequest{Interface: "wire0", Addresses: []netip.Prefix{addrA}})
	expect("enable", err, "vlans", "wire0.42")
	_, err = r.client.SetVLANs(ctx, "43")
	expect("set", err, "vlans", "wire0.42")
	l.refuse.Store(false)

	r.enable(t, "wire0", addrA)
	l.refuse.Store(true)
	_, err = r.client.DisablePort(ctx, "wire0", false)
	expect("disable", err, "default", "wire0", "wire0.42")
	if p, err := r.client.Port(ctx, "wire0"); err != nil || !slices.Equal(p.Addresses, []netip.Prefix{addrA}) {
		t.Errorf("disable: then %+v, %v", p, err)
	}
	l.refuse.Store(false)
	if _, err = r.client.DisablePort(ctx, "wire0", false); err != nil || l.set.Load() == byVLANs || l.set.Load() == (*filter.Rules)(nil) {
		t.Errorf("disable: %v, filter %v", err, l.set.Load())
	}

	if _, err = r.client.SetFilter(ctx, "wire0", control.Filter{Rules: "accept vlan 42"}); err != nil {
		t.Fatal(err)
	}
	l.refuse.Store(true)
	_, err = r.client.RemoveFilter(ctx, "wire0")
	expect("remove", err, "rules", "wire0.42")
	// Half of a change is none.
	l.once.Store(true)
	_, err = r.client.RemoveFilter(ctx, "wire0")
	if f, ferr := r.client.Filter(ctx, "wire0"); ferr != nil || (err == nil) != (f.Kind == "vlans") || (err != nil) != (f.Kind == "rules") {
		t.Errorf("remove: %v, then %+v, %v", err, f, ferr)
	}
}
