package stack_test

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// experiment is an IPv4 protocol number for experiments (RFC 3692).
const experiment = 253

// valueProtocol cannot be compared.
type valueProtocol struct {
	*testProtocol
	_ []int
}

func TestRegisterMistakes(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, nil)
	s, p := a.Stack, newTestProtocol(nil)
	for _, bad := range []stack.Protocol{nil, valueProtocol{testProtocol: p}} {
		if err := s.RegisterProtocol(stack.IPv4Number(experiment), bad); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("a %T: %v", bad, err)
		}
	}
	// What all else stands on nobody overrides.
	for _, et := range []uint16{wire.TypeIPv4, wire.TypeARP, wire.TypeVLAN, wire.TypeQinQ, 46} {
		if err := s.RegisterProtocol(stack.EtherType(et), p, stack.Override()); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("EtherType %#04x: %v", et, err)
		}
	}
	if err := s.UnregisterProtocol(stack.IPv4Number(experiment), p); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("what is not registered: %v", err)
	}
	if err := s.RegisterProtocol(stack.IPv4Number(experiment), p); err != nil {
		t.Fatal(err)
	}
	if err := s.RegisterProtocol(stack.IPv4Number(experiment), p, stack.Override()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("over itself: %v", err)
	}
	if err := s.UnregisterProtocol(stack.IPv4Number(experiment), newTestProtocol(nil)); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("another one's: %v", err)
	}
	// Two registrations of one protocol: it is told of the device once, and
	// closed with the last.
	if err := s.RegisterProtocol(stack.EtherType(testEtherType), p); err != nil {
		t.Fatal(err)
	}
	if len(p.attached) != 1 {
		t.Errorf("told of %d devices", len(p.attached))
	}
	for i, id := range []stack.ProtocolID{stack.IPv4Number(experiment), stack.EtherType(testEtherType)} {
		if err := s.UnregisterProtocol(id, p); err != nil {
			t.Error(err)
		}
		if p.closed != i || len(p.purged) != i {
			t.Errorf("after %v: closed %d times, purged %d devices", id, p.closed, len(p.purged))
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if p.closed != 1 {
		t.Errorf("closed %d times", p.closed)
	}
	if err := s.UnregisterProtocol(stack.IPv4Number(experiment), p); err == nil {
		t.Error("a closed stack unregisters")
	}
}

// TestOverrideUDP: the sockets of the one before are closed, its packets are
// the new one's, and when that goes, UDP can come back.
func TestOverrideUDP(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	stacktest.Know(t, a, b)
	old := listen(t, b, b.At(5000), nil)
	blocked := make(chan error, 1)
	go func() {
		_, err := old.Read(make([]byte, 10))
		blocked <- err
	}()
	id := stack.IPv4Number(wire.ProtocolUDP)
	got := make(chan string, 10)
	p := newTestProtocol(func(batch *stack.Batch) {
		for _, pkt := range batch.Packets {
			got <- string(batch.Transport(pkt)[wire.UDPHeaderLen:])
		}
	})
	if err := b.Stack.RegisterProtocol(id, p); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("over UDP, without a word: %v", err)
	}
	if err := b.Stack.RegisterProtocol(id, p, stack.Override()); err != nil {
		t.Fatal(err)
	}
	if err := <-blocked; err == nil {
		t.Error("the socket reads on")
	}
	x := listen(t, a, a.At(1000), nil)
	if _, err := x.WriteToUDPAddrPort([]byte("hello"), b.At(5000)); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "hello" {
		t.Errorf("got %q", s)
	}
	if _, err := udp.Listen(b.Stack, b.At(5000), nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a socket beside: %v", err)
	}
	if err := b.Stack.UnregisterProtocol(id, p); err != nil {
		t.Fatal(err)
	}
	y := listen(t, b, b.At(5000), nil)
	if _, err := x.WriteToUDPAddrPort([]byte("again"), b.At(5000)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := y.Read(buf); err != nil || string(buf[:n]) != "again" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// TestOverrideICMP: pings are the protocol's, by the fast way and by the slow
// one, and nobody else answers; without it they are answered again.
func TestOverrideICMP(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	fast := 0
	p := newTestProtocol(func(b *stack.Batch) { fast += len(b.Packets) })
	id := stack.IPv4Number(wire.ProtocolICMP)
	if err := h.Stack.RegisterProtocol(id, p, stack.Override()); err != nil {
		t.Fatal(err)
	}
	ping := packet{proto: wire.ProtocolICMP}.frame()
	copy(ping[34:], []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0})
	fragment := func(off uint16, more bool) []byte {
		b := bytes.Clone(ping)
		b[20], b[21] = byte(off>>11), byte(off>>3)
		if more {
			b[20] |= 0x20
		}
		return resum(b)
	}
	l.arrive(ping, 0, 0)
	l.arrive(fragment(0, true), 0, 0)
	l.arrive(fragment(8, false), 0, 0)
	h.Poll()
	if fast != 1 {
		t.Errorf("%d packets came by the fast way", fast)
	}
	select {
	case d := <-p.inBand:
		if d.Protocol != wire.ProtocolICMP || len(d.Transport) != 16 {
			t.Errorf("%+v", d)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the datagram in two fragments did not come")
	}
	if err := h.Stack.UnregisterProtocol(id, p); err != nil {
		t.Fatal(err)
	}
	before := h.Stack.Stats().InBand["ICMPEchoRequests"]
	l.arrive(ping, 0, 0)
	h.Poll()
	stacktest.Eventually(t, "the stack has its pings back", func() bool {
		return h.Stack.Stats().InBand["ICMPEchoRequests"] == before+1
	})
	if before != 0 {
		t.Errorf("%d pings were the stack's before", before)
	}
	stacktest.AssertBooks(t, h.Device)
}

// TestOwnProtocolOfManySizes: what is too long for a frame is cut up and put
// together in-band, both ways; what nobody speaks, and who does not listen, is
// told as an error.
func TestOwnProtocolOfManySizes(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	stacktest.Know(t, a, b)
	id := stack.IPv4Number(experiment)
	got := make(chan []byte, 10)
	mine := newTestProtocol(nil)
	theirs := newTestProtocol(func(batch *stack.Batch) {
		for _, pkt := range batch.Packets {
			got <- bytes.Clone(batch.Transport(pkt))
		}
	})
	if err := errors.Join(a.Stack.RegisterProtocol(id, mine), b.Stack.RegisterProtocol(id, theirs)); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 100, 1480, 1481, 9000, 65515} {
		payload := bytes.Repeat([]byte{byte(size)}, size)
		if err := a.Stack.Demote(&stack.Outgoing{Protocol: experiment, Src: a.Addr, Dst: b.Addr, Transport: bytes.Clone(payload)}); err != nil {
			t.Fatal(err)
		}
		var have []byte
		select {
		case have = <-got:
		case d := <-theirs.inBand:
			have = d.Transport
			if size <= 1480 || d.Src != a.Addr || d.Protocol != experiment {
				t.Errorf("size %d by the slow way: %+v", size, d)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("size %d did not arrive", size)
		}
		if !bytes.Equal(have, payload) {
			t.Errorf("size %d: %d bytes arrived", size, len(have))
		}
	}
	if err := b.Stack.UnregisterProtocol(id, theirs); err != nil {
		t.Fatal(err)
	}
	if err := a.Stack.Demote(&stack.Outgoing{Protocol: experiment, Src: a.Addr, Dst: b.Addr, Transport: make([]byte, 30)}); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-mine.errors:
		if e.Errno != syscall.ENOPROTOOPT || e.Protocol != experiment || e.Local != a.At(0) || e.Remote != b.At(0) {
			t.Errorf("%+v", e)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no error for a protocol that nobody speaks")
	}
	stacktest.AssertBooks(t, b.Device)
}

// TestUnregisterInTraffic: after it has returned, the protocol is not called
// any more, however fast frames come.
func TestUnregisterInTraffic(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	stop := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			f, err := a.Device.AllocWait(0, nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if err := a.Device.Send(rawFrame(a.Device, f, []byte{1, 2}), 0, 0); err != nil && !errors.Is(err, syscall.ENOBUFS) {
				t.Error(err)
				return
			}
		}
	})
	id := stack.EtherType(testEtherType)
	for range 200 {
		var over atomic.Bool
		var calls atomic.Int64
		p := newTestProtocol(func(*stack.Batch) {
			calls.Add(1)
			if over.Load() {
				t.Error("called after the end")
			}
		})
		if err := b.Stack.RegisterProtocol(id, p); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(2 * time.Millisecond); calls.Load() == 0 && time.Now().Before(end); {
			time.Sleep(20 * time.Microsecond)
		}
		if err := b.Stack.UnregisterProtocol(id, p); err != nil {
			t.Fatal(err)
		}
		over.Store(true)
		if p.closed != 1 {
			t.Fatalf("closed %d times", p.closed)
		}
	}
	close(stop)
	sender.Wait()
	stacktest.AssertBooks(t, b.Device)
}
