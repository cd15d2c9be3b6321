package vfio

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
)

// toeplitz is the hash of the specification of RSS: for each bit of the input
// that is set, the 32 bits of the key that begin there.
func toeplitz(key [40]byte, input []byte) (hash uint32) {
	for i, b := range input {
		window := binary.BigEndian.Uint64(append(append([]byte(nil), key[i:]...), make([]byte, 8)...))
		for bit := range 8 {
			if b&(0x80>>bit) != 0 {
				hash ^= uint32(window << bit >> 32)
			}
		}
	}
	return hash
}

// TestToeplitz checks the test's own hash with the example that the
// specification gives for IPv4 with ports.
func TestToeplitz(t *testing.T) {
	l, _, err := OpenFree("82576", &Config{Interrupts: NoInterrupts, Queues: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := l.RSS()
	if err != nil {
		t.Fatal(err)
	}
	input := []byte{66, 9, 149, 187, 161, 142, 100, 80, 2794 >> 8, 2794 & 0xff, 1766 >> 8, 1766 & 0xff}
	if got := toeplitz(c.Key, input); got != 0x51ccc178 {
		t.Errorf("the hash is %#x, want 0x51ccc178", got)
	}
}

// flow is a UDP frame of a flow that is told from others by its source port.
func flow(dst link.MAC, port uint16) (frame, input []byte) {
	frame = udpFrame(dst, 0)
	binary.BigEndian.PutUint16(frame[34:], port)
	return frame, append(append([]byte(nil), frame[26:34]...), frame[34:38]...)
}

// TestRSS sends flows and finds each on the queue that the hash and the table
// say, with the key and the table of the beginning, with others, and with the
// feature off.
func TestRSS(t *testing.T) {
	for _, card := range []string{"igb", "82599", "X540"} {
		t.Run(card, func(t *testing.T) { testRSS(t, card) })
	}
}

func testRSS(t *testing.T, card string) {
	leaktest.Check(t)
	const queues, flows = 4, 32
	r := newRigOn(t, startCard(t, card), &Config{Queues: queues}, 2048)
	c, err := r.RSS()
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, want func(hash uint32) int) {
		t.Helper()
		used := map[int]bool{}
		for port := range uint16(flows) {
			frame, input := flow(r.MAC(), 1000+port)
			if err := r.peer.Send(frame); err != nil {
				t.Fatal(err)
			}
			content, f := r.receive(wireTime)
			if content == nil {
				t.Fatalf("%s: flow %d did not come", when, port)
			}
			got := r.mem.Home(f.Index)
			if queue := want(toeplitz(c.Key, input)); got != queue {
				t.Errorf("%s: flow %d came on queue %d, want %d", when, port, got, queue)
			}
			used[got] = true
		}
		t.Logf("%s: %d flows on %d queues", when, flows, len(used))
	}
	byTable := func(hash uint32) int { return int(c.Table[hash&127]) }
	check("at first", byTable)
	for i := range c.Key {
		c.Key[i] = byte(37 * i)
	}
	for i := range c.Table {
		c.Table[i] = uint8(i / 7 % 3) // not the last queue
	}
	if err := r.SetRSS(c); err != nil {
		t.Fatal(err)
	}
	check("with another key and table", byTable)
	_, on := r.Features()
	if err := r.SetFeatures(on &^ RSS); err != nil {
		t.Fatal(err)
	}
	check("switched off", func(uint32) int { return 0 })
	if err := r.SetFeatures(on | RSS); err != nil {
		t.Fatal(err)
	}
	check("switched on again", byTable)

	bad := c
	bad.Table[9] = queues
	if err := r.SetRSS(bad); err == nil || !strings.Contains(err.Error(), "queue 4") {
		t.Errorf("a table with a queue that is not there: %v", err)
	}
	if now, err := r.RSS(); err != nil || now != c {
		t.Errorf("after a refusal the table is another one (%v)", err)
	}
}

// TestRSSErrors asks NICs to spread that cannot.
func TestRSSErrors(t *testing.T) {
	leaktest.Check(t)
	for name, queues := range map[string]int{"82574L": 1, "I210": 1} {
		l, _, err := OpenFree(name, &Config{Interrupts: NoInterrupts, Queues: queues})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.RSS(); !errors.Is(err, link.ErrNotSupported) {
			t.Errorf("%s: RSS: %v", name, err)
		}
		if err := l.SetRSS(RSSConfig{}); !errors.Is(err, link.ErrNotSupported) {
			t.Errorf("%s: SetRSS: %v", name, err)
		}
		l.Close()
	}
}
