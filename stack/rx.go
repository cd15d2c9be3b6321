package stack

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/internal/table"
	"github.com/oobnet/oobnet/internal/watchdog"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// MaxBatch is how many frames one RX step takes at most: enough to spread what
// a batch costs, few enough that the last one waits for microseconds only.
const MaxBatch = 64

// rxQueue is the receive side of one queue. Its fields belong to whoever runs
// the RX step (the RX thread, or the caller of Device.Poll) but those that say
// otherwise.
type rxQueue struct {
	dev *Device
	q   link.Queue
	// home takes the buffers that sockets and TX completions give back: any
	// goroutine pushes, the RX step takes them all.
	home ring.Pile
	// returned is the chain of those that were taken off home, and not yet
	// given to the device, queued how many they are.
	returned uint32
	queued   int
	// spare are buffers that this step has done with, for the device.
	spare []uint32
	// withDevice counts the buffers that the device holds.
	withDevice int
	// section and what follows is for ResizeRX: see shed.
	section
	recaller link.Recaller // nil: the device gives no buffer back without a frame
	recalled []uint32      // room for all that it gives back at once
	// limit is the first buffer that is to be put aside, noLimit if none is out;
	// sweep and recall ask for a look at what is at home, and at what the device
	// has. ResizeRX writes them, the RX step reads them, and takes back sweep and
	// recall.
	limit         atomic.Uint32
	sweep, recall atomic.Bool

	frames [MaxBatch]link.Frame
	// run is the batch under construction for receiver, in room, and receiver
	// whom it is for.
	run      Batch
	room     [MaxBatch]*Packet
	receiver *registered
	// watched is the batch for a tap, in watchRoom.
	watched   Batch
	watchRoom [MaxBatch]*Packet
	// types and whose are what the frames of a step are that taps are shown:
	// what a tap takes is not to be asked any more.
	types [MaxBatch]uint16
	whose [MaxBatch]*Port
	// number of the queue, and the room in which the device's filter sees frames.
	number   int
	filtered [MaxBatch]filter.Packet
	back     [MaxBatch]link.Frame

	// begun counts the frames that steps have taken: written by the RX step
	// before it looks for a protocol, and read by whoever ends one. When
	// stats.received is as high, the step is over.
	begun atomic.Uint64

	// timesWanted is the stack's rxWanted as of this step, arrived and passed are
	// its device and queuing point, ns; 0: not taken.
	timesWanted     uint64
	arrived, passed int64

	demote *demoteQueue
	// port is whose frames the step is at, and what of it is not yet counted.
	port                   *Port
	portPackets, portBytes uint64
	// kept counts the buffers with the device or waiting for it, but for those at
	// home: written by the RX step, read by statistics.
	kept  atomic.Int64
	stats rxStats
	// seen are the frames of this step, by what became of them.
	seen rxCounts
	// record is for those who record the device.
	record recording
	// thread is what Threads reports, watch what it took for its steps.
	thread ThreadInfo
	watch  watchdog.Watch
}

// rxCounts are the frames of one step; rxStats their totals, which anyone may
// read. received + copied = delivered + demoted + forwarded + dropped at the
// end of each step.
type rxCounts struct {
	delivered, bytes           uint64
	dropped, demoted           Reasons
	partial, copied, forwarded uint64
	// actions are what the device's filter said.
	actions [actions]uint64
	// vlanAccepted counts the frames whose VLAN it left to us, and we accepted.
	vlanAccepted uint64
	any          bool // a reason was counted
	filtered     bool // the filter has run
}

type rxStats struct {
	// Written by the RX step, read by Stats.
	received, bytes, delivered, partial, copied, forwarded atomic.Uint64
	dropped, demoted                                       [reasons]atomic.Uint64
	actions                                                [actions]atomic.Uint64
	vlanAccepted                                           atomic.Uint64
}

