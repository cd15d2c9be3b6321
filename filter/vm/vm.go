package vm

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

const (
	// DefaultBudget is how many instructions a run may take: what the kernel's
	// verifier looks at before it refuses a program (BPF_COMPLEXITY_LIMIT_INSNS
	// is a million), so that what loads there has enough here, but for
	// programs that owe their length to bpf_loop. It bounds a run to a few
	// milliseconds, and to some tens of them if most of it is the dearest there
	// is: reading the clock, or memory of maps that no cache holds.
	DefaultBudget = 1 << 20
	// DefaultMapMemory is how many bytes the maps of a VM may take together.
	DefaultMapMemory = 256 << 20
	// maxCPUs is more than any device has queues.
	maxCPUs = 4096
)

// exitIndex is the place of an exit that the VM itself has put there.
const exitIndex = 0

// Config says how programs run; the zero Config, and nil, mean the defaults.
type Config struct {
	// CPUs is how many Runners there can be, and values in a per-CPU map; 0: 1.
	CPUs int
	// Budget is how many instructions a run may take; 0: DefaultBudget.
	Budget int
	// Type is that of a program whose section does not say: ebpf.XDP or
	// ebpf.SocketFilter; 0: ebpf.XDP.
	Type ebpf.ProgramType
	// MapMemory is how many bytes the maps may take; 0: DefaultMapMemory.
	MapMemory int64
}

// VM is a program made ready to run, with its maps. All its methods may be
// called by any goroutine, while Runners run.
type VM struct {
	socket bool // the type of all its programs: socket filter, or XDP
	cpus   int
	budget int
	code   []insn
	entry  int
	// programs are the entries that tail calls can lead to, by the number that
	// program arrays hold.
	programs []program
	maps     []*Map
	byName   map[string]*Map
}

// program is one of the collection; source is for saying where a fault was.
type program struct {
	name   string
	first  int
	source asm.Instructions
}

// New prepares a program of a collection, and the programs of its type that
// tail calls from it can reach by the contents of program arrays. The
// collection is not changed, and not used after New has returned.
//
// Errors wrap ErrUnsupported if the kernel might run what the VM does not.
func New(spec *ebpf.CollectionSpec, entry string, cfg *Config) (*VM, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	v := &VM{cpus: max(cfg.CPUs, 1), budget: cfg.Budget, byName: map[string]*Map{}, code: []insn{exitIndex: {op: opExit}}}
	if v.cpus > maxCPUs {
		return nil, fmt.Errorf("vm: %d CPUs: there can be up to %d", v.cpus, maxCPUs)
	}
	if v.budget <= 0 {
		v.budget = DefaultBudget
	}
	p := spec.Programs[entry]
	if p == nil {
		return nil, fmt.Errorf("vm: no program %q in the collection: it has %q", entry, slices.Sorted(maps.Keys(spec.Programs)))
	}
	switch kind := typeOf(p, cfg); kind {
	case ebpf.XDP:
	case ebpf.SocketFilter:
		v.socket = true
	default:
		return nil, fmt.Errorf("vm: program %s is of type %v: XDP and socket filters run here: %w", entry, kind, ErrUnsupported)
	}
	if err := v.build(spec, entry, cfg); err != nil {
		return nil, fmt.Errorf("vm: program %s: %w", entry, err)
	}
	return v, nil
}

func typeOf(p *ebpf.ProgramSpec, cfg *Config) ebpf.ProgramType {
	switch {
	case p.Type != ebpf.UnspecifiedProgram:
		return p.Type
	case cfg.Type != ebpf.UnspecifiedProgram:
		return cfg.Type
	}
	return ebpf.XDP
}

