package linktest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// datagramTo builds frame number seq of the suite with a UDP datagram in IPv4, of
// size payload bytes, behind the tags, if any. Its payload is pseudo-random; that
// of every eighth one brings its checksum to 0, which is sent as all ones.
func datagramTo(dst link.MAC, seq uint32, size int, tags ...Tag) []byte {
	const src, to = 0xc0000201, 0xc6336402 // documentation addresses (RFC 5737)
	b := make([]byte, headerLen+wire.IPv4HeaderLen+wire.UDPHeaderLen+size)
	buildFrame(b, dst, seq)
	binary.BigEndian.PutUint16(b[12:], wire.TypeIPv4)
	ip := b[headerLen:]
	wire.PutIPv4(ip, src, to, wire.ProtocolUDP, 64, 0, len(ip))
	udp := ip[wire.IPv4HeaderLen:]
	wire.PutUDP(udp, src, to, 7, 7)
	if last := udp[len(udp)-len(udp)%2-2:]; seq%8 == 7 && size > 2 {
		binary.BigEndian.PutUint16(last, 0)
		wire.PutUDP(udp, src, to, 7, 7)
		binary.BigEndian.PutUint16(last, binary.BigEndian.Uint16(udp[wire.UDPChecksumAt:]))
		wire.PutUDP(udp, src, to, 7, 7)
	}
	return tagged(b, tags)
}

// unfinished is a frame with a datagram whose checksum is left to the device.
func unfinished(frame []byte) []byte {
	b := bytes.Clone(frame)
	start, _ := wire.UDPStart(b)
	udp := b[start:]
	src, dst := binary.BigEndian.Uint32(b[start-8:]), binary.BigEndian.Uint32(b[start-4:])
	sum := wire.Fold(wire.PseudoSum(src, dst, wire.ProtocolUDP, len(udp)))
	binary.BigEndian.PutUint16(udp[wire.UDPChecksumAt:], sum)
	return b
}

// offloadSizes of payloads: the shortest that need no padding, odd and even, and
// the longest.
func offloadSizes(l link.Link) []int {
	most := l.MTU() - wire.IPv4HeaderLen - wire.UDPHeaderLen
	return []int{18, 19, 20, 64, 65, 511, 512, most - 1, most}
}

// leaves sends one frame, and wants another to reach the far end.
func (r *rig) leaves(queue int, b []byte, meta link.Meta, want []byte) {
	r.t.Helper()
	r.hand(queue, b, meta)
	got := r.next()
	switch {
	case got == nil:
		r.t.Fatalf("a frame of %d bytes with flags %#x did not come", len(b), meta.Flags)
	case len(got) > len(want) && len(got) <= r.PadTo:
		got = got[:len(want)]
	}
	if !bytes.Equal(got, want) {
		r.t.Errorf("with flags %#x and tag %#x came\n% x, want\n% x", meta.Flags, meta.VLAN, got[:min(len(got), 80)], want[:min(len(want), 80)])
	}
}

// hand gives the link a frame of these bytes.
func (r *rig) hand(queue int, b []byte, meta link.Meta) {
	r.t.Helper()
	f := r.build(queue, 0, len(b), r.PeerMAC)
	copy(r.mem.Bytes(f), b)
	f.Meta = meta
	q := r.queues[queue]
	for deadline := time.Now().Add(r.Timeout); q.Send([]link.Frame{f}) == 0; {
		if time.Now().After(deadline) {
			r.t.Fatal("Send takes nothing")
		}
		_ = q.WaitSend(time.Millisecond) // the loop looks itself
	}
	if err := q.Flush(); err != nil {
		r.t.Errorf("Flush: %v", err)
	}
	r.reclaim(queue)
}

// next is the next frame of the suite's at the far end, with its tags; nil: none
// came in time.
func (r *rig) next() (frame []byte) {
	r.t.Helper()
	ours := func(b []byte) bool { return len(b) >= headerLen && b[6] == 0x06 && b[7] == 'L' }
	deadline := time.Now().Add(r.Timeout)
	for frame == nil && time.Now().Before(deadline) {
		if r.Peer == nil {
			r.poll(func(_ int, b []byte) {
				if ours(b) {
					frame = bytes.Clone(b)
				}
			})
			r.fill()
			continue
		}
		b, err := r.Peer.Receive(r.Timeout)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			r.t.Fatalf("peer: %v", err)
		}
		if ours(b) {
			frame = b
		}
	}
	return frame
}

// testSendChecksum: a device that completes checksums leaves no other trace.
func testSendChecksum(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	switch {
	case !r.Link.Capabilities().TXChecksum:
		t.Skip("the link completes no checksums (Capabilities.TXChecksum)")
	case r.ChecksumsHidden:
		t.Skip("the peer does not show checksums (Wire.ChecksumsHidden)")
	}
	r.fill()
	before, seq := r.stats(), uint32(0)
	for _, tags := range [][]Tag{nil, {{typeCTag, 5<<13 | 2}}} {
		if tags != nil && r.TagsHidden {
			continue
		}
		for _, size := range offloadSizes(r.Link) {
			for queue := range r.queues {
				want := datagramTo(r.PeerMAC, seq, size, tags...)
				r.leaves(queue, unfinished(want), link.Meta{Flags: link.FlagChecksumOffload}, want)
				// What does not ask goes as it is, right or wrong.
				wrong := unfinished(want)
				r.leaves(queue, wrong, link.Meta{}, wrong)
				seq++
			}
		}
	}
	r.noLoss(before)
	r.reclaimAll()
	r.finish()
}

