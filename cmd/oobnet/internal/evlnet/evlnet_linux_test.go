package evlnet_test

import (
	"bytes"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/evlnet"
	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// rig is a server whose one wire leads to 10.0.0.2.
func rig(t *testing.T) *control.Client {
	t.Helper()
	leaktest.Check(t)
	a, b, err := loopback.Pair(&loopback.Config{Name: "eth"})
	if err != nil {
		t.Fatal(err)
	}
	stacktest.On(t, b, netip.MustParsePrefix("10.0.0.2/24"), nil)
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		a.Close()
	})
	var once sync.Once
	srv, err := control.ServeConfig(s, filepath.Join(t.TempDir(), "s"), &control.Config{
		Default: "wire",
		Openers: map[string]control.Opener{"wire": func(name string) (l link.Link, err error) {
			err = syscall.ENODEV
			once.Do(func() {
				if name == "eth0" {
					l, err = a, nil
				}
			})
			return l, err
		}},
		Port: func(name string) stack.PortConfig {
			return stack.PortConfig{Addrs: map[string][]netip.Prefix{
				"eth0":    {netip.MustParsePrefix("10.0.0.1/24")},
				"eth0.42": {netip.MustParsePrefix("10.42.0.1/24")},
			}[name]}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	c, err := control.Dial(srv.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func run(t *testing.T, c *control.Client, o evlnet.Options) (string, error) {
	t.Helper()
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := evlnet.Run(t.Context(), c, &o, &out)
	return out.String(), err
}

// The order is d, e, F, N, n, s, Q, whatever the order of the options: a port
// that is enabled is disabled, enabled with other sizes, listed, solicited on
// and asked in one command line.
func TestOrder(t *testing.T) {
	c := rig(t)
	if _, err := run(t, c, evlnet.Options{Enable: true, Interface: "eth0.42", PoolSize: 64}); err != nil {
		t.Fatal(err)
	}
	all := evlnet.Options{
		Interface: "eth0", Enable: true, SetFilter: true, SetVLANs: true, VLANs: "42-45,100", ShowVLANs: true,
		Solicit: "10.0.0.2", Permanent: true, Query: true, Letters: "oasRf",
	}
	out, err := run(t, c, all)
	if err != nil || out != "eBPF module removed from eth0\n42-45,100\n1 64 4096 0 64\n" {
		t.Errorf("got %q, %v", out, err)
	}
	fc, err := c.FrontCache(t.Context())
	if err != nil || len(fc.Entries) != 1 || !fc.Entries[0].Permanent {
		t.Errorf("front cache %+v, %v", fc, err)
	}
	// Disable goes first: what comes behind it finds no port.
	out, err = run(t, c, evlnet.Options{Interface: "eth0", Disable: true, Query: true, ShowVLANs: true})
	if out != "42-45,100\n" || !errors.Is(err, syscall.ENODEV) || !strings.HasPrefix(err.Error(), "cannot open out-of-band port eth0") {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestFailures(t *testing.T) {
	c := rig(t)
	if _, err := run(t, c, evlnet.Options{Enable: true, Interface: "eth0"}); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		o    evlnet.Options
		want error
		say  string
	}{
		"enable":       {evlnet.Options{Enable: true, Interface: "nosuch"}, syscall.ENODEV, "cannot enable out-of-band port on nosuch"},
		"disable":      {evlnet.Options{Disable: true, Interface: "eth0.9"}, syscall.ENODEV, "cannot open out-of-band port eth0.9"},
		"query":        {evlnet.Options{Query: true, Interface: "eth0.9"}, syscall.ENODEV, "cannot open out-of-band port eth0.9"},
		"filter":       {evlnet.Options{SetFilter: true, Filter: "nosuch.o", Interface: "eth0"}, syscall.EINVAL, "there is no nosuch.o here"},
		"filter, port": {evlnet.Options{SetFilter: true, Interface: "eth0.9"}, syscall.ENODEV, "cannot open out-of-band port eth0.9"},
		"VLANs":        {evlnet.Options{SetVLANs: true, VLANs: "0"}, syscall.EINVAL, "cannot set VLAN filter"},
		"solicit":      {evlnet.Options{Solicit: "192.0.2.9"}, syscall.ENODEV, "cannot solicit 192.0.2.9"},
		"IPv6":         {evlnet.Options{Solicit: "2001:db8::1"}, syscall.EAFNOSUPPORT, "IPv4"},
		"host":         {evlnet.Options{Solicit: "no such host"}, syscall.ESRCH, "invalid host/IP address"},
	} {
		out, err := run(t, c, tc.o)
		if out != "" || !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: got %q, %v; want %v and %q", name, out, err, tc.want, tc.say)
		}
	}
	if out, err := run(t, c, evlnet.Options{Query: true, Interface: "eth0", Letters: "Rz"}); out != "" || err == nil || !strings.Contains(err.Error(), "RrTtosfacx") {
		t.Errorf("letter z: %q, %v", out, err)
	}
	if _, err := run(t, c, evlnet.Options{Solicit: "broadcast", Interface: "eth0"}); err != nil {
		t.Error(err)
	}
	if out, err := run(t, c, evlnet.Options{SetVLANs: true}); err != nil || out != "VLAN filter cleared\n" {
		t.Errorf("clear: %q, %v", out, err)
	}
	if out, err := run(t, c, evlnet.Options{ShowVLANs: true}); err != nil || out != "" {
		t.Errorf("no list: %q, %v", out, err)
	}
}
