package afxdp

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/oobnet/oobnet/filter"
)

// A program that returns XDP_REDIRECT does not say into which map it has
// redirected. One that has no way but to the sockets accepts. In one that has
// others too, each call of bpf_redirect_map becomes one of a function of ours,
// which leaves a mark if the map is that of the sockets, and the entry looks at
// the mark. The function compares two pointers, for which the kernel wants
// CAP_PERFMON; without that, all redirects of such programs count as Redirect.

// redirects is how a program's redirects are told apart.
type redirects int

const (
	redirectAccepts redirects = iota // all are to sockets
	redirectMarked                   // those with a mark are
	redirectUnknown
)

// redirectsOf looks for ways to other devices, in all of a filter's programs:
// one may call another by a tail call.
func redirectsOf(x *filter.XDP) redirects {
	if x.SocketMap == "" {
		return redirectUnknown
	}
	for name, m := range x.Spec.Maps {
		switch m.Type {
		case ebpf.DevMap, ebpf.DevMapHash, ebpf.CPUMap, ebpf.XSKMap:
			if name != x.SocketMap {
				return redirectMarked
			}
		}
	}
	for _, p := range x.Spec.Programs {
		for i := range p.Instructions {
			if calls(&p.Instructions[i], asm.FnRedirect) {
				return redirectMarked
			}
		}
	}
	return redirectAccepts
}

func calls(i *asm.Instruction, f asm.BuiltinFunc) bool {
	return i.IsBuiltinCall() && asm.BuiltinFunc(i.Constant) == f
}

// labelRedirect is the function that bpf_redirect_map becomes.
const labelRedirect = "oobnet:redirect"

// keyMark is the stack slot of the key of the mark, bytes below the frame pointer.
const keyMark = -4

// markRedirects puts our function in the place of bpf_redirect_map in all of a
// filter's programs.
func markRedirects(x *filter.XDP, m *gateMaps) {
	for _, p := range x.Spec.Programs {
		found := false
		for n := range p.Instructions {
			if i := &p.Instructions[n]; calls(i, asm.FnRedirectMap) {
				call := asm.Call.Label(labelRedirect)
				call.Metadata = i.Metadata
				*i = call.WithReference(labelRedirect)
				found = true
			}
		}
		if found {
			p.Instructions = append(p.Instructions, redirectFunction(p.Instructions, m)...)
		}
	}
}

// redirectFunction is bpf_redirect_map with a mark for the sockets, described
// as the program's first function is.
func redirectFunction(like asm.Instructions, m *gateMaps) asm.Instructions {
	f := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1).WithSymbol(labelRedirect),
		asm.FnRedirectMap.Call(),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.JNE.Imm(asm.R7, xdpRedirect, "oobnet:redirected"),
		asm.LoadMapPtr(asm.R1, m.sockets.FD()),
		asm.JNE.Reg(asm.R6, asm.R1, "oobnet:redirected"),
	}
	f = append(f, lookUpMark(m)...)
	f = append(f,
		asm.JEq.Imm(asm.R0, 0, "oobnet:redirected"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R0, asm.R7).WithSymbol("oobnet:redirected"),
		asm.Return(),
	)
	if like[0].Source() != nil {
		f[0] = f[0].WithSource(asm.Comment("oobnet's bpf_redirect_map"))
	}
	if btf.FuncMetadata(&like[0]) != nil {
		long := &btf.Int{Name: "long", Size: 8, Encoding: btf.Signed}
		f[0] = btf.WithFuncMetadata(f[0], &btf.Func{
			Name: "oobnet_redirect",
			Type: &btf.FuncProto{Return: long, Params: []btf.FuncParam{
				{Name: "map", Type: &btf.Pointer{Target: (*btf.Void)(nil)}}, {Name: "key", Type: long}, {Name: "flags", Type: long},
			}},
			Linkage: btf.StaticFunc,
		})
	}
	return f
}

// lookUpMark leaves the address of this CPU's mark in R0, or null.
func lookUpMark(m *gateMaps) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R1, slotMark),
		asm.StoreMem(asm.RFP, keyMark, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, m.counters.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, keyMark),
		asm.FnMapLookupElem.Call(),
	}
}

// clearMark wipes what a former frame has left, before the filter is called.
func clearMark(m *gateMaps) asm.Instructions {
	return append(lookUpMark(m),
		asm.JEq.Imm(asm.R0, 0, "oobnet:cleared"),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R1, regContext).WithSymbol("oobnet:cleared"),
	)
}

// countMarked goes on behind a redirect whose mark says where it went.
func countMarked(m *gateMaps) asm.Instructions {
	p := append(asm.Instructions{asm.Mov.Imm(regLeft, slotRedirect)}, lookUpMark(m)...)
	return append(p,
		asm.Mov.Reg(asm.R1, regLeft),
		asm.JEq.Imm(asm.R0, 0, labelCount),
		asm.LoadMem(asm.R2, asm.R0, 0, asm.DWord),
		asm.JEq.Imm(asm.R2, 0, labelCount),
		asm.Mov.Imm(asm.R1, slotAccept),
	)
}
