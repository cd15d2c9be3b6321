package afxdp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/netdev"
	"github.com/oobnet/oobnet/link"
)

// Only a program in the driver can learn what a device says of a frame beside its
// bytes: when it saw it, and the VLAN tag that it has taken out. Functions of the
// kernel's tell it (bpf_xdp_metadata_rx_*, Linux 6.3), for which the program must
// be bound to the device when it is loaded. What it learns it writes before the
// frame, into what the kernel calls the frame's metadata, and the receive side
// takes it from there (Documentation/networking/xdp-rx-metadata.rst).

const (
	timeFunction = "bpf_xdp_metadata_rx_timestamp"
	tagFunction  = "bpf_xdp_metadata_rx_vlan_tag"
	// What stands before a frame, bytes: the time, the tag and stampMark. The kernel
	// takes a multiple of 4, up to 32. The tag is in two numbers, the tag control
	// information in host order and the EtherType as on the wire: 0 for none.
	stampTime = 0
	stampTag  = 8
	stampMark = 16
	stampSize = 24
	// stampValue tells a stamp from what other frames have left there, and from
	// metadata of a filter's. It is a number that nobody else would write.
	stampValue = 0x6f6f_626e_6574_7278
	// Stack slots of the time and of the two numbers of the tag, bytes below the
	// frame pointer.
	keyTime    = -24
	keyTag     = -32
	keyTagType = keyTag + 2
	// boundLicense is that of the programs of ours that call the kernel's functions,
	// for which it wants one that goes with its own. Others are Apache-2.0.
	plainLicense, boundLicense = "Apache-2.0", "Dual MIT/GPL"
)

// rxMetadata has the programs of a gate read what the device says of frames. A nil
// one does not.
type rxMetadata struct {
	dev *device
	// time leaves the time of the frame in its slot, 0 for none, and tag the tag.
	// The context is in its register; the registers of arguments are lost.
	time, tag asm.Instructions
	tags      bool // are asked for
}

// newRXMetadata finds out whether the driver tells what the config wants: nil if
// that is nothing.
func newRXMetadata(d *device, with Features) (*rxMetadata, error) {
	if with&boundFeatures == 0 {
		return nil, nil
	}
	info, err := netdev.Features(d.index)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, fmt.Errorf("%w: %w", err, link.ErrNotSupported)
	}
	if err != nil {
		return nil, err
	}
	m := &rxMetadata{dev: d, time: clearSlot(keyTime), tag: clearSlot(keyTag), tags: with&RXVLAN != 0}
	for _, w := range []struct {
		feature  Features
		what     string
		needs    netdev.RXMetadata
		function string
		use      func(btf.TypeID)
	}{
		{RXTime, "times of received frames", netdev.RXTimestamp, timeFunction, func(id btf.TypeID) { m.time = readTime(id) }},
		{RXVLAN, "VLAN tags beside received frames", netdev.RXVLANTag, tagFunction, func(id btf.TypeID) { m.tag = readTag(id) }},
	} {
		if with&w.feature == 0 {
			continue
		}
		if info.RXMetadata&w.needs == 0 {
			return nil, fmt.Errorf("%s: the driver (%s) does not tell them to XDP programs (it has: %v): open without: %w",
				w.what, d.driver, info.RXMetadata, link.ErrNotSupported)
		}
		id, err := kernelFunction(w.function)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.what, err)
		}
		w.use(id)
	}
	return m, nil
}

// kernelFunction is the id of a function in the kernel's description of itself.
func kernelFunction(name string) (btf.TypeID, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return 0, fmt.Errorf("read the kernel's types: it needs CONFIG_DEBUG_INFO_BTF: %w: %w", err, link.ErrNotSupported)
	}
	var f *btf.Func
	if err := spec.TypeByName(name, &f); err != nil {
		return 0, fmt.Errorf("the kernel has no function %s: %w: %w", name, err, link.ErrNotSupported)
	}
	return spec.TypeID(f)
}

func clearSlot(key int16) asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.RFP, key, asm.R1, asm.DWord)}
}

// call calls one of the kernel's functions with the context, and pointers to slots.
// Where it does not know it says so, and what it leaves in the slot does not count.
func call(id btf.TypeID, slot int16, told string, pointers ...int16) asm.Instructions {
	p := append(clearSlot(slot), asm.Mov.Reg(asm.R1, regContext))
	for i, key := range pointers {
		argument := asm.R2 + asm.Register(i)
		p = append(p, asm.Mov.Reg(argument, asm.RFP), asm.Add.Imm(argument, int32(key)))
	}
	p = append(p,
		asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoKfuncCall, Constant: int64(id)},
		asm.JEq.Imm(asm.R0, 0, told),
	)
	p = append(p, clearSlot(slot)...)
	return append(p, asm.Mov.Imm(asm.R0, 0).WithSymbol(told))
}

func readTime(id btf.TypeID) asm.Instructions { return call(id, keyTime, "oobnet:time", keyTime) }

func readTag(id btf.TypeID) asm.Instructions {
	return call(id, keyTag, "oobnet:tag-told", keyTagType, keyTag)
}

// read leaves the time in its slot.
func (m *rxMetadata) read() asm.Instructions {
	if m == nil {
		return nil
	}
	return m.time
}

