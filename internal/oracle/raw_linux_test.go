package oracle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
)

const (
	rawType  = 0x88a4 // EtherCAT
	rawOther = 0x88b5 // for experiments
	rawVLAN  = 100
)

var (
	rawGroup    = link.MAC{0x01, 0x01, 0x05, 0, 0, 1}
	rawStranger = link.MAC{0x02, 2, 2, 2, 2, 2}
)

// rawPeer is a packet socket of a kernel.
type rawPeer struct {
	*os.File
	t testing.TB
}

// rawSocket opens one that gets all of the interface, tags included: what the
// kernel takes out of a frame it tells beside it.
func rawSocket(t testing.TB, h *netnstest.Host, etherType uint16) *rawPeer {
	t.Helper()
	f, err := h.RawSocket(etherType)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	p := &rawPeer{File: f, t: t}
	p.control(func(fd int) bool {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *rawPeer) control(f func(fd int) bool) {
	p.t.Helper()
	c, err := p.SyscallConn()
	if err == nil {
		err = c.Read(func(fd uintptr) bool { return f(int(fd)) })
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *rawPeer) send(frame []byte) {
	p.t.Helper()
	if _, err := p.Write(frame); err != nil {
		p.t.Fatalf("%d bytes: %v", len(frame), err)
	}
}

// receive returns the next frame from our interface that has the EtherType
// somewhere in its tags, as it was on the wire.
func (p *rawPeer) receive(etherType uint16) []byte {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(patience))
	for {
		b, beside := make([]byte, 2000), make([]byte, 100)
		var n, oobn int
		var err error
		p.control(func(fd int) bool {
			n, oobn, _, _, err = unix.Recvmsg(fd, b, beside, 0)
			return !errors.Is(err, unix.EAGAIN)
		})
		if err != nil {
			p.t.Fatal(err)
		}
		frame := withTag(p.t, b[:n], beside[:oobn])
		at := 12
		for isTag(frame[at:]) && at+6 <= len(frame) {
			at += wire.VLANTagLen
		}
		if binary.BigEndian.Uint16(frame[at:]) == etherType {
			return frame
		}
	}
}

func isTag(b []byte) bool {
	t := binary.BigEndian.Uint16(b)
	return t == wire.TypeVLAN || t == wire.TypeQinQ
}

// withTag puts the tag back that is in a frame's struct tpacket_auxdata.
func withTag(t testing.TB, frame, beside []byte) []byte {
	t.Helper()
	messages, err := unix.ParseSocketControlMessage(beside)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		const tagValid = 1 << 4 // TP_STATUS_VLAN_VALID
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || binary.NativeEndian.Uint32(m.Data)&tagValid == 0 {
			continue
		}
		tci, tpid := binary.NativeEndian.Uint16(m.Data[16:]), binary.NativeEndian.Uint16(m.Data[18:])
		tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tpid), tci)
		return append(append(bytes.Clone(frame[:12]), tag...), frame[12:]...)
	}
	return frame
}

// ethernet builds a frame: what stands between the addresses and the payload is
// given as 16-bit words, tags and the EtherType.
func ethernet(dst, src link.MAC, payload []byte, words ...uint16) []byte {
	b := append(bytes.Clone(dst[:]), src[:]...)
	for _, w := range words {
		b = binary.BigEndian.AppendUint16(b, w)
	}
	return append(b, payload...)
}

// padded is a frame as it is on the wire.
func padded(frame []byte) []byte {
	return append(frame, make([]byte, max(0, wire.MinFrame-len(frame)))...)
}

func (b *bed) raw(p *stack.Port, proto uint16, cfg *packet.Config) *packet.Conn {
	b.t.Helper()
	c, err := packet.Listen(p, proto, cfg)
	return b.rawOwn(c, err)
}

func (b *bed) rawOwn(c *packet.Conn, err error) *packet.Conn {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return c
}

func expectRaw(t testing.TB, c *packet.Conn, want []byte) packet.Message {
	t.Helper()
	m := packet.Message{Buf: make([]byte, 2000)}
	if err := c.ReadMsg(&m); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Buf[:m.N], want) {
		t.Fatalf("got %d bytes % .40x, want %d bytes % .40x", m.N, m.Buf[:m.N], len(want), want)
	}
	return m
}

