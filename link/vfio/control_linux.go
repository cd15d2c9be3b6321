package vfio

import (
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// maxVLAN is the last VLAN identifier; 4095 is reserved (IEEE 802.1Q).
const maxVLAN = 4094

// change runs f under the mutex, on a device that is there, and names the link
// in its error.
func (l *Link) change(f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.stopped.Load() {
		return l.fail(net.ErrClosed)
	}
	if l.gone() {
		return l.fault
	}
	if err := f(); err != nil {
		return l.fail(err)
	}
	return nil
}

// Select implements link.Selector: the NIC receives the claims' multicast groups
// and VLANs besides its own address and broadcast, and drops what is for others.
// Before the first Select it takes every VLAN and no group.
func (l *Link) Select(c *link.Claims) error {
	if c == nil {
		c = &link.Claims{}
	}
	selected, err := filterOf(c)
	if err != nil {
		return l.fail(fmt.Errorf("select: %w", err))
	}
	return l.change(func() error {
		former, claimed := l.selected, l.claimed
		l.selected, l.claimed = selected, true
		err := l.applyFilter()
		if err != nil {
			l.selected, l.claimed = former, claimed
		}
		return err
	})
}

// filterOf turns claims into what a NIC compares.
func filterOf(c *link.Claims) (f driver.Filter, err error) {
	vlan := func(id uint16) {
		if id > maxVLAN && err == nil {
			err = fmt.Errorf("VLAN %d: want 0 (untagged) to %d: %w", id, maxVLAN, unix.EINVAL)
		}
		f.VLANs = append(f.VLANs, id)
	}
	for _, i := range c.IPv4 {
		vlan(i.VLAN)
		if i.Addr[0]>>4 == 0xe {
			f.Multicast = append(f.Multicast, groupMAC(i.Addr))
		}
	}
	for _, e := range c.EtherTypes {
		vlan(e.VLAN)
	}
	for _, id := range c.VLANs {
		vlan(id)
	}
	f.Multicast = append(f.Multicast, c.Groups...)
	f.Promiscuous, f.AllVLANs = c.Promiscuous, c.Promiscuous
	return f, err
}

// groupMAC is the Ethernet address of an IPv4 group (RFC 1112, 6.4).
func groupMAC(a [4]byte) link.MAC { return link.MAC{0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]} }

// applyFilter gives the NIC what the claims and the application ask for. The
// mutex is held.
func (l *Link) applyFilter() error {
	f := driver.Filter{
		Promiscuous:  l.selected.Promiscuous || l.asked.Promiscuous,
		AllMulticast: l.asked.AllMulticast,
		Unicast:      l.asked.Unicast,
		Multicast:    l.selected.Multicast,
		AllVLANs:     !l.claimed || l.selected.AllVLANs || l.asked.Promiscuous,
		VLANs:        l.selected.VLANs,
	}
	return l.dev.SetFilter(&f)
}

// askFilter changes what the application asks for, and takes it back if the NIC
// refuses.
func (l *Link) askFilter(f func(asked *driver.Filter)) error {
	return l.change(func() error {
		former := l.asked
		f(&l.asked)
		err := l.applyFilter()
		if err != nil {
			l.asked = former
		}
		return err
	})
}

// SetPromiscuous switches the receiving of frames to other stations, on any
// VLAN. It is off by default.
func (l *Link) SetPromiscuous(on bool) error {
	return l.askFilter(func(f *driver.Filter) { f.Promiscuous = on })
}

// SetAllMulticast switches the receiving of all multicast frames. It is off by
// default: groups come by Select.
func (l *Link) SetAllMulticast(on bool) error {
	return l.askFilter(func(f *driver.Filter) { f.AllMulticast = on })
}

// SetUnicast replaces the addresses that are received beside the NIC's own. The
// error says how many the NIC can compare.
func (l *Link) SetUnicast(macs []link.MAC) error {
	for _, mac := range macs {
		if mac[0]&1 != 0 {
			return l.fail(fmt.Errorf("unicast address %x is a group's: groups come by Select: %w", mac, unix.EINVAL))
		}
	}
	return l.askFilter(func(f *driver.Filter) { f.Unicast = slices.Clone(macs) })
}

// MAC implements link.Link: the NIC's own address, or what Config or SetMAC
// made it.
func (l *Link) MAC() link.MAC {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dev.Info().MAC
}

// SetMAC changes the address until Close. A stack reads it when it attaches the
// link: change it before.
func (l *Link) SetMAC(mac link.MAC) error {
	if mac[0]&1 != 0 || mac == (link.MAC{}) {
		return l.fail(fmt.Errorf("MAC %x: want a unicast address: %w", mac, unix.EINVAL))
	}
	return l.change(func() error { return l.dev.SetMAC(mac) })
}

// Features returns what the NIC can do, and what of it is switched on.
func (l *Link) Features() (supported, on Features) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dev.Info().Supported, Features(l.features.Load())
}

