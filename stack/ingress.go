package stack

import (
	"fmt"
	"net"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// actions is how many actions a filter has.
const actions = int(filter.ActionRedirectError) + 1

// ingress is the filter of a device whose link has none of its own. It is
// immutable and replaced as a whole: an RX step works by the one or the other.
type ingress struct {
	instance filter.Instance // nil: every frame is accepted
	// off: every frame is the in-band stage's.
	off bool
}

// SetFilter puts a filter in front of the device; nil restores the default:
// all frames to the ports' addresses and of the registered EtherTypes. On a
// link that filters by itself (link.Filterer: AF_XDP) it runs there, in the
// place of that selection, and what it skips is the host kernel's; on others it
// runs in the RX step, and what it skips is the in-band stage's. Each frame meets
// the one filter or the other; what was accepted stays accepted. Errors are the
// filter's or the link's (see package filter); then the former filter goes on.
func (d *Device) SetFilter(f filter.Filter) error {
	return d.changeIngress(func(byLink link.Filterer) error {
		if byLink != nil {
			return byLink.SetFilter(f)
		}
		var in ingress
		if now := d.ingress.Load(); now != nil {
			in.off = now.off
		}
		if f != nil {
			instance, err := f.Instance(len(d.rx))
			if err != nil {
				return err
			}
			in.instance = instance
		}
		d.setIngress(in)
		return nil
	})
}

// Divert switches the device's taking of frames off, and on again: off, all of
// them go to the host kernel (AF_XDP) or to the in-band stage, whatever the
// filter, which stays. Sockets stay open and may send. Source: Dovetail's input
// diversion, which EVL switches by evl_net_enable_oob.
func (d *Device) Divert(on bool) error {
	return d.changeIngress(func(byLink link.Filterer) error {
		if byLink != nil {
			return byLink.Divert(on)
		}
		in := ingress{off: !on}
		if now := d.ingress.Load(); now != nil {
			in.instance = now.instance
		}
		d.setIngress(in)
		return nil
	})
}

// changeIngress runs a change under the stack's mutex, with the link if it
// filters by itself.
func (d *Device) changeIngress(change func(link.Filterer) error) error {
	d.stack.mu.Lock()
	defer d.stack.mu.Unlock()
	if d.ending || d.stack.closed {
		return fmt.Errorf("stack: device %s: %w", d.name, net.ErrClosed)
	}
	byLink, _ := d.link.(link.Filterer)
	if err := change(byLink); err != nil {
		return fmt.Errorf("stack: device %s: %w", d.name, err)
	}
	return nil
}

func (d *Device) setIngress(in ingress) {
	if in.instance == nil && !in.off {
		d.ingress.Store(nil)
		return
	}
	d.ingress.Store(&in)
}

// FilterMap returns a map of the program that filters the device, by its name:
// what the program counts in, or is configured by. filter.ErrNoMap wrapped if
// there is none.
func (d *Device) FilterMap(name string) (m filter.Map, err error) {
	err = d.changeIngress(func(byLink link.Filterer) error {
		switch in := d.ingress.Load(); {
		case byLink != nil:
			m, err = byLink.FilterMap(name)
		case in != nil && in.instance != nil:
			m, err = in.instance.Map(name)
		default:
			err = fmt.Errorf("no filter is set: %w", filter.ErrNoMap)
		}
		return err
	})
	return m, err
}

// filter runs the device's filter over a batch, does what it says, and returns
// the frames that are accepted, in order.
func (r *rxQueue) filter(in *ingress, frames []link.Frame, ports *portTable) []link.Frame {
	if in.off {
		for i := range frames {
			r.skip(&frames[i], ports)
		}
		return nil
	}
	if in.instance == nil {
		return frames
	}
	packets := r.filtered[:len(frames)]
	for i := range frames {
		f := &frames[i]
		packets[i] = filter.Packet{
			Buffer: r.dev.mem.Buffer(f.Index), Off: int(f.Off), Len: int(f.Len),
			TCI: f.VLAN, Stripped: f.Flags&link.FlagVLANStripped != 0, Device: r.dev.number,
		}
	}
	in.instance.Run(r.number, packets)
	r.seen.filtered = true
	accepted, back := frames[:0], r.back[:0]
	for i := range packets {
		f, p := frames[i], &packets[i]
		action := p.Action
		if int(action) >= actions || !r.follow(&f, p) {
			action = filter.ActionError
		}
		r.seen.actions[action]++
		r.noteVerdict(f.Index, action)
		if action == filter.ActionVLAN {
			if action = filter.ActionSkip; vlanEnabled(&f, p, ports) {
				action = filter.ActionAccept
				r.seen.vlanAccepted++
			}
		}
		switch action {
		case filter.ActionAccept:
			accepted = append(accepted, f)
		case filter.ActionSkip:
			r.skip(&f, ports)
		case filter.ActionDrop:
			r.discard(&f, ReasonFilter)
		case filter.ActionTX:
			back = r.redirect(f, r.dev, action, back)
		case filter.ActionRedirect:
			back = r.redirect(f, r.dev.stack.deviceNumber(p.Target), action, back)
		default:
			r.discard(&f, ReasonFilterError)
		}
	}
	r.sendBack(back)
	return accepted
}

// follow takes over where the filter has left the frame in its buffer. It
// reports false if that cannot be.
func (r *rxQueue) follow(f *link.Frame, p *filter.Packet) bool {
	if p.Off < 0 || p.Len < 0 || p.Off+p.Len > len(p.Buffer) {
		return false
	}
	if int(f.Off) != p.Off || int(f.Len) != p.Len {
		f.Off, f.Len = uint16(p.Off), uint16(p.Len)
		// What the device has verified may be no longer what is there.
		f.Flags &^= link.FlagChecksumGood | link.FlagChecksumBad
	}
	return true
}

// vlanEnabled is the verdict VLAN: whether a port is enabled for the frame's id.
func vlanEnabled(f *link.Frame, p *filter.Packet, ports *portTable) bool {
	id, ok := f.VLAN&wire.VIDMask, p.Stripped
	if !ok {
		id, ok = wire.FilterVLAN(p.Bytes())
	}
	return ok && id != 0 && ports.vlan(id) != nil
}

// skip leaves a frame to the in-band stage, if it is of a VLAN that has a port.
func (r *rxQueue) skip(f *link.Frame, ports *portTable) {
	r.seen.bytes += uint64(f.Len)
	port := r.portOf(f, ports)
	if port == nil {
		r.drop(f.Index, ReasonNoPort)
		return
	}
	r.countFrame(port, int(f.Len))
	r.toInBand(f, port, ReasonSkipped)
}

// portOf is the port of any frame, nil if there is none.
func (r *rxQueue) portOf(f *link.Frame, ports *portTable) *Port {
	h, ok := parse(f, r.dev.mem.Bytes(*f))
	if !ok {
		return nil
	}
	return ports.of(h)
}

// discard drops a frame that no port has seen.
func (r *rxQueue) discard(f *link.Frame, reason Reason) {
	r.seen.bytes += uint64(f.Len)
	r.drop(f.Index, reason)
}

// sendBack sends frames where they came from, as they are: their buffers come
// home when they have left.
func (r *rxQueue) sendBack(frames []link.Frame) {
	if len(frames) == 0 {
		return
	}
	for i := range frames {
		r.seen.bytes += uint64(frames[i].Len)
		r.note(frames[i].Index, Forwarded, 0)
	}
	r.seen.forwarded += uint64(len(frames))
	// An error is the device's, which counts it; the frames are no longer ours.
	_, _ = r.dev.SendBatch(frames, r.number, 0)
}

// redirect sends a frame by a device of the stack; nil: there is none. Buffers
// belong to their device's region, of which no two devices have the same, so
// another device gets a copy; the same one gets the frame as it is, with those
// that go back.
func (r *rxQueue) redirect(f link.Frame, to *Device, action filter.Action, back []link.Frame) []link.Frame {
	switch {
	case to == nil || !r.putTagBack(&f) || to != r.dev && !to.forward(r.dev.mem.Bytes(f)):
		r.seen.actions[action]--
		r.seen.actions[action+1]++ // its errors
		r.discard(&f, ReasonForward)
		return back
	case to == r.dev:
		return append(back, f)
	}
	r.seen.bytes += uint64(f.Len)
	r.seen.forwarded++
	r.note(f.Index, Forwarded, 0)
	r.recycle(f.Index)
	return back
}

// putTagBack makes a frame what it was on the wire, if the device has stripped
// its tag. It reports false if the buffer has no room for it.
func (r *rxQueue) putTagBack(f *link.Frame) bool {
	stripped, tci := f.Flags&link.FlagVLANStripped != 0, f.VLAN
	f.Meta = link.Meta{}
	if !stripped {
		return true
	}
	off, n, ok := wire.InsertTag(r.dev.mem.Buffer(f.Index), int(f.Off), int(f.Len), tci)
	f.Off, f.Len = uint16(off), uint16(n)
	return ok
}

// deviceNumber finds a device, nil if there is none of that number.
func (s *Stack) deviceNumber(number uint32) *Device {
	for _, d := range *s.devices.Load() {
		if d.number == number {
			return d
		}
	}
	return nil
}

// forward sends a copy of another device's frame. It reports false if there is
// no buffer, or none that is long enough.
func (d *Device) forward(frame []byte) bool {
	if len(frame) > wire.EthernetHeaderLen+wire.VLANTagLen+d.MTU() {
		return false
	}
	f, err := d.Alloc()
	if err != nil {
		return false
	}
	f.Off -= HeaderRoom
	f.Len = uint16(copy(d.mem.Buffer(f.Index)[f.Off:], frame))
	return d.Send(f, 0, 0) == nil
}

// publishFilter adds what the filter decided in this step to the totals.
func (r *rxQueue) publishFilter() {
	c := &r.seen
	for i, n := range c.actions {
		if n != 0 {
			r.stats.actions[i].Add(n)
		}
	}
	r.stats.vlanAccepted.Add(c.vlanAccepted)
	r.stats.forwarded.Add(c.forwarded)
	c.actions, c.vlanAccepted, c.forwarded, c.filtered = [actions]uint64{}, 0, 0, false
}

// filterStats are the link's own where it filters by itself.
func (d *Device) filterStats() (st filter.Stats) {
	if f, ok := d.link.(link.Filterer); ok {
		return f.FilterStats()
	}
	for _, r := range d.rx {
		n := func(a filter.Action) uint64 { return r.stats.actions[a].Load() }
		for v := range st.Verdicts {
			st.Verdicts[v] += n(filter.Action(v))
		}
		st.VLANAccepted += r.stats.vlanAccepted.Load()
		st.Errors += n(filter.ActionError)
		st.TX += n(filter.ActionTX)
		st.TXErrors += n(filter.ActionTXError)
		st.Redirect += n(filter.ActionRedirect)
		st.RedirectErrors += n(filter.ActionRedirectError)
	}
	if in := d.ingress.Load(); in != nil && in.instance != nil {
		st.Rules = in.instance.RuleHits()
	}
	return st
}
