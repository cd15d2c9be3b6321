package control_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// EVL's list of VLANs is in force where it can be, comes and goes with ports,
// and gives way to a filter.
func TestVLANs(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	expect := func(where, ids string, devices ...string) {
		t.Helper()
		v, err := r.client.VLANs(ctx)
		if err != nil || v.IDs != ids || !slices.Equal(v.Devices, devices) {
			t.Errorf("%s: %+v, %v; want %s on %v", where, v, err, ids, devices)
		}
	}
	expect("at first", "")
	if v, err := r.client.SetVLANs(ctx, "100,42-43,44,7"); err != nil || v.IDs != "7,42-44,100" {
		t.Errorf("set: %+v, %v", v, err)
	}
	expect("without devices", "7,42-44,100")
	r.enable(t, "wire0.42", netip.MustParsePrefix("10.42.0.1/24"))
	expect("with a tagged port", "7,42-44,100", "wire0")
	if f, err := r.client.Filter(ctx, "wire0"); err != nil || f.Kind != "vlans" {
		t.Errorf("filter %+v, %v", f, err)
	}
	r.enable(t, "wire0", addrA)
	expect("with an untagged port", "7,42-44,100")
	if _, err := r.client.DisablePort(ctx, "wire0", false); err != nil {
		t.Error(err)
	}
	expect("without it", "7,42-44,100", "wire0")
	if _, err := r.client.SetFilter(ctx, "wire0", control.Filter{Rules: "accept vlan 42"}); err != nil {
		t.Error(err)
	}
	expect("with a filter", "7,42-44,100")
	if f, err := r.client.RemoveFilter(ctx, "wire0"); err != nil || f.Kind != "vlans" {
		t.Errorf("filter removed: %+v, %v", f, err)
	}
	expect("without the filter", "7,42-44,100", "wire0")
	if v, err := r.client.SetVLANs(ctx, ""); err != nil || v.IDs != "" {
		t.Errorf("cleared: %+v, %v", v, err)
	}
	expect("cleared", "")
}

// What the list says is what arrives.
func TestVLANsDecide(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	here, there := netip.MustParsePrefix("10.42.0.1/24"), netip.MustParsePrefix("10.42.0.2/24")
	if _, err := r.peer.Device.EnablePort(&stack.PortConfig{VLAN: 42, Addrs: []netip.Prefix{there}}); err != nil {
		t.Fatal(err)
	}
	r.enable(t, "wire0.42", here)
	if _, err := r.client.SetVLANs(ctx, "42"); err != nil {
		t.Fatal(err)
	}
	// ARP passes, too.
	if err := r.peer.Stack.Solicit(ctx, here.Addr(), arp.Permanent); err != nil {
		t.Fatal(err)
	}
	c, err := udp.Listen(r.peer.Stack, netip.AddrPortFrom(there.Addr(), 9), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send := func() uint64 {
		t.Helper()
		st := r.stack.Devices()[0].Stats()
		before := st.RX.Packets
		if _, err := c.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(here.Addr(), 9)); err != nil {
			t.Fatal(err)
		}
		stacktest.Eventually(t, "the frame comes", func() bool {
			st = r.stack.Devices()[0].Stats()
			return st.RX.Packets > before
		})
		return st.RX.Demoted[stack.ReasonSkipped]
	}
	if n := send(); n != 0 {
		t.Errorf("%d frames of a listed VLAN were skipped", n)
	}
	if _, err := r.client.SetVLANs(ctx, "43"); err != nil {
		t.Fatal(err)
	}
	// The peer may speak ARP as well.
	if n := send(); n == 0 {
		t.Error("no frame of a VLAN that is not listed was skipped")
	}
}
