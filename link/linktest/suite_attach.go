package linktest

import (
	"testing"

	"github.com/oobnet/oobnet/link"
)

func testIdentity(t *testing.T, open func(t *testing.T) Wire) {
	l := open(t).Link
	defer l.Close()
	if l.Name() == "" {
		t.Error("the link has no name")
	}
	if mac := l.MAC(); mac == (link.MAC{}) || mac[0]&1 != 0 {
		t.Errorf("MAC %x is not a unicast address", mac)
	}
	if l.MTU() < 68 {
		t.Errorf("MTU %d: IPv4 needs 68", l.MTU())
	}
	if l.Queues() < 1 {
		t.Errorf("%d queues", l.Queues())
	}
	c := l.Capabilities()
	if c.Driver == "" || c.Mode == "" {
		t.Errorf("capabilities name no driver or mode: %+v", c)
	}
	if c.MaxBufferSize < link.MinBufferSize || c.MaxBufferSize > link.MaxBufferSize {
		t.Errorf("MaxBufferSize %d: want %d to %d", c.MaxBufferSize, link.MinBufferSize, link.MaxBufferSize)
	}
	if c.RXHeadroom < 0 || c.RXHeadroom >= link.MinBufferSize {
		t.Errorf("RXHeadroom %d", c.RXHeadroom)
	}
	if again := l.Capabilities(); again != c {
		t.Errorf("capabilities changed: %+v, then %+v", c, again)
	}
}

func testLayoutErrors(t *testing.T, open func(t *testing.T) Wire) {
	w := open(t).settled()
	defer w.Link.Close()
	good := w.Layout
	for name, spoil := range map[string]func(*link.Layout){
		"no buffer size":             func(l *link.Layout) { l.BufferSize = 0 },
		"odd buffer size":            func(l *link.Layout) { l.BufferSize++ },
		"small buffers":              func(l *link.Layout) { l.BufferSize = link.MinBufferSize / 2 },
		"huge buffers":               func(l *link.Layout) { l.BufferSize = 2 * link.MaxBufferSize },
		"no queue":                   func(l *link.Layout) { l.Queues = 0 },
		"a queue too many":           func(l *link.Layout) { l.Queues++ },
		"no receive buffers":         func(l *link.Layout) { l.RXBuffers = 0 },
		"not a power of two buffers": func(l *link.Layout) { l.RXBuffers = 3 },
		"no TX buffers":              func(l *link.Layout) { l.TXBuffers = 0 },
		"too many buffers":           func(l *link.Layout) { l.TXBuffers = link.MaxBuffers },
	} {
		bad := good
		spoil(&bad)
		if mem, err := w.Link.Attach(bad); err == nil || mem != nil {
			t.Fatalf("%s: Attach(%+v) worked", name, bad)
		}
	}
	if _, err := w.Link.Attach(good); err != nil {
		t.Errorf("after refused layouts a good one is refused, too: %v", err)
	}
}

func testAttachOnce(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	if _, err := r.Link.Attach(r.Layout); err == nil {
		t.Error("a second Attach worked")
	}
	r.finish()
	if _, err := r.Link.Attach(r.Layout); err == nil {
		t.Error("Attach after Close worked")
	}
}

func testMemory(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	if got := r.mem.Layout(); got != r.Layout {
		t.Errorf("Layout is %+v, asked was %+v", got, r.Layout)
	}
	// Every byte is there, and no two buffers share one.
	for i := range r.Layout.Buffers() {
		b := r.mem.Buffer(uint32(i))
		if len(b) != r.Layout.BufferSize {
			t.Fatalf("buffer %d has %d bytes", i, len(b))
		}
		b[0], b[len(b)-1] = byte(i), byte(i>>8)
	}
	for i := range r.Layout.Buffers() {
		if b := r.mem.Buffer(uint32(i)); b[0] != byte(i) || b[len(b)-1] != byte(i>>8) {
			t.Fatalf("buffer %d overlaps another", i)
		}
	}
	r.finish()
}

func testClose(t *testing.T, open func(t *testing.T) Wire) {
	for name, use := range map[string]func(t *testing.T, w Wire){
		"never attached": func(*testing.T, Wire) {},
		"stopped before Attach": func(t *testing.T, w Wire) {
			if err := w.Link.Stop(); err != nil {
				t.Errorf("Stop: %v", err)
			}
		},
		"attached, not stopped": func(t *testing.T, w Wire) {
			r := newRig(t, w)
			r.fill()
			r.send(0, 0, []int{200, 300}, r.PeerMAC)
		},
		"stopped twice, not drained": func(t *testing.T, w Wire) {
			r := newRig(t, w)
			r.fill()
			for range 2 {
				if err := w.Link.Stop(); err != nil {
					t.Errorf("Stop: %v", err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t)
			use(t, w)
			for range 2 {
				if err := w.Link.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
			if err := w.Link.Stop(); err != nil {
				t.Errorf("Stop after Close: %v", err)
			}
		})
	}
}

// testReopen opens the device at once after its Close: what the system still
// holds of the first one is the link's business.
func testReopen(t *testing.T, open func(t *testing.T) Wire) {
	first := open(t)
	r := newRig(t, first)
	r.fill()
	r.send(0, 0, []int{100}, r.PeerMAC)
	r.finish()

	second := first
	if first.Reopen != nil {
		second.Link = first.Reopen(t)
	} else {
		second = open(t)
	}
	r = newRig(t, second)
	r.fill()
	// Numbers that the first life has not used: its frames may still be at the peer.
	const seq, n = 100, 10
	sizes := repeatSizes(seq+n, 100)
	l := newLedger(&r.Wire, r.PeerMAC, sizes)
	l.from, l.goal = seq, n
	r.Shared = true
	r.send(0, seq, sizes[seq:], r.PeerMAC)
	r.collect(l, r.Timeout, func(int) int { return 0 })
	if !l.complete() {
		t.Errorf("after the second opening: %s", l.missing())
	}
	r.finish()
}
