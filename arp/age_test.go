package arp

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestUnusedEntryExpires(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second})
	e := r.learn(onlink("10.0.0.2", macA))
	if probes := r.pass(29); len(probes) != 0 || !e.Valid() {
		t.Fatalf("after 29 s: probes %v, valid %v", probes, e.Valid())
	}
	if probes := r.pass(1); len(probes) != 0 || e.Valid() || r.Lookup(num("10.0.0.2")) != nil {
		t.Fatalf("after 30 s: probes %v, valid %v", probes, e.Valid())
	}
	r.wantStats("entries 0 permanent 0 neighbors 0 learned 1 updated 0 confirmed 0 dropped 0 expired 1 evicted 0 full 0 conflicts 0 rejected 0")
}

// A live peer that is being sent to keeps the very same entry for ever.
func TestUsedEntryIsRefreshed(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second})
	e := r.learn(onlink("10.0.0.2", macA))
	want := Probe{Via: eth0, NextHop: ip("10.0.0.2"), Src: ip("10.0.0.1"), MAC: macA}
	sent := 0
	for range 1000 {
		e.Touch()
		for _, p := range r.pass(1) {
			if p != want {
				t.Fatalf("probe %+v, want %+v", p, want)
			}
			sent++
			r.Confirm(p.Via, p.NextHop, p.MAC)
		}
	}
	if !e.Valid() || r.Lookup(num("10.0.0.2")) != e {
		t.Fatal("the entry of a live peer was lost")
	}
	if sent != 1000/20 {
		t.Errorf("%d probes in 1000 s, want one each 20 s", sent)
	}
	// Answered probes do not count as silence later.
	e.Touch()
	r.now = r.now.Add(time.Hour)
	if probes := r.pass(1); len(probes) != 1 || !e.Valid() {
		t.Errorf("after an hour without Due: probes %v, valid %v", probes, e.Valid())
	}
}

func TestSilentPeerExpires(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second})
	e := r.learn(onlink("10.0.0.2", macA))
	e.Touch()
	if probes := r.pass(19); len(probes) != 0 {
		t.Fatalf("%d probes before 2/3 of the time", len(probes))
	}
	if probes := r.pass(10); len(probes) != 10 || !e.Valid() {
		t.Fatalf("%d probes from 20 to 29 s, want 10; valid %v", len(probes), e.Valid())
	}
	if probes := r.pass(1); len(probes) != 0 || e.Valid() {
		t.Fatalf("after 30 s of silence: %d probes, valid %v", len(probes), e.Valid())
	}
	if s := r.Stats(); s.Expired != 1 || s.Probes != 10 {
		t.Errorf("stats %+v", s)
	}
}

// A stack that could not call Due for long asks before it forgets.
func TestLateDueAsksFirst(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second})
	e := r.learn(onlink("10.0.0.2", macA))
	e.Touch()
	r.now = r.now.Add(time.Hour)
	for i := range MaxProbes {
		if probes := r.pass(1); len(probes) != 1 || !e.Valid() {
			t.Fatalf("call %d: probes %v, valid %v", i, probes, e.Valid())
		}
	}
	if r.pass(1); e.Valid() {
		t.Fatal("still there after all probes")
	}
}

func TestProbesAreSpaced(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second})
	r.learn(onlink("10.0.0.2", macA)).Touch()
	r.pass(19)
	n := 0
	for range 50 { // five seconds
		r.now = r.now.Add(100 * time.Millisecond)
		n += len(r.Due(r.now))
	}
	if n != 5 {
		t.Errorf("%d probes in 20..24 s, want 5", n)
	}
	if r.now = r.now.Add(-time.Hour); len(r.Due(r.now)) != 0 {
		t.Error("a clock that goes back made probes")
	}
}

func TestIdleEntryIsNotProbed(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second, Idle: 2 * time.Minute})
	e := r.learn(onlink("10.0.0.2", macA))
	e.Touch()
	for range 121 { // noted by the first Due, at 1 s
		for _, p := range r.pass(1) {
			r.Confirm(p.Via, p.NextHop, p.MAC)
		}
	}
	before := r.Stats().Probes
	if before != 6 || !e.Valid() { // at 20, 40 .. 120 s
		t.Fatalf("%d probes while in use, want 6; valid %v", before, e.Valid())
	}
	r.pass(29)
	if e.Valid() || r.Stats().Probes != before {
		t.Errorf("idle: valid %v, %d more probes", e.Valid(), r.Stats().Probes-before)
	}
}

