package latmus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/link/vfio"
	"github.com/oobnet/oobnet/proto/udp"
)

// Addresses of the sides in this process (RFC 5737, documentation).
var (
	nearAddr = netip.MustParsePrefix("192.0.2.1/24")
	farAddr  = netip.MustParsePrefix("192.0.2.2/24")
)

// discardPort is where floods go: nobody listens there (RFC 863).
const discardPort = 9

// wire is what a run goes over.
type wire struct {
	near, far *side // far: in this process, else nil
	// kernels opens the ends of a wire between sockets of the kernel; the far
	// one is nil if somebody else answers.
	kernels func() (near, far *net.UDPConn, err error)
	// floods are senders, of one packet each, to the in-band stages that the run
	// is to be disturbed by.
	floods func() ([]func(), error)
	more   []func() error // what else is to be closed
	notes  notes
}

// openWire opens what the options name.
func openWire(ctx context.Context, o *Options) (*wire, error) {
	w := &wire{}
	var err error
	switch {
	case o.Veth:
		err = w.openVeth(ctx, o)
	case o.Interface != "":
		err = w.openInterface(ctx, o)
	default:
		err = w.openMemory(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *wire) openMemory(ctx context.Context, o *Options) error {
	a, b, err := loopback.Pair(nil)
	if err != nil {
		return err
	}
	w.kernels = func() (near, far *net.UDPConn, err error) {
		lo := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
		if far, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(lo)); err != nil {
			return nil, nil, err
		}
		if near, err = net.DialUDP("udp4", nil, far.LocalAddr().(*net.UDPAddr)); err != nil {
			return nil, nil, errors.Join(err, far.Close())
		}
		return near, far, nil
	}
	// The peer sends what the near side has to answer by ICMP.
	w.floods = func() ([]func(), error) { return stackFlood(w.far, w.near.addr.Addr()) }
	if w.near, err = newSide(ctx, a, nearAddr, o.CPU, o); err != nil {
		return errors.Join(err, b.Close())
	}
	w.far, err = newSide(ctx, b, farAddr, o.PeerCPU, o)
	return err
}

func (w *wire) openInterface(ctx context.Context, o *Options) error {
	l, err := w.openLink(o)
	if err != nil {
		return fmt.Errorf("%w: or leave -i out to measure in memory", err)
	}
	w.kernels = func() (near, far *net.UDPConn, err error) {
		to := netip.AddrPortFrom(o.Peer, o.Port)
		if near, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to)); err != nil {
			return nil, nil, fmt.Errorf("%w: the host's kernel needs an address and a route of its own to %v", err, o.Peer)
		}
		return near, nil, nil
	}
	// Its answers come to our in-band stage, too.
	w.floods = func() ([]func(), error) { return stackFlood(w.near, o.Peer) }
	w.near, err = newSide(ctx, l, o.Addr, o.CPU, o)
	return err
}

// openLink opens an interface or, by its PCI address, a NIC.
func (w *wire) openLink(o *Options) (link.Link, error) {
	if strings.Contains(o.Interface, ":") {
		return vfio.Open(o.Interface, &vfio.Config{OnEvent: func(e vfio.Event) { w.notes.add(e.Err) }})
	}
	return afxdp.Open(o.Interface, &afxdp.Config{})
}

// stackFlood is a sender from a stack to an address. It has no peer: nothing.
func stackFlood(from *side, to netip.Addr) ([]func(), error) {
	if !to.IsValid() {
		return nil, nil
	}
	c, err := udp.Dial(from.stack, from.addrPort(0), netip.AddrPortFrom(to, discardPort), nil)
	if err != nil {
		return nil, fmt.Errorf("--stress flood: %w", err)
	}
	packet := make([]byte, MinSize)
	return []func(){func() { _, _ = c.Write(packet) }}, nil // its errors are the answers
}

func (w *wire) close() (err error) {
	for _, s := range []*side{w.far, w.near} {
		if s != nil {
			err = errors.Join(err, s.close())
		}
	}
	for _, f := range w.more {
		err = errors.Join(err, f())
	}
	return err
}

// maxNotes of a run: the first tell what went wrong.
const maxNotes = 16

// notes are what a device told while it ran.
type notes struct {
	mu   sync.Mutex
	list []string
}

// add keeps an error; nil is none. Any thread may call it.
func (n *notes) add(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil && len(n.list) < maxNotes {
		n.list = append(n.list, err.Error())
	}
}

func (n *notes) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.list...)
}
