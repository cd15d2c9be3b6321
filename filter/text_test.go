package filter

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/filtertest"
)

func TestParseRules(t *testing.T) {
	r, err := ParseRules(`
# who gets what
accept vlan 5,100-110 ethertype ipv4 proto udp dport 319-320 dst 239.0.0.0/8
	drop	src-mac 02:AB:00:00:00:01,ff:ff:ff:ff:ff:ff dst-mac 02:00:00:00:00:02# at once` + "\r" + `
vlan vlan 0x0a src 10.1.2.3/16,10.0.0.1 sport 0x10-0x20
skip ethertype ethercat,0x1234,4660,ptp proto 17,0x11,99
accept
default vlan # the end
`)
	if err != nil {
		t.Fatal(err)
	}
	want := `accept vlan 5,100-110 ethertype ipv4 dst 239.0.0.0/8 proto udp dport 319-320
drop src-mac 02:ab:00:00:00:01,ff:ff:ff:ff:ff:ff dst-mac 02:00:00:00:00:02
vlan vlan 10 src 10.1.0.0/16,10.0.0.1 sport 16-32
skip ethertype ethercat,0x1234,0x1234,ptp proto udp,udp,99
accept
default vlan
`
	if r.String() != want {
		t.Errorf("got\n%s, want\n%s", r, want)
	}
	for _, empty := range []string{"", "\n", "# nothing", "default skip"} {
		if r, err := ParseRules(empty); err != nil || r.String() != "default skip\n" {
			t.Errorf("%q: %q, %v", empty, r, err)
		}
	}
}

func TestParseRulesRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"permit":                             "line 1, column 1: \"permit\" is no verdict",
		"drop\n  Accept":                     "line 2, column 3: \"Accept\" is no verdict",
		"drop from 10.0.0.1":                 "line 1, column 6: \"from\" is no match",
		"drop vlan 5 vlan 6":                 "line 1, column 13: vlan a second time",
		"drop vlan":                          "line 1, column 10: vlan lacks its entries",
		"drop vlan # 5":                      "line 1, column 10: vlan lacks its entries",
		"drop vlan 5, 6":                     "line 1, column 13: an entry is missing",
		"drop vlan 5,,6":                     "line 1, column 13: an entry is missing",
		"drop vlan ,5":                       "line 1, column 11: an entry is missing",
		"drop vlan 5,4095":                   "line 1, column 13: VLAN id 4095: at most 4094, 0 for untagged",
		"drop vlan 5,9-7":                    "line 1, column 13: 9-7 ends before it begins",
		"drop vlan 5-":                       "line 1, column 13: \"\" is no number from 0 to 65535",
		"drop vlan -5":                       "line 1, column 11: \"\" is no number",
		"drop vlan 1-2-3":                    "line 1, column 13: \"2-3\" is no number",
		"drop vlan +5":                       "line 1, column 11: \"+5\" is no number",
		"drop vlan 0x":                       "line 1, column 11: \"0x\" is no number",
		"drop vlan 1_0":                      "line 1, column 11: \"1_0\" is no number",
		"drop dport 65536":                   "line 1, column 12: \"65536\" is no number from 0 to 65535",
		"drop sport 2-1":                     "line 1, column 12: 2-1 ends before it begins",
		"drop proto 256":                     "line 1, column 12: \"256\" is no number from 0 to 255",
		"drop proto udplite":                 "line 1, column 12: \"udplite\" is no IP protocol that has a name here",
		"drop ethertype ipx":                 "line 1, column 16: \"ipx\" is no EtherType that has a name here",
		"drop ethertype 0x5ff":               "line 1, column 16: 0x05ff is a length",
		"drop src-mac 02:00:00:00:00":        "line 1, column 14: \"02:00:00:00:00\" is no MAC address",
		"drop src-mac 02:00:00:00:00:0g":     "line 1, column 14: ",
		"drop src-mac 02-00-00-00-00-01":     "line 1, column 14: ",
		"drop dst-mac +2:00:00:00:00:01":     "line 1, column 14: ",
		"drop src 10.0.0.0/33":               "line 1, column 10: \"10.0.0.0/33\" is no IPv4 prefix",
		"drop src 10.0.0.1,fe80::1":          "line 1, column 19: fe80::1/128 is no IPv4 prefix",
		"drop dst ::ffff:10.0.0.1":           "line 1, column 10: ",
		"default":                            "line 1, column 8: the default lacks its verdict",
		"default deny":                       "line 1, column 9: \"deny\" is no verdict",
		"default skip vlan 5":                "line 1, column 14: \"vlan\": the default has a verdict and nothing else",
		"\ndefault skip\n\ndrop":             "line 4, column 1: the default, in line 2, is the last",
		"default skip\ndefault skip":         "line 2, column 1: the default, in line 1, is the last",
		strings.Repeat("drop\n", MaxRules+1): "line 4097, column 1: more than 4096 rules",
		"drop vlan 5\x00":                    "line 1, column 11: \"5\\x00\" is no number",
		"drop \xff 5":                        "line 1, column 6: \"\\xff\" is no match",
	} {
		r, err := ParseRules(text)
		var syntax *SyntaxError
		if r != nil || !errors.Is(err, syscall.EINVAL) || !errors.As(err, &syntax) || !strings.HasPrefix(err.Error(), "filter: "+want) {
			t.Errorf("%.40q: %v; want %q", text, err, want)
		}
	}
	many := "drop dport 1" + strings.Repeat(",1", MaxEntries)
	if _, err := ParseRules(many); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "rule 1: DstPorts: more than") {
		t.Errorf("%d entries: %v", MaxEntries+1, err)
	}
}

// What is written is read again as the same rules.
func checkRoundTrip(t *testing.T, r *Rules) {
	t.Helper()
	text, err := r.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var again Rules
	if err := again.UnmarshalText(text); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if !reflect.DeepEqual(r, &again) {
		t.Errorf("%s came back as\n%v", text, &again)
	}
}

func TestTextRoundTrip(t *testing.T) {
	dice := newDice(t)
	for range 50 {
		checkRoundTrip(t, draw(t, dice).rules)
	}
	r := new(Rules)
	if err := r.UnmarshalText([]byte("permit")); err == nil || r.String() != "default drop\n" {
		t.Errorf("%v, %q", err, r)
	}
}

func TestLoadRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	if _, err := LoadRules(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for text, want := range map[string]string{"accept\n": "", "accept\nfrob": "line 2"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := LoadRules(path)
		if want == "" && (err != nil || len(r.Rules()) != 1) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzParseRules: no text brings the parser down, and what it reads it reads
// again from what it writes.
func FuzzParseRules(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(filtertest.Rules(rand.New(rand.NewPCG(seed, 0)), 3))
	}
	f.Add("vlan vlan 0 # x\n\ndefault drop\r\n")
	f.Add("drop src 10.0.0.1/8,1.2.3.4 proto 0x11 ethertype 1536 sport 0-0xffff")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRules(text)
		if err != nil {
			if r != nil || !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%v, %v", r, err)
			}
			return
		}
		checkRoundTrip(t, r)
	})
}
