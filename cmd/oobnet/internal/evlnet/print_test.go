package evlnet_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/evlnet"
	"github.com/oobnet/oobnet/control"
)

var figures = control.PortStats{
	Capable: true, RXPackets: 137399, RXBytes: 14, TXPackets: 2092625, TXBytes: 16, BufferSize: 4096,
	BuffersFree: 2048, BuffersTotal: 2049, CsumErrors: 5, RXNoMem: 6, TXNoMem: 7,
}

// What EVL's documentation shows.
func TestLetters(t *testing.T) {
	for letters, want := range map[string]string{
		"oRTf":       "1 2092625 137399 2048\n",
		"r":          "16\n",
		"t":          "14\n",
		"sfa":        "4096 2048 2049\n",
		"c":          "5\n",
		"x":          "6 7\n",
		"xcafsotTrR": "6 7 5 2049 2048 4096 1 14 137399 16 2092625\n",
	} {
		if got, err := evlnet.Letters(&figures, letters); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", letters, got, err, want)
		}
	}
	not := figures
	not.Capable = false
	if got, err := evlnet.Letters(&not, "o"); err != nil || got != "0\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWords(t *testing.T) {
	want := `oob capability: yes
    rx packets: 137399
      rx bytes: 14
    tx packets: 2092625
      tx bytes: 16
      skb size: 4096
      skb free: 2048 / 2049
   csum errors: 5
      rx nomem: 6
      tx nomem: 7
`
	if got := evlnet.Words(&figures); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := evlnet.Words(&control.PortStats{}); !strings.HasPrefix(got, "oob capability: no\n") {
		t.Errorf("got %s", got)
	}
}

func flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("net", pflag.ContinueOnError)
	f.BoolP("enable-port", "e", false, "")
	f.BoolP("print-vlan-ids", "n", false, "")
	f.StringP("interface", "i", "", "")
	f.IntP("pool-size", "p", 0, "")
	f.StringP("solicit", "s", "", "")
	f.StringP("solicit-permanent", "S", "", "")
	f.StringP("query-port", "Q", "", "")
	f.StringP("filter", "F", "", "")
	f.StringP("set-vlan-ids", "N", "", "")
	return f
}

func TestNormalize(t *testing.T) {
	for line, want := range map[string]string{
		"-ei eth1.42 -p 4096":          "--enable-port --interface=eth1.42 --pool-size=4096",
		"-eieth1":                      "--enable-port --interface=eth1",
		"-QoRTf -i eth1":               "--query-port=oRTf --interface=eth1",
		"-Q -i eth1":                   "--query-port= --interface=eth1",
		"-nQ":                          "--print-vlan-ids --query-port=",
		"-Fa.o":                        "--filter=a.o",
		"-F a.o":                       "--filter= a.o",
		"-N42-45,100 -n":               "--set-vlan-ids=42-45,100 --print-vlan-ids",
		"-N":                           "--set-vlan-ids=",
		"-i -e":                        "--interface=-e",
		"--interface eth1 --enable":    "--interface=eth1 --enable-port",
		"--query-port=oR --query-port": "--query-port=oR --query-port=",
		"--pool 7":                     "--pool-size=7",
		"--solicit a":                  "--solicit=a",
		"-- -e":                        "-- -e",
		"- -e":                         "- --enable-port",
	} {
		got, err := evlnet.Normalize(flags(), strings.Fields(line))
		if err != nil || !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: got %q, %v, want %q", line, got, err, want)
		}
	}
	for line, want := range map[string]string{
		"-z":          `'z'`,
		"-ez":         `'z'`,
		"-i":          "-i needs a value",
		"--interface": "--interface needs a value",
		"--nosuch":    "--nosuch",
		"--enable=1":  "takes no value",
		"--p":         "can be several",
		"--=":         "no option --",
		"-e\xff":      "no option",
	} {
		if got, err := evlnet.Normalize(flags(), strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want %q", line, got, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		o   evlnet.Options
		say string
	}{
		{evlnet.Options{}, "no command"},
		{evlnet.Options{Interface: "eth0"}, "no command"},
		{evlnet.Options{Enable: true}, "-i"},
		{evlnet.Options{Query: true}, "-i"},
		{evlnet.Options{Enable: true, Interface: "eth0", PoolSize: -1}, "-p"},
		{evlnet.Options{Enable: true, Interface: "eth0", BufferSize: -1}, "-b"},
	} {
		if err := tc.o.Check(); err == nil || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%+v: got %v, want %q", tc.o, err, tc.say)
		}
	}
}
