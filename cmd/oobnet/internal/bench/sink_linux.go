package bench

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/oobnet/oobnet/internal/netns"
)

// xdpSink drops and counts IPv4 packets as the first thing that happens to
// them on an interface: the cheapest receiver there is, and the same for every
// sender. Everything else, ARP above all, goes on to the kernel.
type xdpSink struct {
	counts *ebpf.Map
	link   link.Link
}

func openSink(h *netns.Host) (*xdpSink, error) {
	counts, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "sink_counts", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "sink", Type: ebpf.XDP, License: "Apache-2.0", Instructions: sinkProgram(counts),
	})
	if err != nil {
		counts.Close()
		return nil, fmt.Errorf("sink: %w", err)
	}
	defer prog.Close() // the attachment keeps it
	s := &xdpSink{counts: counts}
	err = h.DoErr(func() (err error) {
		s.link, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: h.IfIndex, Flags: link.XDPDriverMode})
		return err
	})
	if err != nil {
		counts.Close()
		return nil, fmt.Errorf("sink: %s: %w", h.IfName, err)
	}
	return s, nil
}

// Offsets in struct xdp_md (linux/bpf.h).
const (
	mdData    = 0
	mdDataEnd = 4
)

// typeIPv4 is EtherType 0x0800 as a little-endian load of its two bytes sees it.
const typeIPv4 = 0x0008

func sinkProgram(counts *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, mdData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, mdDataEnd, asm.Word),
		// A frame without a whole Ethernet header is not ours to judge.
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, 14),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"),
		asm.LoadMem(asm.R4, asm.R2, 12, asm.Half),
		asm.JNE.Imm(asm.R4, typeIPv4, "pass"),
		// counts[0]++ on this core's copy.
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.StoreImm(asm.R2, 0, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, counts.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("drop"), // XDP_DROP
		asm.Return(),
		asm.Mov.Imm(asm.R0, 2).WithSymbol("pass"), // XDP_PASS
		asm.Return(),
	}
}

// packets that were dropped until now.
func (s *xdpSink) packets() (uint64, error) {
	var perCPU []uint64
	if err := s.counts.Lookup(uint32(0), &perCPU); err != nil {
		return 0, fmt.Errorf("sink: %w", err)
	}
	var n uint64
	for _, c := range perCPU {
		n += c
	}
	return n, nil
}

// rate counts for d and returns packets a second.
func (s *xdpSink) rate(d time.Duration) (float64, error) {
	n0, err := s.packets()
	if err != nil {
		return 0, err
	}
	t0 := time.Now()
	time.Sleep(d)
	n1, err := s.packets()
	if err != nil {
		return 0, err
	}
	return float64(n1-n0) / time.Since(t0).Seconds(), nil
}

func (s *xdpSink) close() {
	s.link.Close()
	s.counts.Close()
}
