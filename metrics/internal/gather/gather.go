package gather

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/oobnet/oobnet/stack"
	"github.com/oobnet/oobnet/stats"
)

func (g *gathering) device(d *stats.Device, name string) {
	g.value(g.info, 1, name, d.Driver, d.Mode)
	up := 1.0
	if d.Fault != "" {
		up = 0
	}
	g.value(g.up, up, name)
	g.reasons(g.demoted, &d.RX.Demoted, demotes, name)
	g.reasons(g.dropped, &d.RX.Dropped, drops, name)
	g.waiting(&d.TX.Waiting, name)
	g.count(g.txInBandNoBuffer, d.TX.InBandNoBuffer, name)
	g.pool(&d.Pool, name)
	g.filter(&d.Filter, name)
	for i := range d.Queues {
		g.queue(&d.Queues[i], name)
	}
	for i := range d.Threads {
		for j := range d.Threads[i].Steps {
			g.oneStep(&d.Threads[i].Steps[j], name, d.Threads[i].Name)
		}
	}
}

func (g *gathering) queue(q *stats.Queue, device string) {
	number := strconv.Itoa(q.Number)
	g.count(g.rxPackets, q.RX.Packets, device, number)
	g.count(g.rxBytes, q.RX.Bytes, device, number)
	g.count(g.delivered, q.RX.Delivered, device, number)
	g.count(g.copied, q.RX.Copied, device, number)
	g.count(g.forwarded, q.RX.Forwarded, device, number)
	g.count(g.partial, q.RX.PartialChecksum, device, number)
	g.count(g.txPackets, q.TX.Packets, device, number)
	g.count(g.txBytes, q.TX.Bytes, device, number)
	g.count(g.txErrors, q.TX.Errors, device, number)
	g.count(g.txAstray, q.TX.Waiting.Astray, device, number)
	g.size(g.txLength, q.TX.Waiting.Length, device, number)
	g.size(g.txLimit, q.TX.Waiting.Limit, device, number)
	g.size(g.txPeak, q.TX.Waiting.Peak, device, number)
	g.count(g.linkLost, q.Link.RXNoBuffer, device, number, "rx_no_buffer")
	g.count(g.linkLost, q.Link.RXRingFull, device, number, "rx_ring_full")
	g.count(g.linkLost, q.Link.RXInvalid, device, number, "rx_invalid")
	g.count(g.linkLost, q.Link.TXInvalid, device, number, "tx_invalid")
	g.count(g.linkLost, q.Link.TXDropped, device, number, "tx_dropped")
	g.count(g.linkWakeups, q.Link.Wakeups, device, number)
}

// waiting is of all queues of a device, by priority.
func (g *gathering) waiting(w *stats.Waiting, device string) {
	band := func(b *stats.Band, priority string) {
		g.count(g.txQueued, b.Queued, device, priority)
		g.count(g.txDropped, b.Dropped, device, priority)
		g.value(g.txWait, b.LongestWait.Seconds(), device, priority)
	}
	for i := range w.Bands {
		band(&w.Bands[i], strconv.Itoa(i))
	}
	band(&w.InBand, "in_band")
}

func (g *gathering) pool(p *stats.Pool, device string) {
	g.size(g.poolSize, p.Size, device)
	g.size(g.poolFree, p.Free, device)
	g.count(g.poolEmpty, p.Empty, device)
	g.size(g.rxSize, p.RXSize, device)
	g.size(g.rxHeld, p.RXHeld, device)
	g.size(g.excess, p.Excess, device)
	g.size(g.memory, p.Memory, device)
	g.size(g.bufferSize, p.BufferSize, device)
}

func (g *gathering) filter(f *stats.Filter, device string) {
	g.count(g.filterPackets, f.Dropped, device, "drop")
	g.count(g.filterPackets, f.Accepted, device, "accept")
	g.count(g.filterPackets, f.Skipped, device, "skip")
	g.count(g.filterPackets, f.VLAN, device, "vlan")
	g.count(g.filterPackets, f.Errors, device, "error")
	g.count(g.filterPackets, f.TX, device, "tx")
	g.count(g.filterPackets, f.TXErrors, device, "tx_error")
	g.count(g.filterPackets, f.Redirect, device, "redirect")
	g.count(g.filterPackets, f.RedirectErrors, device, "redirect_error")
	for i, hits := range f.Rules {
		g.count(g.filterRules, hits, device, strconv.Itoa(i))
	}
}

// bounds of the histogram's buckets, seconds, but for the last one's, which has
// none.
var bounds = func() (list [stack.StepBuckets - 1]float64) {
	for i := range list {
		list[i] = stack.StepBound(i).Seconds()
	}
	return list
}()

