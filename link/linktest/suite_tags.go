package linktest

import (
	"encoding/binary"
	"testing"

	"github.com/oobnet/oobnet/link"
)

// EtherTypes of tags (IEEE 802.1Q).
const (
	typeCTag = 0x8100
	typeSTag = 0x88a8
)

// Tag is one tag of a frame: its EtherType, and priority and VLAN id.
type Tag struct{ Type, TCI uint16 }

// usualTags are what every wire should carry: priority tags, VLANs at both ends
// of the range with several priorities, and a customer's VLAN in a provider's.
// A link reads none of it: frames of all priorities leave in their order.
func usualTags() [][]Tag {
	const pcp = 13 // bits of the TCI below the priority
	return [][]Tag{
		nil,
		{{typeCTag, 5 << pcp}},
		{{typeCTag, 2}},
		{{typeCTag, 7<<pcp | 4094}},
		{{typeCTag, 1<<pcp | 2}},
		{{typeSTag, 3<<pcp | 100}, {typeCTag, 6<<pcp | 2}},
		{{typeCTag, 2}, {typeCTag, 7<<pcp | 4094}},
	}
}

// tagged puts tags between the addresses and the EtherType of a frame's header.
func tagged(b []byte, tags []Tag) []byte {
	out := append([]byte{}, b[:12]...)
	for _, t := range tags {
		out = binary.BigEndian.AppendUint16(out, t.Type)
		out = binary.BigEndian.AppendUint16(out, t.TCI)
	}
	return append(out, b[12:]...)
}

// untagged takes all tags out of a frame, and returns them.
func untagged(b []byte) (plain []byte, tags []Tag) {
	at := 12
	for len(b) >= at+tagLen+2 {
		t := Tag{binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:])}
		if t.Type != typeCTag && t.Type != typeSTag {
			break
		}
		tags = append(tags, t)
		at += tagLen
	}
	if tags == nil {
		return b, nil
	}
	return append(append([]byte{}, b[:12]...), b[at:]...), tags
}

// restored is a frame with the tag that the device took off.
func restored(b []byte, f link.Frame) []byte {
	if f.Flags&link.FlagVLANStripped == 0 || len(b) < headerLen {
		return b
	}
	return tagged(b, []Tag{{typeCTag, f.VLAN}})
}

// tagSizes are frames whose headers have tags: short ones, and the longest that
// fit. A C-tag in front is not counted in the MTU; other tags are, because
// Linux counts them.
func tagSizes(r *rig, n int) (sizes []int, tags [][]Tag) {
	for seq := range n {
		t := r.Tags[seq%len(r.Tags)]
		least, most := r.MinFrame+tagLen*len(t), r.Link.MTU()+headerLen
		if len(t) > 0 && t[0].Type == typeCTag {
			most += tagLen
		}
		sizes = append(sizes, [...]int{least, most, least + 1, most - 1, (least + most) / 2}[seq/len(r.Tags)%5])
		tags = append(tags, t)
	}
	return sizes, tags
}

// tagFrames is how many frames the tests of tags send: all tags in all sizes,
// several times.
const tagFrames = 700

// testReceiveTags: frames with tags arrive unchanged and in the order of their
// queue, whatever their priority says.
func testReceiveTags(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	before := r.stats()
	sizes, tags := tagSizes(r, tagFrames)
	l := newLedger(&r.Wire, r.Link.MAC(), sizes)
	l.tags, r.tags = tags, tags
	r.receiveAll(l)
	r.noLoss(before)
	r.finish()
}

// testSendTags is the same for what the link sends.
func testSendTags(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	before := r.stats()
	sizes, tags := tagSizes(r, tagFrames)
	r.tags = tags
	l := newLedger(&r.Wire, r.PeerMAC, sizes)
	if !r.TagsHidden {
		l.tags = tags
		r.sendAll(l)
	} else {
		// Nobody can see them come: that they leave, and none is refused, is
		// what there is to see.
		for seq := range sizes {
			r.send(seq%len(r.queues), seq, sizes[seq:seq+1], r.PeerMAC)
		}
		r.reclaimAll()
	}
	r.noLoss(before)
	r.finish()
}
