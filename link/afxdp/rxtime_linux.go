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

// Only a program in the driver can learn when the device saw a frame: a function
// of the kernel's tells it (bpf_xdp_metadata_rx_timestamp, Linux 6.3), for which
// the program must be bound to the device when it is loaded. What it learns it
// writes before the frame, into what the kernel calls the frame's metadata, and
// the receive side takes it from there (Documentation/networking/xdp-rx-metadata.rst).

const (
	timeFunction = "bpf_xdp_metadata_rx_timestamp"
	// stampSize is what stands before a frame, bytes: the time, and stampMark. The
	// kernel takes a multiple of 4, up to 32.
	stampSize = 16
	// stampMark tells a stamp from what other frames have left there, and from
	// metadata of a filter's. It is a number that nobody else would write.
	stampMark = 0x6f6f_626e_6574_7278
	// keyTime is the stack slot of the time, bytes below the frame pointer.
	keyTime = -24
	// timedLicense is that of the programs of ours that call the kernel's function,
	// for which it wants one that goes with its own. Others are Apache-2.0.
	plainLicense, timedLicense = "Apache-2.0", "Dual MIT/GPL"
)

// rxTime has the programs of a gate read the device's times. A nil one does not.
type rxTime struct {
	dev *device
	// reading leaves the time of the frame in its slot, 0 for none. The context is
	// in its register; the registers of arguments are lost.
	reading asm.Instructions
}

// newRXTime finds out whether the driver tells times.
func newRXTime(d *device) (*rxTime, error) {
	info, err := netdev.Features(d.index)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil, fmt.Errorf("times of received frames: %w: %w", err, link.ErrNotSupported)
	case err != nil:
		return nil, fmt.Errorf("times of received frames: %w", err)
	case info.RXMetadata&netdev.RXTimestamp == 0:
		return nil, fmt.Errorf("times of received frames: the driver (%s) does not tell them to XDP programs (it has: %v): open without RXTime: %w",
			d.driver, info.RXMetadata, link.ErrNotSupported)
	}
	id, err := kernelFunction(timeFunction)
	if err != nil {
		return nil, fmt.Errorf("times of received frames: %w", err)
	}
	return &rxTime{dev: d, reading: readTime(id)}, nil
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

// readTime calls the kernel's function. Where it does not know it says so, and
// what it leaves does not count.
func readTime(id btf.TypeID) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, keyTime, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R1, regContext),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, keyTime),
		asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoKfuncCall, Constant: int64(id)},
		asm.JEq.Imm(asm.R0, 0, "oobnet:told"),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, keyTime, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("oobnet:told"),
	}
}

// read leaves the time in its slot.
func (t *rxTime) read() asm.Instructions {
	if t == nil {
		return nil
	}
	return t.reading
}

// stamp puts the time in the slot before the frame. A filter that leaves metadata
// of its own keeps it, and its frames have no time. So have those of a driver
// without room for metadata, whose start then lies behind that of the frame.
func (t *rxTime) stamp() asm.Instructions {
	if t == nil {
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
		asm.StoreMem(asm.R1, 0, asm.R4, asm.DWord),
		asm.LoadImm(asm.R4, stampMark, asm.DWord),
		asm.StoreMem(asm.R1, stampSize/2, asm.R4, asm.DWord),
		asm.Mov.Imm(asm.R1, 0).WithSymbol("oobnet:stamped"),
	}
}

// bind makes a program one of the device's.
func (t *rxTime) bind(p *ebpf.ProgramSpec) {
	if t == nil {
		return
	}
	p.Ifindex = uint32(t.dev.index)
	p.Flags |= unix.BPF_F_XDP_DEV_BOUND_ONLY
}

// license is that of a program of ours.
func (t *rxTime) license() string {
	if t == nil {
		return plainLicense
	}
	return timedLicense
}

// load runs what loads a bound program: the kernel looks for the device in the
// network namespace of the thread.
func (t *rxTime) load(f func() error) error {
	if t == nil {
		return f()
	}
	return t.dev.inNamespace(f)
}

// check refuses a program that the kernel would, and says why.
func (t *rxTime) check(p *ebpf.ProgramSpec) error {
	if t != nil && !compatible(p.License) {
		return fmt.Errorf("its license is %q, and a program that learns the times of frames needs one that the kernel knows to go with the GPL: license it so, or open without RXTime: %w",
			p.License, errors.ErrUnsupported)
	}
	return nil
}

// explain says what the times may have to do with a filter that the kernel refused.
func (t *rxTime) explain(err error) error {
	if t == nil || !errors.Is(err, unix.EINVAL) {
		return err
	}
	return fmt.Errorf("%w: with RXTime it is bound to its device: kernels before 6.14 let such a program make no tail calls, and redirect to no devmap or cpumap", err)
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
func (t *rxTime) relicense(f filter.Filter, p *ebpf.ProgramSpec) {
	if _, ours := f.(*filter.Rules); ours && t != nil {
		p.License = timedLicense
	}
}

// takeStamps gives frames the times that stand before them. The mark goes: the
// next frame in the buffer may have no time. The buffers are the caller's.
//
//oobnet:hot
func (q *queue) takeStamps(frames []link.Frame) {
	for i := range frames {
		f := &frames[i]
		if f.Off < stampSize {
			continue
		}
		b := q.memory.Buffer(f.Index)[f.Off-stampSize : f.Off]
		if binary.NativeEndian.Uint64(b[stampSize/2:]) != stampMark {
			continue
		}
		binary.NativeEndian.PutUint64(b[stampSize/2:], 0)
		f.Time = int64(binary.NativeEndian.Uint64(b))
	}
}
