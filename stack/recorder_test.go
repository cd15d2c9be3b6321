package stack_test

import (
	"bytes"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// testRecorder keeps what it is shown.
type testRecorder struct {
	frames       [][]byte
	outcomes     []stack.Outcome
	sent, unsent [][]byte
	begun        int
	at           int64
}

func (r *testRecorder) Arrived(b *stack.Arrivals) {
	r.begun += len(b.Frames)
	r.at = b.At
	for _, f := range b.Frames {
		r.frames = append(r.frames, bytes.Clone(b.Device.Memory().Bytes(f)))
	}
}

func (r *testRecorder) Settled(b *stack.Arrivals) {
	r.begun -= len(b.Frames)
	r.outcomes = append(r.outcomes, b.Outcomes...)
}

func (r *testRecorder) Sent(d *stack.Device, _ int, frames []link.Frame, at int64) {
	r.at = at
	for _, f := range frames {
		r.sent = append(r.sent, bytes.Clone(d.Memory().Bytes(f)))
	}
}

func (r *testRecorder) Unsent(d *stack.Device, _ int, f link.Frame, _ int64) {
	r.unsent = append(r.unsent, bytes.Clone(d.Memory().Bytes(f)))
}

// TestRecordedOutcomes: what a recorder is told of each frame is what the books
// say, for every action of a filter.
func TestRecordedOutcomes(t *testing.T) {
	for _, a := range actions {
		t.Run(a.name, func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(1)
			h := fakeHost(t, l, manual())
			if _, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 100}); err != nil {
				t.Fatal(err)
			}
			listen(t, h, h.At(7), nil)
			r := new(testRecorder)
			if err := h.Device.Record(r); err != nil {
				t.Fatal(err)
			}
			if err := h.Device.SetFilter(funcFilter(a.set)); err != nil {
				t.Fatal(err)
			}
			frame := packet{to: 7, tci: a.tci, payload: "x"}.frame()
			l.arrive(frame, 0, 0)
			h.Poll()
			if len(r.outcomes) != 1 || r.begun != 0 || !bytes.Equal(r.frames[0], frame) {
				t.Fatalf("%d frames, %d outcomes", len(r.frames), len(r.outcomes))
			}
			got, st := r.outcomes[0], h.Device.Stats().RX
			if !got.Filtered || r.at == 0 {
				t.Errorf("%+v at %d: no verdict, or no time", got, r.at)
			}
			var booked uint64
			switch got.Disposition {
			case stack.Delivered:
				booked = st.Delivered
			case stack.Forwarded:
				booked = st.Forwarded
			case stack.Demoted:
				booked = st.Demoted[got.Reason]
			case stack.Dropped:
				booked = st.Dropped[got.Reason]
			}
			if booked != 1 {
				t.Errorf("recorded as %v %v; the books: %+v", got.Disposition, got.Reason, st)
			}
		})
	}
}

// TestRecordedRun: frames of one batch keep their order and their own outcomes,
// those that protocols and taps settle too, and the books agree.
func TestRecordedRun(t *testing.T) {
	h, l, tap := tapped(t, types(0, testEtherType))
	tap.settle = tap.take
	r := new(testRecorder)
	if err := h.Device.Record(r); err != nil {
		t.Fatal(err)
	}
	listen(t, h, h.At(7), nil)
	foreign := packet{to: 7, dstMAC: link.MAC{2, 9, 9, 9, 9, 9}}
	bad := with(func(b []byte) { b[len(b)-1]++ })
	for _, b := range [][]byte{
		packet{to: 7, payload: "x"}.frame(), foreign.frame(), typed(fakeMAC, 0), bad,
		packet{proto: wire.ProtocolTCP}.frame(), {1, 2, 3}, packet{to: 7, tci: 300}.frame(),
	} {
		l.arrive(b, 0, 0)
	}
	h.Poll()
	want := []stack.Outcome{
		{Disposition: stack.Delivered},
		{Disposition: stack.Dropped, Reason: stack.ReasonForeignMAC},
		{Disposition: stack.Delivered},
		{Disposition: stack.Dropped, Reason: stack.ReasonChecksum},
		{Disposition: stack.Demoted, Reason: stack.ReasonInBandProtocol},
		{Disposition: stack.Dropped, Reason: stack.ReasonTruncated},
		{Disposition: stack.Dropped, Reason: stack.ReasonNoPort},
	}
	if len(r.outcomes) != len(want) {
		t.Fatalf("%d outcomes, want %d", len(r.outcomes), len(want))
	}
	for i, o := range r.outcomes {
		if o != want[i] {
			t.Errorf("frame %d: %v %v, want %v %v", i, o.Disposition, o.Reason, want[i].Disposition, want[i].Reason)
		}
	}
	h.Device.StopRecording(r)
	l.arrive(typed(fakeMAC, 0), 0, 0)
	h.Poll()
	if len(r.frames) != len(want) {
		t.Error("a frame was shown after the end")
	}
}

