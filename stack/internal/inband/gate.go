package inband

import (
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// gate lets calls through until it is shut, and tells when the last of them
// has come out. Unlike a read lock it may be entered again by who is inside,
// also while another goroutine shuts it: the inner entry is then refused.
type gate struct {
	mu     sync.Mutex
	inside int
	shut   bool
	empty  chan struct{} // closed when shut and nobody is inside
}

func newGate() *gate { return &gate{empty: make(chan struct{})} }

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.shut && g.inside == 0 {
		close(g.empty)
	}
}

// close shuts the gate, once, and waits until nobody is inside.
func (g *gate) close() {
	g.mu.Lock()
	if !g.shut {
		g.shut = true
		if g.inside == 0 {
			close(g.empty)
		}
	}
	g.mu.Unlock()
	<-g.empty
}

// gatedClock is the clock that gVisor runs on. Its timers are the only source
// of goroutines in the stage; each enters the gate, so that Close can wait for
// those that run, and those that come later do nothing.
type gatedClock struct {
	tcpip.Clock
	gate *gate
}

func (c *gatedClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	return c.Clock.AfterFunc(d, func() {
		if !c.gate.enter() {
			return
		}
		defer c.gate.leave()
		f()
	})
}

// gatedHost is the Host until the stage is closed, and nothing after. gVisor
// starts one kind of goroutine without a timer (packets whose resolution was
// pushed out by newer ones), which the calls gate does not see.
type gatedHost struct {
	Host
	gate *gate
}

func (h *gatedHost) Datagram(d Datagram) bool {
	if !h.gate.enter() {
		return true
	}
	defer h.gate.leave()
	return h.Host.Datagram(d)
}

func (h *gatedHost) Speaks(protocol uint8) bool {
	if !h.gate.enter() {
		return false
	}
	defer h.gate.leave()
	return h.Host.Speaks(protocol)
}

func (h *gatedHost) TransportError(e TransportError) {
	if h.gate.enter() {
		defer h.gate.leave()
		h.Host.TransportError(e)
	}
}

func (h *gatedHost) Neighbor(e NeighborEvent) {
	if h.gate.enter() {
		defer h.gate.leave()
		h.Host.Neighbor(e)
	}
}