// readTag leaves the tag in its slot.
func (m *rxMetadata) readTag() asm.Instructions {
	if m == nil {
		return nil
	}
	return m.tag
}

// stamp puts what is in the slots before the frame. A filter that leaves metadata
// of its own keeps it, and its frames have no time and no tag. So have those of a
// driver without room for metadata, whose start then lies behind that of the frame.
func (m *rxMetadata) stamp() asm.Instructions {
	if m == nil {
		return nil
	}
	return asm.Instructions{
		asm.LoadMem(asm.R1, regContext, xdpMDMeta, asm.Word),
		asm.LoadMem(asm.R2, regContext, xdpMDData, asm.Word),
		asm.JLT.Reg(asm.R1, asm.R2, "oobnet:stamped"),
		asm.Mov.Reg(asm.R1, regContext),
		asm.Mov.Imm(asm.R2, -stampSize),
		asm.FnXdpAdjustMeta.Call(),
		asm.JNE.Imm(asm.R0, 0, "oobnet:stamped"),
		asm.LoadMem(asm.R1, regContext, xdpMDMeta, asm.Word),
		asm.LoadMem(asm.R2, regContext, xdpMDData, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.Add.Imm(asm.R3, stampSize),
		asm.JGT.Reg(asm.R3, asm.R2, "oobnet:stamped"),
		asm.LoadMem(asm.R4, asm.RFP, keyTime, asm.DWord),
		asm.StoreMem(asm.R1, stampTime, asm.R4, asm.DWord),
		asm.LoadMem(asm.R4, asm.RFP, keyTag, asm.DWord),
		asm.StoreMem(asm.R1, stampTag, asm.R4, asm.DWord),
		asm.LoadImm(asm.R4, stampValue, asm.DWord),
		asm.StoreMem(asm.R1, stampMark, asm.R4, asm.DWord),
		asm.Mov.Imm(asm.R1, 0).WithSymbol("oobnet:stamped"),
	}
}

// bind makes a program one of the device's.
func (m *rxMetadata) bind(p *ebpf.ProgramSpec) {
	if m == nil {
		return
	}
	p.Ifindex = uint32(m.dev.index)
	p.Flags |= unix.BPF_F_XDP_DEV_BOUND_ONLY
}

// license is that of a program of ours.
func (m *rxMetadata) license() string {
	if m == nil {
		return plainLicense
	}
	return boundLicense
}

// load runs what loads a bound program: the kernel looks for the device in the
// network namespace of the thread.
func (m *rxMetadata) load(f func() error) error {
	if m == nil {
		return f()
	}
	return m.dev.inNamespace(f)
}

// check refuses a program that the kernel would, and says why.
func (m *rxMetadata) check(p *ebpf.ProgramSpec) error {
	if m != nil && !compatible(p.License) {
		return fmt.Errorf("its license is %q, and a program that learns what the device says of frames needs one that the kernel knows to go with the GPL: license it so, or open without RXTime and RXVLAN: %w",
			p.License, errors.ErrUnsupported)
	}
	return nil
}

// explain says what being bound may have to do with a filter that the kernel refused.
func (m *rxMetadata) explain(err error) error {
	if m == nil || !errors.Is(err, unix.EINVAL) {
		return err
	}
	return fmt.Errorf("%w: with RXTime or RXVLAN it is bound to its device: kernels before 6.14 let such a program make no tail calls, and redirect to no devmap or cpumap", err)
}

// compatible says whether the kernel takes a license for one that goes with the
// GPL (license_is_gpl_compatible in linux/license.h).
func compatible(license string) bool {
	switch license {
	case "GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL":
		return true
	}
	return false
}

// relicense is for filters whose program we write: rules.
func (m *rxMetadata) relicense(f filter.Filter, p *ebpf.ProgramSpec) {
	if _, ours := f.(*filter.Rules); ours && m != nil {
		p.License = boundLicense
	}
}

// takeStamps gives frames what stands before them: the time, and the tag, which
// goes back where it was. The mark goes: the next frame in the buffer may have no
// stamp. The buffers are the caller's.
//
//oobnet:hot
func (q *queue) takeStamps(frames []link.Frame) {
	for i := range frames {
		f := &frames[i]
		if f.Off < stampSize {
			continue
		}
		b := q.memory.Buffer(f.Index)
		s := b[f.Off-stampSize : f.Off]
		if binary.NativeEndian.Uint64(s[stampMark:]) != stampValue {
			continue
		}
		binary.NativeEndian.PutUint64(s[stampMark:], 0)
		f.Time = int64(binary.NativeEndian.Uint64(s[stampTime:]))
		if kind := binary.BigEndian.Uint16(s[stampTag+2:]); kind != 0 && f.Len >= ethernetHeader {
			tci := binary.NativeEndian.Uint16(s[stampTag:])
			f.Off -= vlanTag
			f.Len += vlanTag
			frame := b[f.Off:]
			copy(frame, frame[vlanTag:][:addresses])
			binary.BigEndian.PutUint16(frame[addresses:], kind)
			binary.BigEndian.PutUint16(frame[addresses+2:], tci)
		}
	}
}