// One probe keeps all destinations behind a gateway, used or not.
func TestGatewayIsProbedOnce(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second})
	used := r.learn(behind("192.0.2.1", "10.0.0.2", macA))
	unused := r.learn(behind("192.0.2.2", "10.0.0.2", macA))
	r.learn(onlink("10.0.0.9", macB)).Touch()
	r.learn(onlink("10.0.0.1", macB)).Touch()
	used.Touch()
	r.pass(19)
	var hops []string
	for _, p := range r.pass(1) {
		hops = append(hops, p.NextHop.String())
		r.Confirm(p.Via, p.NextHop, p.MAC)
	}
	if want := []string{"10.0.0.1", "10.0.0.2", "10.0.0.9"}; !slices.Equal(hops, want) {
		t.Errorf("probed %v, want %v", hops, want)
	}
	if r.pass(15); !used.Valid() || !unused.Valid() {
		t.Error("a confirmed gateway's entries expired")
	}
}

func TestUnconfirmed(t *testing.T) {
	r := newRig(t, Config{Reachable: 30 * time.Second})
	fromMemory := func(s Spec) Spec { s.Unconfirmed = true; return s }
	// An unknown neighbour is asked as soon as it is used.
	r.learn(fromMemory(onlink("10.0.0.2", macA))).Touch()
	if probes := r.pass(1); len(probes) != 1 {
		t.Fatalf("probes %v, want one at once", probes)
	}
	// New destinations do not make a silent gateway younger, and take the
	// address that ARP stated last.
	r.learn(onlink("10.0.0.3", macA)).Touch()
	for i := range 30 {
		e := r.learn(fromMemory(behind(fmt.Sprintf("192.0.2.%d", i), "10.0.0.3", macB)))
		if e.MAC() != macA {
			t.Fatalf("MAC %x from memory beat ARP's", e.MAC())
		}
		if again := r.learn(fromMemory(behind(fmt.Sprintf("192.0.2.%d", i), "10.0.0.3", macB))); again != e {
			t.Fatal("the same made another entry")
		}
		e.Touch()
		r.pass(1)
	}
	if n := r.Stats().Entries; n != 0 {
		t.Errorf("%d entries of silent neighbours left", n)
	}
}

func TestEvictionTakesTheLongestUnused(t *testing.T) {
	r := newRig(t, Config{Capacity: 4, Reachable: time.Hour})
	p := r.learn(permanent(onlink("10.0.0.1", macA)))
	a := r.learn(onlink("10.0.0.2", macA))
	b := r.learn(onlink("10.0.0.3", macA))
	c := r.learn(onlink("10.0.0.4", macA))
	a.Touch()
	r.pass(1) // a is now the last used
	b.Touch() // not noted yet: the eviction sees the mark
	r.learn(onlink("10.0.0.5", macA))
	if !p.Valid() || !a.Valid() || !b.Valid() || c.Valid() {
		t.Fatalf("valid: permanent %v, a %v, b %v, c %v; want only c evicted", p.Valid(), a.Valid(), b.Valid(), c.Valid())
	}
	r.learn(onlink("10.0.0.6", macA))
	if a.Valid() || !b.Valid() {
		t.Error("not the longest unused was evicted")
	}
	r.wantStats("entries 4 permanent 1 neighbors 4 learned 6 updated 0 confirmed 0 dropped 0 expired 0 evicted 2 full 0 conflicts 0 rejected 0")
}

// When all are in use, one eviction looks at evictScan entries and no more.
func TestEvictionIsBounded(t *testing.T) {
	const n = 4 * evictScan
	r := newRig(t, Config{Capacity: n})
	var all []*Entry
	for i := range n {
		all = append(all, r.learn(onlink(fmt.Sprintf("10.0.%d.%d", 1+i/200, 1+i%200), macA)))
		all[i].Touch()
	}
	r.learn(onlink("10.9.9.9", macA))
	marked := 0
	for _, e := range all {
		if e.flags.Load()&flagUsed != 0 {
			marked++
		}
	}
	// One of those still marked is the evicted one.
	if r.Stats().Evicted != 1 || marked != n-evictScan-1 && marked != n-evictScan {
		t.Errorf("evicted %d, looked at %d entries", r.Stats().Evicted, n-marked)
	}
}

func TestFullOfPermanent(t *testing.T) {
	r := newRig(t, Config{Capacity: 2})
	r.learn(permanent(onlink("10.0.0.1", macA)))
	l := r.learn(onlink("10.0.0.2", macA))
	r.learn(permanent(onlink("10.0.0.3", macA)))
	if l.Valid() {
		t.Fatal("a permanent entry did not find room")
	}
	for _, s := range []Spec{onlink("10.0.0.4", macA), permanent(onlink("10.0.0.4", macA))} {
		if e, err := r.Learn(s); e != nil || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Learn = %v, %v; want ENOSPC", e, err)
		}
	}
	r.wantStats("entries 2 permanent 2 neighbors 2 learned 3 updated 0 confirmed 0 dropped 0 expired 0 evicted 1 full 2 conflicts 0 rejected 0")
}
