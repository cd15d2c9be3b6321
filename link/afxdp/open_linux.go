package afxdp

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	xlink "github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

const (
	// maxChunk is the largest UMEM chunk in aligned mode: a page.
	maxChunk = link.PageSize
	// headroom is what the kernel keeps before each received frame, bytes.
	headroom = unix.XDP_PACKET_HEADROOM
	// frameOverhead is what a frame has beside its MTU: the Ethernet header and a VLAN tag, bytes.
	frameOverhead = ethernetHeader + vlanTag
	// attachWait bounds the retries of an attach that found another program:
	// that of a link closed just before may still be on its way out.
	attachWait = 300 * time.Millisecond
)

// Open opens the interface in the network namespace of the calling thread. The
// program is on the interface from then on, and passes every frame to the
// kernel until Attach and Select. A nil config means the defaults.
//
// The drivers of network cards interrupt the wire for some seconds to put a
// program in place, and once more to remove it. If the interface has a carrier,
// Open waits until it has one again, 5 s at most.
//
// Errors wrap the kernel's: ENODEV for no such interface, ENETDOWN for one that
// is down, EPERM for missing capabilities, EBUSY for another XDP program in the
// way, ERANGE for an MTU that native XDP cannot serve; link.ErrNotSupported
// for what the kernel or the driver does not have.
func Open(ifname string, cfg *Config) (*Link, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	l, err := open(ifname, cfg)
	if err != nil {
		return nil, fmt.Errorf("afxdp: %s: %w", ifname, err)
	}
	return l, nil
}

func open(ifname string, cfg *Config) (*Link, error) {
	if err := checkKernel(); err != nil {
		return nil, err
	}
	dev, err := findDevice(ifname)
	if err != nil {
		return nil, err
	}
	l := &Link{dev: dev}
	if err := l.setUp(cfg); err != nil {
		_ = l.tearDown() // the first error is the cause
		return nil, err
	}
	return l, nil
}

// setUp does the steps of Open after the device was found. What it has made
// when it fails, tearDown takes back.
func (l *Link) setUp(cfg *Config) error {
	first, count, err := l.dev.check(cfg)
	if err != nil {
		return err
	}
	for i := range count {
		q, err := newQueue(l, first+i, i)
		if err != nil {
			return err
		}
		l.queues = append(l.queues, q)
	}
	if l.groups, err = newGroups(l.dev.index); err != nil {
		return explainPermission(err)
	}
	rx, err := newRXMetadata(l.dev, cfg.With)
	if err != nil {
		return err
	}
	if l.gate, err = newGate(first+count, rx); err != nil {
		return explainPermission(err)
	}
	native, err := l.gate.attach(l.dev, cfg.mode())
	if err != nil {
		return err
	}
	zeroCopy, err := probeZeroCopy(l.dev, first, native, cfg.ZeroCopy)
	if err != nil {
		return err
	}
	if l.requests, err = newTXRequests(l.dev, cfg.With, zeroCopy); err != nil {
		return err
	}
	for i := 0; zeroCopy && i < count; i++ {
		if l.queues[i].sentinel, err = newProbe(1); err != nil {
			return err
		}
	}
	if cfg.With&RXVLAN == 0 {
		l.dev.keepVLANTags()
	}
	if received, sent := cfg.With&RXTime != 0, l.requests.flags&link.FlagTXTime != 0; received || sent {
		if err := l.dev.timeFrames(received, sent); err != nil {
			return err
		}
	}
	if err := l.dev.awaitCarrier(); err != nil {
		return err
	}
	l.errors = newDriverErrors(l.dev)
	l.capabilities = link.Capabilities{
		Driver:          l.dev.driver,
		Mode:            modeName(native, zeroCopy),
		ZeroCopy:        zeroCopy,
		PartialChecksum: isVirtual(l.dev.driver),
		TXChecksum:      l.requests.flags&link.FlagChecksumOffload != 0,
		MaxBufferSize:   maxChunk,
		RXHeadroom:      headroom,
		Pollable:        true,
	}
	if cfg.With&RXTime != 0 {
		l.capabilities.RXClock = link.ClockDevice
	}
	if l.requests.flags&link.FlagTXTime != 0 {
		l.capabilities.TXClock = link.ClockDevice
	}
	if l.requests.flags&link.FlagLaunchTime != 0 {
		l.capabilities.LaunchClock = link.ClockDevice
	}
	return nil
}

// mode is where the program must be put: one that is bound to its device runs in
// the driver alone.
func (c *Config) mode() Mode {
	if c.With&boundFeatures != 0 {
		return Native
	}
	return c.Mode
}

func modeName(native, zeroCopy bool) string {
	switch {
	case zeroCopy:
		return "native, zero-copy"
	case native:
		return "native, copy"
	}
	return "generic, copy"
}

