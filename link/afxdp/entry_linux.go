package afxdp

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/oobnet/oobnet/filter"
)

// A filter's program is not on the interface itself: it is a function of an
// entry program, linked behind it, that the entry calls for each frame. What
// comes back is a verdict, which the entry turns into an action, or an action.
// Either is counted.

// filterName is what the kernel calls an entry program with a filter.
const filterName = "oobnet_filter"

// labelFilter is the label of a filter's function that has no name of its own.
const labelFilter = "oobnet:filter"

// Registers of the entry that hold counter slots: if the frame is taken, and if
// not. regL3 holds the action from then on, as countAndReturn wants it.
const (
	regTaken = asm.R9
	regLeft  = asm.R8
)

// keyVLANs is the stack slot of a key into the VLAN bits, bytes below the
// frame pointer.
const keyVLANs = keyCounter

// linkEntry puts the entry in front of the filter's program.
func linkEntry(x *filter.XDP, how redirects, m *gateMaps) error {
	p := x.Spec.Programs[x.Entry]
	if p == nil || len(p.Instructions) == 0 {
		return fmt.Errorf("the filter has no program %q", x.Entry)
	}
	callee := p.Instructions
	if callee[0].Symbol() == "" {
		callee[0] = callee[0].WithSymbol(labelFilter)
	}
	entry := asm.Instructions{asm.Mov.Reg(regContext, asm.R1)}
	if m.rx != nil {
		// Now: the filter may move and overwrite what the driver reads it from.
		entry = append(append(entry, m.rx.readTag()...), m.rx.read()...)
		entry = append(entry, asm.Mov.Reg(asm.R1, regContext))
	}
	if x.Actions && how == redirectMarked {
		entry = append(entry, clearMark(m)...)
	}
	entry = append(entry, asm.Call.Label(callee[0].Symbol()))
	if slices.ContainsFunc(callee, func(i asm.Instruction) bool { return calls(&i, asm.FnTailCall) }) {
		entry = append(entry, forgetResult()...)
	}
	if x.Actions {
		entry = append(entry, takeAction(how, m)...)
	} else {
		entry = append(entry, takeVerdict(m)...)
	}
	describe(entry, callee)
	p.Instructions = append(countAndReturn(entry, m), callee...)
	p.Name, p.Type, p.AttachType = filterName, ebpf.XDP, ebpf.AttachXDP
	m.rx.bind(p)
	return nil
}

// forgetResult leaves R0 as it is, and has the verifier think that it may be
// anything. A tail call from a function returns what the other program says, but
// kernels before 6.19 believe that the function returns only what is written in
// it, and take out the branches of the entry for everything else: what the other
// program says then passes for one of those values. A number that the verifier
// cannot know, applied twice, is no change that it could follow.
func forgetResult() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, regContext, xdpMDQueue, asm.Word),
		asm.Xor.Reg32(asm.R0, asm.R1),
		asm.Xor.Reg32(asm.R0, asm.R1),
	}
}

// describe gives the entry what the function has of types and source lines: the
// kernel wants them for all functions of a program or for none. The filter's
// function becomes a static one: it is verified as part of the entry, with the
// context that this gives it, whatever its signature says of it.
func describe(entry, callee asm.Instructions) {
	if callee[0].Source() != nil {
		entry[0] = entry[0].WithSource(asm.Comment("oobnet's entry"))
	}
	if f := btf.FuncMetadata(&callee[0]); f != nil {
		entry[0] = btf.WithFuncMetadata(entry[0], &btf.Func{Name: "oobnet_entry", Type: f.Type, Linkage: btf.GlobalFunc})
		callee[0] = btf.WithFuncMetadata(callee[0], &btf.Func{Name: f.Name, Type: f.Type, Linkage: btf.StaticFunc})
	}
}

// takeVerdict turns the verdict in R0 into an action. The comparisons are of 32
// bits: that is all a C function that returns an int defines.
func takeVerdict(m *gateMaps) asm.Instructions {
	p := asm.Instructions{
		asm.JEq.Imm32(asm.R0, int32(filter.Accept), "oobnet:accept"),
		asm.JEq.Imm32(asm.R0, int32(filter.Skip), "oobnet:skip"),
		asm.JEq.Imm32(asm.R0, int32(filter.VLAN), "oobnet:vlan"),
		asm.Mov.Imm(regL3, xdpDrop),
		asm.Mov.Imm(asm.R1, slotDrop),
		asm.JEq.Imm32(asm.R0, int32(filter.Drop), labelCount),
		asm.Mov.Imm(asm.R1, slotError),
		asm.Ja.Label(labelCount),

		asm.Mov.Imm(regL3, xdpPass).WithSymbol("oobnet:skip"),
		asm.Mov.Imm(asm.R1, slotSkip),
		asm.Ja.Label(labelCount),
	}
	p = append(p, findVLAN(m)...)
	take := append(m.rx.stamp(),
		// A queue without a socket leaves the frame to the kernel.
		asm.LoadMapPtr(asm.R1, m.sockets.FD()),
		asm.LoadMem(asm.R2, regContext, xdpMDQueue, asm.Word),
		asm.Mov.Imm(asm.R3, xdpPass),
		asm.FnRedirectMap.Call(),
		asm.Mov.Reg(regL3, asm.R0),
		asm.Mov.Reg(asm.R1, regTaken),
		asm.JEq.Imm(asm.R0, xdpRedirect, labelCount),
		asm.Mov.Reg(asm.R1, regLeft),
		asm.Ja.Label(labelCount),
	)
	take[0] = take[0].WithSymbol("oobnet:take")
	p = append(p, matchVLAN(m)...)
	p = append(p,
		asm.Mov.Imm(regTaken, slotAccept).WithSymbol("oobnet:accept"),
		asm.Mov.Imm(regLeft, slotSkip),
	)
	return append(append(p, take...),
		asm.Mov.Imm(regL3, xdpPass).WithSymbol("oobnet:leave"),
		asm.Mov.Reg(asm.R1, regLeft),
	)
}