// testSendVLAN: a device that puts tags in does so behind the addresses, whatever
// stands there.
func testSendVLAN(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	switch c := r.Link.Capabilities(); {
	case !c.VLANInsert:
		t.Skip("the link puts no tags in (Capabilities.VLANInsert)")
	case r.TagsHidden:
		t.Skip("the peer does not show tags (Wire.TagsHidden)")
	}
	r.fill()
	before, seq := r.stats(), uint32(0)
	for _, tci := range []uint16{2, 7<<13 | 4094, 3 << 13, 2} {
		tag := Tag{typeCTag, tci}
		meta := link.Meta{Flags: link.FlagVLANStripped, VLAN: tci}
		for _, size := range []int{max(r.MinFrame, 60), 61, 600, r.Link.MTU() + headerLen} {
			plain := make([]byte, size)
			buildFrame(plain, r.PeerMAC, seq)
			r.leaves(int(seq)%len(r.queues), plain, meta, tagged(plain, []Tag{tag}))
			seq++
		}
		// One of its own becomes the inner one.
		inner := make([]byte, 100)
		buildFrame(inner, r.PeerMAC, seq)
		inner = tagged(inner, []Tag{{typeCTag, 9}})
		r.leaves(int(seq)%len(r.queues), inner, meta, tagged(inner, []Tag{tag}))
		seq++
		if !r.Link.Capabilities().TXChecksum || r.ChecksumsHidden {
			continue
		}
		both := meta
		both.Flags |= link.FlagChecksumOffload
		for _, size := range offloadSizes(r.Link) {
			plain := datagramTo(r.PeerMAC, seq, size)
			r.leaves(int(seq)%len(r.queues), unfinished(plain), both, tagged(plain, []Tag{tag}))
			seq++
		}
	}
	r.noLoss(before)
	r.reclaimAll()
	r.finish()
}

// testSendRefused: what the device cannot do to a frame is not left undone in
// silence.
func testSendRefused(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	c, before, refused := r.Link.Capabilities(), r.stats(), uint64(0)
	refuse := func(b []byte, meta link.Meta) {
		r.hand(0, b, meta)
		refused++
	}
	other := make([]byte, 100)
	buildFrame(other, r.PeerMAC, 0)
	refuse(other, link.Meta{Flags: link.FlagChecksumOffload}) // no datagram in it
	if !c.TXChecksum {
		refuse(unfinished(datagramTo(r.PeerMAC, 1, 64)), link.Meta{Flags: link.FlagChecksumOffload})
	}
	if !c.VLANInsert {
		refuse(other, link.Meta{Flags: link.FlagVLANStripped, VLAN: 2})
	}
	fragment := unfinished(datagramTo(r.PeerMAC, 2, 64))
	fragment[headerLen+6] = 0x20 // more fragments
	refuse(fragment, link.Meta{Flags: link.FlagChecksumOffload})
	r.reclaimAll()
	if got := r.stats().TXInvalid - before.TXInvalid; got != refused {
		t.Errorf("TXInvalid rose by %d, want %d", got, refused)
	}
	// And nothing of it stands before what can be sent.
	buildFrame(other, r.PeerMAC, 3)
	r.leaves(0, other, link.Meta{}, other)
	r.finish()
}

// testReceiveChecksum: a device that looks at checksums may say nothing of a
// frame, but nothing wrong.
func testReceiveChecksum(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	if !r.Link.Capabilities().RXChecksum {
		t.Skip("the link does not look at checksums (Capabilities.RXChecksum)")
	}
	r.fill()
	seq := uint32(0)
	for _, tags := range [][]Tag{nil, {{typeCTag, 2}}} {
		ip := headerLen + tagLen*len(tags)
		for _, size := range offloadSizes(r.Link) {
			good := datagramTo(r.Link.MAC(), seq, size, tags...)
			payload, header, none := bytes.Clone(good), bytes.Clone(good), bytes.Clone(good)
			payload[len(payload)-1] ^= 1
			header[ip+8]++ // its TTL
			clear(none[ip+wire.IPv4HeaderLen+wire.UDPChecksumAt:][:2])
			for _, c := range []struct {
				name    string
				b       []byte
				verdict link.Flags // or none
			}{
				{"right", good, link.FlagChecksumGood}, {"a changed payload", payload, link.FlagChecksumBad},
				{"a changed IPv4 header", header, link.FlagChecksumBad}, {"no checksum", none, link.FlagChecksumGood},
			} {
				if got := r.verdictOn(c.b); got&^c.verdict != 0 {
					t.Errorf("%s, %d bytes, tags %v: flags %#x, want %#x or none", c.name, size, tags, got, c.verdict)
				}
			}
			seq++
		}
	}
	r.reclaimAll()
	r.finish()
}

// verdictOn is what the device says of the checksums of a frame from the wire.
func (r *rig) verdictOn(b []byte) (flags link.Flags) {
	r.t.Helper()
	if r.Peer == nil {
		r.hand(0, b, link.Meta{})
	} else if err := r.Peer.Send(b); err != nil {
		r.t.Fatalf("peer: %v", err)
	}
	for deadline := time.Now().Add(r.Timeout); time.Now().Before(deadline); r.wait(time.Millisecond) {
		found := false
		for i, q := range r.queues {
			for _, f := range r.in[:q.Receive(r.in)] {
				r.rx[i] = append(r.rx[i], f.Index)
				got := restored(r.mem.Bytes(f), f)
				if len(got) >= len(b) && bytes.Equal(got[:len(b)], b) {
					flags, found = f.Flags&(link.FlagChecksumGood|link.FlagChecksumBad), true
				} else if !r.Shared {
					r.t.Errorf("a frame that nobody sent: % x", got[:min(len(got), headerLen)])
				}
			}
		}
		r.fill()
		if found {
			return flags
		}
	}
	r.t.Fatalf("a frame of %d bytes did not come", len(b))
	return 0
}
