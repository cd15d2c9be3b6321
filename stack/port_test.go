package stack_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

func prefixes(ss ...string) (ps []netip.Prefix) {
	for _, s := range ss {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// TestEnablePortRefuses what is wrong, with its error, and leaves nothing of it.
func TestEnablePortRefuses(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	var notes atomic.Int32
	h := fakeHost(t, l, &stacktest.Options{Manual: true, Stack: stack.Config{OnError: func(error) { notes.Add(1) }}})
	var many []netip.Prefix
	for i := range byte(stack.MaxAddrs + 1) {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, i + 1}), 24))
	}
	for _, c := range []struct {
		name string
		cfg  stack.PortConfig
		want error
	}{
		{"VLAN 1", stack.PortConfig{VLAN: 1}, syscall.EINVAL},
		{"VLAN 4095", stack.PortConfig{VLAN: 4095}, syscall.EINVAL},
		{"VLAN 65535", stack.PortConfig{VLAN: 65535}, syscall.EINVAL},
		{"MTU over the device's", stack.PortConfig{VLAN: 2, MTU: 1501}, syscall.EINVAL},
		{"MTU under IPv4's least", stack.PortConfig{VLAN: 2, MTU: 67}, syscall.EINVAL},
		{"negative MTU", stack.PortConfig{VLAN: 2, MTU: -1}, syscall.EINVAL},
		{"IPv6", stack.PortConfig{VLAN: 2, Addrs: prefixes("2001:db8::1/64")}, syscall.EAFNOSUPPORT},
		{"no address", stack.PortConfig{VLAN: 2, Addrs: make([]netip.Prefix, 1)}, syscall.EAFNOSUPPORT},
		{"a group", stack.PortConfig{VLAN: 2, Addrs: prefixes("224.0.0.1/24")}, syscall.EADDRNOTAVAIL},
		{"unspecified", stack.PortConfig{VLAN: 2, Addrs: prefixes("0.0.0.0/24")}, syscall.EADDRNOTAVAIL},
		{"loopback", stack.PortConfig{VLAN: 2, Addrs: prefixes("127.0.0.1/8")}, syscall.EADDRNOTAVAIL},
		{"too many", stack.PortConfig{VLAN: 2, Addrs: many}, syscall.EINVAL},
		{"another port's", stack.PortConfig{VLAN: 2, Addrs: prefixes("10.0.5.1/24", "10.0.0.1/16")}, syscall.EADDRINUSE},
		{"twice the same", stack.PortConfig{VLAN: 2, Addrs: prefixes("10.0.5.1/24", "10.0.5.1/24")}, syscall.EINVAL},
		{"twice the same, other prefix", stack.PortConfig{VLAN: 2, Addrs: prefixes("10.0.5.1/24", "10.0.5.1/16")}, syscall.EINVAL},
	} {
		if p, err := h.Device.EnablePort(&c.cfg); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, p, err, c.want)
		}
	}
	odd := errors.New("odd")
	l.set(func() { l.selectErr = odd })
	if _, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 2, Addrs: prefixes("10.0.5.1/24")}); !errors.Is(err, odd) {
		t.Errorf("a link that refuses the claims: %v", err)
	}
	l.set(func() { l.selectErr = nil })
	if notes.Load() != 1 || h.Stack.Stats().Notes != 1 {
		t.Errorf("%d notes: the claims could not be taken back, once", notes.Load())
	}
	if ports, routes := h.Stack.Ports(), h.Stack.Routes(); len(ports) != 1 || len(routes) != 1 {
		t.Errorf("something is left: ports %v, routes %v", ports, routes)
	}
	// Nothing of all that stands in the way of a good one.
	if _, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 2, Addrs: prefixes("10.0.5.1/24")}); err != nil {
		t.Error(err)
	}
	l.set(func() { l.state = link.Down })
	if _, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 3}); !errors.Is(err, syscall.ENETDOWN) {
		t.Errorf("on a link that is down: %v", err)
	}
	if p, err := h.Device.EnablePort(nil); p != h.Port || err != nil {
		t.Errorf("a port that is there: %v, %v", p, err)
	}
}