// findVLAN leaves the VLAN id of the frame in R7, or goes to leave: the id of
// the 802.1Q tag, or of the one behind an 802.1ad tag. The filter may have
// moved the frame: its bounds are read anew.
func findVLAN(m *gateMaps) asm.Instructions {
	const typeOffset = ethernetHeader - 2 // of the EtherType
	p := asm.Instructions{
		asm.Mov.Imm(regTaken, slotVLANAccept).WithSymbol("oobnet:vlan"),
		asm.Mov.Imm(regLeft, slotVLANSkip),
	}
	if m.rx != nil && m.rx.tags {
		p = append(p,
			asm.LoadMem(asm.R7, asm.RFP, keyTag, asm.Half),
			asm.LoadMem(asm.R1, asm.RFP, keyTagType, asm.Half),
			asm.JEq.Imm(asm.R1, be16(etherTypeVLAN), "oobnet:id"),
		)
	}
	return append(p,
		asm.LoadMem(asm.R1, regContext, xdpMDData, asm.Word),
		asm.LoadMem(asm.R2, regContext, xdpMDDataEnd, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.Add.Imm(asm.R3, ethernetHeader+vlanTag),
		asm.JGT.Reg(asm.R3, asm.R2, "oobnet:leave"),
		asm.LoadMem(asm.R4, asm.R1, typeOffset, asm.Half),
		asm.JNE.Imm(asm.R4, be16(etherTypeSTag), "oobnet:tag"),

		asm.Add.Imm(asm.R3, vlanTag),
		asm.JGT.Reg(asm.R3, asm.R2, "oobnet:leave"),
		asm.Add.Imm(asm.R1, vlanTag),
		asm.LoadMem(asm.R4, asm.R1, typeOffset, asm.Half),

		asm.JNE.Imm(asm.R4, be16(etherTypeVLAN), "oobnet:leave").WithSymbol("oobnet:tag"),
		asm.LoadMem(asm.R7, asm.R1, ethernetHeader, asm.Half),
		asm.HostTo(asm.BE, asm.R7, asm.Half),
		asm.And.Imm(asm.R7, 0xfff).WithSymbol("oobnet:id"),
	)
}

// matchVLAN goes to take if the bit of the id in R7 is set, to leave otherwise.
func matchVLAN(m *gateMaps) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.Div.Imm(asm.R1, vlanWord),
		asm.StoreMem(asm.RFP, keyVLANs, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, m.vlans.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, keyVLANs),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "oobnet:leave"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.And.Imm(asm.R7, vlanWord-1),
		asm.RSh.Reg(asm.R1, asm.R7),
		asm.And.Imm(asm.R1, 1),
		asm.JNE.Imm(asm.R1, 0, "oobnet:take"),
		asm.Ja.Label("oobnet:leave"),
	}
}

// takeAction passes the action in R0 on and chooses its counter.
func takeAction(how redirects, m *gateMaps) asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg32(regL3, asm.R0),
		asm.Mov.Imm(asm.R1, slotSkip),
		asm.JEq.Imm(regL3, xdpPass, labelCount),
		asm.Mov.Imm(asm.R1, slotDrop),
		asm.JEq.Imm(regL3, xdpDrop, labelCount),
		asm.Mov.Imm(asm.R1, slotTX),
		asm.JEq.Imm(regL3, xdpTX, labelCount),
		// XDP_ABORTED, or a number that is no action: the kernel's tracepoint
		// xdp:xdp_exception tells of either.
		asm.Mov.Imm(asm.R1, slotError),
		asm.JNE.Imm(regL3, xdpRedirect, labelCount),
	}
	p = append(p, m.rx.stamp()...)
	switch how {
	case redirectAccepts:
		return append(p, asm.Mov.Imm(asm.R1, slotAccept))
	case redirectMarked:
		return append(p, countMarked(m)...)
	}
	return append(p, asm.Mov.Imm(asm.R1, slotRedirect))
}

// checkSocketMap refuses a filter whose socket map is not one, and makes its
// description that of the link's own, which takes its place.
func checkSocketMap(x *filter.XDP, sockets *ebpf.Map) error {
	m := x.Spec.Maps[x.SocketMap]
	if m == nil {
		return fmt.Errorf("the filter has no map %q", x.SocketMap)
	}
	if m.Type != ebpf.XSKMap {
		return fmt.Errorf("the map %s is of type %v: declare it as BPF_MAP_TYPE_XSKMAP: %w", x.SocketMap, m.Type, errors.ErrUnsupported)
	}
	*m = ebpf.MapSpec{Name: m.Name, Type: ebpf.XSKMap, KeySize: sockets.KeySize(), ValueSize: sockets.ValueSize(), MaxEntries: sockets.MaxEntries(), Flags: sockets.Flags()}
	return nil
}
