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

// rig is a server whose wire eth0 leads to 10.0.0.2, and can be opened once; eth1,
// which leads back to itself, any number of times.
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
			switch name {
			case "eth0":
				once.Do(func() { l, err = a, nil })
			case "eth1":
				return loopback.New(&loopback.Config{Name: name})
			}
			return l, err
		}},
		Port: func(name string) stack.PortConfig {
			return stack.PortConfig{Addrs: map[string][]netip.Prefix{
				"eth1":    {netip.MustParsePrefix("10.1.0.1/24")},
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

// The order is d, e, F, N, n, s, Q, whatever the order of the options: each step
// shows by what it prints, or by the state that the one before it leaves, that it
// goes behind that one.
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
	// A step that fails is the last. Here it is the one in front of those that
	// would have printed, or done, something else.
	for _, tc := range []struct {
		name string
		o    evlnet.Options
		want error
		out  string
	}{
		{"e, F", evlnet.Options{Interface: "eth9", Enable: true, SetFilter: true}, syscall.ENODEV, ""},
		{"F, N", evlnet.Options{Interface: "eth0", SetFilter: true, Filter: "nosuch.o", SetVLANs: true}, syscall.EINVAL, ""},
		{"N, n", evlnet.Options{SetVLANs: true, VLANs: "0", ShowVLANs: true}, syscall.EINVAL, ""},
		{"n, s", evlnet.Options{ShowVLANs: true, Solicit: "192.0.2.9"}, syscall.ENODEV, "42-45,100\n"},
		{"s, Q", evlnet.Options{Interface: "eth0", Solicit: "2001:db8::1", Query: true, Letters: "a"}, syscall.EAFNOSUPPORT, ""},
	} {
		if out, err := run(t, c, tc.o); out != tc.out || !errors.Is(err, tc.want) {
			t.Errorf("%s: got %q, %v, want %q, %v", tc.name, out, err, tc.out, tc.want)
		}
	}
	if out, err := run(t, c, evlnet.Options{ShowVLANs: true}); out != "42-45,100\n" || err != nil {
		t.Errorf("the list is %q, %v", out, err)
	}
	// Disable goes first: what comes behind it finds no port.
	out, err = run(t, c, evlnet.Options{Interface: "eth0", Disable: true, Query: true, ShowVLANs: true})
	if out != "42-45,100\n" || !errors.Is(err, syscall.ENODEV) || !strings.HasPrefix(err.Error(), "cannot open out-of-band port eth0") {
		t.Errorf("got %q, %v", out, err)
	}
}

// TestDisableAndEnable: in one command line a port that is enabled is disabled
// first, and is there behind it. Other sizes take effect if it was the device's
// only port; otherwise the device is open all the time, and keeps its own.
func TestDisableAndEnable(t *testing.T) {
	c := rig(t)
	for _, name := range []string{"eth0", "eth0.42", "eth1"} {
		if _, err := run(t, c, evlnet.Options{Enable: true, Interface: name, PoolSize: 64}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"eth0": "64\n", "eth1": "128\n"} {
		out, err := run(t, c, evlnet.Options{Interface: name, Disable: true, Enable: true, PoolSize: 128, Query: true, Letters: "a"})
		if out != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", name, out, err, want)
		}
		if p, err := c.Port(t.Context(), name); err != nil || p.Name != name {
			t.Errorf("%s is not there: %+v, %v", name, p, err)
		}
	}
	// What is not enabled cannot be disabled, and is not enabled then.
	if out, err := run(t, c, evlnet.Options{Interface: "eth0.43", Disable: true, Enable: true}); out != "" || !errors.Is(err, syscall.ENODEV) {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := c.Port(t.Context(), "eth0.43"); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("eth0.43 is there: %v", err)
	}
}

// TestBroadcastOnAPort: "broadcast" is everybody on the port that is named, be it
// the one that the routes would take or not; a host is behind one port alone.
func TestBroadcastOnAPort(t *testing.T) {
	c := rig(t)
	for _, name := range []string{"eth0.42", "eth0"} {
		if _, err := run(t, c, evlnet.Options{Enable: true, Interface: name}); err != nil {
			t.Fatal(err)
		}
	}
	for _, host := range []string{"broadcast", "255.255.255.255", "239.1.2.3"} {
		for _, name := range []string{"", "eth0", "eth0.42"} {
			if out, err := run(t, c, evlnet.Options{Solicit: host, Interface: name}); out != "" || err != nil {
				t.Errorf("%s on %q: %q, %v", host, name, out, err)
			}
		}
		if _, err := run(t, c, evlnet.Options{Solicit: host, Interface: "eth0.43"}); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("%s on a port that is not enabled: %v", host, err)
		}
	}
	if _, err := run(t, c, evlnet.Options{Solicit: "10.0.0.2", Interface: "eth0.42"}); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("a host on a port that does not lead to it: %v", err)
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
