package capture_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/capture"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// output is a writer that a test reads while the session writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.b.Bytes())
}

// pair makes two hosts that know each other; the capture is of b, whose step the
// test runs.
func pair(t testing.TB) (a, b *stacktest.Host) { return pairWith(t, 0) }

func pairWith(t testing.TB, features loopback.Features) (a, b *stacktest.Host) {
	t.Helper()
	a, b = stacktest.Pair(t, &stacktest.Options{Manual: true, Loopback: loopback.Config{With: features}})
	stacktest.Know(t, a, b)
	return a, b
}

func start(t testing.TB, d *stack.Device, w io.Writer, cfg *capture.Config) *capture.Session {
	t.Helper()
	s, err := capture.Start(d, w, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t testing.TB, s *capture.Session) capture.Stats {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Received != st.Rejected+st.Lost+st.Written {
		t.Errorf("the books do not add up: %+v", st)
	}
	return st
}

// raw sends a frame from a host as it is.
func raw(t testing.TB, h *stacktest.Host, b []byte) {
	t.Helper()
	f, err := h.Device.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	f.Len = uint16(copy(h.Device.Memory().Buffer(f.Index)[f.Off:], b))
	if err := h.Device.Send(f, 0, 0); err != nil {
		t.Fatal(err)
	}
}

// datagram from host a to host b, in a frame.
func datagram(a, b *stacktest.Host, tci, port uint16, payload string) []byte {
	frame := make([]byte, 18+wire.IPv4HeaderLen+wire.UDPHeaderLen+len(payload))
	n := wire.PutEthernet(frame, b.Link.MAC(), a.Link.MAC(), tci, wire.TypeIPv4)
	frame = frame[:n+wire.IPv4HeaderLen+wire.UDPHeaderLen+len(payload)]
	src, dst := number(a.Addr), number(b.Addr)
	copy(frame[n+28:], payload)
	wire.PutIPv4(frame[n:], src, dst, wire.ProtocolUDP, 64, 0, len(frame)-n)
	wire.PutUDP(frame[n+20:], src, dst, 4000, port)
	return frame
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func arpRequest(a, b *stacktest.Host) []byte {
	frame := make([]byte, wire.MinFrame)
	n := wire.PutEthernet(frame, wire.BroadcastMAC, a.Link.MAC(), 0, wire.TypeARP)
	wire.PutARP(frame[n:], wire.ARP{Op: wire.ARPRequest, SenderMAC: a.Link.MAC(), SenderIP: number(a.Addr), TargetIP: number(b.Addr) + 7})
	return frame
}

// traffic brings a frame of each fate to b and sends one back, and returns what
// the capture has to say of them, in their order.
func traffic(t *testing.T, a, b *stacktest.Host) (frames [][]byte, comments []string) {
	t.Helper()
	c, err := udp.Listen(b.Stack, b.At(7), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bad := datagram(a, b, 0, 7, "bad")
	bad[len(bad)-1]++
	foreign := datagram(a, b, 0, 7, "foreign")
	foreign[0] ^= 4
	for _, f := range []struct {
		b       []byte
		comment string
	}{
		{datagram(a, b, 0, 7, "hello"), "delivered"},
		{bad, "dropped: checksum"},
		{foreign, "dropped: foreign_mac"},
		{datagram(a, b, 3<<wire.PCPShift|42, 7, "tagged"), "dropped: no_port"},
		{arpRequest(a, b), "demoted: arp"},
	} {
		raw(t, a, f.b)
		frames, comments = append(frames, f.b), append(comments, f.comment)
	}
	if n := b.Poll(); n != len(frames) {
		t.Fatalf("%d frames came, want %d", n, len(frames))
	}
	if _, err := c.WriteToUDPAddrPort([]byte("back"), a.At(4000)); err != nil {
		t.Fatal(err)
	}
	return append(frames, nil), append(comments, "sent")
}

// TestFile: the file has all frames as they were on the wire, whatever the device
// does to them, with what became of them.
func TestFile(t *testing.T) {
	for name, features := range map[string]loopback.Features{
		"plain": 0, "features": loopback.TXChecksum | loopback.RXChecksum | loopback.VLANInsert | loopback.VLANStrip,
	} {
		t.Run(name, func(t *testing.T) { testFile(t, features) })
	}
}

func testFile(t *testing.T, features loopback.Features) {
	leaktest.Check(t)
	a, b := pairWith(t, features)
	var out output
	before := time.Now()
	s := start(t, b.Device, &out, nil)
	frames, comments := traffic(t, a, b)
	st := stop(t, s)
	if st.Written != uint64(len(frames)) || st.Lost != 0 || st.Bytes != uint64(len(out.bytes())) {
		t.Errorf("%+v for %d frames", st, len(frames))
	}
	for _, end := range [][]byte{out.bytes(), out.bytes()[len(out.bytes())-600:]} {
		if back, ok := capture.ReadStats(end); !ok || back.Received != st.Received || back.Written != st.Written || back.Rejected != 0 || back.Lost != 0 {
			t.Errorf("read back: %+v, %v; were %+v", back, ok, st)
		}
	}
	if _, ok := capture.ReadStats(out.bytes()[:len(out.bytes())-4]); ok {
		t.Error("a file that was cut has statistics")
	}
	f := readFile(t, out.bytes())
	mac := b.Link.MAC()
	if f.ifName != b.Device.Name() || !bytes.Equal(f.ifMAC, mac[:]) || f.resolution != 9 || f.ifFilter != "" {
		t.Errorf("interface %q, % x, resolution %d", f.ifName, f.ifMAC, f.resolution)
	}
	if len(f.packets) != len(frames) {
		t.Fatalf("%d packets, want %d", len(f.packets), len(frames))
	}
	flags := []uint32{1 | 1<<2, 1 | 1<<2, 1 | 4<<2, 1 | 1<<2, 1 | 3<<2, 2 | 1<<2}
	for i, p := range f.packets {
		if p.comment != comments[i] || p.commentsCount != 1 || p.flags != flags[i] || p.lost != 0 || p.queue != 0 {
			t.Errorf("packet %d: %q, want %q; flags %#x, want %#x; %d lost", i, p.comment, comments[i], p.flags, flags[i], p.lost)
		}
		if frames[i] != nil && (!bytes.Equal(p.data, frames[i]) || int(p.length) != len(frames[i])) {
			t.Errorf("packet %d is another: % x", i, p.data)
		}
		// The wall clock may be set while a test runs: a minute is what it gets.
		if at := time.Unix(0, int64(p.at)); at.Before(before.Add(-time.Minute)) || at.After(time.Now().Add(time.Minute)) {
			t.Errorf("packet %d is of %v", i, at)
		}
	}
	for code, want := range map[uint16]uint64{4: 6, 5: 0, 6: 6, 7: 0, 8: 6} {
		if got := f.statistics[code]; got != want || !f.complete {
			t.Errorf("option %d of the statistics: %d, want %d", code, got, want)
		}
	}
}

func TestText(t *testing.T) {
	leaktest.Check(t)
	a, b := pair(t)
	var out output
	s := start(t, b.Device, &out, &capture.Config{Format: capture.Text})
	traffic(t, a, b)
	stop(t, s)
	lines := strings.Split(strings.TrimSpace(string(out.bytes())), "\n")
	want := []string{
		"In  IP 10.0.0.1.4000 > 10.0.0.2.7: UDP, length 5 [delivered]",
		"In  IP 10.0.0.1.4000 > 10.0.0.2.7: UDP, length 3 [dropped: checksum]",
		"In  IP 10.0.0.1.4000 > 10.0.0.2.7: UDP, length 7 [dropped: foreign_mac]",
		"In  vlan 42, p 3, IP 10.0.0.1.4000 > 10.0.0.2.7: UDP, length 6 [dropped: no_port]",
		"In  ARP, Request who-has 10.0.0.9 tell 10.0.0.1, length 46 [demoted: arp]",
		"Out IP 10.0.0.2.7 > 10.0.0.1.4000: UDP, length 4 [sent]",
		"6 written, 6 seen, 0 refused by the filter, 0 lost by the capture, 0 lost by the link",
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), out.bytes())
	}
	for i, line := range lines {
		if i < len(lines)-1 {
			at, rest, _ := strings.Cut(line, " "+b.Device.Name()+"  ")
			if _, err := time.Parse("15:04:05.000000000", at); err != nil {
				t.Error(err)
			}
			line = rest
		}
		if line != want[i] {
			t.Errorf("line %d: %q\nwant %q", i, line, want[i])
		}
	}
}

// TestFilterBeforeAndAfter: an expression about bytes and one about fates keep
// what they say, and count the rest.
func TestFilterBeforeAndAfter(t *testing.T) {
	for _, c := range []struct {
		filter string
		want   []string
	}{
		{"udp and not vlan", []string{"delivered", "dropped: checksum", "dropped: foreign_mac", "sent"}},
		{"vlan 42 and udp and greater 52", []string{"dropped: no_port"}},
		{"dropped", []string{"dropped: checksum", "dropped: foreign_mac", "dropped: no_port"}},
		{"dropped no_port or outbound", []string{"dropped: no_port", "sent"}},
	} {
		t.Run(c.filter, func(t *testing.T) {
			leaktest.Check(t)
			a, b := pairWith(t, loopback.VLANStrip)
			var out output
			s := start(t, b.Device, &out, &capture.Config{Filter: c.filter})
			traffic(t, a, b)
			st := stop(t, s)
			f := readFile(t, out.bytes())
			var got []string
			for _, p := range f.packets {
				got = append(got, p.comment)
			}
			if strings.Join(got, ";") != strings.Join(c.want, ";") || st.Rejected != uint64(6-len(c.want)) {
				t.Errorf("%q; %+v", got, st)
			}
			if f.ifFilter != c.filter || f.statistics[6] != uint64(len(c.want)) {
				t.Errorf("the file says %q, and %d accepted", f.ifFilter, f.statistics[6])
			}
		})
	}
}

// stuck is a writer that takes the file's beginning, and then nothing until it
// is let go.
type stuck struct {
	output
	begun bool
	gate  chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	if s.begun {
		<-s.gate
	}
	s.begun = true
	return s.output.Write(b)
}

// TestLosses: a writer that takes nothing costs the capture frames, and the
// stage none; the losses are counted, and in the file.
func TestLosses(t *testing.T) {
	leaktest.Check(t)
	a, b := pair(t)
	out := &stuck{gate: make(chan struct{})}
	const slots, rounds, each = 8, 4, 32
	s := start(t, b.Device, out, &capture.Config{Slots: slots, Snap: capture.MinSnap})
	frame := datagram(a, b, 42, 7, strings.Repeat("x", 1000))
	round := func() {
		for range each {
			raw(t, a, frame)
		}
		a.Poll() // takes back what has left
		if n := b.Poll(); n != each {
			t.Fatalf("%d frames came", n)
		}
	}
	// The first write blocks when the buffer before it is full or it is idle;
	// until then slots come free.
	stacktest.Eventually(t, "frames are lost", func() bool {
		round()
		return s.Stats().Lost > 0
	})
	for range rounds {
		round()
	}
	stacktest.AssertBooks(t, b.Device)
	lost := s.Stats().Lost
	close(out.gate)
	stacktest.Eventually(t, "the writer has caught up", func() bool {
		st := s.Stats()
		return st.Written+st.Lost == st.Received
	})
	raw(t, a, frame)
	b.Poll()
	st := stop(t, s)
	if st.Lost < lost || st.Written == 0 {
		t.Errorf("%+v, %d were lost before", st, lost)
	}
	f := readFile(t, out.bytes())
	var told uint64
	for _, p := range f.packets {
		told += p.lost
		if len(p.data) != capture.MinSnap || int(p.length) != len(frame) || !bytes.Equal(p.data, frame[:capture.MinSnap]) {
			t.Fatalf("a packet of %d bytes, of %d", len(p.data), p.length)
		}
	}
	if told != st.Lost || f.statistics[7] != st.Lost || f.statistics[8] != st.Written || uint64(len(f.packets)) != st.Written {
		t.Errorf("%+v; the file says %d before packets, and %v", st, told, f.statistics)
	}
}

func TestCount(t *testing.T) {
	leaktest.Check(t)
	a, b := pair(t)
	var out output
	s := start(t, b.Device, &out, &capture.Config{Count: 2})
	traffic(t, a, b)
	select {
	case <-s.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the session goes on")
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
	if f := readFile(t, out.bytes()); len(f.packets) != 2 || !f.complete {
		t.Errorf("%d packets", len(f.packets))
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

var errDisk = errors.New("the disk is full")

type failing struct{ after int }

func (f *failing) Write(b []byte) (int, error) {
	if f.after -= len(b); f.after < 0 {
		return 0, errDisk
	}
	return len(b), nil
}

func TestEnds(t *testing.T) {
	leaktest.Check(t)
	a, b := pair(t)
	s := start(t, b.Device, &failing{after: 200}, nil)
	traffic(t, a, b)
	<-s.Done()
	if err := s.Err(); !errors.Is(err, errDisk) {
		t.Errorf("the writer's error: %v", err)
	}
	var out output
	s = start(t, b.Device, &out, nil)
	if err := b.Device.Close(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Stop(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the device closed: %v", err)
	}
	if f := readFile(t, out.bytes()); !f.complete {
		t.Error("the file of a device that closed has no statistics")
	}
	if _, err := capture.Start(b.Device, &out, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a closed device: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	leaktest.Check(t)
	_, b := pair(t)
	for name, cfg := range map[string]*capture.Config{
		"filter": {Filter: "nonsense"},
		"snap":   {Snap: 20},
		"slots":  {Slots: capture.MaxSlots + 1},
		"format": {Format: 9},
	} {
		if _, err := capture.Start(b.Device, io.Discard, cfg); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := capture.Start(nil, io.Discard, nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("no device: %v", err)
	}
}

// TestTwoSessions: each has all frames; threads run while one of them ends.
func TestTwoSessions(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	stacktest.Know(t, a, b)
	server, err := udp.Listen(b.Stack, b.At(7), nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := udp.Dial(a.Stack, a.At(4000), b.At(7), nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange := func(n int) {
		t.Helper()
		buf := make([]byte, 100)
		for range n {
			if _, err := client.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			if err := server.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := server.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	var one, two output
	first, second := start(t, b.Device, &one, nil), start(t, b.Device, &two, &capture.Config{Filter: "udp"})
	exchange(50)
	stop(t, first)
	exchange(50)
	stop(t, second)
	if n := len(readFile(t, one.bytes()).packets); n < 50 {
		t.Errorf("the first has %d", n)
	}
	if n := len(readFile(t, two.bytes()).packets); n != 100 {
		t.Errorf("the second has %d", n)
	}
}
