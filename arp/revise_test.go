package arp

import (
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

func TestReviseLeavesTheUnchanged(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second})
	a := r.learn(onlink("10.0.0.2", macA))
	p := r.learn(permanent(onlink("10.0.0.3", macA)))
	r.pass(20)
	seen := map[string]bool{}
	r.Revise(func(s Spec) (Spec, bool) {
		seen[s.Dst.String()] = true
		s.Unconfirmed = true // of no effect
		s.Dst = ip("10.0.0.99")
		s.Permanent = !s.Permanent
		return s, true
	})
	if len(seen) != 2 || !a.Valid() || !p.Valid() || r.Lookup(num("10.0.0.2")) != a || r.Lookup(num("10.0.0.3")) != p {
		t.Errorf("saw %v; valid %v, %v", seen, a.Valid(), p.Valid())
	}
	if r.pass(10); a.Valid() {
		t.Error("the revision made the neighbour younger")
	}
}

func TestReviseChanges(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second})
	a := r.learn(onlink("10.0.0.2", macA))
	b := r.learn(onlink("10.0.0.3", macB))
	p := r.learn(permanent(onlink("10.0.0.4", macB)))
	a.Touch()
	r.pass(20)
	newMAC := link.MAC{2, 0, 0, 0, 0, 9}
	r.Revise(func(s Spec) (Spec, bool) {
		s.MTU, s.SrcMAC, s.VLAN = 9000, newMAC, 7
		return s, s.Dst != ip("10.0.0.3")
	})
	if a.Valid() || b.Valid() || p.Valid() {
		t.Error("a changed or dropped entry still holds")
	}
	if r.Lookup(num("10.0.0.3")) != nil {
		t.Error("the dropped entry is found")
	}
	for _, dst := range []string{"10.0.0.2", "10.0.0.4"} {
		e := r.Lookup(num(dst))
		if s := e.spec(); !e.Valid() || s.MTU != 9000 || s.SrcMAC != newMAC || s.VLAN != 7 || e.HeaderLen != MaxHeaderLen {
			t.Errorf("%s: %+v", dst, s)
		}
	}
	// Its age and its use are the same as before: it is due for its probe.
	if d := r.Dump()[0]; d.ConfirmedMS != 20_000 || d.UsedMS != 19_000 || d.Probes != 1 {
		t.Errorf("after the revision: %+v", d)
	}
	r.wantStats("entries 2 permanent 1 neighbors 2 learned 3 updated 2 confirmed 0 dropped 1 expired 0 evicted 0 full 0 conflicts 0 rejected 0")
}

func TestReviseMovesToAnotherGateway(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second})
	move := func(gateway string, mac link.MAC) {
		r.Revise(func(s Spec) (Spec, bool) {
			if s.Dst == ip("192.0.2.1") || s.Dst == ip("192.0.2.2") {
				s.NextHop = ip(gateway)
				if mac != (link.MAC{}) {
					s.MAC = mac
				}
			}
			return s, true
		})
	}
	r.learn(behind("192.0.2.1", "10.0.0.2", macA)).Touch() // its use goes along with it
	r.learn(permanent(behind("192.0.2.2", "10.0.0.2", macA)))
	r.learn(onlink("10.0.0.3", macB))

	move("10.0.0.3", link.MAC{}) // a known neighbour: its MAC
	if e := r.Lookup(num("192.0.2.1")); e.MAC() != macB || e.NextHop != ip("10.0.0.3").As4() {
		t.Errorf("to a known neighbour: %x", e.MAC())
	}
	if e := r.Lookup(num("192.0.2.2")); e.MAC() != macA || e.NextHop != ip("10.0.0.3").As4() {
		t.Errorf("permanent: %x", e.MAC())
	}
	move("10.0.0.4", macA) // an unknown one, with a MAC: to be probed at once
	e := r.Lookup(num("192.0.2.1"))
	if e.MAC() != macA {
		t.Errorf("to a neighbour that f knows: %x", e.MAC())
	}
	if probes := r.pass(1); len(probes) != 1 || probes[0].NextHop != ip("10.0.0.4") {
		t.Errorf("probes %v, want one to the new gateway", probes)
	}
	move("10.0.0.5", link.MAC{}) // an unknown one, without
	if e.Valid() || r.Lookup(num("192.0.2.1")) != nil {
		t.Error("an entry kept the MAC of its former gateway")
	}
	if r.Lookup(num("192.0.2.2")) == nil {
		t.Error("the permanent entry was lost")
	}
}

func TestReviseStatesAMAC(t *testing.T) {
	r := newRig(t, Config{})
	gw := r.learn(onlink("10.0.0.2", macA))
	far := r.learn(behind("192.0.2.1", "10.0.0.2", macA))
	r.Revise(func(s Spec) (Spec, bool) {
		s.MAC = macB
		return s, true
	})
	if gw.Valid() || far.Valid() || r.Lookup(num("10.0.0.2")).MAC() != macB || r.Lookup(num("192.0.2.1")).MAC() != macB {
		t.Error("the new MAC is not in all entries of the neighbour")
	}
}

// A new mask makes another broadcast address, and a host of the old one.
func TestReviseChangesTheKind(t *testing.T) {
	r := newRig(t, Config{})
	host := r.learn(onlink("10.0.0.127", macA))
	b := onlink("10.0.0.255", link.MAC{})
	b.Kind = Broadcast
	old := r.learn(b)
	r.Revise(func(s Spec) (Spec, bool) {
		if s.Kind = Unicast; s.Dst == ip("10.0.0.127") {
			s.Kind = Broadcast
		}
		return s, true
	})
	if host.Valid() || old.Valid() {
		t.Error("entries of the old kind still hold")
	}
	if e := r.Lookup(num("10.0.0.127")); e == nil || e.Kind != Broadcast || e.MAC() != broadcastMAC {
		t.Errorf("new broadcast address: %+v", e)
	}
	if r.Lookup(num("10.0.0.255")) != nil {
		t.Error("a host has the broadcast MAC")
	}
	r.wantStats("entries 1 permanent 0 neighbors 0 learned 2 updated 1 confirmed 0 dropped 1 expired 0 evicted 0 full 0 conflicts 0 rejected 1")
}

func TestReviseDropsTheImpossible(t *testing.T) {
	r := newRig(t, Config{})
	e := r.learn(onlink("10.0.0.2", macA))
	p := r.learn(permanent(onlink("10.0.0.3", macA)))
	r.Revise(func(s Spec) (Spec, bool) {
		s.Via = nil
		return s, true
	})
	if e.Valid() || p.Valid() || r.Stats().Entries != 0 || r.Stats().Rejected != 2 {
		t.Errorf("stats %+v", r.Stats())
	}
}

// A revision that panics is the caller's fault, and must not lock others out.
func TestReviseSurvivesAPanic(t *testing.T) {
	r := newRig(t, Config{})
	r.learn(onlink("10.0.0.2", macA))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		r.Revise(func(Spec) (Spec, bool) { panic("mine") })
	}()
	r.learn(onlink("10.0.0.3", macA))
}
