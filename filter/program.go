package filter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
)

const (
	// verdictSection is where a program lies that returns a verdict; what
	// follows a slash is the user's.
	verdictSection = "oobnet"
	// socketMap is the map that plain XDP programs redirect into: libxdp's name.
	socketMap = "xsks_map"
)

// Program is a program of an eBPF object file. There are three kinds:
//
//   - SEC("oobnet") or SEC("oobnet/anything"), context struct xdp_md: returns a
//     [Verdict]. On links that the kernel feeds it is called by a program of
//     the link, which acts on the verdict. With that caller it has the 512
//     bytes of stack that the kernel gives, so 480 are its own.
//   - SEC("xdp") or SEC("xdp.frags"), context struct xdp_md: a plain XDP
//     program, which returns XDP's actions, and hands frames over by a redirect
//     into a map named xsks_map, after libxdp's convention: the link puts its
//     own in that place.
//   - SEC("socket"), context struct __sk_buff: what EVL takes. Returns a
//     Verdict. It runs on links that have no kernel behind them; for the others,
//     XDP says what to change.
//
// A Program is immutable, and implements [Filter]. Sources: EVL's documentation
// of ingress filtering (verdicts, socket filters), libxdp's xsk.h (xsks_map).
type Program struct {
	name, section string
	kind          kind
	spec          *ebpf.CollectionSpec // as loaded: copied before a change
}

type kind int

const (
	verdictProgram kind = iota
	actionProgram
	socketProgram
)

var _ Filter = (*Program)(nil)

// kindOf reports false for a program that filters nothing. A section that the
// loader does not know leaves the type open.
func kindOf(p *ebpf.ProgramSpec) (kind, bool) {
	section, _, _ := strings.Cut(p.SectionName, "/")
	switch {
	case p.Type == ebpf.UnspecifiedProgram && section == verdictSection:
		return verdictProgram, true
	case p.Type == ebpf.XDP && (p.AttachType == ebpf.AttachXDP || p.AttachType == ebpf.AttachNone):
		return actionProgram, true
	case p.Type == ebpf.SocketFilter:
		return socketProgram, true
	}
	return 0, false
}

// Name returns the name of the program's C function.
func (p *Program) Name() string { return p.name }

// Section returns the section of the object that the program is in.
func (p *Program) Section() string { return p.section }

func (p *Program) String() string { return fmt.Sprintf("program %s of SEC(\"%s\")", p.name, p.section) }

// XDP implements Filter. A socket-filter program has no such form: the error
// wraps errors.ErrUnsupported.
func (p *Program) XDP() (*XDP, error) {
	if p.kind == socketProgram {
		return nil, fmt.Errorf("filter: %v: a socket filter works on a packet buffer (struct __sk_buff), which the kernel has not made yet where this link's frames are filtered: "+
			"change SEC(\"%s\") to SEC(\"%s\") and the context to struct xdp_md, read the frame between ctx->data and ctx->data_end instead of by the context's fields and bpf_skb_load_bytes, "+
			"and return 0 (drop), 1 (accept), 2 (skip) or 3 (vlan), as before: %w", p, p.section, verdictSection, errors.ErrUnsupported)
	}
	x := &XDP{Spec: p.prunedSpec(), Entry: p.name, Actions: p.kind == actionProgram}
	if x.Actions && x.Spec.Maps[socketMap] != nil {
		x.SocketMap = socketMap
	}
	return x, nil
}

// prunedSpec copies the object without the programs that the program cannot
// reach: they may be of any type, and need not load. A program is reached by a
// tail call, through a map that is filled with programs.
func (p *Program) prunedSpec() *ebpf.CollectionSpec {
	spec := p.spec.Copy()
	reached := map[string]bool{p.name: true}
	for _, m := range spec.Maps {
		if m.Type != ebpf.ProgramArray {
			continue
		}
		for _, entry := range m.Contents {
			if name, ok := entry.Value.(string); ok {
				reached[name] = true
			}
		}
	}
	for name, other := range spec.Programs {
		switch {
		case !reached[name]:
			delete(spec.Programs, name)
		case p.kind != socketProgram && other.Type == ebpf.UnspecifiedProgram:
			other.Type, other.AttachType = ebpf.XDP, ebpf.AttachXDP
		}
	}
	return spec
}
