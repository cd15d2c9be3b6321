package stats

import (
	"time"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Take takes a picture of a stack. It stops nothing and takes no lock that a
// packet knows of. Any goroutine may call it, after Stack.Close too.
func Take(s *stack.Stack) *Snapshot {
	// Sockets before devices: what comes meanwhile is with the device already.
	sockets := sockets(s)
	n := Summary(s)
	n.Sockets = sockets
	return n
}

// Summary is Take without the list of sockets: what it costs does not grow with
// them, but for a look at each.
func Summary(s *stack.Stack) *Snapshot {
	n := &Snapshot{Taken: time.Now(), Protocols: protocols(s), Devices: []Device{}, Ports: []Port{}}
	for _, p := range s.Ports() {
		st := p.Stats()
		n.Ports = append(n.Ports, Port{
			Name: p.Name(), Device: p.Device().Name(), VLAN: p.VLAN(),
			RXPackets: st.RXPackets, RXBytes: st.RXBytes, TXPackets: st.TXPackets, TXBytes: st.TXBytes,
		})
	}
	st := s.Stats()
	n.Stack = Stack{
		Demoted: st.Demoted, DemotedFull: st.DemotedFull, DemotedErrors: st.DemotedErrors,
		InBand: lowerKeys(st.InBand), InBandDropped: Reasons(st.InBandDropped),
		NeighborEventsLost: st.NeighborEventsLost, Notes: st.Notes, FrontCache: st.FrontCache,
	}
	devices := make(map[string]*stack.Device)
	for _, d := range s.Devices() {
		devices[d.Name()] = d
	}
	for i := range st.Devices {
		n.Devices = append(n.Devices, device(&st.Devices[i], devices[st.Devices[i].Name]))
	}
	return n
}

// lowerKeys makes the names of the in-band stage's counters like all others.
func lowerKeys(m map[string]uint64) map[string]uint64 {
	out := make(map[string]uint64, len(m))
	for name, n := range m {
		out[lowerName(name)] = n
	}
	return out
}

// lowerName turns ARPRequestsSent into arp_requests_sent.
func lowerName(s string) string {
	upper := func(i int) bool { return i < len(s) && s[i] >= 'A' && s[i] <= 'Z' }
	b := make([]byte, 0, len(s)+4)
	for i := range len(s) {
		if !upper(i) {
			b = append(b, s[i])
			continue
		}
		if i > 0 && (!upper(i-1) || i+1 < len(s) && !upper(i+1)) {
			b = append(b, '_')
		}
		b = append(b, s[i]+'a'-'A')
	}
	return string(b)
}

// device translates; d is nil of one that was closed meanwhile.
func device(st *stack.DeviceStats, d *stack.Device) Device {
	out := Device{
		Name: st.Name, RX: rx(&st.RX),
		TX: TX{
			Packets: st.TX.Packets, Bytes: st.TX.Bytes, Errors: st.TX.Errors,
			InBandNoBuffer: st.TX.InBandNoBuffer, Waiting: waiting(&st.TX.Queueing),
		},
		Pool: Pool{
			BufferSize: st.Pool.BufferSize, Size: st.Pool.Size, Free: st.Pool.Free, Empty: st.Pool.Empty,
			RXSize: st.Pool.RXSize, RXHeld: st.Pool.RXHeld, Excess: st.Pool.Excess, Memory: st.Pool.Memory,
		},
		Filter: filterOf(&st.Filter),
	}
	if d != nil {
		caps := d.Link().Capabilities()
		out.Driver, out.Mode = caps.Driver, caps.Mode
		if err := d.Fault(); err != nil {
			out.Fault = err.Error()
		}
	}
	for i := range st.Queues {
		t := &st.TXQueues[i]
		out.Queues = append(out.Queues, Queue{
			Number: i, RX: rx(&st.RXQueues[i]), Link: linkOf(&st.Queues[i]),
			TX: TX{Packets: t.Packets, Bytes: t.Bytes, Errors: t.Errors, Waiting: waiting(&st.TX.Queues[i])},
		})
	}
	for i := range st.Threads {
		out.Threads = append(out.Threads, thread(&st.Threads[i]))
	}
	return out
}

func rx(st *stack.RXStats) RX {
	return RX{
		Packets: st.Packets, Bytes: st.Bytes, Delivered: st.Delivered, Copied: st.Copied, Forwarded: st.Forwarded,
		PartialChecksum: st.PartialChecksum, Demoted: Reasons(st.Demoted), Dropped: Reasons(st.Dropped),
	}
}

func waiting(st *stack.QueueingStats) Waiting {
	w := Waiting{
		Discipline: st.Discipline, Limit: st.Limit, Length: st.Length, Peak: st.Peak,
		Dropped: st.Dropped, Astray: st.Astray, InBand: band(&st.InBand), Bands: make([]Band, len(st.Bands)),
	}
	for i := range st.Bands {
		w.Bands[i] = band(&st.Bands[i])
	}
	return w
}

func band(b *stack.BandStats) Band {
	return Band{Queued: b.Queued, Dropped: b.Dropped, Length: b.Length, LongestWait: time.Duration(b.LongestWait)}
}

func filterOf(st *filter.Stats) Filter {
	return Filter{
		Dropped: st.Verdicts[filter.Drop], Accepted: st.Verdicts[filter.Accept], Skipped: st.Verdicts[filter.Skip],
		VLAN: st.Verdicts[filter.VLAN], VLANAccepted: st.VLANAccepted, Errors: st.Errors,
		TX: st.TX, TXErrors: st.TXErrors, Redirect: st.Redirect, RedirectErrors: st.RedirectErrors, Rules: st.Rules,
	}
}

func linkOf(st *link.QueueStats) Link {
	return Link{
		RXNoBuffer: st.RXNoBuffer, RXRingFull: st.RXRingFull, RXInvalid: st.RXInvalid,
		TXInvalid: st.TXInvalid, TXDropped: st.TXDropped, Wakeups: st.Wakeups,
	}
}

func thread(st *stack.ThreadStats) Thread {
	t := Thread{Name: st.Name}
	for _, s := range st.Steps {
		t.Steps = append(t.Steps, Step{
			Name: s.Name, Count: s.Count, Total: s.Total, Longest: s.Longest, Over: s.Over, Running: s.Running, Buckets: s.Buckets,
		})
	}
	return t
}

func sockets(s *stack.Stack) []Socket {
	datagrams, raw := udp.Sockets(s), packet.Sockets(s)
	list := make([]Socket, 0, len(datagrams)+len(raw))
	for i := range datagrams {
		c := &datagrams[i]
		list = append(list, Socket{Protocol: UDP, Local: c.Local, Remote: c.Remote, Quota: c.Quota, Counts: udpCounts(&c.Stats)})
	}
	for i := range raw {
		c := &raw[i]
		out := Socket{Protocol: Packet, Device: c.Device.Name(), EtherType: c.EtherType, Quota: c.Quota, Counts: packetCounts(&c.Stats)}
		if c.Port != nil {
			out.Port = c.Port.Name()
		}
		list = append(list, out)
	}
	return list
}

func protocols(s *stack.Stack) []Protocol {
	datagrams, openUDP := udp.Totals(s)
	raw, openRaw := packet.Totals(s)
	return []Protocol{{UDP, openUDP, udpCounts(&datagrams)}, {Packet, openRaw, packetCounts(&raw)}}
}

func udpCounts(st *udp.Stats) Counts {
	return Counts{
		Received: st.Received, InBand: st.InBand, Full: st.Full, Truncated: st.Truncated,
		Errors: st.Errors, Demoted: st.Demoted, TXTimesLost: st.TXTimesLost, Held: st.Held,
	}
}

func packetCounts(st *packet.Stats) Counts {
	return Counts{
		Received: st.Received, Full: st.Full, NoBuffer: st.NoBuffer, Filtered: st.Filtered, Truncated: st.Truncated,
		Outgoing: st.Outgoing, OutgoingDropped: st.OutgoingDropped, TXTimesLost: st.TXTimesLost, Held: st.Held,
	}
}
