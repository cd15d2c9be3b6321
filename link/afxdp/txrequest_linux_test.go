package afxdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netdev"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// partial is a datagram to the peer whose checksum is left for the device to
// complete: the field holds the sum of the pseudo-header. Behind it stand so many
// bytes that do not belong to it.
func partial(w *netnstest.Wire, payload []byte, tci uint16, behind int) []byte {
	src, dst := binary.BigEndian.Uint32(addrOurs.AsSlice()), binary.BigEndian.Uint32(prefixB.Addr().AsSlice())
	b := make([]byte, ethernetHeader+vlanTag)
	b = b[:wire.PutEthernet(b, w.B.MAC, w.A.MAC, tci, etherTypeIPv4)]
	at := len(b)
	size := wire.UDPHeaderLen + len(payload)
	b = append(b, make([]byte, ipv4Header+wire.UDPHeaderLen)...)
	wire.PutIPv4(b[at:], src, dst, unix.IPPROTO_UDP, 64, 0, ipv4Header+size)
	udp := b[at+ipv4Header:]
	binary.BigEndian.PutUint16(udp[0:], 5000)
	binary.BigEndian.PutUint16(udp[2:], 5001)
	binary.BigEndian.PutUint16(udp[4:], uint16(size))
	binary.BigEndian.PutUint16(udp[wire.UDPChecksumAt:], wire.Fold(wire.PseudoSum(src, dst, unix.IPPROTO_UDP, size)))
	b = append(b, payload...)
	for i := range behind {
		b = append(b, byte(0xa0+i))
	}
	return b
}

// sums says whether the checksum of a received frame is right, and whether it is
// still as it was sent.
func sums(t *testing.T, frame []byte) (right, untouched bool) {
	t.Helper()
	start, end, ok := datagram(frame)
	if !ok {
		t.Fatalf("no datagram: % x", frame)
	}
	src, dst := binary.BigEndian.Uint32(addrOurs.AsSlice()), binary.BigEndian.Uint32(prefixB.Addr().AsSlice())
	udp := frame[start:end]
	return wire.UDPChecksumOK(udp, src, dst), wire.UDPChecksumPartial(udp, src, dst)
}

