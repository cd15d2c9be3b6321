package afxdp

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Actions of an XDP program (enum xdp_action in linux/bpf.h).
const (
	xdpAborted  = 0
	xdpDrop     = 1
	xdpPass     = 2
	xdpTX       = 3
	xdpRedirect = 4
)

// Offsets in struct xdp_md, what an XDP program is called with.
const (
	xdpMDData    = 0
	xdpMDDataEnd = 4
	xdpMDMeta    = 8 // start of the metadata, which ends where the data starts
	xdpMDQueue   = 16
)

// Slots of the counter map. Each frame counts in one.
const (
	slotDrop = iota
	slotAccept
	slotSkip
	slotVLANAccept
	slotVLANSkip
	slotError
	slotTX
	slotRedirect
	counterSlots
	slotMark  = counterSlots // no counter: see redirect_linux.go
	usedSlots = counterSlots + 1
)

// features are the parts of the program that a set of claims needs. What is
// not needed is not in it: most frames of a busy interface are the kernel's,
// and each map look-up costs them some 20 ns.
type features struct {
	ipv4       bool // IPv4 and ARP by (VLAN, address)
	etherTypes bool // frames by (VLAN, EtherType)
	allTypes   bool // all frames of a VLAN
}

// Stack slots of the program, bytes below the frame pointer. The two keys have
// the layout of ipv4Key and typeKey.
const (
	keyIPv4    = -8  // VLAN 2 bytes, zero 2, address 4
	keyIPv4IP  = -4  // the address in it
	keyType    = -12 // VLAN 2 bytes, EtherType 2
	keyTypeET  = -10 // the EtherType in it
	keyCounter = -16 // slot, 4 bytes
)

// Registers. R0 to R5 do not survive a call, R6 to R9 do.
const (
	regContext = asm.R6
	regL3      = asm.R7 // start of what follows the Ethernet header
	regEnd     = asm.R8
	regType    = asm.R9 // EtherType, in the byte order of the wire
)

// be16 and be32 are what the program reads where the wire has v.
func be16(v uint16) int32 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return int32(binary.NativeEndian.Uint16(b[:]))
}

func be32(v uint32) int32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return int32(binary.NativeEndian.Uint32(b[:]))
}

// Labels of what programs here share. A user's functions are linked behind
// such a program, and no C function has a colon in its name.
const (
	labelCount = "oobnet:count"
	labelOut   = "oobnet:out"
)

// instructions writes the program for some features. See Decide for the same
// thing in Go.
func instructions(f features, m *gateMaps) asm.Instructions {
	if !f.ipv4 && !f.etherTypes && !f.allTypes {
		return countAndReturn(asm.Instructions{asm.Mov.Imm(regL3, xdpPass), asm.Mov.Imm(asm.R1, slotSkip)}, m)
	}
	p := parseEthernet(m)
	if f.ipv4 {
		p = append(p, matchIPv4(m)...)
	}
	p = append(p, asm.LoadMem(asm.R1, asm.RFP, keyIPv4, asm.Half).WithSymbol("types"),
		asm.StoreMem(asm.RFP, keyType, asm.R1, asm.Half))
	if f.etherTypes {
		p = append(p, asm.StoreMem(asm.RFP, keyTypeET, regType, asm.Half))
		p = append(p, matchMap(m.types, keyType)...)
	}
	if f.allTypes {
		p = append(p, asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.RFP, keyTypeET, asm.R1, asm.Half))
		p = append(p, matchMap(m.types, keyType)...)
	}
	p = append(p,
		asm.Mov.Imm(regL3, xdpPass).WithSymbol("pass"),
		asm.Mov.Imm(asm.R1, slotSkip),
		asm.Ja.Label(labelCount),
	)
	return countAndReturn(append(p, redirect(m)...), m)
}

// parseEthernet leaves the VLAN in the keys, the EtherType and the start of
// the packet in their registers, and jumps to pass if there is no such thing.
func parseEthernet(m *gateMaps) asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(regContext, asm.R1),
		asm.LoadMem(regL3, regContext, xdpMDData, asm.Word),
		asm.LoadMem(regEnd, regContext, xdpMDDataEnd, asm.Word),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, keyIPv4, asm.R1, asm.DWord),

		asm.Add.Imm(regL3, ethernetHeader),
		asm.JGT.Reg(regL3, regEnd, "pass"),
		asm.LoadMem(regType, regL3, -2, asm.Half),
	}
	p = append(p, m.rx.readTag()...)
	if m.rx != nil && m.rx.tags {
		p = append(p, tagBeside()...)
	}
	return append(p,
		asm.JNE.Imm(regType, be16(etherTypeVLAN), "parsed"),

		asm.Add.Imm(regL3, vlanTag),
		asm.JGT.Reg(regL3, regEnd, "pass"),
		asm.LoadMem(asm.R1, regL3, -vlanTag, asm.Half),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.And.Imm(asm.R1, 0xfff),
		asm.StoreMem(asm.RFP, keyIPv4, asm.R1, asm.Half),
		asm.LoadMem(regType, regL3, -2, asm.Half),
		asm.Mov.Imm(asm.R1, 0).WithSymbol("parsed"),
	)
}

