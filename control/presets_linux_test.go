package control_test

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/stack"
)

// A device that is opened again has the filter that the application has for it,
// and not the one that a client gave it in between.
func TestPresetFilter(t *testing.T) {
	r := newRig(t, &control.Config{Filter: func(name string) control.Filter {
		return map[string]control.Filter{"wire0": {Rules: "accept ethertype arp"}}[name]
	}})
	ctx := t.Context()
	for range 2 {
		r.enable(t, "wire0", addrA)
		f, err := r.client.Filter(ctx, "wire0")
		if err != nil || f.Kind != "rules" || f.Rules != "accept ethertype arp" {
			t.Fatalf("filter %+v, %v", f, err)
		}
		if _, err := r.client.SetFilter(ctx, "wire0", control.Filter{Rules: "accept ethertype ipv4"}); err != nil {
			t.Fatal(err)
		}
		// Another port on the open device leaves it.
		r.enable(t, "wire0.42")
		if f, err := r.client.Filter(ctx, "wire0"); err != nil || f.Rules != "accept ethertype ipv4" {
			t.Errorf("filter %+v, %v", f, err)
		}
		for _, name := range []string{"wire0.42", "wire0"} {
			if _, err := r.client.DisablePort(ctx, name, false); err != nil {
				t.Fatal(err)
			}
		}
		r.renew(t)
	}
}

// What the application has for a device or port, and cannot be done, leaves no
// port and no device.
func TestPresetsFail(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		filter control.Filter
		want   error
	}{
		"rules":  {control.Filter{Rules: "accept nonsense"}, syscall.EINVAL},
		"object": {control.Filter{Object: filepath.Join(dir, "nosuch.o")}, syscall.ENOENT},
		"link":   {control.Filter{Rules: "accept"}, syscall.EIO},
	} {
		r, l := newStubborn(t, &control.Config{Filter: func(string) control.Filter { return tc.filter }})
		l.refuse.Store(true)
		_, err := r.client.EnablePort(t.Context(), control.EnableRequest{Interface: "wire0"})
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), "filter of wire0") {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		if left := r.stack.Devices(); len(left) != 0 {
			t.Errorf("%s: devices %v are left", name, left)
		}
	}
}

// Whatever client enables a port, the application hears of it, and may refuse.
func TestEnabled(t *testing.T) {
	var st *stack.Stack
	to := netip.MustParsePrefix("198.51.100.0/24")
	r := newRig(t, &control.Config{Enabled: func(p *stack.Port) error {
		if p.VLAN() == 42 {
			return syscall.EXDEV
		}
		return st.AddRoute(to, addrB.Addr(), p)
	}})
	st = r.stack
	ctx := t.Context()
	if _, err := r.client.EnablePort(ctx, control.EnableRequest{Interface: "wire0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}}); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("a gateway out of reach: %v", err)
	}
	if left := r.stack.Devices(); len(left) != 0 {
		t.Errorf("devices %v are left", left)
	}
	for range 2 {
		r.renew(t)
		r.enable(t, "wire0", addrA)
		if routes, err := r.client.Routes(ctx); err != nil || len(routes) != 2 {
			t.Errorf("routes %+v, %v", routes, err)
		}
		if _, err := r.client.EnablePort(ctx, control.EnableRequest{Interface: "wire0.42"}); !errors.Is(err, syscall.EXDEV) {
			t.Errorf("refused: %v", err)
		}
		if ports, err := r.client.Ports(ctx); err != nil || len(ports) != 1 {
			t.Errorf("ports %+v, %v", ports, err)
		}
		if _, err := r.client.DisablePort(ctx, "wire0", false); err != nil {
			t.Fatal(err)
		}
	}
}
