package packet_test

import (
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
)

// gateRuns is how often a path runs for its allocations to be counted: enough
// that the few of the stack's own goroutine, which go on beside it, stay below
// one a run.
const gateRuns = 2000

// gate fails the test if one run of f allocates. Devices are polled by f, so
// that all of a frame's way is on this goroutine.
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
	x, y     *packet.Conn
	to       packet.Addr
	buf, out []byte
}

func newRig(t *testing.T, cfg *packet.Config) *rig {
	t.Helper()
	r := &rig{t: t, buf: make([]byte, 2000), out: make([]byte, 64)}
	r.a, r.b = pair(t, manual())
	r.x, r.y = listen(t, r.a.Port, etherCAT, nil), listen(t, r.b.Port, etherCAT, cfg)
	r.to = to(r.b.Link.MAC())
	return r
}

func (r *rig) poll(h *stacktest.Host, want int) {
	if n, err := h.Device.Poll(stack.MaxBatch); n != want || err != nil {
		r.t.Fatalf("polled %d, %v, want %d", n, err, want)
	}
}

func (r *rig) write() {
	if n, err := r.x.WriteToAddr(r.out, r.to); n != len(r.out) || err != nil {
		r.t.Fatal(n, err)
	}
}

func (r *rig) read(c *packet.Conn) {
	if n, from, err := c.ReadFromAddr(r.buf); n != len(r.out) || from.MAC != r.a.Link.MAC() || err != nil {
		r.t.Fatal(n, from.MAC, err)
	}
}

// TestNoAllocCycle: EtherCAT's exchange, there by a reader and back by it.
func TestNoAllocCycle(t *testing.T) {
	r := newRig(t, nil)
	gate(t, func() {
		r.write()
		r.poll(r.b, 1)
		n, from, err := r.y.ReadFromAddr(r.buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.y.WriteToAddr(r.buf[:n], from); err != nil {
			t.Fatal(err)
		}
		r.poll(r.a, 1)
		if n, _, err := r.x.ReadFromAddr(r.buf); n != len(r.out) || err != nil {
			t.Fatal(n, err)
		}
	})
}

// TestNoAllocHandler: the same with a handler.
func TestNoAllocHandler(t *testing.T) {
	var r *rig
	r = newRig(t, &packet.Config{Consume: true, Handler: func(f packet.Frame) {
		if _, err := r.y.WriteToAddr(f.Payload(), f.From()); err != nil {
			t.Error(err)
		}
		f.Release()
	}})
	gate(t, func() {
		r.write()
		r.poll(r.b, 1)
		r.poll(r.a, 1)
		if n, _, err := r.x.ReadFromAddr(r.buf); n != len(r.out) || err != nil {
			t.Fatal(n, err)
		}
	})
}

// TestNoAllocCopies: several sockets, one of them with a program, and an
// analyser on either side.
func TestNoAllocCopies(t *testing.T) {
	r := newRig(t, nil)
	all, sender, receiver := listen(t, r.b.Port, packet.All, nil), analyse(t, r.a.Device, nil), analyse(t, r.b.Device, nil)
	if err := all.SetBPF(assemble(t, onlyType(etherCAT, 1<<16)...)); err != nil {
		t.Fatal(err)
	}
	gate(t, func() {
		r.write()
		r.poll(r.b, 1)
		for _, c := range []*packet.Conn{r.y, all, sender, receiver} {
			r.read(c)
		}
	})
}

func TestNoAllocBatch(t *testing.T) {
	r := newRig(t, nil)
	const n = 32
	out, in := make([]packet.Message, n), make([]packet.Message, n)
	for i := range n {
		out[i] = packet.Message{Buf: r.out, Addr: r.to}
		in[i] = packet.Message{Buf: make([]byte, 100)}
	}
	gate(t, func() {
		if k, err := r.x.WriteBatch(out); k != n || err != nil {
			t.Fatal(k, err)
		}
		r.poll(r.b, n)
		if k, err := r.y.ReadBatch(in); k != n || err != nil || in[n-1].N != len(r.out) {
			t.Fatal(k, err)
		}
	})
}

func TestNoAllocLeases(t *testing.T) {
	r := newRig(t, nil)
	raw := listen(t, r.a.Port, etherCAT, &packet.Config{Raw: true})
	whole := frame(r.b.Link.MAC(), 0, etherCAT, string(r.out))
	gate(t, func() {
		l, err := r.x.Reserve(len(r.out))
		if err != nil {
			t.Fatal(err)
		}
		copy(l.Payload(), r.out)
		if err := l.SendTo(r.to); err != nil {
			t.Fatal(err)
		}
		if l, err = raw.Reserve(len(whole)); err != nil {
			t.Fatal(err)
		}
		copy(l.Payload(), whole)
		if err := l.Send(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.x.WriteFrame(whole); err != nil {
			t.Fatal(err)
		}
		r.poll(r.b, 3)
		for range 3 {
			f, err := r.y.Receive()
			if err != nil || len(f.Payload()) != len(r.out) || len(f.Bytes()) != len(whole) || f.From().EtherType != etherCAT {
				t.Fatal(err)
			}
			f.Release()
		}
		if l, err = r.x.Reserve(1); err != nil {
			t.Fatal(err)
		}
		l.Discard()
	})
}

// TestNoAllocDrops: what finds the socket full costs no more.
func TestNoAllocDrops(t *testing.T) {
	r := newRig(t, &packet.Config{Queue: 1})
	gate(t, func() {
		r.write()
		r.poll(r.b, 1)
	})
	if st := r.y.Stats(); st.Full < gateRuns || st.Held != 1 {
		t.Errorf("%+v", st)
	}
}
