package control_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
)

// Names of interfaces, and which opener is asked for what.
func TestNames(t *testing.T) {
	var asked string
	r := newRig(t, &control.Config{Default: "afxdp", Openers: map[string]control.Opener{
		"afxdp": func(name string) (link.Link, error) {
			asked = "afxdp " + name
			return loopback.New(&loopback.Config{Name: name})
		},
		"vfio": func(name string) (link.Link, error) {
			asked = "vfio " + name
			return loopback.New(&loopback.Config{Name: name})
		},
	}})
	for name, want := range map[string]string{
		"eth0":                 "afxdp eth0, port eth0",
		"eth0.42":              "afxdp eth0, port eth0.42",
		"afxdp:eth0.42":        "afxdp eth0, port eth0.42",
		"enp2s0.uplink":        "afxdp enp2s0.uplink, port enp2s0.uplink",
		"0000:02:00.0":         "vfio 0000:02:00.0, port 0000:02:00.0",
		"vfio:0000:02:00.3":    "vfio 0000:02:00.3, port 0000:02:00.3",
		"0000:02:00.7.42":      "vfio 0000:02:00.7, port 0000:02:00.7.42",
		"vfio:0000:02:00.1.42": "vfio 0000:02:00.1, port 0000:02:00.1.42",
	} {
		asked = ""
		p, err := r.client.EnablePort(t.Context(), control.EnableRequest{Interface: name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := fmt.Sprintf("%s, port %s", asked, p.Name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if again, err := r.client.Port(t.Context(), name); err != nil || again.Name != p.Name {
			t.Errorf("%s is not found again: %+v, %v", name, again, err)
		}
		if out, err := r.client.DisablePort(t.Context(), name, false); err != nil || !out.DeviceClosed {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	for name, want := range map[string]error{
		"": syscall.EINVAL, "afxdp:": syscall.EINVAL, ".42": syscall.EINVAL, "eth0.0": syscall.EINVAL, "eth0.5000": syscall.EINVAL,
		"dpdk:eth0": syscall.ENODEV,
	} {
		if _, err := r.client.EnablePort(t.Context(), control.EnableRequest{Interface: name}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}
