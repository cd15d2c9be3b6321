package serve

import (
	"cmp"
	"time"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/stack"
)

// keyed is where a problem is, seen from a device or port.
type keyed = []any

func (c *Config) checkDevice(name string, d *Device) (keyed, error) {
	if d.Kind == "" {
		d.Kind = kindAFXDP
		if pciAddress.MatchString(name) {
			d.Kind = kindVFIO
		}
	}
	check := d.checkAFXDP
	switch {
	case d.Kind != kindAFXDP && d.Kind != kindVFIO:
		return keyed{"kind"}, invalid("%q: want %s or %s", d.Kind, kindAFXDP, kindVFIO)
	case d.Kind == kindVFIO && !pciAddress.MatchString(name):
		return nil, invalid("%s devices have PCI addresses, such as 0000:02:00.0", kindVFIO)
	case d.Kind == kindAFXDP && pciAddress.MatchString(name):
		return keyed{"kind"}, invalid("%s devices have names of interfaces, such as eth1", kindAFXDP)
	case d.Kind == kindVFIO:
		check = d.checkVFIO
	}
	if key, err := d.checkSizes(); err != nil {
		return keyed{key}, err
	}
	if key, err := check(); err != nil {
		return keyed{key}, err
	}
	if key, err := d.checkThreads(); err != nil {
		return key, err
	}
	if d.Filter != nil {
		if key, err := c.checkFilter(d.Filter); err != nil {
			return key, err
		}
	}
	d.cfg.PoolSize, d.cfg.BufferSize, d.cfg.RXBuffers = d.PoolSize, d.BufferSize, d.RXBuffers
	d.cfg.MaxPoolSize, d.cfg.MaxRXBuffers = d.MaxPoolSize, d.MaxRXBuffers
	d.cfg.LockMemory, d.cfg.Prefault = d.LockMemory, d.Prefault
	return nil, nil
}

// checkSizes checks the numbers of buffers, 0 for the defaults.
func (d *Device) checkSizes() (key string, err error) {
	switch {
	case d.PoolSize < 0 || d.PoolSize > stack.MaxPoolSize:
		return "pool_size", invalid("%d buffers: want at most %d", d.PoolSize, stack.MaxPoolSize)
	case d.BufferSize != 0 && (d.BufferSize < link.MinBufferSize || d.BufferSize > link.MaxBufferSize || d.BufferSize&(d.BufferSize-1) != 0):
		return "buffer_size", invalid("%d bytes: want a power of two from %d to %d", d.BufferSize, link.MinBufferSize, link.MaxBufferSize)
	case d.MaxPoolSize < 0 || d.MaxPoolSize > stack.MaxPoolSize:
		return "max_pool_size", invalid("%d buffers: want at most %d", d.MaxPoolSize, stack.MaxPoolSize)
	case d.MaxRXBuffers < 0 || d.MaxRXBuffers > link.MaxBuffers || d.MaxRXBuffers&(d.MaxRXBuffers-1) != 0:
		return "max_rx_buffers", invalid("%d buffers: want a power of two, at most %d", d.MaxRXBuffers, link.MaxBuffers)
	case d.RXBuffers < 0 || d.RXBuffers > link.MaxBuffers || d.MaxRXBuffers == 0 && d.RXBuffers&(d.RXBuffers-1) != 0:
		return "rx_buffers", invalid("%d buffers: want a power of two, at most %d", d.RXBuffers, link.MaxBuffers)
	case d.Queues < 0:
		return "queues", invalid("%d: want a number, 0 for all", d.Queues)
	case d.MaxPoolSize != 0 && d.MaxPoolSize < cmp.Or(d.PoolSize, stack.DefaultPoolSize):
		return "max_pool_size", invalid("%d buffers: the pool begins with %d", d.MaxPoolSize, cmp.Or(d.PoolSize, stack.DefaultPoolSize))
	case d.MaxRXBuffers != 0 && d.MaxRXBuffers < cmp.Or(d.RXBuffers, stack.DefaultRXBuffers):
		return "max_rx_buffers", invalid("%d buffers: a queue begins with %d", d.MaxRXBuffers, cmp.Or(d.RXBuffers, stack.DefaultRXBuffers))
	}
	return "", nil
}

