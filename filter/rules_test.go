package filter

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every way in which a rule cannot be has an error that names rule and field.
func TestNewRulesRefuses(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, tc := range []struct {
		rule Rule
		want string
	}{
		{Rule{Verdict: 4}, "rule 2: Verdict: verdict(4) does not exist"},
		{Rule{Verdict: -1}, "rule 2: Verdict: verdict(-1) does not exist"},
		{Rule{VLANs: []Range{Only(1), {2, 1}}}, "rule 2: VLANs[1]: 2-1 ends before it begins"},
		{Rule{VLANs: []Range{Only(4095)}}, "rule 2: VLANs[0]: VLAN id 4095"},
		{Rule{VLANs: []Range{{1, 0xffff}}}, "rule 2: VLANs[0]: VLAN id 65535"},
		{Rule{EtherTypes: []uint16{0x800, 0x5ff}}, "rule 2: EtherTypes[1]: 0x05ff is a length"},
		{Rule{Src: []netip.Prefix{{}}}, "rule 2: Src[0]: invalid Prefix is no IPv4 prefix"},
		{Rule{Dst: []netip.Prefix{prefix("fe80::/10")}}, "rule 2: Dst[0]: fe80::/10 is no IPv4 prefix"},
		{Rule{Dst: []netip.Prefix{prefix("::ffff:10.0.0.0/104")}}, "rule 2: Dst[0]: "},
		{Rule{SrcPorts: []Range{{320, 319}}}, "rule 2: SrcPorts[0]: 320-319 ends before it begins"},
		{Rule{DstPorts: []Range{{1, 0}}}, "rule 2: DstPorts[0]: 1-0 ends before it begins"},
		{Rule{DstPorts: make([]Range, MaxEntries+1)}, "rule 2: DstPorts: more than 8192 entries"},
		{Rule{Src: make([]netip.Prefix, MaxEntries)}, "rule 2: Src: more than 8192 entries"},
	} {
		r, err := NewRules(Skip, Rule{Src: []netip.Prefix{prefix("10.0.0.0/8")}}, tc.rule)
		if r != nil || !errors.Is(err, syscall.EINVAL) || !strings.HasPrefix(err.Error(), "filter: "+tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
	if _, err := NewRules(4); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "default") {
		t.Errorf("default 4: %v", err)
	}
	if _, err := NewRules(Skip, make([]Rule, MaxRules+1)...); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%d rules: %v", MaxRules+1, err)
	}
}

// Rules are a copy of what they were made of, and what they show is one of them.
func TestRulesAreImmutable(t *testing.T) {
	given := []Rule{{VLANs: []Range{Only(5)}, DstPorts: []Range{Only(7)}, Verdict: Accept}}
	r, err := NewRules(Drop, given...)
	if err != nil {
		t.Fatal(err)
	}
	before := r.String()
	given[0].VLANs[0] = Only(6)
	shown := r.Rules()
	shown[0].DstPorts[0] = Only(8)
	shown[0].Verdict = Drop
	if r.String() != before || r.Default() != Drop {
		t.Errorf("%q, default %v; was %q", r, r.Default(), before)
	}
}

func TestZeroRulesDrop(t *testing.T) {
	var r Rules
	m, err := r.Instance(1)
	if err != nil {
		t.Fatal(err)
	}
	p := []Packet{{Action: ActionSkip}}
	m.Run(0, p)
	if p[0].Action != ActionDrop || !reflect.DeepEqual(m.RuleHits(), []uint64{1}) {
		t.Errorf("action %d, hits %d", p[0].Action, m.RuleHits())
	}
	if x, err := r.XDP(); err != nil || x.Spec.Programs[x.Entry] == nil || x.Spec.Maps[x.RuleHits] == nil {
		t.Errorf("XDP: %+v, %v", x, err)
	}
}

func TestEVLRule(t *testing.T) {
	for _, ids := range [][]uint16{{0}, {1}, {4095}, {5, 4096}, {0xffff}} {
		if r, err := EVLRule(ids...); r != nil || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("ids %d: %v", ids, err)
		}
	}
	for want, ids := range map[string][]uint16{
		"default skip\n": nil,
		"accept vlan 2-4,100,4093-4094 ethertype ipv4\ndefault skip\n": {4094, 3, 2, 100, 4, 3, 4093},
	} {
		if r, err := EVLRule(ids...); err != nil || r.String() != want {
			t.Errorf("ids %d: %q, %v; want %q", ids, r, err, want)
		}
	}
	r, err := EVLRule(5)
	if err != nil {
		t.Fatal(err)
	}
	ipv4, tag := "0800 4500", "8100 0005"
	for tail, want := range map[string]Verdict{
		tag + ipv4:                         Accept,
		"8100 e005" + ipv4:                 Accept, // with a priority
		"88a8 0007" + tag + ipv4:           Accept, // the inner tag of QinQ
		"88a8 0005 8100 0007" + ipv4:       Skip,   // not the outer one
		"88a8 0005" + ipv4:                 Skip,
		"8100 0006" + ipv4:                 Skip,
		"8100 0006" + tag + ipv4:           Skip,
		ipv4:                               Skip,
		tag + "0806":                       Skip,
		tag + "86dd":                       Skip,
		tag[:6] + "0":                      Skip,
		"88a8 0007" + tag + "08":           Skip,
		"88a8 0007 88a8 0007" + tag + ipv4: Skip,
	} {
		newRig(t, r).expect(tail, "ffffffffffff 020000000001"+tail, want)
	}
}

