package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio"
)

// interrupts waits on each queue for a frame that another goroutine sends later.
func interrupts(_ context.Context, open Opener) (string, error) {
	r, err := newRig(open, vfio.Config{})
	if err != nil {
		return "", err
	}
	ports := r.portOfQueue()
	if len(ports) == 0 {
		return "", r.end(errors.New("no flow leads to any queue"))
	}
	var slowest time.Duration
	for q, port := range ports {
		took, err := r.wake(q, datagram(r.MAC(), port, 64, false))
		if err != nil {
			return "", r.end(fmt.Errorf("queue %d: %w", q, err))
		}
		slowest = max(slowest, took)
	}
	return fmt.Sprintf("%d queues wake who waits, at most %v after the frame was sent", len(ports), slowest.Round(time.Microsecond)), r.end(nil)
}

// portOfQueue finds a flow for each queue that has one.
func (r *rig) portOfQueue() map[int]uint16 {
	c, err := r.RSS()
	if _, on := r.Features(); err != nil || on&vfio.RSS == 0 {
		return map[int]uint16{0: 1000}
	}
	ports := map[int]uint16{}
	for port := range uint16(1000) {
		q := int(c.Table[toeplitz(&c.Key, 1000+port)&127])
		if _, ok := ports[q]; !ok {
			ports[q] = 1000 + port
		}
	}
	return ports
}

// wake sends a frame while a wait is under way, and returns how long after.
func (r *rig) wake(queue int, frame []byte) (time.Duration, error) {
	const head = 30 * time.Millisecond // for the wait to have begun
	sent := make(chan time.Time, 1)
	failed := make(chan error, 1)
	go func() {
		time.Sleep(head)
		sent <- time.Now()
		failed <- r.send(0, frame, link.Meta{}) // the send sides are its alone until it is done
	}()
	var woken time.Time
	n := 0
	for end := time.Now().Add(patience); n == 0 && time.Now().Before(end); {
		if err := r.Queue(queue).WaitReceive(patience); err != nil {
			return 0, errors.Join(err, <-failed)
		}
		woken = time.Now()
		n = r.Queue(queue).Receive(r.in[:])
	}
	if err := <-failed; err != nil {
		return 0, err
	}
	if n != 1 {
		return 0, fmt.Errorf("%d frames in %v: want one, and an interrupt that says so", n, patience)
	}
	r.Queue(queue).Fill([]uint32{r.in[0].Index})
	took := woken.Sub(<-sent)
	if took > patience/2 {
		return 0, fmt.Errorf("the frame was found %v after it was sent: no interrupt", took)
	}
	return took, nil
}

// times compares the NIC's times of frames with the system's clock.
func times(_ context.Context, open Opener) (string, error) {
	r, err := newRig(open, vfio.Config{Queues: 1})
	if err != nil {
		return "", err
	}
	const both = vfio.RXTime | vfio.TXTime
	if err := wants(r.NIC, both, "hardware times"); err != nil {
		return "", r.endSkipped(err)
	}
	if err := r.end(nil); err != nil {
		return "", err
	}
	if r, err = newRig(open, vfio.Config{Queues: 1, With: both}); err != nil {
		return "", err
	}
	const turns = 10
	var paths []time.Duration
	for i := range turns {
		d, err := r.timed(byte(i))
		if err != nil {
			return "", r.end(err)
		}
		paths = append(paths, d)
		time.Sleep(2 * time.Millisecond) // the NIC keeps one time at a time
	}
	slices.Sort(paths)
	return fmt.Sprintf("%d frames with both times, %v to %v from the one to the other", turns, paths[0], paths[turns-1]), r.end(nil)
}

// apart is how far the NIC's clock may be from the system's.
const apart = 100 * time.Millisecond