// checkThreads checks how a device's threads run, and its queueing.
func (d *Device) checkThreads() (keyed, error) {
	switch {
	case d.Priority < 0 || d.Priority > maxPriority:
		return keyed{"priority"}, invalid("%d: want 1 to %d, or 0 for ordinary scheduling", d.Priority, maxPriority)
	case d.Watchdog < 0:
		return keyed{"watchdog"}, invalid("%v: want a duration, such as 100us, or 0 for none", d.Watchdog)
	}
	for key, cpus := range map[string][]int{"rx_cpus": d.RXCPUs, "tx_cpus": d.TXCPUs} {
		for i, n := range cpus {
			if n < 0 {
				return keyed{key, i}, invalid("%d is no CPU", n)
			}
		}
	}
	poll, err := parsePoll(d.Poll)
	if err != nil {
		return keyed{"poll"}, err
	}
	queueing, ok := map[string]stack.Queueing{"": nil, "fifo": stack.FIFO, "priority": stack.StrictPriority}[d.Queueing]
	if !ok {
		return keyed{"queueing"}, invalid("%q: want fifo or priority", d.Queueing)
	}
	d.cfg.Queueing, d.cfg.Poll = queueing, poll
	d.cfg.RXCPUs, d.cfg.TXCPUs, d.cfg.Priority, d.cfg.Watchdog = d.RXCPUs, d.TXCPUs, d.Priority, d.Watchdog
	return nil, nil
}

// checkFilter checks what can be seen without the object.
func (c *Config) checkFilter(f *Filter) (keyed, error) {
	switch {
	case (f.Object == "") == (f.Rules == ""):
		return keyed{"filter"}, invalid("want either object or rules")
	case f.Rules != "" && f.Section != "":
		return keyed{"filter", "section"}, invalid("rules have no sections")
	case f.Rules != "" && f.Function != "":
		return keyed{"filter", "function"}, invalid("rules have no functions")
	case f.Rules != "":
		_, err := filter.ParseRules(f.Rules)
		return keyed{"filter", "rules"}, err
	}
	var err error
	f.Object, err = c.objectPath(f.Object)
	return keyed{"filter", "object"}, err
}

// maxPriority of SCHED_FIFO.
const maxPriority = 99

func parsePoll(s string) (link.PollMode, error) {
	switch s {
	case "", "adaptive":
		return link.Adaptive, nil
	case "busy":
		return link.Busy, nil
	case "block":
		return link.Block, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 && d <= time.Hour {
		return link.BlockTimeout(d), nil
	}
	return 0, invalid("%q: want adaptive, busy, block, or the longest wait, such as 5ms", s)
}

// checkAFXDP reads what of a device's config is AF_XDP's.
func (d *Device) checkAFXDP() (key string, err error) {
	mode, ok := map[string]afxdp.Mode{"": afxdp.Auto, "auto": afxdp.Auto, "native": afxdp.Native, "generic": afxdp.Generic}[d.Mode]
	if !ok {
		return "mode", invalid("%q: want auto, native or generic", d.Mode)
	}
	zero, ok := map[string]afxdp.ZeroCopy{"": afxdp.ZeroCopyAuto, "auto": afxdp.ZeroCopyAuto, "off": afxdp.ZeroCopyOff, "require": afxdp.ZeroCopyRequire}[d.ZeroCopy]
	switch {
	case !ok:
		return "zero_copy", invalid("%q: want auto, off or require", d.ZeroCopy)
	case mode == afxdp.Generic && zero == afxdp.ZeroCopyRequire:
		return "zero_copy", invalid("require: mode generic copies")
	case d.BufferSize > link.PageSize:
		return "buffer_size", invalid("%d bytes: AF_XDP takes a page at most, %d", d.BufferSize, link.PageSize)
	case d.MaxPoolSize != 0:
		return "max_pool_size", invalid("AF_XDP's memory is fixed: ask by pool_size for the most that is needed")
	case d.MaxRXBuffers != 0:
		return "max_rx_buffers", invalid("AF_XDP's memory is fixed: ask by rx_buffers for the most that is needed")
	}
	d.afxdp = afxdp.Config{Queues: d.Queues, Mode: mode, ZeroCopy: zero}
	return "", nil
}

// checkVFIO refuses what is AF_XDP's.
func (d *Device) checkVFIO() (key string, err error) {
	switch {
	case d.Mode != "":
		return "mode", invalid("%q: it is of %s devices", d.Mode, kindAFXDP)
	case d.ZeroCopy != "":
		return "zero_copy", invalid("%q: it is of %s devices: VFIO never copies", d.ZeroCopy, kindAFXDP)
	}
	return "", nil
}
