package stack

import (
	"errors"
	"syscall"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/link"
)

// DeviceStats is what a device counted since it was attached. It is read
// without stopping the device; when no frame is on its way the books add up:
//
//	RX.Packets + RX.Copied = RX.Delivered + sum of RX.Demoted + RX.Forwarded + sum of RX.Dropped
type DeviceStats struct {
	Name string
	RX   RXStats
	TX   TXStats
	Pool PoolStats
	// RXQueues and TXQueues are what RX and TX sum up, by queue.
	RXQueues []RXStats
	TXQueues []TXQueueStats
	// Filter is what the device's filter has decided. On a link that filters
	// by itself, what it dropped and skipped never came here.
	Filter filter.Stats
	// Queues are the link's own counters.
	Queues []link.QueueStats
	// Threads is what the device's watchdog has seen; nil: it never was on.
	Threads []ThreadStats
}

// RXStats counts received frames.
type RXStats struct {
	Packets, Bytes uint64
	// Delivered to a socket (or another protocol's own).
	Delivered uint64
	// Copied counts the copies made for raw sockets, which are delivered beside
	// the frame itself. Forwarded frames were sent as they are, by order of
	// the device's filter.
	Copied, Forwarded uint64
	// Demoted to the in-band stage, and Dropped, by reason.
	Demoted, Dropped Reasons
	// PartialChecksum counts UDP packets of a virtual peer that left the
	// checksum to a device that is not there.
	PartialChecksum uint64
}

// TXStats counts sent frames.
type TXStats struct {
	// Packets and Bytes that the link took.
	Packets, Bytes uint64
	// Queued counts the frames of sockets that had to wait, Dropped those that
	// could not: the queue was full.
	Queued, Dropped uint64
	// Errors counts doorbells that failed.
	Errors uint64
	// InBandNoBuffer counts frames of the in-band stage that found no buffer.
	InBandNoBuffer uint64
	// Queueing is what waits for the device, and Queues the same by TX queue.
	Queueing QueueingStats
	Queues   []QueueingStats
}

// TXQueueStats counts the frames that a queue gave to the link; TXStats.Queues
// has what waited for it.
type TXQueueStats struct {
	Packets, Bytes uint64
	// Errors counts doorbells that failed.
	Errors uint64
}

// PortStats is what a port counted since it was enabled.
type PortStats struct {
	Name string
	// RXPackets and RXBytes count the frames that came in for the port,
	// whatever became of them.
	RXPackets, RXBytes uint64
	// TXPackets and TXBytes count the frames that sockets sent on it.
	TXPackets, TXBytes uint64
}

// Stats reads the port's counters, as Device.Stats does.
func (p *Port) Stats() PortStats {
	p.dev.settle()
	return PortStats{
		Name: p.Name(), RXPackets: p.rxPackets.Load(), RXBytes: p.rxBytes.Load(),
		TXPackets: p.txPackets.Load(), TXBytes: p.txBytes.Load(),
	}
}

// PoolStats describes the TX pool, and the receive buffers.
type PoolStats struct {
	// BufferSize in bytes; Size and Free in buffers.
	BufferSize, Size, Free int
	// RXSize is how many receive buffers there are, of all queues. Excess counts
	// those, of either kind, that a Resize has taken away and that are still out;
	// Memory is what lies behind the buffers, bytes.
	RXSize, Excess, Memory int
	// Empty counts the times that a sender found no buffer.
	Empty uint64
	// RXHeld is how many receive buffers sockets and applications hold.
	RXHeld int
}