func TestPortProperties(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, &stacktest.Options{Manual: true, NoPort: true})
	d := h.Device
	tagged, err := d.EnablePort(&stack.PortConfig{VLAN: 4094, MTU: 576, Addrs: prefixes("10.0.1.1/24", "10.0.2.1/31")})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := d.EnablePort(nil)
	if err != nil {
		t.Fatal(err)
	}
	if tagged.Name() != "fake0.4094" || plain.Name() != "fake0" || tagged.VLAN() != 4094 || tagged.MTU() != 576 || plain.MTU() != 1500 ||
		tagged.MAC() != fakeMAC || tagged.Device() != d || fmt.Sprint(tagged.Addrs()) != "[10.0.1.1/24 10.0.2.1/31]" || len(plain.Addrs()) != 0 {
		t.Errorf("%s and %s are not what was asked for", tagged.Name(), plain.Name())
	}
	if got := d.Ports(); !slices.Equal(got, []*stack.Port{plain, tagged}) {
		t.Errorf("the device's ports: %v", got)
	}
	if got := h.Stack.Ports(); !slices.Equal(got, []*stack.Port{tagged, plain}) {
		t.Errorf("the stack's ports: %v", got)
	}
	if again, err := d.EnablePort(&stack.PortConfig{VLAN: 4094, Addrs: prefixes("10.7.7.7/8")}); again != tagged || err != nil {
		t.Errorf("enabled again: %v, %v", again, err)
	}
	for range 2 {
		if err := tagged.Disable(); err != nil {
			t.Error(err)
		}
	}
	if !tagged.Disabled() || len(h.Stack.Ports()) != 1 || len(h.Stack.Routes()) != 0 || h.Stack.Local(netip.MustParseAddr("10.0.1.1")) {
		t.Error("something is left of a disabled port")
	}
	for what, err := range map[string]error{
		"add address":  tagged.AddAddr(netip.MustParsePrefix("10.0.3.1/24")),
		"join a group": tagged.JoinGroup(netip.MustParseAddr("239.0.0.1")),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s on a disabled port: %v", what, err)
		}
	}
	// Its VLAN and its addresses are free again.
	if again, err := d.EnablePort(&stack.PortConfig{VLAN: 4094, Addrs: prefixes("10.0.1.1/24")}); err != nil || again == tagged {
		t.Errorf("enabled anew: %v, %v", again, err)
	}
}

// TestAddresses come and go, with their routes, with what the port answers
// to, and with what the link is asked for.
func TestAddresses(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	p := h.Port
	second := netip.MustParsePrefix("10.0.7.1/24")
	answers := func(a netip.Addr) bool {
		before := h.Device.Stats().RX.Dropped[stack.ReasonForeignIPv4]
		l.arrive(packet{to: 99, dst: a}.frame(), 0, 0)
		h.Poll()
		return h.Device.Stats().RX.Dropped[stack.ReasonForeignIPv4] == before
	}
	claims := func(a netip.Addr) bool {
		return slices.Contains(l.lastClaims().IPv4, link.ClaimIPv4{Addr: a.As4()})
	}
	if answers(second.Addr()) || claims(second.Addr()) || !claims(ownAddr) || !claims(netip.MustParseAddr("10.0.0.255")) ||
		!claims(netip.MustParseAddr("255.255.255.255")) || claims(netip.MustParseAddr("224.0.0.1")) {
		t.Errorf("before: claims %v", l.lastClaims().IPv4)
	}
	if err := p.AddAddr(second); err != nil {
		t.Fatal(err)
	}
	if !answers(second.Addr()) || !claims(second.Addr()) || !h.Stack.Local(second.Addr()) || h.Stack.PortOf(second.Addr()) != p || len(h.Stack.Routes()) != 2 {
		t.Errorf("added: claims %v, routes %v", l.lastClaims().IPv4, h.Stack.Routes())
	}
	for _, c := range []struct {
		a    string
		want error
	}{
		{"10.0.7.1/24", syscall.EADDRINUSE}, {"10.0.7.1/16", syscall.EADDRINUSE}, {"fe80::1/64", syscall.EAFNOSUPPORT},
		{"239.0.0.1/24", syscall.EADDRNOTAVAIL},
	} {
		if err := p.AddAddr(netip.MustParsePrefix(c.a)); !errors.Is(err, c.want) {
			t.Errorf("add %s: %v, want %v", c.a, err, c.want)
		}
	}
	if err := p.RemoveAddr(netip.MustParsePrefix("10.0.7.2/24")); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("remove what is not there: %v", err)
	}
	if err := p.RemoveAddr(second); err != nil {
		t.Fatal(err)
	}
	if answers(second.Addr()) || claims(second.Addr()) || h.Stack.Local(second.Addr()) || len(h.Stack.Routes()) != 1 {
		t.Errorf("removed: claims %v, routes %v", l.lastClaims().IPv4, h.Stack.Routes())
	}
	for i := range byte(stack.MaxAddrs - 1) {
		if err := p.AddAddr(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, i, 1}), 24)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.AddAddr(second); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("one address too many: %v", err)
	}
	if err := p.RemoveAddr(ownNet); err != nil {
		t.Fatal(err)
	}
	if answers(ownAddr) || !answers(netip.MustParseAddr("10.9.0.1")) {
		t.Error("the first address is still there, or the others are not")
	}
	stacktest.AssertBooks(t, h.Device)
}