// TestRecordedSends: what was sent, and what could not be.
func TestRecordedSends(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	o := manual()
	o.Device.QueueLength = 2
	h := fakeHost(t, l, o)
	r := new(testRecorder)
	if err := h.Device.Record(r); err != nil {
		t.Fatal(err)
	}
	send := func(b byte) error {
		t.Helper()
		f, err := h.Device.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		f.Len = wire.MinFrame
		h.Device.Memory().Bytes(f)[0] = b
		return h.Device.Send(f, 0, 0)
	}
	if err := send(2); err != nil || len(r.sent) != 1 || r.sent[0][0] != 2 || r.at == 0 {
		t.Fatalf("%v, shown %x at %d", err, r.sent, r.at)
	}
	l.set(func() { l.queues[0].txRoom = 0 })
	for i := range byte(2) {
		if err := send(4 + i); err != nil {
			t.Fatal(err)
		}
	}
	if err := send(6); !errors.Is(err, syscall.ENOBUFS) || len(r.unsent) != 1 || r.unsent[0][0] != 6 {
		t.Fatalf("%v, shown %x", err, r.unsent)
	}
	l.set(func() { l.queues[0].txRoom = 1024 })
	h.Poll()
	if len(r.sent) != 3 || r.sent[1][0] != 4 || r.sent[2][0] != 5 {
		t.Errorf("shown %d frames", len(r.sent))
	}
}

func TestRecordErrors(t *testing.T) {
	leaktest.Check(t)
	h := fakeHost(t, newFakeLink(1), manual())
	one, two := new(testRecorder), new(testRecorder)
	if err := h.Device.Record(nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("nil: %v", err)
	}
	if err := errors.Join(h.Device.Record(one), h.Device.Record(two)); err != nil {
		t.Error(err)
	}
	if err := h.Device.Record(one); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("twice: %v", err)
	}
	h.Device.StopRecording(one)
	h.Device.StopRecording(one)
	h.Device.StopRecording(two)
	if err := h.Device.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Device.Record(one); !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed device: %v", err)
	}
}

// TestRecordAllocations: a batch that is recorded allocates nothing.
func TestRecordAllocations(t *testing.T) {
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	if err := h.Device.SetFilter(funcFilter(does(filter.ActionDrop))); err != nil {
		t.Fatal(err)
	}
	var r countingRecorder
	if err := h.Device.Record(&r); err != nil {
		t.Fatal(err)
	}
	frame := packet{to: 7}.frame()
	const frames = 100
	for range frames + 1 {
		l.arrive(frame, 0, 0)
	}
	if n := testing.AllocsPerRun(frames, func() {
		if n, err := h.Device.Poll(1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}); n != 0 || r.dropped != frames+1 {
		t.Errorf("%v allocations a frame, %d recorded", n, r.dropped)
	}
}

// countingRecorder keeps nothing.
type countingRecorder struct {
	testRecorder
	dropped int
}

func (r *countingRecorder) Arrived(*stack.Arrivals) {}
func (r *countingRecorder) Settled(b *stack.Arrivals) {
	for i := range b.Outcomes {
		if b.Outcomes[i].Disposition == stack.Dropped {
			r.dropped++
		}
	}
}
