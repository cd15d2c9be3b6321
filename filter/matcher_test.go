package filter

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/filtertest"
)

// rig tries frames written in hexadecimal on rules.
type rig struct {
	t *testing.T
	d *drawn
}

func newRig(t *testing.T, r *Rules) rig {
	t.Helper()
	return rig{t, newDrawn(t, r.String())}
}

// expect wants a verdict of the matcher and of the reference.
func (r rig) expect(name, frame string, want Verdict) {
	r.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(frame, " ", ""))
	if err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
	if got := r.d.decide(r.t, b, 0, false); got != want {
		r.t.Errorf("%s: %v, want %v", name, got, want)
	}
}

// Parts of frames.
const (
	dstMAC   = "0200 0000 0001"
	srcMAC   = "0200 0000 0002"
	macs     = dstMAC + srcMAC
	tag5     = "8100 0005"
	ip       = "0800" + header
	header   = "4500 0020 0001 0000 4011 0000 0a000001 0a000002"
	options  = "0800 4600 0024 0001 0000 4011 0000 0a000001 0a000002 01010101"
	first    = "0800 4500 0020 0001 2000 4011 0000 0a000001 0a000002"
	later    = "0800 4500 0020 0001 2001 4011 0000 0a000001 0a000002"
	last     = "0800 4500 0020 0001 0001 4011 0000 0a000001 0a000002"
	dontFrag = "0800 4500 0020 0001 4000 4011 0000 0a000001 0a000002"
	tcp      = "0800 4500 0020 0001 0000 4006 0000 0a000001 0a000002"
	udp      = "013f 0140 000c 0000 00000000"
)

// Each field, and the edges of what it looks at.
func TestFields(t *testing.T) {
	for _, tc := range []struct {
		match   string
		fits    []string
		fitsNot []string
	}{
		{"vlan 5", []string{macs + tag5 + "88a4", macs + "8100 f005 88a4", macs + "88a8 0007" + tag5 + "88a4", macs + tag5 + "8100 0007 0800"},
			[]string{macs + ip, macs + "8100 0006 88a4", macs + "8100 0fff 88a4", macs + "8100 0000 88a4", macs + "88a8 0005 88a4", macs + "8100 0005", macs + "8100 0005 08", macs + "88a8 0005 8100", macs + "8100 0007" + tag5 + "0800"}},
		{"vlan 0", []string{macs + ip, macs + "0000", macs + "8100 0000 88a4", macs + "8100 e000 88a4", macs + "88a8 0005 8100 2000 88a4", macs + "05dc"},
			[]string{macs + "8100 0005 88a4", macs + "88a8 0000 88a4", macs + "8100 0000", macs, macs + "08"}},
		{"vlan 7,100-110", []string{macs + "8100 0007 88a4", macs + "8100 0064 88a4", macs + "8100 006e 88a4"},
			[]string{macs + "8100 0063 88a4", macs + "8100 006f 88a4", macs + "8100 0006 88a4"}},
		{"vlan 0-4094", []string{macs + "0800", macs + "8100 0ffe 0800"}, []string{macs + "8100 0fff 0800"}},
		{"ethertype ethercat", []string{macs + "88a4", macs + tag5 + "88a4", macs + "88a8 0007" + tag5 + "88a4", macs + "88a8 0007 88a4"},
			[]string{macs, macs + "88", macs + "0800", macs + tag5 + "88", macs + tag5 + tag5 + "88a4", macs + "88a8 0007 88a8 0007 88a4"}},
		{"ethertype 0x8100", []string{macs + tag5 + tag5 + "88a4"}, []string{macs + tag5 + "88a4"}},
		{"ethertype 0x0600", []string{macs + "0600"}, []string{macs + "05ff", macs + "05dc", macs + "0000"}},
		{"src-mac 02:00:00:00:00:02", []string{macs + "0000", macs + tag5[:4], macs + ip}, []string{macs, srcMAC + dstMAC + "0800"}},
		{"dst-mac 02:00:00:00:00:01,ff:ff:ff:ff:ff:ff", []string{macs + "0000", "ffffffffffff" + srcMAC + "0800"}, []string{macs, srcMAC + dstMAC + "0800"}},
		{"dst-mac 00:00:00:00:00:00", []string{"000000000000" + srcMAC + "0800"}, []string{macs + "0800"}},
		{"src 10.0.0.0/24", []string{macs + ip, macs + tag5 + ip, macs + options, macs + later, macs + tcp},
			[]string{macs + ip[:len(ip)-2], macs + strings.Replace(ip, "0a000001", "0a000101", 1), macs + strings.Replace(ip, "0800", "86dd", 1),
				macs + strings.Replace(ip, "4500", "5500", 1), macs + strings.Replace(ip, "4500", "4400", 1)}},
		{"dst 10.0.0.2", []string{macs + ip}, []string{macs + strings.Replace(ip, "0a000002", "0a000003", 1)}},
		{"dst 0.0.0.0/0", []string{macs + ip}, []string{macs + "0806", macs + "0800"}},
		{"proto udp", []string{macs + ip, macs + later, macs + options}, []string{macs + tcp, macs + "0806", macs + ip[:len(ip)-2]}},
		{"sport 319", []string{macs + ip + udp, macs + options + udp, macs + first + udp, macs + dontFrag + udp, macs + "88a8 0001" + ip + udp},
			[]string{macs + later + udp, macs + last + udp, macs + tcp + udp, macs + strings.Replace(ip, "4500", "4600", 1) + udp, macs + ip}},
		{"dport 300-320", []string{macs + ip + udp, macs + tag5 + options + udp}, []string{macs + ip + "013f 0141 0008 0000", macs + ip + "013f 0140 0008 00"}},
		{"dport 0-65535", []string{macs + ip + udp}, []string{macs + tcp + udp, macs + ip + "013f 0140 0008 00"}},
	} {
		r, err := ParseRules("accept " + tc.match + "\ndefault drop")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range tc.fits {
			newRig(t, r).expect(tc.match+": "+f, f, Accept)
		}
		for _, f := range tc.fitsNot {
			newRig(t, r).expect(tc.match+": "+f, f, Drop)
		}
	}
}

