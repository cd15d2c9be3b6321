package arp

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/link"
)

func TestLearnAndLookup(t *testing.T) {
	r := newRig(t, Config{})
	if r.Lookup(num("10.0.0.2")) != nil {
		t.Fatal("an empty cache has an entry")
	}
	s := behind("192.0.2.9", "10.0.0.2", macA)
	s.VLAN = 3<<13 | 42
	e := r.learn(s)
	want := []byte{2, 0, 0, 0, 0, 0xa, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x60, 42, 8, 0}
	if got := e.Header[:e.HeaderLen]; string(got) != string(want) {
		t.Errorf("header % x, want % x", got, want)
	}
	if e.Dst != ip("192.0.2.9").As4() || e.NextHop != ip("10.0.0.2").As4() || e.Src != ip("10.0.0.1").As4() ||
		e.Via != Egress(eth0) || e.MTU != 1500 || e.Kind != Unicast || e.Permanent() || e.MAC() != macA || !e.Valid() {
		t.Errorf("entry %+v", e)
	}
	u := r.learn(onlink("10.0.0.3", macB))
	if u.HeaderLen != 14 || u.Header[12] != 8 || u.Header[13] != 0 || u.NextHop != u.Dst {
		t.Errorf("untagged entry %+v", u)
	}
	r.wantStats("entries 2 permanent 0 neighbors 2 learned 2 updated 0 confirmed 0 dropped 0 expired 0 evicted 0 full 0 conflicts 0 rejected 0")
}

func TestLearnReplaces(t *testing.T) {
	r := newRig(t, Config{})
	a := r.learn(onlink("10.0.0.2", macA))
	if same := r.learn(onlink("10.0.0.2", macA)); same != a || !a.Valid() {
		t.Error("learning the same again made another entry")
	}
	s := onlink("10.0.0.2", macA)
	s.MTU = 9000
	b := r.learn(s)
	if a == b || a.Valid() || !b.Valid() || b.MTU != 9000 {
		t.Errorf("old valid %v, new %+v", a.Valid(), b)
	}
	// A statement about a gateway holds for all behind it.
	x := r.learn(behind("192.0.2.1", "10.0.0.2", macA))
	r.learn(onlink("10.0.0.2", macB))
	if x.Valid() || r.Lookup(num("192.0.2.1")).MAC() != macB {
		t.Error("an entry behind the gateway kept the gateway's old MAC")
	}
	r.wantStats("entries 2 permanent 0 neighbors 1 learned 2 updated 4 confirmed 4 dropped 0 expired 0 evicted 0 full 0 conflicts 0 rejected 0")
}

func TestGroups(t *testing.T) {
	r := newRig(t, Config{})
	m := onlink("239.129.2.3", link.MAC{})
	m.Kind = Multicast
	if e := r.learn(m); e.MAC() != (link.MAC{1, 0, 0x5e, 1, 2, 3}) {
		t.Errorf("multicast MAC %x", e.MAC())
	}
	b := onlink("10.0.0.255", link.MAC{})
	b.Kind = Broadcast
	if e := r.learn(b); e.MAC() != broadcastMAC {
		t.Errorf("broadcast MAC %x", e.MAC())
	}
	r.Lookup(num("239.129.2.3")).Touch()
	if probes := r.pass(100); len(probes) != 0 {
		t.Errorf("probes for groups: %v", probes)
	}
	r.Drop(eth0, ip("10.0.0.255"))
	r.wantStats("entries 2 permanent 0 neighbors 0 learned 2 updated 0 confirmed 0 dropped 0 expired 0 evicted 0 full 0 conflicts 0 rejected 0")
}

func TestPermanentIsNotOverwritten(t *testing.T) {
	r := newRig(t, Config{})
	e := r.learn(permanent(onlink("10.0.0.2", macA)))
	x := r.learn(behind("192.0.2.1", "10.0.0.2", macA))
	if got := r.learn(onlink("10.0.0.2", macA)); got != e {
		t.Error("a learned entry took the place of a permanent one")
	}
	r.wantStats("entries 2 permanent 1 neighbors 1 learned 2 updated 0 confirmed 2 dropped 0 expired 0 evicted 0 full 0 conflicts 0 rejected 0")
	if got := r.learn(onlink("10.0.0.2", macB)); got != e || !e.Valid() || e.MAC() != macA {
		t.Error("a contradiction altered a permanent entry")
	}
	r.Confirm(eth0, ip("10.0.0.2"), macB)
	if r.Stats().Conflicts != 2 {
		t.Errorf("%d conflicts, want 2", r.Stats().Conflicts)
	}
	if x.Valid() || r.Lookup(num("192.0.2.1")).MAC() != macB {
		t.Error("the learned entry did not follow its neighbour")
	}
	other := onlink("10.0.0.2", macB)
	other.Via = eth1
	if got := r.learn(other); got != e || r.Stats().Conflicts != 3 {
		t.Errorf("an answer on another port: %d conflicts, want 3", r.Stats().Conflicts)
	}
	r.Drop(eth0, ip("10.0.0.2"))
	r.pass(100)
	if !e.Valid() || r.Lookup(num("10.0.0.2")) != e || r.Lookup(num("192.0.2.1")) != nil {
		t.Error("Drop did not take the learned entry alone")
	}
	if got := r.learn(permanent(onlink("10.0.0.2", macB))); got.MAC() != macB || e.Valid() {
		t.Error("the operator could not change a permanent entry")
	}
	r.DropPort(eth0)
	r.wantStats("entries 0 permanent 0 neighbors 0 learned 2 updated 2 confirmed 4 dropped 2 expired 0 evicted 0 full 0 conflicts 3 rejected 0")
}