// step refills the device, then receives and settles up to budget frames. It
// returns how many.
//
//oobnet:hot
func (r *rxQueue) step(budget int) int {
	r.refill()
	n := r.q.Receive(r.frames[:min(budget, MaxBatch)])
	if n == 0 {
		return 0
	}
	if r.timesWanted = r.dev.stack.rxWanted.Load(); r.timesWanted != 0 {
		r.noteArrival()
	}
	r.begun.Store(r.stats.received.Load() + uint64(n))
	r.withDevice -= n
	r.run.Share = max(1, (r.withDevice+r.home.Len())/2)
	ports, frames := r.dev.ports.Load(), r.frames[:n]
	if to := r.dev.recorders.Load(); to != nil {
		r.beginRecord(to, frames)
	}
	if in := r.dev.ingress.Load(); in != nil {
		frames = r.filter(in, frames, ports)
	}
	if ws := r.dev.watchers.Load(); ws != nil {
		frames = r.show(ws.list, frames, ports)
	}
	for i := range frames {
		r.classify(&frames[i], ports)
	}
	r.handOver()
	r.countPort(nil)
	if r.record.to != nil {
		r.endRecord()
	}
	r.publish(n)
	return n
}

// refill gives the device what came home, and what the last step left. It goes
// before receiving: some devices stall on an empty fill ring.
//
//oobnet:hot
func (r *rxQueue) refill() {
	limit := r.limit.Load()
	if limit != noLimit {
		r.shed(limit)
	}
	for {
		n := r.collect(len(r.spare))
		if n == 0 {
			break
		}
		r.spare = r.spare[:n]
		if limit != noLimit {
			r.keepBelow(limit)
		}
		offered := len(r.spare)
		took := r.q.Fill(r.spare)
		r.withDevice += took
		r.spare = r.spare[:copy(r.spare, r.spare[took:])]
		if n < cap(r.spare) || took == 0 && offered > 0 {
			break
		}
	}
	r.kept.Store(int64(r.withDevice + len(r.spare) + r.queued))
}

// collect fills spare, which holds n, with what came home, and returns how
// many it holds then.
//
//oobnet:hot
func (r *rxQueue) collect(n int) int {
	spare := r.spare[:cap(r.spare)]
	for n < len(spare) {
		if r.returned == ring.Nil {
			if r.returned, r.queued = r.home.TakeAll(); r.returned == ring.Nil {
				break
			}
		}
		spare[n] = r.returned
		r.returned = r.home.Next(r.returned)
		r.queued--
		n++
	}
	return n
}

// recycle keeps a buffer that the step has done with for the next refill.
//
//oobnet:hot
func (r *rxQueue) recycle(index uint32) {
	if n := len(r.spare); n < cap(r.spare) {
		r.spare = r.spare[:n+1]
		r.spare[n] = index
		return
	}
	r.home.Push(index)
}

// classify looks at one frame as far as the stack understands it, and puts it
// on the run of its protocol, or settles it.
//
//oobnet:hot
func (r *rxQueue) classify(f *link.Frame, ports *portTable) {
	b := r.dev.mem.Bytes(*f)
	r.seen.bytes += uint64(len(b))
	h, ok := parse(f, b)
	if !ok {
		r.drop(f.Index, ReasonTruncated)
		return
	}
	port := ports.of(h)
	if port == nil {
		r.drop(f.Index, ReasonNoPort)
		return
	}
	r.countFrame(port, len(b))
	cast := Unicast
	if wire.MAC48(b) != port.mac48 {
		if cast = castOf(b); cast == Unicast {
			r.drop(f.Index, ReasonForeignMAC)
			return
		}
	}
	switch h.Type {
	case wire.TypeIPv4:
		r.ipv4(f, b, h.Len, h.TCI, port, cast)
	case wire.TypeARP:
		r.toInBand(f, port, ReasonARP)
	default:
		r.other(f, b, h, port, cast)
	}
}

