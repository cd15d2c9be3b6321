package latmus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/oobnet/oobnet/internal/netns"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
)

// The kernel's addresses: one beside the far stack, that floods; and those of a
// pair of its own, so that no program of ours is on the way of its packets.
var (
	floodAddr      = netip.MustParsePrefix("192.0.2.3/24")
	kernelNearAddr = netip.MustParsePrefix("198.51.100.1/24")
	kernelFarAddr  = netip.MustParsePrefix("198.51.100.2/24")
)

// openVeth makes two namespaces with a veth pair between them, a stack at each
// end, and the same once more for the kernel's sockets.
func (w *wire) openVeth(ctx context.Context, o *Options) error {
	stacks, err := w.pair(&netns.Config{AddrB: floodAddr})
	if err != nil {
		return err
	}
	if err := stacks.B.AddNeighbour(nearAddr.Addr(), stacks.A.MAC); err != nil {
		return err
	}
	if w.near, err = vethSide(ctx, stacks.A, nearAddr, o.CPU, o); err != nil {
		return err
	}
	if w.far, err = vethSide(ctx, stacks.B, farAddr, o.PeerCPU, o); err != nil {
		return err
	}
	stages := []flooded{{stacks.B, nearAddr.Addr()}}
	if o.Kernel {
		kernels, err := w.pair(&netns.Config{AddrA: kernelNearAddr, AddrB: kernelFarAddr})
		if err != nil {
			return err
		}
		w.kernels = func() (near, far *net.UDPConn, err error) { return dialPair(kernels, o.Port) }
		stages = append(stages, flooded{kernels.B, kernelNearAddr.Addr()})
	}
	// Stack and kernel get as much each.
	w.floods = func() (out []func(), err error) {
		for _, f := range stages {
			c, err := f.from.DialUDP(netip.AddrPort{}, netip.AddrPortFrom(f.to, discardPort))
			if err != nil {
				return nil, fmt.Errorf("--stress flood: %w", err)
			}
			w.more = append(w.more, c.Close)
			packet := make([]byte, MinSize)
			out = append(out, func() { _, _ = c.Write(packet) }) // its errors are the answers
		}
		return out, nil
	}
	return nil
}

// flooded is an in-band stage, and the host that floods it.
type flooded struct {
	from *netns.Host
	to   netip.Addr
}

// pair makes a veth pair that the wire closes.
func (w *wire) pair(cfg *netns.Config) (*netns.Wire, error) {
	p, err := netns.Make(cfg)
	if err != nil {
		return nil, fmt.Errorf("--veth: %w: or leave it out to measure in memory", err)
	}
	w.more = append(w.more, p.Close)
	return p, nil
}

func vethSide(ctx context.Context, h *netns.Host, addr netip.Prefix, cpu int, o *Options) (*side, error) {
	var l link.Link
	err := h.DoErr(func() (err error) {
		l, err = afxdp.Open(h.IfName, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("--veth: %w", err)
	}
	return newSide(ctx, l, addr, cpu, o)
}

// dialPair makes two sockets of the kernel's, one at each end.
func dialPair(w *netns.Wire, port uint16) (near, far *net.UDPConn, err error) {
	a, b := netip.AddrPortFrom(kernelNearAddr.Addr(), port), netip.AddrPortFrom(kernelFarAddr.Addr(), port)
	if far, err = w.B.ListenUDP(b); err != nil {
		return nil, nil, err
	}
	if near, err = w.A.DialUDP(a, b); err != nil {
		return nil, nil, errors.Join(err, far.Close())
	}
	return near, far, nil
}