func (g *gathering) oneStep(s *stats.Step, device, thread string) {
	var buckets [stack.StepBuckets]uint64
	var below uint64
	for i, n := range s.Buckets {
		below += n
		buckets[i] = below
	}
	// The count goes by the buckets: one that is read beside them may be off by a
	// step, and a histogram must not contradict itself.
	g.to.Histogram(g.step, bounds[:], buckets[:], s.Total.Seconds(), device, thread, s.Name)
	g.value(g.stepLongest, s.Longest.Seconds(), device, thread, s.Name)
	g.count(g.stepOver, s.Over, device, thread, s.Name)
	g.value(g.stepRunning, s.Running.Round(time.Microsecond).Seconds(), device, thread, s.Name)
}

func (g *gathering) protocol(p *stats.Protocol) {
	g.size(g.open, p.Open, p.Name)
	g.count(g.received, p.Received, p.Name)
	g.count(g.inBand, p.InBand, p.Name)
	g.count(g.lost, p.Full, p.Name, "full")
	g.count(g.lost, p.NoBuffer, p.Name, "no_buffer")
	g.count(g.lost, p.Filtered, p.Name, "filtered")
	g.count(g.lost, p.OutgoingDropped, p.Name, "outgoing_dropped")
	g.count(g.truncated, p.Truncated, p.Name)
	g.count(g.errors, p.Errors, p.Name)
	g.count(g.sentInBand, p.Demoted, p.Name)
	g.count(g.outgoing, p.Outgoing, p.Name)
	g.count(g.timesLost, p.TXTimesLost, p.Name)
	g.size(g.held, p.Held, p.Name)
}

// socketName is what tells sockets apart. Those that share it, as with
// ReusePort, are summed up.
type socketName struct{ protocol, local, remote string }

func nameOf(s *stats.Socket) (n socketName) {
	n.protocol = s.Protocol
	switch {
	case s.Protocol == stats.UDP:
		n.local = s.Local.String()
		if s.Remote.IsValid() {
			n.remote = s.Remote.String()
		}
	case s.Port != "":
		n.local = s.Port + "/0x" + strconv.FormatUint(uint64(s.EtherType)|1<<16, 16)[1:]
	default:
		n.local = s.Device
	}
	return n
}

func (g *gathering) eachSocket(sockets []stats.Socket) {
	sums := make(map[socketName]stats.Socket, len(sockets))
	for i := range sockets {
		s := &sockets[i]
		name := nameOf(s)
		sum := sums[name]
		sum.Received += s.Received
		sum.Full += s.Full + s.NoBuffer
		sum.Held += s.Held
		sum.Quota += s.Quota
		sums[name] = sum
	}
	for name, s := range sums {
		g.count(g.socketReceived, s.Received, name.protocol, name.local, name.remote)
		g.count(g.socketLost, s.Full, name.protocol, name.local, name.remote)
		g.size(g.socketHeld, s.Held, name.protocol, name.local, name.remote)
		g.size(g.socketQuota, s.Quota, name.protocol, name.local, name.remote)
	}
}

func (g *gathering) stack(s *stats.Stack) {
	g.count(g.stageDemoted, s.Demoted)
	g.count(g.stageLost, s.DemotedFull, "full")
	g.count(g.stageLost, s.DemotedErrors, "error")
	g.reasons(g.stageDropped, &s.InBandDropped, never)
	for _, name := range slices.Sorted(maps.Keys(s.InBand)) {
		if name != stats.ReassemblyMemory {
			g.count(g.stage, s.InBand[name], name)
		}
	}
	g.count(g.reassembly, s.InBand[stats.ReassemblyMemory])
	g.cache(s)
	g.count(g.eventsLost, s.NeighborEventsLost)
	g.count(g.faults, s.Notes)
}

func (g *gathering) cache(s *stats.Stack) {
	c := &s.FrontCache
	g.size(g.cacheEntries, c.Entries)
	g.size(g.cachePermanent, c.Permanent)
	g.size(g.cacheNeighbors, c.Neighbors)
	g.size(g.cacheCapacity, c.Capacity)
	for _, e := range []struct {
		name string
		n    uint64
	}{
		{"learned", c.Learned}, {"updated", c.Updated}, {"confirmed", c.Confirmed}, {"dropped", c.Dropped}, {"expired", c.Expired},
		{"evicted", c.Evicted}, {"full", c.Full}, {"conflict", c.Conflicts}, {"rejected", c.Rejected}, {"probe", c.Probes},
	} {
		g.count(g.cacheEvents, e.n, e.name)
	}
}