// A claim that is not believed is counted, and changes nothing.
func TestDispute(t *testing.T) {
	r := newRig(t, Config{})
	kept, learned := r.learn(permanent(onlink("10.0.0.2", macA))), r.learn(behind("10.1.0.1", "10.0.0.2", macA))
	r.Dispute(eth0, ip("10.0.0.2"), macA) // says the same
	r.Dispute(eth0, ip("10.0.0.3"), macB) // of nobody we know
	r.Dispute(eth1, ip("10.0.0.2"), macB) // on another wire
	r.Dispute(eth0, ip("10.0.0.2"), link.MAC{})
	r.Dispute(nil, ip("10.0.0.2"), macB)
	if n := r.Stats().Conflicts; n != 0 {
		t.Errorf("%d conflicts where nothing is contradicted", n)
	}
	r.Dispute(eth0, ip("10.0.0.2"), macB)
	if n := r.Stats().Conflicts; n != 1 {
		t.Errorf("%d conflicts, want 1", n)
	}
	if !kept.Valid() || !learned.Valid() || r.Lookup(num("10.1.0.1")).MAC() != macA {
		t.Error("a claim that is not believed changed an entry")
	}
	if d := r.Dump(); len(d) != 2 || d[0].Conflict != "02:00:00:00:00:0b" {
		t.Errorf("the dump says %+v", d)
	}
}

// Permanent entries behind one neighbour may disagree; whatever ARP says then
// contradicts one of them.
func TestConflictWithOneOfTwo(t *testing.T) {
	r := newRig(t, Config{})
	r.learn(permanent(onlink("10.0.0.2", macA)))
	r.learn(permanent(behind("192.0.2.1", "10.0.0.2", macB)))
	r.Confirm(eth0, ip("10.0.0.2"), macA)
	r.Confirm(eth0, ip("10.0.0.2"), macB)
	if n := r.Stats().Conflicts; n != 2 {
		t.Errorf("%d conflicts, want 2", n)
	}
	if r.learn(permanent(behind("192.0.2.1", "10.0.0.2", macA))); len(r.hops) != 1 {
		t.Fatalf("%d neighbours", len(r.hops))
	}
	if r.Confirm(eth0, ip("10.0.0.2"), macA); r.Stats().Conflicts != 2 {
		t.Error("a statement that all agree with was counted as a conflict")
	}
}

func TestLearnedBecomesPermanent(t *testing.T) {
	r := newRig(t, Config{})
	a := r.learn(onlink("10.0.0.2", macA))
	p := r.learn(permanent(onlink("10.0.0.2", macA)))
	if a.Valid() || !p.Permanent() || !p.Valid() {
		t.Error("no promotion")
	}
	if r.pass(100); !p.Valid() {
		t.Error("the permanent entry expired")
	}
}

func TestConfirm(t *testing.T) {
	r := newRig(t, Config{})
	r.Confirm(eth0, ip("10.0.0.2"), macA)
	if r.Lookup(num("10.0.0.2")) != nil {
		t.Fatal("an unsolicited answer made an entry")
	}
	e := r.learn(onlink("10.0.0.2", macA))
	other := r.learn(onlink("10.0.0.3", macB))
	e.Touch()
	r.Confirm(eth1, ip("10.0.0.2"), macB) // the same address behind another port is another neighbour
	r.Confirm(eth0, ip("10.0.0.2"), macA)
	if !e.Valid() {
		t.Fatal("a confirmation replaced the entry")
	}
	r.Confirm(eth0, ip("10.0.0.2"), macB)
	n := r.Lookup(num("10.0.0.2"))
	if e.Valid() || n.MAC() != macB || !n.Valid() || !other.Valid() {
		t.Errorf("after a new MAC: old valid %v, new %x", e.Valid(), n.MAC())
	}
	if d := r.Dump()[0]; d.UsedMS != 0 {
		t.Errorf("the use was lost with the replacement: %+v", d)
	}
	for _, bad := range []link.MAC{{}, broadcastMAC, {1, 0, 0x5e, 0, 0, 1}} {
		r.Confirm(eth0, ip("10.0.0.2"), bad)
	}
	r.Confirm(eth0, ip("fe80::1"), macA)
	r.Confirm(nil, ip("10.0.0.2"), macA)
	if !n.Valid() {
		t.Error("an impossible MAC was believed")
	}
	r.wantStats("entries 2 permanent 0 neighbors 2 learned 2 updated 1 confirmed 2 dropped 0 expired 0 evicted 0 full 0 conflicts 0 rejected 5")
}

