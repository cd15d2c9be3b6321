package control_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
)

// echo answers what a handler lets through.
func (r *rig) echo(t *testing.T, port uint16, copies func(number byte) int) {
	t.Helper()
	c, err := udp.Listen(r.peer.Stack, r.peer.At(port), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			for range copies(b[15]) {
				if _, err := c.WriteToUDPAddrPort(b[:n], from); err != nil {
					t.Error(err)
				}
			}
		}
	}()
}

func TestPing(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	r.echo(t, 7, func(number byte) int {
		return []int{1, 0, 3, 1, 1}[number] // the second is lost, the third tripled
	})
	out, err := r.client.Ping(t.Context(), control.PingRequest{Address: r.peer.Addr, IntervalUS: 2000, Size: 100})
	if err != nil {
		t.Fatal(err)
	}
	if out.Kind != "udp" || out.Port != "wire0" || out.Sent != 5 || out.Received != 4 || out.Duplicates != 2 || out.Problem != "" || out.SolicitNS == 0 {
		t.Errorf("%+v", out)
	}
	if out.BestNS <= 0 || out.BestNS > out.MeanNS || out.MeanNS > out.WorstNS {
		t.Errorf("best %d, mean %d, worst %d ns", out.BestNS, out.MeanNS, out.WorstNS)
	}
	for i, e := range out.Echoes {
		if lost := i == 1; lost != (e.RTTNS == 0) || e.Error != "" {
			t.Errorf("echo %d: %+v", i, e)
		}
	}
	// No trace of it is left.
	if st, err := r.client.Statistics(t.Context(), true); err != nil || len(st.Sockets) != 0 {
		t.Errorf("sockets %+v, %v", st.Sockets, err)
	}
}