func TestInstanceRefuses(t *testing.T) {
	r, err := NewRules(Accept)
	if err != nil {
		t.Fatal(err)
	}
	for _, queues := range []int{0, -1} {
		if m, err := r.Instance(queues); m != nil || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d queues: %v", queues, err)
		}
	}
	m, err := r.Instance(2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Map("xsks_map"); !errors.Is(err, ErrNoMap) {
		t.Errorf("a map: %v", err)
	}
	p := make([]Packet, 2)
	for _, queue := range []int{-1, 2} {
		m.Run(queue, p)
		if p[0].Action != ActionError || p[1].Action != ActionError {
			t.Errorf("queue %d: actions %d and %d", queue, p[0].Action, p[1].Action)
		}
	}
	m.Run(1, p)
	if p[1].Action != ActionAccept || m.RuleHits()[0] != 2 {
		t.Errorf("action %d, hits %d", p[1].Action, m.RuleHits())
	}
}

// Hits of all queues are summed, whichever way rules take turns in a batch.
func TestRuleHits(t *testing.T) {
	r, err := NewRules(Skip, Rule{VLANs: []Range{Only(5)}}, Rule{VLANs: []Range{Only(6)}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Instance(2)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 60)
	for queue, tcis := range [][]uint16{{5, 5, 6, 5, 7, 6}, {6, 6}, {}} {
		var p []Packet
		for _, tci := range tcis {
			p = append(p, Packet{Buffer: frame, Len: 60, TCI: tci, Stripped: true})
		}
		m.Run(queue%2, p)
	}
	if want := []uint64{3, 4, 1}; !reflect.DeepEqual(m.RuleHits(), want) {
		t.Errorf("hits %d, want %d", m.RuleHits(), want)
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	for _, shape := range ruleShapes {
		m, err := manyRules(t, 200, shape.rule).Instance(1)
		if err != nil {
			t.Fatal(err)
		}
		packets := framesFor(200)
		if n := testing.AllocsPerRun(100, func() { m.Run(0, packets) }); n != 0 {
			t.Errorf("%s: %v allocations a batch", shape.name, n)
		}
	}
}

// fullRules are as many rules and entries as there may be, as unlike as can be.
func fullRules(t testing.TB) []Rule {
	t.Helper()
	rules := make([]Rule, MaxRules)
	const each = MaxEntries / MaxRules
	for i := range rules {
		r := &rules[i]
		r.Verdict = Accept
		for k := range uint16(each) {
			n := uint16(i)*each + k
			r.VLANs = append(r.VLANs, Only(n%4095))
			r.EtherTypes = append(r.EtherTypes, 0x0600+n)
			mac := [6]byte{2, 0, byte(n), 0, 0, byte(n >> 8)}
			r.SrcMACs, r.DstMACs = append(r.SrcMACs, mac), append(r.DstMACs, mac)
			host := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 8), byte(n), byte(n), 1}), 32)
			r.Src, r.Dst = append(r.Src, host), append(r.Dst, host)
			r.Protocols = append(r.Protocols, uint8(n))
			r.SrcPorts = append(r.SrcPorts, Range{n * 3, n*3 + 5})
			r.DstPorts = append(r.DstPorts, Range{n * 3, 65535 - n})
		}
	}
	return rules
}

// The bounds that Rules states hold where everything is at its bound.
func TestBoundsOfTables(t *testing.T) {
	const limit = raceFactor * time.Second
	var full *Rules
	took := 2 * limit
	for range 5 { // what else the machine does can only make it longer
		start := time.Now()
		var err error
		if full, err = NewRules(Skip, fullRules(t)...); err != nil {
			t.Fatal(err)
		}
		if took = min(took, time.Since(start)); took <= limit {
			break
		}
	}
	size := len(full.tables.block)
	t.Logf("%d rules: %v, %d bytes", MaxRules, took, size)
	if size > 64<<20 {
		t.Errorf("%d bytes of tables, more than 64 MiB", size)
	}
	if took > limit {
		t.Errorf("compiled in %v, more than %v", took, limit)
	}
	for _, d := range full.tables.order {
		if n := full.tables.dims[d].classes; n > maxClass {
			t.Errorf("%v: %d classes", d, n)
		}
	}
	some, err := NewRules(Skip, full.Rules()[:1000]...)
	if err != nil {
		t.Fatal(err)
	}
	if size := len(some.tables.block); size > 8<<20 {
		t.Errorf("1000 rules: %d bytes of tables", size)
	}
}
