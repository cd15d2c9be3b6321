package capture_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/capture"
	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/proto/udp"
)

// rules have each verdict for some port.
const rules = `
drop proto udp dport 8
skip proto udp dport 9
vlan proto udp dport 10
accept proto udp
default skip
`

// verdicts are datagrams, and what a capture says of them under the rules.
var verdicts = []struct {
	port uint16
	tci  uint16
	want string
}{
	{7, 0, "delivered, verdict accept"},
	{8, 0, "dropped: filter, verdict drop"},
	{9, 0, "demoted: skipped, verdict skip"},
	{10, 0, "demoted: skipped, verdict vlan"},
	{9, 42, "dropped: no_port, verdict skip"},
	{11, 0, "demoted: no_socket, verdict accept"},
}

// TestVerdicts: where the device's filter runs in the stack, a capture has its
// verdict of each frame beside what became of the frame, in files and in text.
func TestVerdicts(t *testing.T) {
	leaktest.Check(t)
	a, b := pair(t)
	c, err := udp.Listen(b.Stack, b.At(7), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	by, err := filter.ParseRules(rules)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Device.SetFilter(by); err != nil {
		t.Fatal(err)
	}
	var file, text, drops output
	sessions := []*capture.Session{
		start(t, b.Device, &file, nil),
		start(t, b.Device, &text, &capture.Config{Format: capture.Text}),
		start(t, b.Device, &drops, &capture.Config{Filter: "dropped filter"}),
	}
	for _, v := range verdicts {
		raw(t, a, datagram(a, b, v.tci, v.port, "x"))
	}
	if n := b.Poll(); n != len(verdicts) {
		t.Fatalf("%d frames came, want %d", n, len(verdicts))
	}
	if err := b.Device.SetFilter(nil); err != nil {
		t.Fatal(err)
	}
	raw(t, a, datagram(a, b, 0, 7, "x"))
	b.Poll()
	for _, s := range sessions {
		stop(t, s)
	}
	packets := readFile(t, file.bytes()).packets
	lines := strings.Split(string(text.bytes()), "\n")
	if len(packets) < len(verdicts)+1 || len(lines) < len(verdicts)+1 {
		t.Fatalf("%d packets; text:\n%s", len(packets), text.bytes())
	}
	for i, v := range verdicts {
		if got := packets[i].comment; got != v.want {
			t.Errorf("port %d, tag %d: the file says %q, want %q", v.port, v.tci, got, v.want)
		}
		if want := " [" + v.want + "]"; !strings.HasSuffix(lines[i], want) {
			t.Errorf("port %d, tag %d: %q has no %q", v.port, v.tci, lines[i], want)
		}
	}
	if got := packets[len(verdicts)].comment; got != "delivered" {
		t.Errorf("without a filter: %q", got)
	}
	if kept := readFile(t, drops.bytes()).packets; len(kept) != 1 || kept[0].comment != "dropped: filter, verdict drop" {
		t.Errorf("a capture of what the filter drops has %+v", kept)
	}
}

// says is a filter that says the same of each frame.
type says filter.Action

func (says) XDP() (*filter.XDP, error)               { return nil, errors.ErrUnsupported }
func (s says) Instance(int) (filter.Instance, error) { return s, nil }
func (says) RuleHits() []uint64                      { return nil }
func (says) Map(string) (filter.Map, error)          { return nil, filter.ErrNoMap }
func (s says) Run(_ int, packets []filter.Packet) {
	for i := range packets {
		packets[i].Action, packets[i].Target = filter.Action(s), 1<<20
	}
}

// TestVerdictsOfPrograms: what only programs of XDP's type can say has its name
// in a file, too.
func TestVerdictsOfPrograms(t *testing.T) {
	leaktest.Check(t)
	a, b := pair(t)
	var file output
	s := start(t, b.Device, &file, nil)
	said := []struct {
		action filter.Action
		want   string
	}{
		{filter.ActionError, "dropped: filter_error, verdict error"},
		{200, "dropped: filter_error, verdict error"},
		{filter.ActionRedirect, "dropped: forward, verdict redirect"},
		{filter.ActionTX, "forwarded, verdict tx"},
	}
	for _, c := range said {
		if err := b.Device.SetFilter(says(c.action)); err != nil {
			t.Fatal(err)
		}
		raw(t, a, datagram(a, b, 0, 7, "x"))
		b.Poll()
	}
	stop(t, s)
	var got []string
	for _, p := range readFile(t, file.bytes()).packets {
		if p.flags&3 == 1 { // received
			got = append(got, p.comment)
		}
	}
	for i, c := range said {
		if i >= len(got) || got[i] != c.want {
			t.Errorf("action %v: want %q of %q", c.action, c.want, got)
		}
	}
}
