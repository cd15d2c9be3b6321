package arp

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestReadTable(t *testing.T) {
	got, err := ReadTable(strings.NewReader(`# the cell's drives
10.0.0.2  02:00:00:00:00:0a
	10.0.0.3 02-00-00-00-00-0B eth0.42   # second drive

::ffff:10.0.0.4 0200.0000.000a eth1
10.0.0.2 02:00:00:00:00:0b eth1
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Static{
		{ip("10.0.0.2"), macA, "", 2},
		{ip("10.0.0.3"), macB, "eth0.42", 3},
		{ip("10.0.0.4"), macA, "eth1", 5},
		{ip("10.0.0.2"), macB, "eth1", 6},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if got, err := ReadTable(strings.NewReader("# nothing\n")); len(got) != 0 || err != nil {
		t.Errorf("an empty table: %v, %v", got, err)
	}
}

func TestReadTableErrors(t *testing.T) {
	ok := "10.0.0.2 02:00:00:00:00:0a\n"
	cases := []struct {
		text, says string
		want       error
	}{
		{ok + "10.0.0.3\n", "line 2: 1 fields", syscall.EINVAL},
		{ok + "10.0.0.3 02:00:00:00:00:0b eth0 more\n", "line 2: 4 fields", syscall.EINVAL},
		{"\n\n10.0.0 02:00:00:00:00:0b\n", `line 3: "10.0.0"`, syscall.EINVAL},
		{"fe80::1 02:00:00:00:00:0b\n", "line 1: fe80::1", syscall.EAFNOSUPPORT},
		{"224.0.0.1 02:00:00:00:00:0b\n", "line 1: 224.0.0.1", syscall.EINVAL},
		{"0.0.0.0 02:00:00:00:00:0b\n", "line 1: 0.0.0.0", syscall.EINVAL},
		{"255.255.255.255 02:00:00:00:00:0b\n", "line 1: 255.255.255.255", syscall.EINVAL},
		{"10.0.0.2 02:00:00:00:00\n", `line 1: "02:00:00:00:00"`, syscall.EINVAL},
		{"10.0.0.2 02:00:00:00:00:00:00:01\n", "line 1", syscall.EINVAL},
		{"10.0.0.2 ff:ff:ff:ff:ff:ff\n", "line 1", syscall.EINVAL},
		{"10.0.0.2 00:00:00:00:00:00\n", "line 1", syscall.EINVAL},
		{ok + "# comment\n" + ok, "line 3: 10.0.0.2 stands in line 1", syscall.EINVAL},
		{ok + strings.Repeat("x", 1<<17), "line 2: longer than", syscall.EINVAL},
	}
	for _, c := range cases {
		table, err := ReadTable(strings.NewReader(c.text))
		if table != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.40q: %v, %v; want %q and %v", c.text, table, err, c.says, c.want)
		}
	}
	if _, err := ReadTable(io.MultiReader(strings.NewReader(ok), broken{})); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a reader that fails: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (broken) Write([]byte) (int, error) {
	return 0, io.ErrClosedPipe
}

// Whatever a table says, its lines make entries that the cache takes.
func FuzzReadTable(f *testing.F) {
	f.Add([]byte("10.0.0.2 02:00:00:00:00:0a eth0 # x\n"))
	f.Add([]byte("10.0.0.2 ff:ff:ff:ff:ff:ff\n::1 x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := ReadTable(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range table {
			spec := Spec{Dst: s.Addr, Src: s.Addr, Via: eth0, MAC: s.MAC, MTU: 1500, Permanent: true}
			if _, err := spec.complete(); err != nil {
				t.Errorf("line %d: %v", s.Line, err)
			}
		}
	})
}

func TestSolicitOptions(t *testing.T) {
	solicit := func(opts ...SolicitOption) SolicitOptions { return JoinOptions(opts...) }
	cases := []struct {
		got, want SolicitOptions
	}{
		{solicit(), SolicitOptions{}},
		{solicit(Permanent), SolicitOptions{Permanent: true}},
		{solicit(MayRoute), SolicitOptions{MayRoute: true}},
		{solicit(Permanent, MayRoute), SolicitOptions{Permanent: true, MayRoute: true}},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("got %+v, want %+v", c.got, c.want)
		}
	}
}

func TestKindString(t *testing.T) {
	if Unicast.String() != "unicast" || Multicast.String() != "multicast" || Broadcast.String() != "broadcast" || Kind(9).String() != "unknown" {
		t.Error("wrong names")
	}
}