// TestRaw: payloads and whole frames of each length, to us, to a group and to
// all, both ways, as the kernel's packet sockets see them.
func TestRaw(t *testing.T) {
	b := makeBed(t, nil)
	peer := rawSocket(t, b.peer, 0)
	c, whole := b.raw(b.Port, rawType, nil), b.raw(b.Port, rawType, &packet.Config{Raw: true})
	if err := c.JoinGroup(rawGroup); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{46, 47, 64, 1000, 1500} {
		for _, dst := range []link.MAC{b.Link.MAC(), rawGroup, wire.BroadcastMAC} {
			in := ethernet(dst, b.peer.MAC, pattern(size), rawType)
			peer.send(in)
			m := expectRaw(t, c, pattern(size))
			if want := (packet.Addr{MAC: b.peer.MAC, EtherType: rawType}); m.Addr != want || m.To != dst {
				t.Errorf("from %v to %x", &m.Addr, m.To)
			}
			expectRaw(t, whole, in)

			out := ethernet(dst, b.Link.MAC(), pattern(size), rawType)
			if dst == b.Link.MAC() {
				out = ethernet(b.peer.MAC, b.Link.MAC(), pattern(size), rawType)
			}
			if _, err := c.WriteToAddr(out[14:], packet.Addr{MAC: link.MAC(out)}); err != nil {
				t.Fatal(err)
			}
			if got := peer.receive(rawType); !bytes.Equal(got, out) {
				t.Errorf("the kernel got %d bytes % .40x, want %d bytes % .40x", len(got), got, len(out), out)
			}
			if _, err := whole.WriteTo(out, nil); err != nil {
				t.Fatal(err)
			}
			if got := peer.receive(rawType); !bytes.Equal(got, out) {
				t.Errorf("the kernel got % .40x, want % .40x", got, out)
			}
		}
	}
	if _, err := c.WriteToAddr([]byte("short"), packet.Addr{MAC: b.peer.MAC}); err != nil {
		t.Fatal(err)
	}
	if got, want := peer.receive(rawType), padded(ethernet(b.peer.MAC, b.Link.MAC(), []byte("short"), rawType)); !bytes.Equal(got, want) {
		t.Errorf("the kernel got % x, want % x", got, want)
	}
}

// TestRawVLAN: frames with one tag and with two, which the kernel crafts, to
// sockets of a VLAN port, and back.
func TestRawVLAN(t *testing.T) {
	b := makeBed(t, nil)
	vlan, err := b.Device.EnablePort(&stack.PortConfig{VLAN: rawVLAN})
	if err != nil {
		t.Fatal(err)
	}
	peer := rawSocket(t, b.peer, 0)
	untagged, tagged := b.raw(b.Port, rawType, nil), b.raw(vlan, rawType, nil)
	inner, service := b.raw(vlan, wire.TypeVLAN, nil), b.raw(b.Port, wire.TypeQinQ, nil)
	const tci, innerTag = 5<<13 | rawVLAN, 42
	for _, f := range []struct {
		name  string
		c     *packet.Conn
		words []uint16
		// The payload as the socket has it begins so.
		begins []uint16
	}{
		{"untagged", untagged, []uint16{rawType}, nil},
		{"802.1Q", tagged, []uint16{wire.TypeVLAN, tci, rawType}, nil},
		{"802.1Q twice", inner, []uint16{wire.TypeVLAN, tci, wire.TypeVLAN, innerTag, rawType}, []uint16{innerTag, rawType}},
		{"802.1ad", service, []uint16{wire.TypeQinQ, 7, wire.TypeVLAN, innerTag, rawType}, []uint16{7, wire.TypeVLAN, innerTag, rawType}},
	} {
		frame := ethernet(b.Link.MAC(), b.peer.MAC, pattern(100), f.words...)
		peer.send(frame)
		m := expectRaw(t, f.c, ethernet(link.MAC{}, link.MAC{}, pattern(100), f.begins...)[12:])
		if f.c == tagged || f.c == inner {
			if m.Addr.VLAN != rawVLAN || m.Addr.PCP != 5 {
				t.Errorf("%s: from %v", f.name, &m.Addr)
			}
		}
		// What came goes back as it is: same tags, same payload.
		if _, err := f.c.WriteToAddr(m.Buf[:m.N], m.Addr); err != nil {
			t.Fatal(err)
		}
		want := ethernet(b.peer.MAC, b.Link.MAC(), pattern(100), f.words...)
		if got := peer.receive(rawType); !bytes.Equal(got, want) {
			t.Errorf("%s: the kernel got % .40x, want % .40x", f.name, got, want)
		}
	}
	// A whole frame with a tag of its own gets the port's in front.
	if _, err := tagged.WriteFrame(ethernet(b.peer.MAC, rawStranger, pattern(1496), wire.TypeVLAN, innerTag, rawType)); err != nil {
		t.Fatal(err)
	}
	want := ethernet(b.peer.MAC, rawStranger, pattern(1496), wire.TypeVLAN, rawVLAN, wire.TypeVLAN, innerTag, rawType)
	if got := peer.receive(rawType); !bytes.Equal(got, want) {
		t.Errorf("the kernel got %d bytes % .40x, want %d bytes % .40x", len(got), got, len(want), want)
	}
}

