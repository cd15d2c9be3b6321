package udp_test

import (
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// gateRuns is how often a path runs for its allocations to be counted: enough
// that the few of the stack's own goroutine, which go on beside it, stay below
// one a run.
const gateRuns = 2000

// gate fails the test if one run of f allocates. Devices are polled by f, so
// that all of a datagram's way is on this goroutine.
func gate(t *testing.T, f func()) {
	t.Helper()
	for range 100 { // what is made once is made now
		f()
	}
	if n := testing.AllocsPerRun(gateRuns, f); n != 0 {
		t.Errorf("%v allocations a run, want 0", n)
	}
}

// rig is a pair of manual hosts with a socket on each.
type rig struct {
	t        *testing.T
	a, b     *stacktest.Host
	x, c, y  *udp.Conn // on a; on a and connected to y; on b
	to       netip.AddrPort
	buf, out []byte
}

func newRig(t *testing.T, cfg *udp.Config) *rig {
	t.Helper()
	r := &rig{t: t, buf: make([]byte, 2000), out: []byte(pattern(64))}
	r.a, r.b = pair(t, &stacktest.Options{Manual: true})
	r.y = listen(t, r.b, 2000, cfg)
	r.x, r.c, r.to = listen(t, r.a, 1000, nil), dial(t, r.a, r.b.At(2000), nil), r.b.At(2000)
	return r
}

func (r *rig) poll(want int) {
	if n, err := r.b.Device.Poll(stack.MaxBatch); n != want || err != nil {
		r.t.Fatalf("polled %d, %v, want %d", n, err, want)
	}
}

func (r *rig) write() {
	if n, err := r.x.WriteToUDPAddrPort(r.out, r.to); n != len(r.out) || err != nil {
		r.t.Fatal(n, err)
	}
}

func TestNoAllocWriteToUDPAddrPort(t *testing.T) {
	r := newRig(t, nil)
	gate(t, func() {
		r.write()
		r.poll(1)
		r.read()
	})
}

// read drains one datagram without being what is measured elsewhere.
func (r *rig) read() {
	if n, from, err := r.y.ReadFromUDPAddrPort(r.buf); n != len(r.out) || from.Port() == 0 || err != nil {
		r.t.Fatal(n, from, err)
	}
}

func TestNoAllocRead(t *testing.T) {
	for name, read := range map[string]func(*rig){
		"ReadFromUDPAddrPort": (*rig).read,
		"Read": func(r *rig) {
			if n, err := r.y.Read(r.buf); n != len(r.out) || err != nil {
				r.t.Fatal(n, err)
			}
		},
		"ReadMsgUDPAddrPort": func(r *rig) {
			if n, _, _, _, err := r.y.ReadMsgUDPAddrPort(r.buf, nil); n != len(r.out) || err != nil {
				r.t.Fatal(n, err)
			}
		},
		"Receive": func(r *rig) {
			d, err := r.y.Receive()
			if err != nil || len(d.Payload()) != len(r.out) || d.From().Port() == 0 || d.To() != r.b.Addr {
				r.t.Fatal(err)
			}
			d.Release()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			gate(t, func() {
				r.write()
				r.poll(1)
				read(r)
			})
		})
	}
}

func TestNoAllocWrite(t *testing.T) {
	r := newRig(t, nil)
	gate(t, func() {
		if n, err := r.c.Write(r.out); n != len(r.out) || err != nil {
			t.Fatal(n, err)
		}
		r.poll(1)
		r.read()
	})
}

func TestNoAllocMapped(t *testing.T) {
	r := newRig(t, nil)
	r.to = netip.AddrPortFrom(netip.AddrFrom16(r.to.Addr().As16()), r.to.Port())
	gate(t, func() {
		r.write()
		r.poll(1)
		r.read()
	})
}

func TestNoAllocBatch(t *testing.T) {
	r := newRig(t, nil)
	const n = 32
	out, in := make([]udp.Message, n), make([]udp.Message, n)
	for i := range n {
		out[i] = udp.Message{Buf: r.out, Addr: r.to}
		in[i] = udp.Message{Buf: make([]byte, 100)}
	}
	gate(t, func() {
		if k, err := r.x.WriteBatch(out); k != n || err != nil {
			t.Fatal(k, err)
		}
		r.poll(n)
		if k, err := r.y.ReadBatch(in); k != n || err != nil || in[n-1].N != len(r.out) {
			t.Fatal(k, err)
		}
	})
}

func TestNoAllocReserve(t *testing.T) {
	for _, connected := range []bool{false, true} {
		r := newRig(t, nil)
		gate(t, func() {
			from := r.x
			if connected {
				from = r.c
			}
			l, err := from.Reserve(len(r.out))
			if err != nil {
				t.Fatal(err)
			}
			copy(l.Payload(), r.out)
			if connected {
				err = l.Send()
			} else {
				err = l.SendTo(r.to)
			}
			if err != nil {
				t.Fatal(err)
			}
			r.poll(1)
			r.read()
			if l, err = from.Reserve(1); err != nil {
				t.Fatal(err)
			}
			l.Discard()
		})
	}
}

// TestNoAllocHandler: an echo by a handler, there and back.
func TestNoAllocHandler(t *testing.T) {
	var r *rig
	r = newRig(t, &udp.Config{Handler: func(d udp.Datagram) {
		if _, err := r.y.WriteToUDPAddrPort(d.Payload(), d.From()); err != nil {
			t.Error(err)
		}
		d.Release()
	}})
	gate(t, func() {
		if _, err := r.c.Write(r.out); err != nil {
			t.Fatal(err)
		}
		r.poll(1)
		if n, err := r.a.Device.Poll(stack.MaxBatch); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := r.c.Read(r.buf); n != len(r.out) || err != nil {
			t.Fatal(n, err)
		}
	})
}

// TestNoAllocMulticast: to two members that share the buffer.
func TestNoAllocMulticast(t *testing.T) {
	r := newRig(t, nil)
	var members []*udp.Conn
	for range 2 {
		m := listenOn(t, r.b.Stack, netip.AddrPortFrom(netip.Addr{}, 5000), &udp.Config{ReusePort: true})
		join(t, m, group)
		members = append(members, m)
	}
	for r.b.Poll() > 0 { // IGMP of its own
	}
	r.to = netip.AddrPortFrom(group, 5000)
	gate(t, func() {
		r.write()
		r.poll(1)
		for _, m := range members {
			if n, err := m.Read(r.buf); n != len(r.out) || err != nil {
				t.Fatal(n, err)
			}
		}
	})
}

// TestNoAllocDrops: what finds the socket full costs no more.
func TestNoAllocDrops(t *testing.T) {
	r := newRig(t, &udp.Config{Queue: 1})
	r.write()
	r.poll(1)
	gate(t, func() {
		r.write()
		r.poll(1)
	})
	if st := r.y.Stats(); st.Full < gateRuns || st.Held != 1 {
		t.Errorf("%+v", st)
	}
}
