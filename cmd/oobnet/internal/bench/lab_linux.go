package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/worker"
	"github.com/oobnet/oobnet/internal/netns"
)

// The two sides of the wire contests have a core each.
const (
	loadCPU = 0 // the client, the sender of receive contests
	ownCPU  = 1 // what is measured
)

// Addresses on the wire. The measured host has one address of the kernel's
// and one of our stack's, so that no contender has to be configured away for
// the next one.
var (
	wireKernel = netip.MustParsePrefix("198.18.0.1/24")
	wireOurs   = netip.MustParsePrefix("198.18.0.3/24")
	wireLoad   = netip.MustParsePrefix("198.18.0.2/24")
)

// wirePort is where echo servers and sinks listen; loadPort is the client's.
const (
	wirePort = 7000
	loadPort = 7001
)

// wireSize is the payload of the wire contests, and wireFrame the frame it
// makes, bytes.
const (
	wireSize  = 64
	wireFrame = 14 + 20 + 8 + wireSize
)

// lab is the wire: "own" holds what is measured, as the kernel makes it;
// "load" makes the traffic and sends complete checksums, because a forwarder
// in C sends back what it got.
type lab struct {
	wire      *netns.Wire
	own, load *netns.Host
}

func openLab() (*lab, error) {
	if runtime.NumCPU() < 2 {
		return nil, errSkip{"one core: the two sides need one each"}
	}
	if err := netns.Available(); err != nil {
		return nil, errSkip{fmt.Sprintf("no network namespaces here (run as root): %v", err)}
	}
	w, err := netns.Make(&netns.Config{AddrA: wireKernel, AddrB: wireLoad, Offloads: netns.OffloadsOffB})
	if err != nil {
		return nil, err
	}
	l := &lab{wire: w, own: w.A, load: w.B}
	// A forwarder that takes every frame takes the ARP packets too: the
	// kernels must not depend on them.
	err = errors.Join(l.load.AddNeighbour(wireKernel.Addr(), l.own.MAC), l.own.AddNeighbour(wireLoad.Addr(), l.load.MAC))
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return l, nil
}

func (l *lab) close() { l.wire.Close() }

// start starts a worker on a host.
func (l *lab) start(ctx context.Context, h *netns.Host, s worker.Spec) (*worker.Process, error) {
	s.IfName = h.IfName
	s.Size = wireSize
	s.CPU = ownCPU
	if h == l.load {
		s.CPU = loadCPU
	}
	return worker.Start(ctx, h.DoErr, s)
}

// settle lets the kernel finish what a contender left: the deferred release of
// its socket, the packets under way.
func settle() { time.Sleep(100 * time.Millisecond) }

// detach keeps a terminal's Ctrl-C from a process that the bench itself ends.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func end(p netip.Prefix, port uint16) netip.AddrPort { return netip.AddrPortFrom(p.Addr(), port) }
