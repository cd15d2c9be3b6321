package main

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// unhex reads bytes with spaces between them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The payload of a frame for two slaves, by the tables of ETG.1000.4 (5.3, 5.4):
// the states of both, and an image of 16 bytes.
const (
	golden = `
		38 10                                            length 0x38, type 1
		01 00 00 00 30 01 02 80 00 00  00 00  00 00      APRD, place 0, 0x0130, 2 bytes, more
		01 00 ff ff 30 01 02 80 00 00  00 00  00 00      APRD, place 1
		0c 00 00 00 00 00 10 00 00 00                    LRW, address 0, 16 bytes, last
		00 00 00 00 00 00 f0 3f 00 00 00 00 00 00 00 40  1 and 2
		00 00`
	// The same behind two slaves that have begun at 0: they are at 1/1000 and
	// 2/1000, both are operational, and each has counted 3.
	goldenBack = `
		38 10
		01 00 02 00 30 01 02 80 00 00  08 00  01 00
		01 00 01 00 30 01 02 80 00 00  08 00  01 00
		0c 00 00 00 00 00 10 00 00 00
		fc a9 f1 d2 4d 62 50 3f fc a9 f1 d2 4d 62 60 3f
		06 00`
	// The same with the second one silent: its place in the image is as it was.
	goldenSilent = `
		38 10
		01 00 02 00 30 01 02 80 00 00  08 00  01 00
		01 00 01 00 30 01 02 80 00 00  00 00  00 00
		0c 00 00 00 00 00 10 00 00 00
		fc a9 f1 d2 4d 62 50 3f 00 00 00 00 00 00 00 40
		03 00`
)

// bare cuts the remarks off.
func bare(s string) string {
	var b strings.Builder
	for _, line := range strings.Split(s, "\n") {
		for _, f := range strings.Fields(line) {
			if len(f) != 2 || strings.Trim(f, "0123456789abcdef") != "" {
				break
			}
			b.WriteString(f)
		}
	}
	return b.String()
}

func TestGoldenFrames(t *testing.T) {
	frame := add(make([]byte, 2), aprd, position(0, alStatus), 2, more)
	frame = add(frame, aprd, position(1, alStatus), 2, more)
	frame = add(frame, lrw, 0, 2*imageSize, 0)
	want := unhex(t, bare(golden))
	copy(frame[2+14+14+10:], want[2+14+14+10:]) // the velocities
	if !bytes.Equal(frame, want) {
		t.Fatalf("% x\nwant\n% x", frame, want)
	}
	for _, silent := range []bool{false, true} {
		var line [2]drive
		line[1].silent.Store(silent)
		passing := append(bytes.Clone(frame), make([]byte, 7)...) // with padding
		for i := range line {
			line[i].process(i, datagrams(passing))
		}
		want := goldenBack
		if silent {
			want = goldenSilent
		}
		if got := passing[:len(frame)]; !bytes.Equal(got, unhex(t, bare(want))) {
			t.Errorf("silent %v: % x\nwant\n% x", silent, got, unhex(t, bare(want)))
		}
		if !bytes.Equal(passing[len(frame):], make([]byte, 7)) {
			t.Error("the padding was written to")
		}
	}
}

func TestAccessors(t *testing.T) {
	d, rest := first(datagrams(unhex(t, bare(goldenBack))))
	if d.command() != aprd || d.index() != 0 || d.counter() != 1 || len(d.data()) != 2 || len(rest) == 0 {
		t.Errorf("% x", []byte(d))
	}
	d.count(2)
	if d.counter() != 3 || d.pass() || d[2] != 3 {
		t.Errorf("% x", []byte(d))
	}
}

// TestNotEtherCAT: what is no frame of datagrams has none.
func TestNotEtherCAT(t *testing.T) {
	for what, b := range map[string]string{
		"nothing":                  "",
		"half a header":            "0e",
		"cut off":                  "0e10 0100",
		"mailbox, type 5":          "0e50 0100 0000 3001 0200 0000 0000 0000",
		"reserved bit":             "0e18 0100 0000 3001 0200 0000 0000 0000",
		"datagram longer than all": "0e10 0100 0000 3001 ff00 0000 0000 0000",
	} {
		if d, _ := first(datagrams(unhex(t, b))); d != nil {
			t.Errorf("%s: datagram % x", what, []byte(d))
		}
	}
}

// FuzzProcess: whatever passes, slaves keep to the datagrams, and never change
// how long anything is.
func FuzzProcess(f *testing.F) {
	for _, s := range []string{golden, goldenBack, goldenSilent} {
		f.Add(unhex(f, bare(s)))
	}
	f.Add(unhex(f, "0e10 0c00 0000 0000 0280 0000 0000 0000"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := bytes.Clone(payload)
		var line [slaves]drive
		for i := range line {
			line[i].process(i, datagrams(payload))
		}
		n, total := 0, 0
		rest := datagrams(payload)
		for d, b := first(rest); d != nil; d, b = first(b) {
			old := pdu(before[2+total:][:len(d)])
			if d.command() != old.command() || d.index() != old.index() || len(d.data()) != len(old.data()) || !bytes.Equal(d[4:10], old[4:10]) {
				t.Fatalf("header % x, was % x", []byte(d[:10]), []byte(old[:10]))
			}
			if d.command() != aprd && d.command() != lrw && !bytes.Equal(d, old) {
				t.Fatalf("a command that nobody knows was carried out: % x, was % x", []byte(d), []byte(old))
			}
			n, total = n+1, total+len(d)
		}
		if total > len(rest) || n > len(rest)/overhead || !bytes.Equal(payload[min(2+total, len(payload)):], before[min(2+total, len(before)):]) {
			t.Fatalf("%d datagrams of %d bytes in %d; what follows was written to", n, total, len(rest))
		}
	})
}
