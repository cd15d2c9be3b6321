package demo

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

// valid are options that Check accepts, for a client.
func valid() Options {
	return Options{
		Interface: "eth7", Addr: netip.MustParsePrefix("192.0.2.1/24"), Peer: netip.MustParseAddr("192.0.2.2"),
		Duration: time.Second, Period: time.Millisecond, Size: 64, Port: 7700, CPU: -1,
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string // part of the error; empty: none
	}{
		{"valid", func(*Options) {}, ""},
		{"server for ever", func(o *Options) { o.Peer = netip.Addr{}; o.Duration = 0 }, ""},
		{"in memory", func(o *Options) { o.Interface = ""; o.Addr = netip.Prefix{}; o.Peer = netip.Addr{} }, ""},
		{"client for ever", func(o *Options) { o.Duration = 0 }, "--duration"},
		{"address alone", func(o *Options) { o.Interface = "" }, "--addr without -i"},
		{"peer alone", func(o *Options) { o.Interface = ""; o.Addr = netip.Prefix{} }, "--peer without -i"},
		{"on a NIC", func(o *Options) { o.Interface, o.VFIO = "", "02:00.0" }, ""},
		{"server on a NIC", func(o *Options) { o.Interface, o.VFIO, o.Peer, o.Duration = "", "02:00.0", netip.Addr{}, 0 }, ""},
		{"interface and NIC", func(o *Options) { o.VFIO = "02:00.0" }, "give one"},
		{"NIC alone", func(o *Options) { o.Interface, o.VFIO, o.Addr = "", "02:00.0", netip.Prefix{} }, "--vfio 02:00.0 without --addr"},
		{"no address", func(o *Options) { o.Addr = netip.Prefix{} }, "without --addr"},
		{"own peer", func(o *Options) { o.Peer = o.Addr.Addr() }, "own address"},
		{"period", func(o *Options) { o.Period = 0 }, "--period"},
		{"size", func(o *Options) { o.Size = 15 }, "16 to 65507"},
		{"size", func(o *Options) { o.Size = 65508 }, "16 to 65507"},
		{"port", func(o *Options) { o.Port = 0 }, "--port"},
		{"pcp", func(o *Options) { o.PCP = 8 }, "--pcp"},
		{"priority", func(o *Options) { o.Priority = 100 }, "--priority"},
	} {
		o := valid()
		c.change(&o)
		err := o.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestParseAddr(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.1/24": "", "10.0.0.1/8": "",
		"192.0.2.1": "prefix length", "nonsense": "prefix length", "192.0.2.1/33": "prefix length", "": "prefix length",
		"2001:db8::1/64": "IPv6", "0.0.0.0/0": "not an address of a host", "224.0.0.1/24": "not an address of a host", "10.0.0.1/0": "prefix length of 0",
	} {
		p, err := ParseAddr(s)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", s, err, want)
		}
		if err == nil && p.String() != s {
			t.Errorf("%q: read as %v", s, p)
		}
	}
}

func TestParsePeer(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.2": "", "192.0.2.2/24": "not an address", "host": "not an address", "fe80::1": "IPv6", "239.1.1.1": "of a host",
	} {
		if _, err := ParsePeer(s); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", s, err, want)
		}
	}
}

func TestParseVLAN(t *testing.T) {
	for s, want := range map[string]string{
		"2": "", "4094": "", "0": "2 to 4094", "1": "2 to 4094", "4095": "2 to 4094", "65536": "2 to 4094", "-1": "2 to 4094", "five": "2 to 4094",
	} {
		if _, err := ParseVLAN(s); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", s, err, want)
		}
	}
}

func TestParsePoll(t *testing.T) {
	for s, want := range map[string]link.PollMode{
		"adaptive": link.Adaptive, "busy": link.Busy, "block": link.Block, "manual": link.Manual, "notify": link.Manual,
		"5ms": 5, "1us": 1, "2s": 2000,
	} {
		if got, err := ParsePoll(s); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "fast", "0s", "-1ms", "10h"} {
		if _, err := ParsePoll(s); err == nil || !strings.Contains(err.Error(), "adaptive") {
			t.Errorf("%q: %v", s, err)
		}
	}
}