// A frame cut off anywhere fits nothing that it has lost.
func TestTruncatedAtEachByte(t *testing.T) {
	whole, err := hex.DecodeString(strings.ReplaceAll(macs+"88a8 0007"+tag5+options+udp, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	for match, needs := range map[string]int{
		"": 0, "src-mac 02:00:00:00:00:02": 14, "dst-mac 02:00:00:00:00:01": 14,
		"vlan 5": 22, "ethertype ipv4": 22, "src 10.0.0.1": 42, "dst 10.0.0.2": 42, "proto udp": 42,
		"sport 319": 54, "dport 320": 54, "vlan 5 ethertype ipv4 dst 10.0.0.2 dport 320": 54,
	} {
		d := newDrawn(t, "accept "+match+"\ndefault drop")
		for n := range len(whole) + 1 {
			if got, want := d.decide(t, whole[:n:n], 0, false), n >= needs; (got == Accept) != want {
				t.Errorf("%q, %d bytes: %v", match, n, got)
			}
		}
	}
}

// A stripped tag stands in front of those of the frame.
func TestStrippedTag(t *testing.T) {
	for _, tc := range []struct {
		match, frame string
		tci          uint16
		want         Verdict
	}{
		{"vlan 5", macs + "0800", 0xe005, Accept},
		{"vlan 5", macs + "8100 0007 0800", 5, Accept},
		{"vlan 7", macs + "8100 0007 0800", 5, Drop},
		{"vlan 0", macs + "0800", 0xe000, Accept},
		{"vlan 0", macs + "0800", 5, Drop},
		{"vlan 5", macs, 5, Drop}, // a frame that is not there has no tag
		{"ethertype 0x8100", macs + "8100 0007 0800", 5, Accept},
		{"ethertype 0x88a8", macs + "88a8 0007 0800", 5, Accept},
		{"vlan 5 dport 320", macs + ip + udp, 5, Accept},
	} {
		d := newDrawn(t, "accept "+tc.match+"\ndefault drop")
		b, err := hex.DecodeString(strings.ReplaceAll(tc.frame, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := d.decide(t, b, tc.tci, true); got != tc.want {
			t.Errorf("%s, tag %#x on %s: %v, want %v", tc.match, tc.tci, tc.frame, got, tc.want)
		}
	}
}

// The first rule that fits decides, on both sides of each word of the rows.
func TestFirstMatchWins(t *testing.T) {
	for _, at := range []int{0, 1, 62, 63, 64, 65, 127, 128, 1000, MaxRules - 2} {
		rules := make([]Rule, MaxRules)
		for i := range rules {
			// Rules on the same dimension whose words all are candidates.
			rules[i] = Rule{VLANs: []Range{Only(9)}, EtherTypes: []uint16{0x0600 + uint16(i)}, Verdict: Drop}
		}
		rules[at] = Rule{VLANs: []Range{Only(5)}, Verdict: Accept}
		rules[at+1] = Rule{VLANs: []Range{{5, 6}}, Verdict: VLAN}
		r, err := NewRules(Skip, rules...)
		if err != nil {
			t.Fatal(err)
		}
		g := newRig(t, r)
		g.expect("both", macs+tag5+"0800", Accept)
		g.expect("the second", macs+"8100 0006 0800", VLAN)
		g.expect("none", macs+"8100 0007 0800", Skip)
	}
}

// A frame in the middle of a buffer is what is looked at.
func TestRunLooksAtTheFrame(t *testing.T) {
	r, err := NewRules(Skip, Rule{EtherTypes: []uint16{0x88a4}, Verdict: Accept})
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Instance(1)
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 128)
	buffer[40+12], buffer[40+13] = 0x88, 0xa4
	p := []Packet{{Buffer: buffer, Off: 40, Len: 14}, {Buffer: buffer, Off: 40, Len: 13}, {Buffer: buffer, Len: 128}}
	m.Run(0, p)
	if p[0].Action != ActionAccept || p[1].Action != ActionSkip || p[2].Action != ActionSkip {
		t.Errorf("actions %d %d %d", p[0].Action, p[1].Action, p[2].Action)
	}
}

// FuzzMatcher: no frame and no rules bring the matcher to anything but what
// the reference says.
func FuzzMatcher(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, filtertest.Frame(rand.New(rand.NewPCG(seed, 0))), uint16(5), seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, frame []byte, tci uint16, stripped bool) {
		dice := rand.New(rand.NewPCG(seed, 0))
		newDrawn(t, filtertest.Rules(dice, dice.IntN(20))).decide(t, frame, tci, stripped)
	})
}