// parse reads a frame's Ethernet header, with the tag that a device has stripped.
//
//oobnet:hot
func parse(f *link.Frame, b []byte) (h wire.Ethernet, ok bool) {
	h, ok = wire.ParseEthernet(b)
	if f.Flags&link.FlagVLANStripped != 0 {
		if h.Tagged {
			// A second tag is a type that nobody has, here as in the bytes.
			h.Type, h.Len = wire.TypeVLAN, wire.EthernetHeaderLen
		}
		h.TCI, h.Tagged = f.VLAN, true
	}
	return h, ok
}

// of is the port that a frame belongs to, or nil. A priority tag, with id 0,
// says nothing of a VLAN.
//
//oobnet:hot
func (t *portTable) of(h wire.Ethernet) *Port {
	if h.Tagged && h.TCI&wire.VIDMask != 0 {
		return t.vlan(h.TCI & wire.VIDMask)
	}
	return t.untagged
}

// castOf tells groups from stations by a frame's destination.
//
//oobnet:hot
func castOf(b []byte) Cast {
	switch {
	case wire.MAC48(b) == 1<<48-1:
		return Broadcast
	case b[0]&1 != 0:
		return Multicast
	}
	return Unicast
}

// countFrame counts a frame for its port.
//
//oobnet:hot
func (r *rxQueue) countFrame(port *Port, size int) {
	if port != r.port {
		r.countPort(port)
	}
	r.portPackets++
	r.portBytes += uint64(size)
}

// countPort adds what was seen of a port to its totals, and turns to the next:
// once a batch, where a device has one port.
//
//oobnet:hot
func (r *rxQueue) countPort(next *Port) {
	if r.port != nil {
		r.port.rxPackets.Add(r.portPackets)
		r.port.rxBytes.Add(r.portBytes)
	}
	r.port, r.portPackets, r.portBytes = next, 0, 0
}

// headerReasons are what the stack calls a bad header.
var headerReasons = [...]Reason{
	wire.IPv4Truncated:    ReasonTruncated,
	wire.IPv4BadVersion:   ReasonIPv4Header,
	wire.IPv4BadHeaderLen: ReasonIPv4Header,
	wire.IPv4BadTotalLen:  ReasonIPv4Header,
	wire.IPv4BadChecksum:  ReasonIPv4Checksum,
}

// ipv4 makes the checks of RFC 1122, section 3.2.1, that need no state.
//
//oobnet:hot
func (r *rxQueue) ipv4(f *link.Frame, b []byte, at int, tci uint16, port *Port, cast Cast) {
	var h wire.IPv4
	bad := h.Parse(b[at:], f.Flags&link.FlagChecksumGood != 0)
	if bad != wire.IPv4OK {
		r.drop(f.Index, headerReasons[bad])
		return
	}
	local := port.local.Load()
	if uint64(h.Dst) != local.first || cast != Unicast {
		var why Reason
		var ours bool
		if cast, why, ours = local.destination(h.Dst, cast); !ours {
			r.drop(f.Index, why)
			return
		}
	}
	if martianSource(h.Src) || local.ownOrBroadcast(h.Src) {
		r.drop(f.Index, ReasonMartian)
		return
	}
	if h.Fragment {
		r.toInBand(f, port, ReasonFragment)
		return
	}
	if h.HeaderLen != wire.IPv4HeaderLen {
		r.toInBand(f, port, ReasonOptions)
		return
	}
	to := r.dev.stack.ipv4Protocols[h.Protocol].Load()
	if to == nil {
		r.toInBand(f, port, ReasonInBandProtocol)
		return
	}
	p := r.next(to, f.Index)
	p.Frame, p.Port = *f, port
	p.Src, p.Dst = h.Src, h.Dst
	p.Offset, p.Len = uint16(at+h.HeaderLen), uint16(h.TotalLen-h.HeaderLen)
	p.TCI, p.Cast, p.TTL, p.TOS = tci, cast, h.TTL, h.TOS
	p.fate, p.reason = fatePass, ReasonNoSocket
}

