package vfio

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
)

// cards are what the tests below run on: models of QEMU, and our own.
var cards = []string{"e1000", "e1000e", "igb", "82599", "X540"}

// onCards runs a test on each card.
func onCards(t *testing.T, run func(t *testing.T, card string)) {
	for _, card := range cards {
		t.Run(card, func(t *testing.T) {
			leaktest.Check(t)
			run(t, card)
		})
	}
}

// rig is an attached link on a card, for tests that send and receive by hand.
type rig struct {
	*Link
	t    *testing.T
	bus  cardBus
	peer farEnd
	card *card
	mem  *link.Memory
	q    link.Queue
	tx   []uint32 // free TX buffers
}

const rigRX, rigTX = 64, 64 // buffers

// newRig attaches a link of one queue, if the config does not ask for more, and
// gives it all receive buffers.
func newRig(t *testing.T, card string, cfg *Config) *rig {
	t.Helper()
	return newRigOn(t, startCard(t, card), cfg, 2048)
}

func newRigOn(t *testing.T, c *card, cfg *Config, bufferSize int) *rig {
	t.Helper()
	b := c.plug()
	var one Config
	if cfg != nil {
		one = *cfg
	}
	if one.Queues == 0 {
		one.Queues = 1
	}
	l, err := open(b, &one)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{Link: l, t: t, bus: b, peer: c.far, card: c}
	layout := link.Layout{BufferSize: bufferSize, Queues: l.Queues(), RXBuffers: rigRX, TXBuffers: rigTX}
	if r.mem, err = l.Attach(layout); err != nil {
		t.Fatal(err)
	}
	r.q = l.Queue(0)
	for i := range uint32(layout.RXTotal()) {
		l.Queue(r.mem.Home(i)).Fill([]uint32{i})
	}
	for i := layout.RXTotal(); i < layout.Buffers(); i++ {
		r.tx = append(r.tx, uint32(i))
	}
	r.await("the wire to come up", func() bool { return l.State() == link.Up })
	return r
}

// await polls a condition.
func (r *rig) await(what string, came func() bool) {
	r.t.Helper()
	for end := time.Now().Add(wireTime); !came(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited %v for %s", wireTime, what)
		}
	}
}

// send sends one frame.
func (r *rig) send(content []byte, meta link.Meta) {
	r.t.Helper()
	i := r.tx[len(r.tx)-1]
	r.tx = r.tx[:len(r.tx)-1]
	copy(r.mem.Buffer(i), content)
	if r.q.Send([]link.Frame{{Index: i, Len: uint16(len(content)), Meta: meta}}) != 1 {
		r.t.Fatal("Send took nothing")
	}
	if err := r.q.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

// receive waits for a frame and returns it with a copy of its bytes, nil if
// none comes.
func (r *rig) receive(timeout time.Duration) ([]byte, link.Frame) {
	r.t.Helper()
	var in [1]link.Frame
	for end := time.Now().Add(timeout); ; {
		for i := range r.Queues() {
			q := r.Queue(i)
			if q.Receive(in[:]) == 1 {
				content := append([]byte(nil), r.mem.Bytes(in[0])...)
				q.Fill([]uint32{in[0].Index})
				return content, in[0]
			}
		}
		if time.Now().After(end) {
			return nil, link.Frame{}
		}
		time.Sleep(time.Millisecond)
	}
}

// arrives puts a frame on the wire, and behind it one to the link's own address:
// when that has come, the first will not come any more. It says whether the
// first has.
func (r *rig) arrives(frame []byte) bool {
	r.t.Helper()
	mark := testFrame(r.MAC(), nil)
	mark[len(mark)-1] = 0xee
	for _, f := range [][]byte{frame, mark} {
		if err := r.peer.Send(f); err != nil {
			r.t.Fatal(err)
		}
	}
	came := false
	for {
		content, _ := r.receive(wireTime)
		if content == nil {
			r.t.Fatal("the frame behind did not come")
		}
		if content[len(content)-1] == 0xee {
			return came
		}
		came = true
	}
}

// leaves takes the next frame off the wire.
func (r *rig) leaves() []byte {
	r.t.Helper()
	b, err := r.peer.Receive(wireTime)
	if err != nil {
		r.t.Fatalf("no frame left: %v", err)
	}
	return b
}

// nothingLeaves checks that the wire is silent for a moment.
func (r *rig) nothingLeaves() {
	r.t.Helper()
	if b, err := r.peer.Receive(50 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Errorf("% x left (%v)", b, err)
	}
}

// testFrame is a frame of 100 bytes, or 104 with a tag.
func testFrame(dst link.MAC, vlan []uint16) []byte {
	b := append(dst[:len(dst):len(dst)], 6, 0, 0, 0, 0, 1)
	for _, v := range vlan {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0), v)
	}
	b = append(b, 0x88, 0xb5)
	return append(b, make([]byte, 100+4*len(vlan)-len(b))...)
}

// udpFrame is an IPv4 datagram of 8 bytes of payload, both checksums right; a
// tag stands in it if vlan is not 0.
func udpFrame(dst link.MAC, vlan uint16) []byte {
	b := append(dst[:len(dst):len(dst)], 6, 0, 0, 0, 0, 1)
	if vlan != 0 {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0), vlan)
	}
	b = append(b, 8, 0)
	ip := []byte{0x45, 0, 0, 36, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip, 0))
	udp := []byte{0x30, 0x39, 0, 7, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	binary.BigEndian.PutUint16(udp[6:], ^sum(udp, pseudo(ip, len(udp))))
	b = append(append(b, ip...), udp...)
	return append(b, make([]byte, max(0, 60-len(b)))...)
}

// pseudo is the sum of the pseudo-header (RFC 768).
func pseudo(ip []byte, length int) uint16 {
	return sum(append(append([]byte(nil), ip[12:20]...), 0, 17, byte(length>>8), byte(length)), 0)
}

// sum is the one's complement sum (RFC 1071).
func sum(b []byte, from uint16) uint16 {
	s := uint32(from)
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
