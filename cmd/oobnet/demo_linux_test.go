package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/netns"
)

// figuresOf is what the tests read of the demo's JSON.
type figuresOf struct {
	Role                                   string
	Link                                   string
	FirstError                             string `json:"first_error"`
	Sent, Received, Lost, Duplicates, VLAN uint64
	Demoted, Dropped                       map[string]uint64
	RTT                                    *struct{ P50, Max int64 } `json:"rtt_ns"`
}

// demoOn runs a demo on a host of the wire, in the background.
func demoOn(ctx context.Context, h *netns.Host, args ...string) func() (figuresOf, error) {
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		h.Do(func() { r.out, _, r.err = command(ctx, append([]string{"demo", "--json", "-i", h.IfName}, args...)...) })
		done <- r
	}()
	return func() (f figuresOf, err error) {
		r := <-done
		if r.err != nil {
			return f, r.err
		}
		return f, json.Unmarshal([]byte(r.out), &f)
	}
}

func testWire(t *testing.T) *netns.Wire {
	t.Helper()
	if err := netns.Available(); err != nil {
		t.Skipf("no network namespaces here (run as root): %v", err)
	}
	w, err := netns.Make(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestDemoOverAFXDP(t *testing.T) {
	for _, c := range []struct{ name, flags string }{
		{"untagged", ""},
		{"VLAN and priority", "--vlan 5 --pcp 6"},
		{"manual", "--poll manual"},
		{"fragments", "--size 4000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := testWire(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			flags := strings.Fields(c.flags)
			server := demoOn(ctx, w.A, append(flags, "--addr", "192.0.2.1/24")...)
			client := demoOn(ctx, w.B, append(flags, "--addr", "192.0.2.2/24", "--peer", "192.0.2.1", "--duration", "300ms", "--period", "2ms")...)
			cf, err := client()
			stop()
			sf, serr := server()
			if err != nil || serr != nil {
				t.Fatal(err, serr)
			}
			if cf.Role != "client" || sf.Role != "server" || cf.Sent == 0 || cf.Lost != 0 || cf.Duplicates != 0 || cf.RTT == nil || cf.RTT.P50 <= 0 {
				t.Errorf("client %+v", cf)
			}
			if sf.Received != cf.Sent || sf.Sent != cf.Received || sf.RTT != nil {
				t.Errorf("server %+v, client %+v", sf, cf)
			}
			if !strings.Contains(cf.Link, "copy") {
				t.Errorf("link %q does not say how it moves frames", cf.Link)
			}
		})
	}
}

func TestDemoClientWithoutAServer(t *testing.T) {
	w := testWire(t)
	_, err := demoOn(t.Context(), w.B, "--addr", "192.0.2.2/24", "--peer", "192.0.2.9")()
	if err == nil || !strings.Contains(err.Error(), "192.0.2.9") || !strings.Contains(err.Error(), "is the server running") {
		t.Errorf("%v", err)
	}
}

func TestDemoClientWithoutASocketAtThePeer(t *testing.T) {
	w := testWire(t)
	if err := w.A.AddAddr(netip.MustParsePrefix("192.0.2.1/24")); err != nil {
		t.Fatal(err)
	}
	f, err := demoOn(t.Context(), w.B, "--addr", "192.0.2.2/24", "--peer", "192.0.2.1", "--duration", "100ms", "--period", "5ms")()
	if err != nil {
		t.Fatal(err)
	}
	if f.Received != 0 || f.Lost != f.Sent || !strings.Contains(f.FirstError, "refused") {
		t.Errorf("%+v", f)
	}
}