func TestPingByARP(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	for range 2 { // the second time the in-band stage knows the peer, and asks nobody
		out, err := r.client.Ping(t.Context(), control.PingRequest{Kind: control.PingARP, Address: r.peer.Addr, Count: 3, IntervalUS: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if mac := r.peer.Port.MAC(); out.Received != 3 || len(out.MACs) != 1 || out.MACs[0] != net.HardwareAddr(mac[:]).String() || out.Duplicates != 0 {
			t.Errorf("%+v, want the MAC %v", out, mac)
		}
		if err := r.client.Solicit(t.Context(), control.SolicitRequest{Address: r.peer.Addr}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := r.client.Ping(t.Context(), control.PingRequest{Kind: control.PingARP, Address: netip.MustParseAddr("10.0.0.77"), Count: 2, TimeoutMS: 20})
	if err != nil || out.Sent != 2 || out.Received != 0 || out.Echoes[0].RTTNS != 0 {
		t.Errorf("nobody: %+v, %v", out, err)
	}
}

// A peer that refuses, and one that is not there, are lost, and it says why.
func TestPingUnanswered(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	out, err := r.client.Ping(t.Context(), control.PingRequest{Address: r.peer.Addr, Port: 9, Count: 2, TimeoutMS: 500})
	if err != nil || out.Received != 0 || !strings.Contains(out.Echoes[0].Error, "refused") {
		t.Errorf("refused: %+v, %v", out, err)
	}
	out, err = r.client.Ping(t.Context(), control.PingRequest{Address: netip.MustParseAddr("10.0.0.77"), Count: 2, TimeoutMS: 50})
	if err != nil || out.Sent != 2 || out.Received != 0 || !strings.Contains(out.Problem, "ARP") {
		t.Errorf("nobody: %+v, %v", out, err)
	}
}

func TestPingBadInput(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	if _, err := r.client.AddRoute(t.Context(), control.Route{Destination: netip.MustParsePrefix("198.51.100.0/24"), Gateway: r.peer.Addr, Port: "wire0"}); err != nil {
		t.Fatal(err)
	}
	peer := r.peer.Addr
	for _, c := range []struct {
		in   control.PingRequest
		want error
		says string
	}{
		{control.PingRequest{}, syscall.EINVAL, "one station"},
		{control.PingRequest{Address: netip.MustParseAddr("::1")}, syscall.EINVAL, "IPv4"},
		{control.PingRequest{Address: netip.MustParseAddr("224.0.0.1")}, syscall.EINVAL, "one station"},
		{control.PingRequest{Address: netip.MustParseAddr("10.0.0.255")}, syscall.EINVAL, ""},
		{control.PingRequest{Address: addrA.Addr()}, syscall.EINVAL, "of this stack"},
		{control.PingRequest{Address: netip.MustParseAddr("203.0.113.1")}, syscall.ENETUNREACH, ""},
		{control.PingRequest{Address: peer, Kind: "icmp"}, syscall.EINVAL, "udp or arp"},
		{control.PingRequest{Address: peer, Count: -1}, syscall.EINVAL, "1 to 10000"},
		{control.PingRequest{Address: peer, Count: 10001}, syscall.EINVAL, "1 to 10000"},
		{control.PingRequest{Address: peer, Count: 10000}, syscall.EINVAL, "fewer at a time"},
		{control.PingRequest{Address: peer, Size: 15}, syscall.EINVAL, "16 to 65507"},
		{control.PingRequest{Address: peer, Size: 65508}, syscall.EINVAL, "16 to 65507"},
		{control.PingRequest{Address: peer, IntervalUS: 999}, syscall.EINVAL, "interval_us"},
		{control.PingRequest{Address: peer, TimeoutMS: -1}, syscall.EINVAL, "timeout_ms"},
		{control.PingRequest{Address: peer, Interface: "wire7"}, syscall.ENODEV, "wire7"},
		{control.PingRequest{Address: netip.MustParseAddr("198.51.100.1"), Kind: control.PingARP}, syscall.EHOSTUNREACH, "gateway"},
	} {
		if out, err := r.client.Ping(t.Context(), c.in); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %+v, %v; want %v and %q", c.in, out, err, c.want, c.says)
		}
	}
}

// A neighbour that is forgotten is not known any more, permanent or not.
func TestRemoveNeighbor(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	absent := netip.MustParseAddr("10.0.0.9")
	if err := r.client.SetNeighbor(t.Context(), absent, control.Neighbor{MAC: "02:00:00:00:00:09"}); err != nil {
		t.Fatal(err)
	}
	if err := r.client.Solicit(t.Context(), control.SolicitRequest{Address: r.peer.Addr}); err != nil {
		t.Fatal(err)
	}
	if err := r.client.RemoveNeighbor(t.Context(), absent, "wire7"); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("not on that port: %v", err)
	}
	for _, addr := range []netip.Addr{absent, r.peer.Addr} {
		if err := r.client.RemoveNeighbor(t.Context(), addr, "wire0"); err != nil {
			t.Error(err)
		}
		if err := r.client.RemoveNeighbor(t.Context(), addr, ""); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%v again: %v", addr, err)
		}
	}
	if cache, err := r.client.FrontCache(t.Context()); err != nil || len(cache.Entries) != 0 {
		t.Errorf("%+v, %v", cache, err)
	}
}

// So many pings at a time, and one whose client has gone makes room at once.
func TestPingsAreBounded(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	ctx, gone := context.WithCancel(t.Context())
	defer gone()
	long := control.PingRequest{Kind: control.PingARP, Address: netip.MustParseAddr("10.0.0.77"), Count: 1, TimeoutMS: 25_000}
	short := long
	short.TimeoutMS = 1
	ended := make(chan error, control.MaxPings)
	for range control.MaxPings {
		go func() {
			err := error(syscall.EBUSY)
			for errors.Is(err, syscall.EBUSY) { // a short one had the place
				_, err = r.client.Ping(ctx, long)
			}
			ended <- err
		}()
	}
	stacktest.Eventually(t, "no room for another", func() bool {
		_, err := r.client.Ping(t.Context(), short)
		return errors.Is(err, syscall.EBUSY)
	})
	gone()
	for range control.MaxPings {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	stacktest.Eventually(t, "room again", func() bool {
		_, err := r.client.Ping(t.Context(), short)
		return err == nil
	})
}