func (r *rig) timed(sequence byte) (time.Duration, error) {
	i := r.free[len(r.free)-1] // the one that send takes
	before := clock.Now()
	a, err := r.echo(0, syncMessage(r.MAC(), sequence), link.Meta{Flags: link.FlagTXTime})
	if err != nil {
		return 0, err
	}
	after := clock.Now()
	for end := time.Now().Add(patience); !slices.Contains(r.free, i); r.reclaim() {
		if time.Now().After(end) {
			return 0, errors.New("the frame's buffer does not come back")
		}
	}
	var left [1]int64
	r.SentAt([]uint32{i}, left[:])
	for _, t := range []struct {
		name string
		at   int64
	}{{"sent", left[0]}, {"received", a.Time}} {
		switch {
		case t.at == 0:
			return 0, fmt.Errorf("the NIC has no time of when the frame was %s", t.name)
		case t.at < before-int64(apart) || t.at > after+int64(apart):
			return 0, fmt.Errorf("by the NIC the frame was %s at %d ns, between %d and %d by the system", t.name, t.at, before, after)
		}
	}
	return time.Duration(a.Time - left[0]), nil
}

// fullSpeed keeps one queue busy in both directions for a second, and draws up
// the balance.
func fullSpeed(ctx context.Context, open Opener) (string, error) {
	r, err := newRig(open, vfio.Config{Queues: 1})
	if err != nil {
		return "", err
	}
	before := r.Statistics()
	begin := time.Now()
	sent, received, err := r.flood(ctx, begin.Add(time.Second))
	took := time.Since(begin)
	if err != nil {
		return "", r.end(err)
	}
	s := r.Statistics()
	lost := s.RXMissed + s.RXErrors + s.TXErrors - before.RXMissed - before.RXErrors - before.TXErrors
	if sent != received+int(lost) {
		return "", r.end(fmt.Errorf("%d frames were sent, %d received, and %d lost by the NIC's counters", sent, received, lost))
	}
	return fmt.Sprintf("%.3f million frames a second of %d bytes both ways on a queue; %d of %d lost, all counted", float64(received)/took.Seconds()/1e6, shortest, lost, sent), r.end(nil)
}

// flood sends until a time, and then waits for what is on its way.
func (r *rig) flood(ctx context.Context, until time.Time) (sent, received int, err error) {
	f := pattern(r.MAC(), shortest, 0)
	for _, i := range r.free {
		copy(r.memory.Buffer(i), f)
	}
	q := r.Queue(0)
	var out [batch]link.Frame
	quiet := until.Add(silence)
	for now := time.Now(); now.Before(quiet); now = time.Now() {
		if n := min(len(r.free), batch); n > 0 && now.Before(until) && ctx.Err() == nil {
			for k := range n {
				out[k] = link.Frame{Index: r.free[len(r.free)-n+k], Len: shortest}
			}
			took := q.Send(out[:n])
			// What was not taken is at the end of out; it stays in front.
			copy(r.free[len(r.free)-n:], r.free[len(r.free)-n+took:])
			r.free = r.free[:len(r.free)-took]
			sent += took
			if err := q.Flush(); err != nil {
				return sent, received, err
			}
		}
		r.reclaim()
		n := q.Receive(r.in[:])
		for k := range n {
			r.bufs[k] = r.in[k].Index
		}
		if n > 0 {
			received += n
			q.Fill(r.bufs[:n])
			if t := now.Add(silence); t.After(quiet) {
				quiet = t
			}
		}
	}
	return sent, received, nil
}

// midst closes the NIC while frames are on their way, takes all buffers back, and
// opens it again.
func midst(_ context.Context, open Opener) (string, error) {
	r, err := newRig(open, vfio.Config{})
	if err != nil {
		return "", err
	}
	all := r.layout.Buffers()
	for i := range txBuffers / 2 {
		if err := r.send(i%r.Queues(), pattern(r.MAC(), longest, byte(i)), link.Meta{}); err != nil {
			return "", r.end(err)
		}
	}
	begin := time.Now()
	if err := r.Stop(); err != nil {
		return "", r.end(err)
	}
	took := time.Since(begin)
	back := len(r.free)
	for q := range r.Queues() {
		for n := r.Queue(q).Drain(r.bufs[:]); n > 0; n = r.Queue(q).Drain(r.bufs[:]) {
			back += n
		}
	}
	if back != all {
		return "", r.end(fmt.Errorf("%d of %d buffers came back", back, all))
	}
	if err := r.end(nil); err != nil {
		return "", err
	}
	if r, err = newRig(open, vfio.Config{}); err != nil {
		return "", err
	}
	_, err = r.echo(0, pattern(r.MAC(), 100, 0), link.Meta{})
	return fmt.Sprintf("stopped in %v with frames on the rings, all %d buffers came back, and it opens again", took.Round(time.Microsecond), all), r.end(err)
}
