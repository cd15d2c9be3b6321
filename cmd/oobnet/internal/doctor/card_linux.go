package doctor

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"

	"github.com/oobnet/oobnet/internal/netdev"
	"github.com/oobnet/oobnet/internal/sysinfo"
)

// LookAtCard looks at an interface of this network namespace.
func LookAtCard(name string) (*Card, error) {
	n, err := netlink.LinkByName(name)
	if err != nil {
		if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
			return nil, fmt.Errorf("%s: no such interface: see `ip link`: %w", name, syscall.ENODEV)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a := n.Attrs()
	c := &Card{Name: name, MTU: a.MTU, Up: a.RawFlags&syscall.IFF_UP != 0, Carrier: a.RawFlags&syscall.IFF_RUNNING != 0}
	if a.Xdp != nil {
		c.Program = a.Xdp.ProgId
	}
	c.XDP, c.XDPError = netdev.Features(a.Index)
	c.Queues = a.NumRxQueues
	if err := c.ask(); err != nil {
		return nil, err
	}
	dir := "/sys/class/net/" + name + "/device/"
	c.Interrupts = interrupts(dir+"msi_irqs", "/proc/irq")
	return c, nil
}

// ask asks the driver. What it does not know it does not tell.
func (c *Card) ask() error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("%s: ethtool: %w", c.Name, err)
	}
	defer e.Close()
	if info, err := e.DriverInfo(c.Name); err == nil {
		c.Driver, c.Bus = info.Driver, info.BusInfo
	}
	if ch, err := e.GetChannels(c.Name); err == nil {
		c.Queues, c.MaxQueues = int(ch.CombinedCount+ch.RxCount), int(ch.MaxCombined+ch.MaxRx)
	}
	var ring ethtool.Ring
	ring, c.RingsError = e.GetRing(c.Name)
	c.Rings = Rings{RX: ring.RxPending, MaxRX: ring.RxMaxPending, TX: ring.TxPending, MaxTX: ring.TxMaxPending}
	var co ethtool.Coalesce
	co, c.CoalescingError = e.GetCoalesce(c.Name)
	c.Coalescing = Coalescing{RX: co.RxCoalesceUsecs, Adaptive: co.UseAdaptiveRxCoalesce != 0}
	if c.Features, err = e.Features(c.Name); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("%s: ethtool: features: %w", c.Name, err)
	}
	return nil
}

// interrupts are those of a device, from the folders that list and describe them.
func interrupts(device, all string) (list []Interrupt) {
	for _, e := range entries(device) {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if on := sysinfo.Line(filepath.Join(all, e.Name(), "effective_affinity_list")); on != "" {
			list = append(list, Interrupt{n, on})
		}
	}
	slices.SortFunc(list, func(a, b Interrupt) int { return a.Number - b.Number })
	return list
}