// check compares what is asked with what the device has.
func (d *device) check(cfg *Config) (first, count int, err error) {
	first, count = cfg.FirstQueue, cfg.Queues
	if count == 0 {
		count = d.queues - first
	}
	switch {
	case cfg.Mode < Auto || cfg.Mode > Generic:
		err = fmt.Errorf("mode %d: want Auto, Native or Generic: %w", cfg.Mode, unix.EINVAL)
	case cfg.ZeroCopy < ZeroCopyAuto || cfg.ZeroCopy > ZeroCopyRequire:
		err = fmt.Errorf("zero copy %d: want ZeroCopyAuto, ZeroCopyOff or ZeroCopyRequire: %w", cfg.ZeroCopy, unix.EINVAL)
	case cfg.Mode == Generic && cfg.ZeroCopy == ZeroCopyRequire:
		err = fmt.Errorf("zero copy needs native XDP, and the config asks for generic: %w", unix.EINVAL)
	case cfg.With&^allFeatures != 0:
		err = fmt.Errorf("features %#x: want some of %#x: %w", uint32(cfg.With), uint32(allFeatures), unix.EINVAL)
	case cfg.Mode == Generic && cfg.With&boundFeatures != 0:
		err = fmt.Errorf("RXTime and RXVLAN need native XDP, and the config asks for generic: %w", unix.EINVAL)
	case first < 0 || count < 1 || first+count > d.queues:
		err = fmt.Errorf("%d queues from queue %d on: the interface has %d, from 0 on (`ethtool -l`): %w", cfg.Queues, first, d.queues, unix.EINVAL)
	case !d.up:
		err = fmt.Errorf("the interface is down: `ip link set %s up`: %w", d.name, unix.ENETDOWN)
	case d.mtu+frameOverhead+headroom > maxChunk:
		err = fmt.Errorf("MTU %d: a frame and %d bytes of headroom must fit a buffer of %d bytes: `ip link set %s mtu %d` or less: %w",
			d.mtu, headroom, maxChunk, d.name, maxChunk-headroom-frameOverhead, unix.ERANGE)
	}
	return first, count, err
}

// attach puts the program on the device, in the driver if the mode allows it
// and the driver can, and says whether it is there.
func (g *gate) attach(d *device, mode Mode) (native bool, err error) {
	if mode != Generic {
		g.hook, err = attachProgram(g.program(), d.index, xlink.XDPDriverMode)
		if err == nil {
			return true, nil
		}
		// Only "the driver has no XDP" is a reason to try behind it; with any
		// other the way out is the caller's choice.
		if mode == Native || !errors.Is(err, unix.EOPNOTSUPP) {
			return false, d.explainAttach(err)
		}
	}
	g.hook, err = attachProgram(g.program(), d.index, xlink.XDPGenericMode)
	return false, d.explainAttach(err)
}

func attachProgram(p *ebpf.Program, index int, mode xlink.XDPAttachFlags) (xlink.Link, error) {
	deadline := time.Now().Add(attachWait)
	for {
		hook, err := xlink.AttachXDP(xlink.XDPOptions{Program: p, Interface: index, Flags: mode})
		if !isInTheWay(err) || time.Now().After(deadline) {
			return hook, err
		}
		time.Sleep(releasePause)
	}
}

// isInTheWay recognises what the kernel says when a program is already there:
// EBUSY, or EEXIST where it runs in the other mode.
func isInTheWay(err error) bool {
	return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST)
}

func (d *device) explainAttach(err error) error {
	switch {
	case err == nil:
		return nil
	case isInTheWay(err):
		return fmt.Errorf("attach the XDP program: %s is in the way: stop its owner, or `ip link set %s xdp off`: %w", d.otherProgram(), d.name, err)
	case errors.Is(err, unix.ERANGE):
		return fmt.Errorf("attach the XDP program: the driver (%s) cannot run it with this MTU, its own (%d) or, with veth, the peer's: lower it to 3498 or less, or use generic mode (Config.Mode): %w", d.driver, d.mtu, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("attach the XDP program: the driver (%s) has no native XDP: use generic mode (Config.Mode): %w", d.driver, err)
	}
	return explainPermission(fmt.Errorf("attach the XDP program: %w", err))
}

// otherProgram names the XDP program that was on the device when it was opened.
func (d *device) otherProgram() string {
	if d.xdpProgram == 0 {
		return "another XDP program"
	}
	name := "?"
	if p, err := ebpf.NewProgramFromID(ebpf.ProgramID(d.xdpProgram)); err == nil {
		defer p.Close()
		if info, err := p.Info(); err == nil {
			name = info.Name
		}
	}
	return fmt.Sprintf("the XDP program %q (id %d)", name, d.xdpProgram)
}

func explainPermission(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: run as root, or give the program CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF", err)
	}
	return err
}
