package arp

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

func TestDump(t *testing.T) {
	r := newRig(t, Config{})
	s := behind("192.0.2.9", "10.0.0.2", macA)
	s.VLAN = 5<<13 | 42
	r.learn(s)
	r.learn(permanent(onlink("10.0.0.10", macB)))
	r.learn(onlink("10.0.0.9", macA)).Touch()
	m := onlink("239.0.0.1", link.MAC{})
	m.Kind = Multicast
	r.learn(m)
	r.pass(21)
	r.Confirm(eth0, ip("10.0.0.10"), macA)
	r.now = r.now.Add(1500 * time.Millisecond)

	dump := r.Dump()
	want := []Info{
		{Dst: ip("10.0.0.9"), NextHop: ip("10.0.0.9"), Src: ip("10.0.0.1"), Port: "eth0", MAC: "02:00:00:00:00:0a", SrcMAC: "02:00:00:00:00:01",
			MTU: 1500, Kind: "unicast", ConfirmedMS: 22_500, UsedMS: 21_500, Probes: 2},
		{Dst: ip("10.0.0.10"), NextHop: ip("10.0.0.10"), Src: ip("10.0.0.1"), Port: "eth0", MAC: "02:00:00:00:00:0b", SrcMAC: "02:00:00:00:00:01",
			MTU: 1500, Kind: "unicast", Permanent: true, ConfirmedMS: 1500, UsedMS: -1, Conflict: "02:00:00:00:00:0a"},
		{Dst: ip("192.0.2.9"), NextHop: ip("10.0.0.2"), Src: ip("10.0.0.1"), Port: "eth0", MAC: "02:00:00:00:00:0a", SrcMAC: "02:00:00:00:00:01",
			Tagged: true, VLAN: 42, PCP: 5, MTU: 1500, Kind: "unicast", ConfirmedMS: 22_500, UsedMS: -1},
		{Dst: ip("239.0.0.1"), NextHop: ip("239.0.0.1"), Src: ip("10.0.0.1"), Port: "eth0", MAC: "01:00:5e:00:00:01", SrcMAC: "02:00:00:00:00:01",
			MTU: 1500, Kind: "multicast", ConfirmedMS: -1, UsedMS: -1},
	}
	if !reflect.DeepEqual(dump, want) {
		t.Errorf("got\n%v\nwant\n%v", dump, want)
	}
	var states []string
	for _, i := range dump {
		states = append(states, i.State())
	}
	if got := strings.Join(states, " "); got != "probing permanent reachable static" {
		t.Errorf("states %s", got)
	}
	line := "192.0.2.9 10.0.0.2 eth0 10.0.0.1 02:00:00:00:00:0a 42/5 1500 22.5s - reachable"
	if got := dump[2].String(); got != line {
		t.Errorf("line %q, want %q", got, line)
	}

	// What one process writes as JSON, another shows as the same table.
	text, err := json.Marshal(dump)
	if err != nil {
		t.Fatal(err)
	}
	var back []Info
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, dump) {
		t.Errorf("through JSON: %v, %v", back, err)
	}
	if err := WriteText(broken{}, dump); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a writer that fails: %v", err)
	}
}
