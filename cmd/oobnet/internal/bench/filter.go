package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/report"
	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/filter/vm"
	"github.com/oobnet/oobnet/internal/wire"
)

// goalRules: 1 000 rules cost a packet at most so many times what 1 does.
var goalRules = report.Goal(5)

// manyRules is how many rules are compared with one.
const manyRules = 1000

// ruleShape is a kind of rule set: rule i of n, and whether frames fit.
type ruleShape struct {
	name string
	rule func(i int) filter.Rule
}

// The shapes: flows as a controller has them, and the most work that a packet
// can be: it fits no rule, and nearly fits all of them.
var ruleShapes = []ruleShape{
	{"flows", func(i int) filter.Rule {
		return filter.Rule{
			VLANs: []filter.Range{filter.Only(flowVLAN)}, Protocols: []uint8{wire.ProtocolUDP},
			Dst: []netip.Prefix{flowHost(i)}, DstPorts: []filter.Range{filter.Only(flowPort(i))},
		}
	}},
	{"miss", func(i int) filter.Rule {
		r := filter.Rule{VLANs: []filter.Range{{Lo: 2, Hi: 9}}, Protocols: []uint8{wire.ProtocolUDP}, DstPorts: []filter.Range{{Lo: 1, Hi: 65000}}}
		nobody := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
		if i%2 == 0 {
			r.Src = nobody
		} else {
			r.Dst = nobody
		}
		return r
	}},
}

const flowVLAN = 5

func flowPort(i int) uint16 { return uint16(1000 + 7*i) }

// flowHost is host i of 198.18.0.0/16, the lower half of the benchmark's
// network.
func flowHost(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)
}

// flowFrame is a frame of flow i.
func flowFrame(i int) []byte {
	to := netip.AddrPortFrom(flowHost(i).Addr(), flowPort(i))
	plain := udpFrame(ownMAC, peerMAC, peerEnd, to, payload(64))
	tagged := append([]byte{}, plain[:12]...)
	tagged = binary.BigEndian.AppendUint16(tagged, wire.TypeVLAN)
	tagged = binary.BigEndian.AppendUint16(tagged, flowVLAN)
	return append(tagged, plain[12:]...)
}

// flowFrames are a batch for n flows, spread over them.
func flowFrames(n int) [][]byte {
	const step = 7919 // a prime, so that all are met
	frames := make([][]byte, batch)
	for i := range frames {
		frames[i] = flowFrame(i * step % n)
	}
	return frames
}

func (s ruleShape) rules(n int) (*filter.Rules, error) {
	rules := make([]filter.Rule, n)
	for i := range rules {
		rules[i] = s.rule(i)
		rules[i].Verdict = filter.Accept
	}
	return filter.NewRules(filter.Skip, rules...)
}

// filterSuite compares many rules with one, here and in the kernel, and the
// programs that rules compile to, in the virtual machine, with the bound that an
// instruction has. Programs compiled from C are measured by filter/vm's own
// benchmark: see BenchmarkPrograms.
func filterSuite() []contest {
	var cs []contest
	for _, s := range ruleShapes {
		cs = append(cs,
			rulesContest("rules_"+s.name, s, s.matcher),
			rulesContest("rules_xdp_"+s.name, s, s.xdp))
	}
	return append(cs, vmContest())
}

func rulesContest(name string, s ruleShape, side func(n int) contender) contest {
	return contest{
		suite: "filter", name: name, contenders: []contender{side(1), side(manyRules)},
		rows: []rowSpec{{
			name: fmt.Sprintf("%s_%d", name, manyRules), unit: "ns", metric: "ns",
			ours: scaleName("rules", manyRules), peer: scaleName("rules", 1), goal: goalRules,
		}},
	}
}

// matcher runs n rules on batches here.
func (s ruleShape) matcher(n int) contender {
	return contender{name: scaleName("rules", n), setUp: func(context.Context) (turn, func(), error) {
		rules, err := s.rules(n)
		if err != nil {
			return nil, nil, err
		}
		instance, err := rules.Instance(1)
		if err != nil {
			return nil, nil, err
		}
		packets := make([]filter.Packet, batch)
		for i, b := range flowFrames(n) {
			packets[i] = filter.Packet{Buffer: b, Len: len(b)}
		}
		p := path{before: nothing, after: nothingErr, run: func() error {
			instance.Run(0, packets)
			return nil
		}}
		return p.turn, nothing, nil
	}}
}

// vmBound is the most that an instruction may take in the virtual machine, ns.
const vmBound = 6

// goalVM: within the bound.
var goalVM = report.Goal(1)

// vmContest has the generated programs of rule sets run in the virtual machine.
func vmContest() contest {
	return contest{
		suite: "filter", name: "vm_instruction", contenders: []contender{vmContender(), boundOf(vmBound)},
		rows: []rowSpec{{name: "vm_instruction", unit: "ns", metric: "ns", ours: "vm", peer: "bound", goal: goalVM}},
	}
}

// vmContender runs the XDP programs of one rule and of many, of each shape, on
// batches of frames; its figure is the median over the programs.
func vmContender() contender {
	return contender{name: "vm", setUp: func(context.Context) (turn, func(), error) {
		var runs []func() (time.Duration, int, error)
		for _, s := range ruleShapes {
			for _, n := range []int{1, manyRules} {
				run, err := s.inVM(n)
				if err != nil {
					return nil, nil, err
				}
				runs = append(runs, run)
			}
		}
		return func(ctx context.Context, d time.Duration) (figures, error) { return timeVM(ctx, d, runs) }, nothing, nil
	}}
}

// timeVM gives each program its part of the time.
func timeVM(ctx context.Context, d time.Duration, runs []func() (time.Duration, int, error)) (figures, error) {
	perInstruction := make([]float64, len(runs))
	for i, run := range runs {
		var total time.Duration
		steps := 0
		for end := time.Now().Add(d / time.Duration(len(runs))); steps == 0 || time.Now().Before(end); {
			took, n, err := run()
			if err = errors.Join(err, ctx.Err()); err != nil {
				return nil, err
			}
			total += took
			steps += n
		}
		perInstruction[i] = float64(total) / float64(steps)
	}
	slices.Sort(perInstruction)
	return figures{"ns": perInstruction[len(perInstruction)/2]}, nil
}

// inVM returns a function that runs the program of n rules on a batch, and
// says how long that took and how many instructions it was.
func (s ruleShape) inVM(n int) (func() (time.Duration, int, error), error) {
	rules, err := s.rules(n)
	if err != nil {
		return nil, err
	}
	x, err := rules.XDP()
	if err != nil {
		return nil, err
	}
	machine, err := vm.New(x.Spec, x.Entry, nil)
	if err != nil {
		return nil, err
	}
	runner, frames := machine.Runner(0), flowFrames(n)
	c := new(vm.Context)
	return func() (time.Duration, int, error) {
		steps := 0
		start := time.Now()
		for _, b := range frames {
			c.Buffer, c.Off, c.Len = b, 0, len(b)
			if _, fault := runner.Run(c); fault != 0 {
				return 0, 0, fmt.Errorf("bench: %w at %s", fault, runner.Where())
			}
			steps += runner.Instructions()
		}
		return time.Since(start), steps, nil
	}, nil
}