// TestGroups count their members, and end with the last one.
func TestGroups(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	group := netip.MustParseAddr("239.1.2.3")
	member := func() bool {
		before := h.Device.Stats().RX.Dropped[stack.ReasonNotMember]
		l.arrive(packet{to: 99, dst: group, dstMAC: wire.MulticastMAC(group.As4())}.frame(), 0, 0)
		h.Poll()
		return h.Device.Stats().RX.Dropped[stack.ReasonNotMember] == before
	}
	for _, bad := range []string{"10.0.0.5", "ff02::1", "255.255.255.255"} {
		if err := h.Port.JoinGroup(netip.MustParseAddr(bad)); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("join %s: %v", bad, err)
		}
	}
	if err := h.Port.JoinGroup(netip.Addr{}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("join no address: %v", err)
	}
	if err := h.Port.LeaveGroup(group); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("leave what was not joined: %v", err)
	}
	join, leave := h.Port.JoinGroup, h.Port.LeaveGroup
	for i, step := range []struct {
		do   func(netip.Addr) error
		then bool
	}{{join, true}, {join, true}, {leave, true}, {leave, false}, {join, true}} {
		if err := step.do(group); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if member() != step.then {
			t.Errorf("step %d: member %v", i, !step.then)
		}
		if got := slices.Contains(l.lastClaims().IPv4, link.ClaimIPv4{Addr: group.As4()}); got != step.then {
			t.Errorf("step %d: claimed %v", i, got)
		}
	}
	if err := h.Port.Disable(); err != nil {
		t.Fatal(err)
	}
	if err := h.Port.LeaveGroup(group); err != nil {
		t.Errorf("leave on a disabled port: %v", err)
	}
}

// TestClaimsFollowTheEtherTypes that protocols registered, on every VLAN.
func TestClaimsFollowTheEtherTypes(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	if _, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 7}); err != nil {
		t.Fatal(err)
	}
	odd := errors.New("odd")
	l.set(func() { l.selectErr = odd })
	if err := h.Stack.RegisterProtocol(stack.EtherType(testEtherType), newTestProtocol(nil)); !errors.Is(err, odd) {
		t.Errorf("a link that refuses: %v", err)
	}
	l.set(func() { l.selectErr = nil })
	if err := h.Stack.RegisterProtocol(stack.EtherType(testEtherType), newTestProtocol(nil)); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(l.lastClaims().EtherTypes)
	if !strings.Contains(got, "{0 34997}") || !strings.Contains(got, "{7 34997}") {
		t.Errorf("claims %s", got)
	}
}