// Stats reads the device's counters. It first takes back completed buffers, so
// that they count as free, unless somebody sends at that moment. In manual mode
// a sender of another goroutine that meets it there leaves its frame to Poll.
func (d *Device) Stats() DeviceStats {
	d.settle()
	st := DeviceStats{Name: d.name, Pool: PoolStats{
		BufferSize: d.layout.BufferSize, Size: int(d.pool.size.Load()), Free: d.pool.left(), Empty: d.pool.empty.Load(), Memory: int(d.memory.bytes.Load()),
	}}
	for _, r := range d.rx {
		var rx RXStats
		r.stats.add(&rx)
		st.RX.add(&rx)
		st.RXQueues = append(st.RXQueues, rx)
		st.Queues = append(st.Queues, r.q.Stats())
		st.Pool.RXSize += int(r.size.Load())
		st.Pool.Excess += r.excess()
	}
	st.Pool.Excess += d.pool.excess()
	for _, t := range d.tx {
		tx := TXQueueStats{Packets: t.packets.Load(), Bytes: t.bytes.Load(), Errors: t.errors.Load()}
		st.TXQueues = append(st.TXQueues, tx)
		st.TX.Packets += tx.Packets
		st.TX.Bytes += tx.Bytes
		st.TX.Errors += tx.Errors
		waits := t.queueing()
		st.TX.Queueing.add(&waits)
		st.TX.Queues = append(st.TX.Queues, waits)
	}
	for p := range st.TX.Queueing.Bands {
		st.TX.Queued += st.TX.Queueing.Bands[p].Queued
	}
	st.TX.Dropped = st.TX.Queueing.Dropped
	st.Filter = d.filterStats()
	st.TX.InBandNoBuffer = d.inBandNoBuffer.Load()
	st.Pool.RXHeld = d.held()
	st.Threads = d.threadStats()
	return st
}

func (s *rxStats) add(to *RXStats) {
	// Packets last: what is counted meanwhile makes it larger, never smaller.
	to.Bytes += s.bytes.Load()
	to.Delivered += s.delivered.Load()
	to.PartialChecksum += s.partial.Load()
	to.Copied += s.copied.Load()
	to.Forwarded += s.forwarded.Load()
	for i := range reasons {
		to.Demoted[i] += s.demoted[i].Load()
		to.Dropped[i] += s.dropped[i].Load()
	}
	to.Packets += s.received.Load()
}

// add sums up the queues of a device.
func (s *RXStats) add(o *RXStats) {
	s.Packets += o.Packets
	s.Bytes += o.Bytes
	s.Delivered += o.Delivered
	s.Copied += o.Copied
	s.Forwarded += o.Forwarded
	s.PartialChecksum += o.PartialChecksum
	for i := range o.Demoted {
		s.Demoted[i] += o.Demoted[i]
		s.Dropped[i] += o.Dropped[i]
	}
}

// settle takes back what has left, and publishes what was counted.
func (d *Device) settle() {
	for _, t := range d.tx {
		t.tryReclaim()
	}
}

// held is what neither the device nor the RX steps have, and has not come home.
func (d *Device) held() (n int) {
	for _, r := range d.rx {
		n += r.circulating() - int(r.kept.Load()) - r.home.Len()
	}
	return max(0, n)
}

// CountPartial counts a packet that was accepted with a partial checksum.
func (b *Batch) CountPartial() { b.partial++ }

// StackStats is what the stack counted beside its devices.
type StackStats struct {
	Devices []DeviceStats
	// Demoted counts datagrams sent in-band; DemotedFull those that found the
	// queue full, DemotedErrors those that the in-band stage refused.
	Demoted, DemotedFull, DemotedErrors uint64
	// InBand are the in-band stage's own counters, by name, but for those at 0.
	InBand map[string]uint64
	// InBandDropped counts the datagrams that the in-band stage handed to a
	// protocol, and that reached no socket.
	InBandDropped Reasons
	// NeighborEventsLost found no room; the front cache was checked whole.
	NeighborEventsLost uint64
	// Notes counts the faults reported to Config.OnError.
	Notes      uint64
	FrontCache arp.Stats
}

// Stats reads the counters of the stack and of all its devices.
func (s *Stack) Stats() StackStats {
	st := StackStats{
		Demoted: s.keeper.demoted.Load(), DemotedFull: s.keeper.sendFull.Load(), DemotedErrors: s.keeper.sendErrors.Load(),
		InBand: s.inBand.Stats().Map(), NeighborEventsLost: s.keeper.eventsLost.Load(), Notes: s.notes.Load(), FrontCache: s.front.Stats(),
	}
	for i := range st.InBandDropped {
		st.InBandDropped[i] = s.inBandDropped[i].Load()
	}
	for _, d := range s.Devices() {
		st.Devices = append(st.Devices, d.Stats())
	}
	return st
}

// errnoOf is the number in an error, EIO if there is none.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return syscall.EIO
}
