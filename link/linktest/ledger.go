package linktest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/oobnet/oobnet/link"
)

// etherType of the suite's frames: IEEE Std 802, "local experimental 1".
const etherType = 0x88b5

// buildFrame writes frame number seq of the suite into all of b. The number
// stands in the source address, so that a bare header says which frame it is:
// 06 (locally administered), 'L', four bytes. What follows the header is
// pseudo-random after the number.
func buildFrame(b []byte, dst link.MAC, seq uint32) {
	copy(b, dst[:])
	b[6], b[7] = 0x06, 'L'
	binary.BigEndian.PutUint32(b[8:], seq)
	binary.BigEndian.PutUint16(b[12:], etherType)
	var rng rand.PCG
	rng.Seed(uint64(seq), 0)
	var word [8]byte
	for at := headerLen; at < len(b); at += len(word) {
		binary.LittleEndian.PutUint64(word[:], rng.Uint64())
		copy(b[at:], word[:])
	}
}

// buildTagged is buildFrame with the tags of the frame's number.
func buildTagged(b []byte, dst link.MAC, seq uint32, tags [][]Tag) {
	if tags == nil || tags[seq] == nil {
		buildFrame(b, dst, seq)
		return
	}
	plain := make([]byte, len(b)-tagLen*len(tags[seq]))
	buildFrame(plain, dst, seq)
	copy(b, tagged(plain, tags[seq]))
}

// frameNumber reads the number back, false if the frame is not the suite's.
func frameNumber(b []byte) (uint32, bool) {
	b, _ = untagged(b)
	if len(b) < headerLen || b[6] != 0x06 || b[7] != 'L' || binary.BigEndian.Uint16(b[12:]) != etherType {
		return 0, false
	}
	return binary.BigEndian.Uint32(b[8:]), true
}

// ledger checks frames that arrive against those that were sent: each at most
// once, unchanged, in order within its lane. Frames of one lane travel by one
// queue. One goroutine at a time.
type ledger struct {
	dst     link.MAC
	padTo   int
	sizes   []int
	tags    [][]Tag // by number; nil: none has any
	from    int     // lower numbers are of a former life of the wire: foreign
	goal    int     // how many have to arrive before complete says so
	seen    []bool
	arrived int
	last    map[int]int // by lane: the last number seen
	want    []byte
}

// newLedger expects frames of these sizes, numbered from 0.
func newLedger(w *Wire, dst link.MAC, sizes []int) *ledger {
	return &ledger{dst: dst, padTo: w.PadTo, sizes: sizes, goal: len(sizes), seen: make([]bool, len(sizes)), last: map[int]int{}}
}

// arrive checks one frame. foreign: it is not one of the suite's.
func (l *ledger) arrive(b []byte, lane int) (seq int, foreign bool, err error) {
	number, ok := frameNumber(b)
	seq = int(number)
	if !ok || seq >= len(l.sizes) || seq < l.from {
		return 0, true, nil
	}
	l.want = append(l.want[:0], make([]byte, l.sizes[seq])...)
	buildTagged(l.want, l.dst, number, l.tags)
	got := b
	if len(got) > len(l.want) && len(got) <= l.padTo {
		got = got[:len(l.want)]
	}
	switch {
	case l.seen[seq]:
		return seq, false, fmt.Errorf("frame %d came twice", seq)
	case len(got) != len(l.want):
		return seq, false, fmt.Errorf("frame %d has %d bytes, sent were %d", seq, len(b), len(l.want))
	case !bytes.Equal(got, l.want):
		return seq, false, fmt.Errorf("frame %d of %d bytes: content changed on the way", seq, len(b))
	}
	l.seen[seq] = true
	l.arrived++
	if last, ok := l.last[lane]; ok && seq < last {
		return seq, false, fmt.Errorf("frame %d came after frame %d of the same queue", seq, last)
	}
	l.last[lane] = seq
	return seq, false, nil
}

// complete says whether as many frames have come as are to.
func (l *ledger) complete() bool { return l.arrived >= l.goal }

// missing names the first frame that has not come.
func (l *ledger) missing() string {
	for i, ok := range l.seen {
		if !ok && i >= l.from {
			return fmt.Sprintf("%d of %d frames came; the first that did not is %d, of %d bytes", l.arrived, l.goal, i, l.sizes[i])
		}
	}
	return "all frames came"
}

// repeatSizes returns n sizes that run through pattern again and again.
func repeatSizes(n int, pattern ...int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = pattern[i%len(pattern)]
	}
	return sizes
}