func TestDrop(t *testing.T) {
	r := newRig(t, Config{})
	gw := r.learn(onlink("10.0.0.2", macA))
	far := r.learn(behind("192.0.2.1", "10.0.0.2", macA))
	bystander := r.learn(onlink("10.0.0.3", macB))
	elsewhere := onlink("10.0.1.2", macA)
	elsewhere.Via = eth1
	e1 := r.learn(elsewhere)
	r.Drop(eth0, ip("10.0.0.2"))
	r.Drop(eth0, ip("10.0.0.77"))
	r.Drop(uncomparable{}, ip("10.0.0.3"))
	if gw.Valid() || far.Valid() || !bystander.Valid() || !e1.Valid() {
		t.Error("Drop took the wrong entries")
	}
	r.DropPort(uncomparable{})
	r.DropPort(nil)
	r.DropPort(eth0)
	if bystander.Valid() || !e1.Valid() {
		t.Error("DropPort took the wrong entries")
	}
	r.wantStats("entries 1 permanent 0 neighbors 1 learned 4 updated 0 confirmed 1 dropped 3 expired 0 evicted 0 full 0 conflicts 0 rejected 0")
}

func TestNeighbor(t *testing.T) {
	r := newRig(t, Config{})
	want := func(addr string, mac link.MAC, known bool) {
		t.Helper()
		if m, ok := r.Neighbor(eth0, ip(addr)); m != mac || ok != known {
			t.Errorf("Neighbor(%s) = %x, %v; want %x, %v", addr, m, ok, mac, known)
		}
	}
	want("10.0.0.2", link.MAC{}, false)
	want("::1", link.MAC{}, false)
	r.learn(behind("192.0.2.1", "10.0.0.2", macA))
	want("10.0.0.2", macA, true)
	r.learn(permanent(onlink("10.0.0.2", macB)))
	want("10.0.0.2", macB, true)
	r.learn(permanent(behind("192.0.2.3", "10.0.0.3", macB))) // what lies behind it says nothing of the neighbour itself
	want("10.0.0.3", link.MAC{}, false)
}

// uncomparable is a port that would panic as a map key.
type uncomparable struct{ _ []int }

func (uncomparable) Name() string { return "bad" }

func TestRejectedSpecs(t *testing.T) {
	cases := map[string]struct {
		change func(*Spec)
		want   error
	}{
		"IPv6 destination":    {func(s *Spec) { s.Dst = ip("fe80::1") }, syscall.EAFNOSUPPORT},
		"IPv6 next hop":       {func(s *Spec) { s.NextHop = ip("fe80::1") }, syscall.EAFNOSUPPORT},
		"no source":           {func(s *Spec) { s.Src = netip.Addr{} }, syscall.EAFNOSUPPORT},
		"no destination":      {func(s *Spec) { s.Dst = netip.Addr{} }, syscall.EAFNOSUPPORT},
		"zero destination":    {func(s *Spec) { s.Dst = ip("0.0.0.0") }, syscall.EINVAL},
		"no port":             {func(s *Spec) { s.Via = nil }, syscall.EINVAL},
		"nil pointer as port": {func(s *Spec) { s.Via = (*port)(nil) }, syscall.EINVAL},
		"uncomparable port":   {func(s *Spec) { s.Via = uncomparable{} }, syscall.EINVAL},
		"no MAC":              {func(s *Spec) { s.MAC = link.MAC{} }, syscall.EINVAL},
		"group MAC":           {func(s *Spec) { s.MAC = broadcastMAC }, syscall.EINVAL},
		"group source MAC":    {func(s *Spec) { s.SrcMAC = broadcastMAC }, syscall.EINVAL},
		"MTU":                 {func(s *Spec) { s.MTU = MinMTU - 1 }, syscall.EINVAL},
		"kind":                {func(s *Spec) { s.Kind = 3 }, syscall.EINVAL},
		"unicast to a group":  {func(s *Spec) { s.Dst = ip("224.0.0.1") }, syscall.EINVAL},
		"multicast to a host": {func(s *Spec) { s.Kind = Multicast }, syscall.EINVAL},
	}
	r := newRig(t, Config{})
	for name, c := range cases {
		s := onlink("10.0.0.2", macA)
		c.change(&s)
		if e, err := r.Learn(s); e != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want an error that wraps %v", name, e, err, c.want)
		}
	}
	if s := r.Stats(); s.Rejected != uint64(len(cases)) || s.Entries != 0 {
		t.Errorf("stats %+v", s)
	}
	// A 4-in-6 address is an IPv4 address.
	s := onlink("10.0.0.2", macA)
	s.Dst = ip("::ffff:10.0.0.2")
	if e, err := r.Learn(s); err != nil || r.Lookup(num("10.0.0.2")) != e {
		t.Errorf("mapped address: %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, cfg := range []Config{{Capacity: -1}, {Capacity: MaxCapacity + 1}, {Reachable: -1}, {Idle: -1}} {
		if c, err := NewCache(cfg); c != nil || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("NewCache(%+v) = %v, %v", cfg, c, err)
		}
	}
}