// SetFeatures switches features: those in on go on, all others off. Frames on
// their way go as they were. So VLANStrip, VLANInsert, RXTime, TXTime and Loopback,
// which change what the frames on the rings are, are switched before Attach only;
// later the error is link.ErrNotSupported. Of frames that have come and are not
// received yet RXChecksum may hold as before or as now: it adds a verdict, and
// changes no frame. What Capabilities say is what Open switched on: a stack that
// relies on it should not be surprised.
func (l *Link) SetFeatures(on Features) error {
	return l.change(func() error {
		if err := l.dev.SetFeatures(on); err != nil {
			return err
		}
		l.features.Store(uint32(on))
		return nil
	})
}

// RSS returns how received flows are spread over the queues, and SetRSS replaces
// that, also while frames flow. The error of a NIC that does not spread, or has
// one queue, is link.ErrNotSupported.
func (l *Link) RSS() (RSSConfig, error) {
	var c RSSConfig
	err := l.change(func() error {
		s, err := l.spreader()
		if err == nil {
			c = s.Spread()
		}
		return err
	})
	return c, err
}

// SetRSS replaces what RSS returns. Each entry of the table is a queue of the
// link. With the feature RSS off it is kept for later.
func (l *Link) SetRSS(c RSSConfig) error {
	return l.change(func() error {
		s, err := l.spreader()
		if err != nil {
			return err
		}
		return s.SetSpread(&c)
	})
}

func (l *Link) spreader() (driver.Spreader, error) {
	s, ok := l.dev.(driver.Spreader)
	if info := l.dev.Info(); !ok || info.Supported&RSS == 0 {
		return nil, fmt.Errorf("the %s with %d queues does not spread flows: %w", info.Model, info.Queues, link.ErrNotSupported)
	}
	return s, nil
}

// SetSpeed lets the wire come up with no other speed than this, Mbit/s, until Close;
// 0: with what both ends agree on, which is the default. The wire goes down meanwhile.
// The error of a NIC that cannot be told, or not this one, is link.ErrNotSupported:
// an X540 takes 100, 1000 and 10000, an 82599 with a cage for modules 1000 and 10000.
func (l *Link) SetSpeed(mbits int) error {
	return l.change(func() error {
		s, ok := l.dev.(driver.Speeder)
		if !ok {
			return fmt.Errorf("the speed of the %s is what both ends agree on: %w", l.dev.Info().Model, link.ErrNotSupported)
		}
		return s.SetSpeed(mbits)
	})
}

// Depths returns how many descriptors each queue has. Config sets them.
func (l *Link) Depths() (rx, tx int) {
	info := l.dev.Info()
	return info.RXDescriptors, info.TXDescriptors
}

// count brings the counters up to date. The mutex is held.
func (l *Link) count() {
	if !l.closed && !l.stopped.Load() && !l.gone() {
		l.dev.Count(&l.counted)
		l.countedAt = clock.Now()
	}
}

// Statistics returns what has been counted since Open or ResetStatistics. The NIC's
// counters do not wait for long: see State.
func (l *Link) Statistics() Statistics {
	l.mu.Lock()
	defer l.mu.Unlock()
	return minus(l.statistics(), l.forgot)
}

// ResetStatistics begins to count anew. Queue.Stats goes on.
func (l *Link) ResetStatistics() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgot = l.statistics()
}

func (l *Link) statistics() Statistics {
	l.count()
	c := &l.counted
	s := Statistics{
		RXPackets: c.RXPackets, RXBytes: c.RXBytes, RXMulticast: c.RXMulticast, RXBroadcast: c.RXBroadcast,
		TXPackets: c.TXPackets, TXBytes: c.TXBytes, RXMissed: c.RXMissed, RXErrors: c.RXErrors, TXErrors: c.TXErrors,
		Hangs: l.hangs, WireChanges: l.changes, TimesFreed: c.TimesFreed,
	}
	for _, q := range l.queues {
		s.TXLost += q.txDropped.Load()
		s.RXLost += q.rxLost.Load()
	}
	return s
}

// minus returns what a has more than b.
func minus(a, b Statistics) Statistics {
	return Statistics{
		RXPackets: a.RXPackets - b.RXPackets, RXBytes: a.RXBytes - b.RXBytes,
		RXMulticast: a.RXMulticast - b.RXMulticast, RXBroadcast: a.RXBroadcast - b.RXBroadcast,
		TXPackets: a.TXPackets - b.TXPackets, TXBytes: a.TXBytes - b.TXBytes,
		RXMissed: a.RXMissed - b.RXMissed, RXErrors: a.RXErrors - b.RXErrors, TXErrors: a.TXErrors - b.TXErrors,
		Hangs: a.Hangs - b.Hangs, TXLost: a.TXLost - b.TXLost, RXLost: a.RXLost - b.RXLost,
		WireChanges: a.WireChanges - b.WireChanges, TimesFreed: a.TimesFreed - b.TimesFreed,
	}
}