// other is for the EtherTypes that somebody registered.
func (r *rxQueue) other(f *link.Frame, b []byte, eth wire.Ethernet, port *Port, cast Cast) {
	to := r.dev.stack.etherTypes.Get(table.Key{Lo: uint64(eth.Type)})
	if to == nil {
		r.drop(f.Index, ReasonEtherType)
		return
	}
	*r.next(to, f.Index) = Packet{
		Frame: *f, Port: port, Offset: uint16(eth.Len), Len: uint16(len(b) - eth.Len),
		TCI: eth.TCI, Cast: cast, fate: fatePass, reason: ReasonNoSocket,
	}
}

// next puts one packet on the run of a receiver, and returns it to be filled
// in. A run ends when the receiver changes: one call a run, not a packet.
//
//oobnet:hot
func (r *rxQueue) next(to *registered, index uint32) *Packet {
	if to != r.receiver {
		r.handOver()
		r.receiver = to
	}
	p := &r.dev.packets[index]
	n := len(r.run.Packets)
	r.run.Packets = r.run.Packets[:n+1]
	r.run.Packets[n] = p
	return p
}

// handOver gives the run to its receiver and settles what came of it.
//
//oobnet:hot
func (r *rxQueue) handOver() {
	if len(r.run.Packets) == 0 {
		return
	}
	if r.timesWanted != 0 {
		r.notePassing()
	}
	r.receiver.Receive(&r.run)
	for _, p := range r.run.Packets {
		switch p.fate {
		case fateTaken:
			r.seen.delivered++
		case fateDemote:
			r.toInBand(&p.Frame, p.Port, p.reason)
		default:
			r.drop(p.Frame.Index, p.reason)
		}
	}
	r.countRun(&r.run)
	r.run.Packets = r.run.Packets[:0]
	r.receiver = nil
}

// countRun takes over what a receiver has counted.
//
//oobnet:hot
func (r *rxQueue) countRun(b *Batch) {
	r.seen.partial += b.partial
	r.seen.copied += b.copied
	r.seen.delivered += b.copied
	b.partial, b.copied = 0, 0
}

//oobnet:hot
func (r *rxQueue) drop(index uint32, reason Reason) {
	r.seen.dropped[reason]++
	r.seen.any = true
	r.note(index, Dropped, reason)
	r.recycle(index)
}

// toInBand copies the frame to the in-band stage's queue; a full queue drops it.
func (r *rxQueue) toInBand(f *link.Frame, port *Port, reason Reason) {
	if !r.demote.put(port.id, r.dev.mem.Bytes(*f), *f) {
		r.drop(f.Index, ReasonInBandFull)
		return
	}
	r.seen.demoted[reason]++
	r.seen.any = true
	r.note(f.Index, Demoted, reason)
	r.recycle(f.Index)
}

// publish adds the step's counts to the totals, once a batch.
//
//oobnet:hot
func (r *rxQueue) publish(n int) {
	c := &r.seen
	r.stats.received.Add(uint64(n))
	r.stats.bytes.Add(c.bytes)
	r.stats.delivered.Add(c.delivered)
	if c.partial != 0 {
		r.stats.partial.Add(c.partial)
	}
	if c.copied != 0 {
		r.stats.copied.Add(c.copied)
	}
	c.bytes, c.delivered, c.partial, c.copied = 0, 0, 0, 0
	if c.filtered {
		r.publishFilter()
	}
	if !c.any {
		return
	}
	for i := range c.dropped {
		if c.dropped[i] != 0 {
			r.stats.dropped[i].Add(c.dropped[i])
		}
		if c.demoted[i] != 0 {
			r.stats.demoted[i].Add(c.demoted[i])
		}
	}
	c.dropped, c.demoted, c.any = Reasons{}, Reasons{}, false
	r.demote.wake()
}