// TestTXChecksum: what is to be completed reaches a device that cannot with its
// checksum complete, and one that could, as veth claims to, as it was sent; where
// nobody asked, it stays as it is. Frames without room before them are sent too.
func TestTXChecksum(t *testing.T) {
	needsFeatures(t, TXChecksum)
	for offloads, completes := range map[netnstest.Offloads]bool{netnstest.OffloadsOff: true, netnstest.OffloadsOn: false} {
		t.Run(fmt.Sprintf("completed %v", completes), func(t *testing.T) {
			w := netnstest.NewPair(t, &netnstest.Config{Offloads: offloads, AddrA: prefixA, AddrB: prefixB})
			if w.Borrowed() && !completes {
				t.Skip("needs a veth pair: a card completes checksums")
			}
			leaktest.Check(t)
			takeAll(t, w)
			b := newBench(t, w.A, &Config{With: TXChecksum}, nil)
			if !b.Capabilities().TXChecksum {
				t.Fatalf("capabilities %+v", b.Capabilities())
			}
			peer := newPacketPeer(t, w.B, etherTypeIPv4)
			for i := range 200 {
				payload := make([]byte, rand.IntN(1472))
				for k := range payload {
					payload[k] = byte(rand.Uint32())
				}
				f := b.frame(partial(w, payload, 0, 0))
				room := uint16(rand.IntN(64)) // some less than a request takes
				asked := i%4 != 0
				copy(b.mem.Buffer(f.Index)[room:], b.mem.Bytes(f))
				f.Off = room
				if asked {
					f.Flags = link.FlagChecksumOffload
				}
				got := b.exchange(f, peer)
				right, untouched := sums(t, got)
				if right != (asked && completes) || untouched == right {
					t.Fatalf("%d bytes at %d, asked %v: checksum right %v, as sent %v: % x", len(payload), room, asked, right, untouched, got[:60])
				}
				if string(got[ethernetHeader+ipv4Header+wire.UDPHeaderLen:][:len(payload)]) != string(payload) {
					t.Fatalf("%d bytes at %d came otherwise", len(payload), room)
				}
			}
			if s := b.q.Stats(); s.TXInvalid != 0 || s.TXDropped != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// exchange sends a frame and returns what the peer receives.
func (b *bench) exchange(f link.Frame, peer *packetPeer) []byte {
	b.t.Helper()
	if b.q.Send([]link.Frame{f}) != 1 {
		b.t.Fatal("Send took nothing")
	}
	if err := b.q.Flush(); err != nil {
		b.t.Fatal(err)
	}
	for { // the kernel may have a word of its own to say
		got, err := peer.Receive(2 * time.Second)
		if err != nil {
			b.t.Fatal(err)
		}
		if _, _, ok := datagram(got); ok && got[ethernetHeader+12+3] == addrOurs.As4()[3] {
			return got
		}
	}
}

// TestTXChecksumBehind: bytes behind a datagram do not count, whoever completes.
func TestTXChecksumBehind(t *testing.T) {
	needsFeatures(t, TXChecksum)
	w := netnstest.NewPair(t, &netnstest.Config{AddrA: prefixA, AddrB: prefixB})
	leaktest.Check(t)
	takeAll(t, w)
	b := newBench(t, w.A, &Config{With: TXChecksum}, nil)
	peer := newPacketPeer(t, w.B, etherTypeIPv4)
	for behind := 1; behind < 20; behind++ {
		f := b.frame(partial(w, []byte("short"), 0, behind))
		f.Flags = link.FlagChecksumOffload
		if right, _ := sums(t, b.exchange(f, peer)); !right {
			t.Errorf("%d bytes behind: the checksum is wrong", behind)
		}
	}
}

// TestTXRefused: a request that cannot be honoured is counted, and its buffer
// comes back; nothing leaves.
func TestTXRefused(t *testing.T) {
	needsFeatures(t, TXChecksum)
	w := netnstest.NewPair(t, &netnstest.Config{AddrA: prefixA, AddrB: prefixB})
	leaktest.Check(t)
	takeAll(t, w)
	b := newBench(t, w.A, &Config{With: TXChecksum}, nil)
	datagrams := func() link.Frame { return b.frame(partial(w, make([]byte, 20), 0, 0)) }
	cut, other, launch := datagrams(), b.frame(saying(1, 1)), datagrams()
	cut.Flags, cut.Len = link.FlagChecksumOffload, cut.Len-1
	other.Flags = link.FlagChecksumOffload
	launch.Flags = link.FlagLaunchTime
	if n := b.q.Send([]link.Frame{cut, other, launch}); n != 3 {
		t.Errorf("Send took %d", n)
	}
	if s := b.q.Stats(); s.TXInvalid != 3 {
		t.Errorf("%+v, want 3 invalid", s)
	}
	if n := b.reclaim(); n != 3 {
		t.Errorf("%d buffers came back", n)
	}
}

// TestSentAt: of frames that ask, the time is there with their buffers, and it is
// gone with the next frame. In copy mode it is the kernel's, CLOCK_TAI, when it
// has let go of the frame: no device's, so that the link does not offer it.
func TestSentAt(t *testing.T) {
	needsFeatures(t, TXChecksum)
	w := netnstest.NewPair(t, &netnstest.Config{AddrA: prefixA, AddrB: prefixB})
	leaktest.Check(t)
	takeAll(t, w)
	l := openOn(t, w.A, &Config{With: TXChecksum, ZeroCopy: ZeroCopyOff}, nil)
	l.requests.flags |= link.FlagTXTime
	b := attachBench(t, l)
	peer := newPacketPeer(t, w.B, etherTypeIPv4)
	left := func(index uint32) int64 {
		at := []int64{99}
		b.SentAt([]uint32{index}, at)
		return at[0]
	}
	tai := func() int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_TAI, &ts); err != nil {
			t.Fatal(err)
		}
		return ts.Nano()
	}
	for i := range 64 { // mostly of one buffer
		f := b.frame(partial(w, []byte("when"), 0, 0))
		if at := left(f.Index); i == 0 && at != 0 {
			t.Fatalf("the new buffer %d has left at %d", f.Index, at)
		}
		f.Flags = []link.Flags{0, link.FlagChecksumOffload, link.FlagTXTime, link.FlagChecksumOffload | link.FlagTXTime}[i%4]
		before := tai()
		b.exchange(f, peer)
		for deadline := time.Now().Add(2 * time.Second); b.reclaim() == 0; {
			if time.Now().After(deadline) {
				t.Fatal("the buffer did not come back")
			}
		}
		after := tai()
		if at := left(f.Index); f.Flags&link.FlagTXTime == 0 && at != 0 || f.Flags&link.FlagTXTime != 0 && (at < before || at > after) {
			t.Fatalf("frame %d, flags %v: left at %d, between %d and %d", i, f.Flags, at, before, after)
		}
	}
	f := b.frame(saying(1, 1)) // no datagram
	b.sentAt[f.Index] = 7
	f.Flags = link.FlagTXTime | link.FlagChecksumOffload
	if b.q.Send([]link.Frame{f}) != 1 || b.reclaim() != 1 || left(f.Index) != 0 {
		t.Errorf("a frame that was refused has left at %d", left(f.Index))
	}
	if at := left(1 << 30); at != 0 {
		t.Errorf("no such buffer, and it has left at %d", at)
	}
}

// TestOpenRequests: what cannot be had is refused at Open, and with the reason.
func TestOpenRequests(t *testing.T) {
	w := netnstest.NewPair(t, nil)
	needsVeth(t, w, "what a card can do is its own")
	w.A.Do(func() {
		for _, with := range []Features{LaunchTime, TXTime} {
			l, err := Open(w.A.IfName, &Config{With: with})
			if err == nil {
				l.Close()
			}
			if !errors.Is(err, link.ErrNotSupported) || !strings.Contains(err.Error(), "zero copy") {
				t.Errorf("with %#x on veth: %v", with, err)
			}
		}
	})
}

// TestOpenRequestsZeroCopy: in zero copy a card has what its driver reports, and
// the rest is refused with the reason.
func TestOpenRequestsZeroCopy(t *testing.T) {
	needsCard(t)
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	w.A.Do(func() {
		info, err := netdev.Features(w.A.IfIndex)
		if err != nil {
			t.Fatal(err)
		}
		for with, reported := range map[Features]bool{
			TXChecksum: info.XSK&netdev.XSKTXChecksum != 0,
			TXTime:     info.XSK&netdev.XSKTXTimestamp != 0,
			LaunchTime: info.XSK&netdev.XSKLaunchTime != 0,
			RXTime:     info.RXMetadata&netdev.RXTimestamp != 0,
		} {
			l, err := Open(w.A.IfName, &Config{With: with, ZeroCopy: ZeroCopyRequire})
			if err == nil {
				c := l.Capabilities()
				if has := c.TXChecksum || c.TXClock != link.ClockNone || c.LaunchClock != link.ClockNone || c.RXClock != link.ClockNone; !has {
					t.Errorf("with %#x: capabilities %+v", with, c)
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
			if (err == nil) != reported || err != nil && !errors.Is(err, link.ErrNotSupported) {
				t.Errorf("with %#x, reported %v: %v", with, reported, err)
			}
		}
	})
}

// TestRequestLayout looks at what is written, for what no device here can do.
func TestRequestLayout(t *testing.T) {
	layout := link.Layout{BufferSize: link.MinBufferSize, Queues: 1, RXBuffers: 16, TXBuffers: 16}
	mem, err := link.NewMemory(make([]byte, layout.Bytes()), layout)
	if err != nil {
		t.Fatal(err)
	}
	var producer, consumer, flags uint32
	slots := make([]unix.XDPDesc, minRing)
	l := &Link{dev: &device{mtu: 1500}}
	q := &queue{link: l, memory: mem, held: make([]uint16, layout.Buffers()), shift: 11}
	q.txFlags, q.txRoom = link.FlagChecksumOffload|link.FlagLaunchTime, requestLong
	q.tx = ring[unix.XDPDesc]{producer: &producer, consumer: &consumer, flags: &flags, slots: unsafe.Pointer(unsafe.SliceData(slots)), size: minRing}
	content := partial(&netnstest.Wire{A: &netnstest.Host{}, B: &netnstest.Host{}}, make([]byte, 5), 7, 0)
	const udp = ethernetHeader + vlanTag + ipv4Header
	const at = 1_700_000_000_123_456_789
	for i, c := range []struct {
		off   uint16
		flags link.Flags
		moved uint64 // where it lies in the end
		want  uint64 // flags of the request
	}{
		{100, 0, 100, 0},
		{100, link.FlagChecksumOffload, 100, unix.XDP_TXMD_FLAGS_CHECKSUM},
		{24, link.FlagLaunchTime, 24, unix.XDP_TXMD_FLAGS_LAUNCH_TIME},
		{23, link.FlagLaunchTime | link.FlagChecksumOffload, 24, unix.XDP_TXMD_FLAGS_LAUNCH_TIME | unix.XDP_TXMD_FLAGS_CHECKSUM},
		{0, 0, 24, 0},
	} {
		f := link.Frame{Index: uint32(16 + i), Off: c.off, Len: uint16(len(content)), Meta: link.Meta{Flags: c.flags, Time: at}}
		copy(mem.Bytes(f), content)
		if q.Send([]link.Frame{f}) != 1 {
			t.Fatal("Send took nothing")
		}
		d, b := slots[i], mem.Buffer(f.Index)
		if d.Addr != uint64(f.Index)<<q.shift+c.moved || int(d.Len) != len(content) || (d.Options == unix.XDP_TX_METADATA) != (c.want != 0) {
			t.Errorf("frame %d: descriptor %+v", i, d)
		}
		if string(b[c.moved:][:len(content)]) != string(content) {
			t.Errorf("frame %d changed on the way", i)
		}
		r := b[c.moved-requestLong:]
		if got := binary.NativeEndian.Uint64(r); c.want != 0 && got != c.want {
			t.Errorf("frame %d: flags %#x, want %#x", i, got, c.want)
		}
		start, field := binary.NativeEndian.Uint16(r[requestChecksumStart:]), binary.NativeEndian.Uint16(r[requestChecksumAt:])
		if c.want&unix.XDP_TXMD_FLAGS_CHECKSUM != 0 && (start != udp || field != wire.UDPChecksumAt) {
			t.Errorf("frame %d: the checksum of what begins at %d goes to %d from there", i, start, field)
		}
		if got := binary.NativeEndian.Uint64(r[requestLaunch:]); c.want&unix.XDP_TXMD_FLAGS_LAUNCH_TIME != 0 && got != at {
			t.Errorf("frame %d: launch at %d", i, got)
		}
	}
}
