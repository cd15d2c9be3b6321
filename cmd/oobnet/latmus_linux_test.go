package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/latmus"
	"github.com/oobnet/oobnet/internal/netns"
)

// latmusOn runs latmus on a host of the wire, in the background.
func latmusOn(ctx context.Context, h *netns.Host, args string) func() (latmus.Report, error) {
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		all := append([]string{"latmus", "--json", "-P", "0", "-p", "2000", "-i", h.IfName}, strings.Fields(args)...)
		h.Do(func() { r.out, _, r.err = command(ctx, all...) })
		done <- r
	}()
	return func() (f latmus.Report, err error) {
		r := <-done
		if r.err != nil {
			return f, r.err
		}
		return f, json.Unmarshal([]byte(r.out), &f)
	}
}

// TestLatmusOverAFXDP runs longer than a second: a question of the side that was
// there first, for the other's address, is repeated after that.
func TestLatmusOverAFXDP(t *testing.T) {
	w := testWire(t)
	a := latmusOn(t.Context(), w.A, "--addr 192.0.2.1/24 -E 192.0.2.2 -T 2.5")
	b := latmusOn(t.Context(), w.B, "--addr 192.0.2.2/24 -E 192.0.2.1 -T 2.5")
	ra, erra := a()
	rb, errb := b()
	if erra != nil || errb != nil {
		t.Fatal(erra, errb)
	}
	for _, r := range []latmus.Report{ra, rb} {
		if r.Sent == 0 || r.Received == 0 || r.Lost+r.Duplicates+r.BadCRC+r.Demoted+r.Odd != 0 || !strings.Contains(r.Link, "copy") {
			t.Errorf("%+v", r)
		}
		if r.NIC["driver"] != "veth" || r.NIC["mtu"] != "1500" || r.Environment.Kernel == "" || r.CommandLine == "" {
			t.Errorf("NIC %v, kernel %q, started by %q", r.NIC, r.Environment.Kernel, r.CommandLine)
		}
		for _, f := range r.Figures {
			if f.Count == 0 {
				t.Errorf("%s of %s has no values", f.Name, r.Addr)
			}
		}
	}
}

func TestLatmusRoundTripsOverAFXDP(t *testing.T) {
	w := testWire(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	echo := latmusOn(ctx, w.A, "--addr 192.0.2.1/24 --echo")
	r, err := latmusOn(ctx, w.B, "--addr 192.0.2.2/24 -E 192.0.2.1 --rtt -T 400ms")()
	stop()
	if _, eerr := echo(); err != nil || eerr != nil {
		t.Fatal(err, eerr)
	}
	if len(r.Figures) != 6 || r.Figures[5].Count == 0 || r.Lost+r.Demoted != 0 {
		t.Errorf("%+v", r)
	}
}

// TestLatmusAndAnEchoOfTheKernels: any echo will do.
func TestLatmusAndAnEchoOfTheKernels(t *testing.T) {
	w := testWire(t)
	addr := netip.MustParsePrefix("192.0.2.1/24")
	if err := w.A.AddAddr(addr); err != nil {
		t.Fatal(err)
	}
	c, err := w.A.ListenUDP(netip.AddrPortFrom(addr.Addr(), latmus.Port))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, latmus.MaxSize)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return // closed
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from) // what is not answered counts as lost
		}
	}()
	for _, args := range []string{"", "--poll manual"} {
		r, err := latmusOn(t.Context(), w.B, "--addr 192.0.2.2/24 -E 192.0.2.1 --rtt -T 400ms "+args)()
		if err != nil {
			t.Fatal(err)
		}
		if r.Sent == 0 || r.Figures[5].Count != r.Sent || r.Lost+r.Demoted+r.BadCRC != 0 {
			t.Errorf("%s: %+v", args, r)
		}
	}
	c.Close()
	<-ended
}

// TestLatmusAndTheKernelOverAFXDP: the kernel has an address of its own on the
// interface, and our echo answers both. What floods is answered to both stages.
func TestLatmusAndTheKernelOverAFXDP(t *testing.T) {
	w := testWire(t)
	if err := w.B.AddAddr(netip.MustParsePrefix("192.0.2.3/24")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	echo := latmusOn(ctx, w.A, "--addr 192.0.2.1/24 --echo --stress gc")
	r, err := latmusOn(ctx, w.B, "--addr 192.0.2.2/24 -E 192.0.2.1 --rtt --vs kernel --stress flood -T 600ms")()
	stop()
	if e, eerr := echo(); err != nil || eerr != nil || e.Received < r.Sent+r.KernelSent {
		t.Fatal(err, eerr, e.Received)
	}
	if len(r.Figures) != 7 || r.Figures[5].Count == 0 || r.Figures[6].Count == 0 || r.Lost+r.Demoted != 0 || r.MaxRatio == 0 {
		t.Errorf("%+v", r)
	}
}

// TestLatmusOverAWireOfItsOwn: both sides in this process, over a veth pair that is
// made and removed, with sockets of the kernel over another; in threads and in
// manual mode.
func TestLatmusOverAWireOfItsOwn(t *testing.T) {
	testWire(t) // or skip
	for _, args := range []string{"", "--poll manual", "--rtt --vs kernel --stress all", "--rtt --vs kernel --stress gc,flood --poll manual"} {
		out, _, err := command(t.Context(), append(strings.Fields("latmus --veth --json -P 0 -p 4000 -T 600ms"), strings.Fields(args)...)...)
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		var r latmus.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		if r.Sent == 0 || r.Received == 0 || r.Lost+r.Duplicates+r.BadCRC+r.Demoted+r.InBand+r.Odd != 0 || !strings.Contains(r.Link, "copy") {
			t.Errorf("%s: %+v", args, r)
		}
		if strings.Contains(args, "kernel") && (r.Figures[6].Count == 0 || r.MaxRatio == 0) {
			t.Errorf("%s: nothing from the kernel's sockets: %+v", args, r.Figures)
		}
	}
}

func TestLatmusWithoutAPeer(t *testing.T) {
	w := testWire(t)
	_, err := latmusOn(t.Context(), w.A, "--addr 192.0.2.1/24 -E 192.0.2.9")()
	if err == nil || !strings.Contains(err.Error(), "192.0.2.9") || !strings.Contains(err.Error(), "is the peer running") {
		t.Errorf("%v", err)
	}
}