// tagBeside jumps to parsed if the frame has a tag beside it: it is the outermost
// then, and no other is parsed. What is behind a tag of another kind than 802.1Q is
// not looked at.
func tagBeside() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, keyTag, asm.Half),
		asm.LoadMem(asm.R2, asm.RFP, keyTagType, asm.Half),
		asm.JEq.Imm(asm.R2, 0, "oobnet:no-tag"),
		asm.And.Imm(asm.R1, 0xfff),
		asm.StoreMem(asm.RFP, keyIPv4, asm.R1, asm.Half),
		asm.JEq.Imm(asm.R2, be16(etherTypeVLAN), "parsed"),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, keyIPv4, asm.R1, asm.Half),
		asm.Mov.Reg(regType, asm.R2),
		asm.Ja.Label("parsed"),
		asm.Mov.Imm(asm.R1, 0).WithSymbol("oobnet:no-tag"),
	}
}

// matchIPv4 jumps to accept if an IPv4 or ARP packet is to a claimed address.
func matchIPv4(m *gateMaps) asm.Instructions {
	p := asm.Instructions{
		asm.JEq.Imm(regType, be16(etherTypeIPv4), "ipv4"),
		asm.JNE.Imm(regType, be16(etherTypeARP), "types"),

		asm.Mov.Reg(asm.R1, regL3),
		asm.Add.Imm(asm.R1, arpHeader),
		asm.JGT.Reg(asm.R1, regEnd, "types"),
		asm.LoadMem(asm.R1, regL3, 0, asm.Word),
		asm.JNE.Imm32(asm.R1, be32(arpSpaces), "types"),
		asm.LoadMem(asm.R1, regL3, 4, asm.Half),
		asm.JNE.Imm(asm.R1, be16(arpLengths), "types"),
		asm.LoadMem(asm.R1, regL3, arpTarget, asm.Word),
		asm.Ja.Label("address"),

		asm.Mov.Reg(asm.R1, regL3).WithSymbol("ipv4"),
		asm.Add.Imm(asm.R1, ipv4Header),
		asm.JGT.Reg(asm.R1, regEnd, "types"),
		asm.LoadMem(asm.R1, regL3, ipv4Destination, asm.Word),

		asm.StoreMem(asm.RFP, keyIPv4IP, asm.R1, asm.Word).WithSymbol("address"),
	}
	return append(p, matchMap(m.ipv4, keyIPv4)...)
}

// matchMap jumps to accept if the map has the key that lies on the stack.
func matchMap(m *ebpf.Map, key int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
		asm.JNE.Imm(asm.R0, 0, "accept"),
	}
}

// redirect gives the frame to the socket of its queue; a queue without one
// leaves it to the kernel, by the flags of bpf_redirect_map.
func redirect(m *gateMaps) asm.Instructions {
	p := append(m.rx.read(), m.rx.stamp()...)
	p = append(p,
		asm.LoadMapPtr(asm.R1, m.sockets.FD()),
		asm.LoadMem(asm.R2, regContext, xdpMDQueue, asm.Word),
		asm.Mov.Imm(asm.R3, xdpPass),
		asm.FnRedirectMap.Call(),
		asm.Mov.Reg(regL3, asm.R0),
		asm.Mov.Imm(asm.R1, slotAccept),
		asm.JEq.Imm(asm.R0, xdpRedirect, labelCount),
		asm.Mov.Imm(asm.R1, slotSkip),
	)
	p[0] = p[0].WithSymbol("accept")
	return p
}

// countAndReturn ends a program that has its verdict in regL3 and the counter's slot in R1.
func countAndReturn(p asm.Instructions, m *gateMaps) asm.Instructions {
	return append(p,
		asm.StoreMem(asm.RFP, keyCounter, asm.R1, asm.Word).WithSymbol(labelCount),
		asm.LoadMapPtr(asm.R1, m.counters.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, keyCounter),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, labelOut),
		// The map is per CPU and the program is not preempted by another
		// run of itself on the same CPU: a plain increment is enough.
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R0, regL3).WithSymbol(labelOut),
		asm.Return(),
	)
}

// loadProgram gives the program to the kernel. The hook on the interface holds
// it as well: closing it here does not take it off.
func loadProgram(f features, m *gateMaps) (program *ebpf.Program, err error) {
	spec := &ebpf.ProgramSpec{Name: "oobnet_select", Instructions: instructions(f, m), License: m.rx.license()}
	if f == (features{}) {
		return newProgram(spec) // it takes no frame
	}
	m.rx.bind(spec)
	err = m.rx.load(func() error {
		program, err = newProgram(spec)
		return err
	})
	return program, err
}

// loadAside makes the program for a link whose diversion is off: every frame
// is the kernel's, at the least cost.
func loadAside() (*ebpf.Program, error) {
	return newProgram(&ebpf.ProgramSpec{
		Name:         "oobnet_aside",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
		License:      plainLicense,
	})
}

func newProgram(spec *ebpf.ProgramSpec) (*ebpf.Program, error) {
	spec.Type, spec.AttachType = ebpf.XDP, ebpf.AttachXDP
	program, err := ebpf.NewProgram(spec)
	if err != nil {
		return nil, fmt.Errorf("load the XDP program: %w", err)
	}
	return program, nil
}
