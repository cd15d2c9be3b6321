package oracle

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
	"golang.org/x/net/bpf"
)

const (
	ownType     = 0x88b6 // for experiments (IEEE 802)
	ownProtocol = 253    // for experiments (RFC 3692)
)

// mirror is a protocol of our own: what comes goes back where it came from, in
// the buffer that brought it.
type mirror struct {
	inBand chan []byte // datagrams of the in-band stage
	closed chan struct{}
}

func (m *mirror) Receive(b *stack.Batch) {
	var replies [stack.MaxBatch]link.Frame
	n := 0
	for _, p := range b.Packets {
		if p.Cast != stack.Unicast {
			continue
		}
		frame, mac := b.Bytes(p), p.Port.MAC()
		copy(frame[:6], frame[6:12])
		copy(frame[6:12], mac[:])
		if p.Src != 0 { // IPv4: the sum of a header is the same with its addresses swapped
			ip := frame[wire.EthernetHeaderLen:]
			src := [4]byte(ip[12:16])
			copy(ip[12:16], ip[16:20])
			copy(ip[16:20], src[:])
		}
		p.Take()
		replies[n], n = p.Frame, n+1
	}
	if n > 0 { // what is lost shows at the peer, who gets no answer
		_, _ = b.Device.SendBatch(replies[:n], 0, 0)
	}
}

func (m *mirror) ReceiveInBand(d *stack.Datagram) bool {
	select {
	case m.inBand <- d.Transport:
	default: // nobody asked for so many
	}
	return true
}

func (m *mirror) Error(*stack.TransportError) {}
func (m *mirror) Attached(*stack.Device)      {}
func (m *mirror) Purge(*stack.Device)         {}
func (m *mirror) Close()                      { close(m.closed) }

