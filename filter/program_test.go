package filter

import (
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
)

// instance makes one of a test object.
func instance(t testing.TB, name string, queues int, options ...LoadOption) Instance {
	t.Helper()
	p, err := LoadFile(object(name), options...)
	if err != nil {
		t.Fatal(err)
	}
	in, err := p.Instance(queues)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// saying is a packet whose frame says what is to become of it, as the test
// objects read it.
func saying(what byte) Packet {
	const headroom = 64
	b := make([]byte, 256)
	b[headroom+14] = what
	return Packet{Buffer: b, Off: headroom, Len: 60}
}

// run says what an instance does with one frame of a queue.
func run(in Instance, queue int, p Packet) (Action, uint32) {
	packets := []Packet{p}
	in.Run(queue, packets)
	return packets[0].Action, packets[0].Target
}

// TestInstanceVerdicts: verdict programs and EVL's socket filters say the same.
func TestInstanceVerdicts(t *testing.T) {
	for _, name := range []string{"verdict", "socket"} {
		in := instance(t, name, 1)
		for what, want := range map[byte]Action{0: ActionDrop, 1: ActionAccept, 2: ActionSkip, 3: ActionVLAN, 4: ActionError, 5: ActionError, 255: ActionError} {
			if got, _ := run(in, 0, saying(what)); got != want {
				t.Errorf("%s: verdict %d is action %d, want %d", name, what, got, want)
			}
		}
		short := saying(1)
		short.Len = 14
		if got, _ := run(in, 0, short); got != ActionError {
			t.Errorf("%s: a frame that says nothing: action %d", name, got)
		}
		if in.RuleHits() != nil {
			t.Errorf("%s: has rules", name)
		}
	}
	tail := instance(t, "tail", 1)
	for what, want := range map[byte]Action{1: ActionAccept, 199: ActionAccept, 200: ActionSkip} {
		if got, _ := run(tail, 0, saying(what)); got != want {
			t.Errorf("a tail call for %d: action %d, want %d", what, got, want)
		}
	}
}

// TestInstanceActions: XDP's actions become the stack's.
func TestInstanceActions(t *testing.T) {
	in := instance(t, "xsk", 3)
	for what, want := range map[byte]Action{
		xdpAborted: ActionError, xdpDrop: ActionDrop, xdpPass: ActionSkip, xdpTX: ActionTX, xdpRedirect: ActionAccept, 5: ActionError,
	} {
		for queue := range 3 {
			p := saying(what)
			copy(p.Bytes(), "station.sender")
			if got, _ := run(in, queue, p); got != want {
				t.Errorf("queue %d, action %d: %d, want %d", queue, what, got, want)
			}
			if got := string(p.Bytes()[:12]); what == xdpTX && got != "n.sendstatio" {
				t.Errorf("the program left %q", got)
			}
		}
	}
	if _, err := in.Map("xsks_map"); !errors.Is(err, ErrNoMap) {
		t.Errorf("the map of sockets: %v, want ErrNoMap", err)
	}
}

func TestInstanceRedirect(t *testing.T) {
	in := instance(t, "redirect", 10) // more queues than the object has room for sockets
	target, err := in.Map("target")
	if err == nil {
		err = target.Update(make([]byte, 4), binary.LittleEndian.AppendUint32(nil, 7))
	}
	if err != nil {
		t.Fatal(err)
	}
	check := func(queue int, what byte, want Action, device uint32) {
		t.Helper()
		if got, to := run(in, queue, saying(what)); got != want || to != device {
			t.Errorf("queue %d, %d: action %d to %d, want %d to %d", queue, what, got, to, want, device)
		}
	}
	check(0, 4, ActionAccept, 0)
	check(9, 4, ActionAccept, 0)
	check(0, 6, ActionRedirect, 7)
	check(0, 5, ActionDrop, 0) // no entry: the program's choice is XDP_DROP
	devices, err := in.Map("devices")
	if err == nil {
		err = devices.Update(make([]byte, 4), binary.LittleEndian.AppendUint32(nil, 3))
	}
	if err != nil {
		t.Fatal(err)
	}
	check(0, 5, ActionRedirect, 3)
	check(0, 4, ActionAccept, 0) // the target of a former frame is forgotten
	// By ingress_ifindex it is to the device that has received the frame.
	in = instance(t, "../vm/testdata/devmap", 1)
	for _, device := range []uint32{7, 2} {
		p := saying(0)
		p.Device = device
		if got, to := run(in, 0, p); got != ActionRedirect || to != device {
			t.Errorf("to where it came from, device %d: action %d to %d", device, got, to)
		}
	}
}

// TestInstanceStopped: a program that reads what is not its own, which the
// kernel refuses, is stopped here, when it does so.
func TestInstanceStopped(t *testing.T) {
	in := instance(t, "bad", 1)
	if got, _ := run(in, 0, saying(0)); got != ActionError {
		t.Errorf("action %d, want an error", got)
	}
	long := saying(0)
	long.Len = 100
	if got, _ := run(in, 0, long); got != ActionDrop {
		t.Errorf("a frame that is long enough: action %d, want what it says: drop", got)
	}
}

// TestInstanceMaps: the program's maps are there to read, and every instance
// has its own.
func TestInstanceMaps(t *testing.T) {
	p, err := LoadFile(object("verdict"))
	if err != nil {
		t.Fatal(err)
	}
	const queues, frames = 4, 1000
	first, err := p.Instance(queues)
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Instance(1)
	if err != nil {
		t.Fatal(err)
	}
	// The entries are made by one queue: of several, one could overwrite what
	// others have counted, in the kernel too.
	first.Run(0, []Packet{saying(1), saying(2)})
	var running sync.WaitGroup
	for q := range queues {
		running.Go(func() {
			packets := []Packet{saying(1), saying(2), saying(2)}
			for range frames {
				first.Run(q, packets)
			}
		})
	}
	running.Wait()
	for in, want := range map[Instance]uint64{first: queues*frames + 1, second: 0} {
		m, err := in.Map("seen")
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := m.Lookup([]byte{1, 0, 0, 0})
		if want == 0 {
			if !errors.Is(err, ErrKeyNotExist) {
				t.Errorf("an instance at rest has counted % x, %v", accepted, err)
			}
			continue
		}
		if got := binary.LittleEndian.Uint64(accepted); err != nil || got != want {
			t.Errorf("%d accepted frames counted, %v, want %d", got, err, want)
		}
	}
	if _, err := first.Map("none"); !errors.Is(err, ErrNoMap) {
		t.Errorf("a map that is not there: %v", err)
	}
}

func TestInstanceErrors(t *testing.T) {
	p, err := LoadFile(object("verdict"))
	if err != nil {
		t.Fatal(err)
	}
	for _, queues := range []int{0, -1, 1 << 20} {
		if in, err := p.Instance(queues); err == nil || in != nil {
			t.Errorf("an instance of %d queues: %v, %v", queues, in, err)
		}
	}
	wrong := &Program{name: "verdict", kind: actionProgram, spec: p.spec.Copy()}
	wrong.spec.Maps[socketMap] = &ebpf.MapSpec{Name: socketMap, Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	if _, err := wrong.Instance(1); err != nil {
		t.Errorf("a map of another type that the program does not use: %v", err)
	}
}

// TestInstanceAllocates: not.
func TestInstanceAllocates(t *testing.T) {
	for _, name := range []string{"verdict", "xsk", "socket", "tail"} {
		in := instance(t, name, 1)
		packets := make([]Packet, 64)
		for i := range packets {
			packets[i] = saying(byte(i % 8))
		}
		if n := testing.AllocsPerRun(100, func() { in.Run(0, packets) }); n != 0 {
			t.Errorf("%s: %v allocations a batch", name, n)
		}
	}
}

// BenchmarkInstance runs programs on batches of 64.
func BenchmarkInstance(b *testing.B) {
	for _, name := range []string{"always", "verdict", "xsk", "socket"} {
		b.Run(name, func(b *testing.B) {
			in := instance(b, name, 1)
			packets := make([]Packet, 64)
			for i := range packets {
				packets[i] = saying(1)
			}
			for b.Loop() {
				in.Run(0, packets)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(packets)), "ns/frame")
		})
	}
}