// TestRawClaims: what a socket listens to is ours, and the kernel's that is
// beside us before and after.
func TestRawClaims(t *testing.T) {
	needsXDP(t, "there is no kernel beside us on a card of ours")
	b := makeBed(t, nil)
	peer, kernel := rawSocket(t, b.peer, rawOther), rawSocket(t, b.home, rawOther)
	frame := func(n byte) []byte { return padded(ethernet(b.Link.MAC(), b.peer.MAC, []byte{n}, rawOther)) }
	peer.send(frame(1))
	if got := kernel.receive(rawOther); got[14] != 1 {
		t.Errorf("frame %d, want 1", got[14])
	}
	c := b.raw(b.Port, rawOther, nil)
	peer.send(frame(2))
	expectRaw(t, c, frame(2)[14:])
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	peer.send(frame(3))
	if got := kernel.receive(rawOther); got[14] != 3 {
		t.Errorf("frame %d, want 3: the kernel has seen what was ours", got[14])
	}
}

// TestRawBeside: sockets for all and an analyser see the datagrams of UDP, both
// ways, which goes on; frames to other stations only who is promiscuous.
func TestRawBeside(t *testing.T) {
	b := makeBed(t, nil)
	b.solicit(theirs.Addr())
	kernelEcho(t, b.peer, at(theirs, echoPort))
	all := b.raw(b.Port, packet.All, nil)
	analyser, err := packet.ListenDevice(b.Device, &packet.Config{Raw: true})
	b.rawOwn(analyser, err)
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 23, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtocolUDP, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*packet.Conn{all, analyser} {
		if err := c.SetBPF(program); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, b.dial(at(theirs, echoPort), nil), pattern(64))
	directions := map[bool]int{}
	for range 2 {
		m := packet.Message{Buf: make([]byte, 2000)}
		if err := analyser.ReadMsg(&m); err != nil || !bytes.Equal(m.Buf[42:m.N], pattern(64)) {
			t.Fatalf("% x, %v", m.Buf[:m.N], err)
		}
		directions[m.Outgoing]++
	}
	if directions[true] != 1 || directions[false] != 1 {
		t.Errorf("the analyser saw %v", directions)
	}
	m := packet.Message{Buf: make([]byte, 2000)}
	if err := all.ReadMsg(&m); err != nil || m.Outgoing || !bytes.Equal(m.Buf[28:m.N], pattern(64)) {
		t.Errorf("the socket for all saw %+v, %v", m, err)
	}
	if st := all.Stats(); st.Received != 1 {
		t.Errorf("%+v", st)
	}

	nosy, peer := b.raw(b.Port, rawType, nil), rawSocket(t, b.peer, rawType)
	if err := nosy.SetPromiscuous(true); err != nil {
		t.Fatal(err)
	}
	shy := b.raw(b.Port, rawType, nil)
	for _, dst := range []link.MAC{rawStranger, b.Link.MAC()} {
		peer.send(ethernet(dst, b.peer.MAC, pattern(46), rawType))
		if m := expectRaw(t, nosy, pattern(46)); m.To != dst {
			t.Errorf("to %x", m.To)
		}
	}
	if m := expectRaw(t, shy, pattern(46)); m.To != b.Link.MAC() {
		t.Errorf("to %x: another station's", m.To)
	}
	stacktest.AssertNothingHeld(t, b.Device)
}