// TestOwnProtocol: an EtherType and an IPv4 protocol number that an application
// has registered: a kernel's sockets get their answers, fragments come by the
// in-band stage, and what is no longer registered is the kernel's beside us.
func TestOwnProtocol(t *testing.T) {
	b := makeBed(t, nil)
	m := &mirror{inBand: make(chan []byte, 1), closed: make(chan struct{})}
	ids := []stack.ProtocolID{stack.EtherType(ownType), stack.IPv4Number(ownProtocol)}
	for _, id := range ids {
		if err := b.Stack.RegisterProtocol(id, m); err != nil {
			t.Fatal(err)
		}
	}
	peer := rawSocket(t, b.peer, ownType)
	for _, size := range []int{46, 100, 1500} {
		peer.send(ethernet(b.Link.MAC(), b.peer.MAC, pattern(size), ownType))
		if got, want := peer.receive(ownType), ethernet(b.peer.MAC, b.Link.MAC(), pattern(size), ownType); !bytes.Equal(got, want) {
			t.Errorf("the kernel got % .40x, want % .40x", got, want)
		}
	}

	var c *net.IPConn
	err := b.peer.DoErr(func() (err error) {
		c, err = net.DialIP("ip4:253", nil, &net.IPAddr{IP: ours.Addr().AsSlice()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 4000)
	for _, size := range []int{1, 100, 1480} {
		if _, err := c.Write(pattern(size)); err != nil {
			t.Fatal(err)
		}
		if n, from, err := c.ReadFromIP(buf); err != nil || !bytes.Equal(buf[:n], pattern(size)) || from.String() != ours.Addr().String() {
			t.Fatalf("%d bytes from %v, %v, want %d", n, from, err, size)
		}
	}
	if _, err := c.Write(pattern(3000)); err != nil { // which the kernel cuts
		t.Fatal(err)
	}
	select {
	case got := <-m.inBand:
		if !bytes.Equal(got, pattern(3000)) {
			t.Errorf("%d bytes in-band", len(got))
		}
	case <-time.After(patience):
		t.Error("no datagram of fragments")
	}

	for _, id := range ids {
		if err := b.Stack.UnregisterProtocol(id, m); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-m.closed:
	default:
		t.Error("the protocol is not closed")
	}
	if b.xdp == nil {
		return // nobody is beside us
	}
	kernel := rawSocket(t, b.home, ownType)
	frame := ethernet(b.Link.MAC(), b.peer.MAC, pattern(64), ownType)
	peer.send(frame)
	if got := kernel.receive(ownType); !bytes.Equal(got, frame) {
		t.Errorf("the kernel beside us got % .40x, want % .40x", got, frame)
	}
}

// TestRawConsume: what a raw socket takes for itself the protocols below do not
// see, and what its program leaves alone they do; after its end, all of it.
func TestRawConsume(t *testing.T) {
	b := makeBed(t, nil)
	b.solicit(theirs.Addr())
	const taken = echoPort + 1000
	b.echo(echoPort)
	b.echo(taken)
	consumer, err := packet.Listen(b.Port, packet.All, &packet.Config{Consume: true})
	b.rawOwn(consumer, err)
	program, err := bpf.Assemble([]bpf.Instruction{ // UDP to one port
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.TypeIPv4, SkipFalse: 5},
		bpf.LoadAbsolute{Off: 23, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtocolUDP, SkipFalse: 3},
		bpf.LoadAbsolute{Off: 36, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: taken, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err == nil {
		err = consumer.SetBPF(program)
	}
	if err != nil {
		t.Fatal(err)
	}
	consumed, left := kernelDial(t, b.peer, netip.AddrPortFrom(ours.Addr(), taken)), kernelDial(t, b.peer, b.At(echoPort))
	const rounds = 5
	for i := range rounds {
		payload := pattern(40 + i)
		if _, err := consumed.Write(payload); err != nil {
			t.Fatal(err)
		}
		m := packet.Message{Buf: make([]byte, 2000)}
		if err := consumer.ReadMsg(&m); err != nil || !bytes.Equal(m.Buf[28:min(m.N, 28+len(payload))], payload) {
			t.Fatalf("% x, %v", m.Buf[:m.N], err)
		}
		exchange(t, left, payload) // and what was before it has gone its way
	}
	consumed.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := consumed.Read(make([]byte, 100)); err == nil {
		t.Errorf("an answer of %d bytes to what was consumed", n)
	}
	if st := consumer.Stats(); st.Received != rounds {
		t.Errorf("%+v", st)
	}
	if err := consumer.Close(); err != nil {
		t.Fatal(err)
	}
	exchange(t, consumed, pattern(99))
}

// TestQueueing: what waits for our link leaves in the order of the device's
// queueing, and a kernel gets it so: strict priority by priority, FIFO as it came.
func TestQueueing(t *testing.T) {
	needsXDP(t, "the door is one of AF_XDP's links")
	for _, queueing := range []stack.BuiltIn{stack.StrictPriority, stack.FIFO} {
		t.Run(queueing.Name(), func(t *testing.T) {
			d := &door{}
			o := &options{door: d}
			o.host.Device.Poll, o.host.Device.Queueing = link.Manual, queueing // so that what waits is tried again and again
			b := makeBed(t, o)
			peer := rawSocket(t, b.peer, rawType)
			const each = 3
			var want [][]byte
			d.shut.Store(true)
			for p := range stack.Priorities {
				c := b.raw(b.Port, rawType, &packet.Config{Priority: p})
				for i := range each {
					payload := pattern(60)
					payload[0], payload[1] = byte(p), byte(i)
					if _, err := c.WriteToAddr(payload, packet.Addr{MAC: b.peer.MAC}); err != nil {
						t.Fatal(err)
					}
					want = append(want, payload)
				}
			}
			if st := b.Device.Stats().TX.Queueing; st.Discipline != queueing.Name() || st.Length < len(want) {
				t.Errorf("%+v, want %d frames to wait", st, len(want))
			}
			d.open(t)
			if queueing == stack.StrictPriority {
				slices.SortStableFunc(want, func(x, y []byte) int { return int(y[0]) - int(x[0]) })
			}
			for i, payload := range want {
				if got := peer.receive(rawType)[wire.EthernetHeaderLen:]; !bytes.Equal(got, payload) {
					t.Fatalf("frame %d is %d.%d, want %d.%d", i, got[0], got[1], payload[0], payload[1])
				}
			}
			// They are counted when the link has them, which the kernel gets meanwhile.
			stacktest.Eventually(t, "nothing to wait", func() bool { return b.Device.Stats().TX.Queueing.Length == 0 })
			st := b.Device.Stats().TX.Queueing
			for p, band := range st.Bands {
				if band.Queued < each || band.LongestWait <= 0 {
					t.Errorf("priority %d: %+v", p, band)
				}
			}
		})
	}
}
