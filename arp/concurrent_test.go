package arp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

// host is the i-th address of 10.0.0.0/8.
func host(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// Senders against everything that the control side can do, under the race
// detector. A sender must never see an entry for another destination or a
// header that is half of one and half of another, and an entry that has
// ceased to hold must not hold again.
func TestSendersAndControl(t *testing.T) {
	const hosts = 64
	c, err := NewCache(Config{Capacity: 48, Reachable: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var senders, control sync.WaitGroup
	for s := range 2 {
		senders.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(s), 0))
			kept := map[int]*Entry{} // as a connected socket keeps it
			gone := map[int]*Entry{}
			for !stop.Load() {
				i := rng.IntN(hosts)
				if e := gone[i]; e != nil && e.Valid() {
					t.Error("an entry came back to life")
					return
				}
				e := kept[i]
				if e != nil && !e.Valid() {
					gone[i] = e
					e = nil
				}
				if e == nil {
					e = c.Lookup(number(host(i).As4()))
					kept[i] = e
				}
				if e == nil {
					continue
				}
				e.Touch()
				if e.Dst != host(i).As4() || e.Header[0] != e.Header[5] || e.Header[12] != 0x08 {
					t.Errorf("%v: entry for %v, header % x", host(i), e.Dst, e.Header)
					return
				}
			}
		})
	}
	// All bytes of a MAC are the same, to tell a torn one.
	mac := func(rng *rand.Rand) (m link.MAC) {
		b := byte(2 + 4*rng.IntN(3))
		return link.MAC{b, b, b, b, b, b}
	}
	for w := range 2 {
		control.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for n := range 4000 {
				h := host(rng.IntN(hosts))
				switch rng.IntN(10) {
				case 0:
					c.Drop(eth0, h)
				case 1:
					c.Revise(func(s Spec) (Spec, bool) {
						s.MTU = 1500 + uint16(rng.IntN(2))
						return s, rng.IntN(20) != 0
					})
				case 2:
					for _, p := range c.Due(time.Now()) {
						c.Confirm(p.Via, p.NextHop, p.MAC)
					}
				case 3:
					c.Confirm(eth0, h, mac(rng))
				case 4:
					if n%50 == 0 {
						c.DropPort(eth0)
					}
				case 5:
					c.Dump()
					c.Stats()
					c.Neighbor(eth0, h)
				default:
					s := Spec{Dst: h, Src: host(1 << 20), Via: eth0, MAC: mac(rng), MTU: 1500, Permanent: rng.IntN(20) == 0}
					if rng.IntN(3) == 0 {
						s.NextHop = host(0)
					}
					// ENOSPC is a legal answer while permanent entries fill the cache.
					c.Learn(s)
				}
			}
		})
	}
	control.Wait()
	stop.Store(true)
	senders.Wait()
	audit(t, c)
}

func TestSendSideAllocatesNothing(t *testing.T) {
	r := newRig(t, Config{})
	r.learn(onlink("10.0.0.2", macA))
	dst, unknown := num("10.0.0.2"), num("10.0.0.3")
	n := testing.AllocsPerRun(1000, func() {
		e := r.Lookup(dst)
		if e == nil || !e.Valid() || r.Lookup(unknown) != nil {
			t.Fatal("wrong answer")
		}
		e.Touch()
	})
	if n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func filled(b *testing.B, n int) *Cache {
	c, err := NewCache(Config{Capacity: n})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		s := onlink("10.0.0.2", macA)
		s.Dst = host(i + 1)
		if _, err := c.Learn(s); err != nil {
			b.Fatal(err)
		}
	}
	return c
}

// BenchmarkLookup is what a send pays: find, check, mark, and read the header.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 1_000, 64_000} {
		c := filled(b, n)
		dsts := make([]uint32, n)
		for i, o := range rand.Perm(n) {
			dsts[i] = number(host(o + 1).As4())
		}
		b.Run(fmt.Sprintf("find/%d", n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				if c.Lookup(dsts[i]) == nil {
					b.Fatal("missing")
				}
				if i++; i == n {
					i = 0
				}
			}
		})
		b.Run(fmt.Sprintf("send/%d", n), func(b *testing.B) {
			i := 0
			var header [MaxHeaderLen]byte
			for b.Loop() {
				e := c.Lookup(dsts[i])
				if !e.Valid() {
					b.Fatal("invalid")
				}
				e.Touch()
				header = e.Header
				if i++; i == n {
					i = 0
				}
			}
			_ = header
		})
	}
}

// BenchmarkKept is what a connected socket pays.
func BenchmarkKept(b *testing.B) {
	c := filled(b, 1)
	e := c.Lookup(number(host(1).As4()))
	for b.Loop() {
		if !e.Valid() {
			b.Fatal("invalid")
		}
		e.Touch()
	}
}

func BenchmarkConfirmGatewayOf64000(b *testing.B) {
	c, err := NewCache(Config{Capacity: 64_000})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 64_000 {
		s := onlink("10.0.0.2", macA)
		s.Dst, s.NextHop = host(i+1), ip("192.0.2.1")
		if _, err := c.Learn(s); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		c.Confirm(eth0, ip("192.0.2.1"), macA)
	}
}

func BenchmarkLearnEvict(b *testing.B) {
	c := filled(b, 4096)
	s := onlink("10.0.0.2", macA)
	i := 5000
	for b.Loop() {
		s.Dst = host(i)
		if i++; i == 1<<20 {
			i = 5000
		}
		if _, err := c.Learn(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDue(b *testing.B) {
	for _, n := range []int{4096, 64_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := filled(b, n)
			now := time.Now()
			for b.Loop() {
				c.Due(now)
			}
		})
	}
}