// build makes the maps that the programs use, then the programs, then fills
// the maps, since some hold programs.
func (v *VM) build(spec *ebpf.CollectionSpec, entry string, cfg *Config) error {
	names, used, err := reach(spec, entry)
	if err != nil {
		return err
	}
	memory := cfg.MapMemory
	if memory <= 0 {
		memory = DefaultMapMemory
	}
	for _, name := range used {
		m, err := newMap(v, name, spec, &memory)
		if err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
		v.maps, v.byName[name] = append(v.maps, m), m
	}
	for _, name := range names {
		p := spec.Programs[name]
		if kind := typeOf(p, cfg); (kind == ebpf.SocketFilter) != v.socket {
			return fmt.Errorf("a tail call leads to %s, which is of another type, %v", name, kind)
		}
		d, err := newDecoder(p.Instructions, len(v.code), v.byName, v.socket)
		if err == nil {
			var code []insn
			if code, err = d.decode(); err == nil {
				v.programs = append(v.programs, program{name: name, first: len(v.code), source: p.Instructions})
				v.code = append(v.code, code...)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	v.entry = v.programs[0].first
	for _, name := range used {
		if err := v.byName[name].fill(v, spec); err != nil {
			return fmt.Errorf("contents of map %s: %w", name, err)
		}
	}
	return nil
}

// reach lists the programs that a run can come to, the entry first, and the
// maps that they use.
func reach(spec *ebpf.CollectionSpec, entry string) (programs, used []string, err error) {
	programs = []string{entry}
	for i := 0; i < len(programs); i++ {
		p := spec.Programs[programs[i]]
		if p == nil {
			return nil, nil, fmt.Errorf("a program array holds %s, which is not in the collection", programs[i])
		}
		for j := range p.Instructions {
			in := &p.Instructions[j]
			name := in.Reference()
			if !in.IsLoadFromMap() || name == "" || slices.Contains(used, name) {
				continue
			}
			m := spec.Maps[name]
			if m == nil {
				return nil, nil, fmt.Errorf("instruction %d (%v): no map %s in the collection: %w", j, *in, name, ErrUnsupported)
			}
			used = append(used, name)
			if m.Type != ebpf.ProgramArray {
				continue
			}
			for _, kv := range m.Contents {
				if name, ok := kv.Value.(string); ok && !slices.Contains(programs, name) {
					programs = append(programs, name)
				}
			}
		}
	}
	return programs, used, nil
}

// Map returns a map by its name; nil if none of the programs uses one of that
// name.
func (v *VM) Map(name string) *Map { return v.byName[name] }

// Maps returns the names of the maps, in order.
func (v *VM) Maps() []string { return slices.Sorted(maps.Keys(v.byName)) }

// Type is ebpf.XDP or ebpf.SocketFilter.
func (v *VM) Type() ebpf.ProgramType {
	if v.socket {
		return ebpf.SocketFilter
	}
	return ebpf.XDP
}

// Instructions is how many instructions all programs have together.
func (v *VM) Instructions() int { return len(v.code) - 1 }

// Program returns the number that a program array holds for a program.
func (v *VM) Program(name string) (uint32, error) {
	i := slices.IndexFunc(v.programs, func(p program) bool { return p.name == name })
	if i < 0 {
		return 0, fmt.Errorf("vm: program %s is not among those that the entry can reach: put it in the initial contents of a program array: %w", name, errProgram)
	}
	return uint32(i), nil
}

var errProgram = errors.New("no such program")

// where describes an instruction of the VM.
func (v *VM) where(pc int) string {
	for _, p := range v.programs {
		i := pc - p.first
		if i < 0 || i >= len(p.source) {
			continue
		}
		text := fmt.Sprintf("instruction %d (%v) of %s", i, p.source[i], p.name)
		line := ""
		for ; i >= 0; i-- {
			if s := p.source[i].Source(); s != nil && line == "" {
				line = fmt.Sprintf(", source %q", s.String())
			}
			if s := p.source[i].Symbol(); s != "" {
				if s != p.name {
					text += ", function " + s
				}
				break
			}
		}
		return text + line
	}
	return fmt.Sprintf("instruction %d", pc)
}
