package ixgbemodel

import "testing"

func TestViolations(t *testing.T) {
	for _, c := range []struct {
		name, section, what string
		do                  func(r *rig)
	}{
		{"beyond", "8.1", "beyond", func(r *rig) { r.Read32(Size) }},
		{"reserved", "8.2.3.7.1", "reserved", func(r *rig) { r.Write32(rxBlock, 0); r.Write32(regRXCTRL, 0); r.Write32(regFCTRL, 1) }},
		{"MTQC", "8.2.3.9.15", "ARBDIS", func(r *rig) { r.Write32(regMTQC, 1) }},
		{"MAXFRS", "8.2.3.22.13", "15872", func(r *rig) { r.Write32(regMAXFRS, 16000<<16) }},
		{"SRRCTL", "4.6.7.1", "SRRCTL", func(r *rig) { r.Write32(rxBlock+qSRRCTL, srrctlOne|4) }},
		{"packet buffer", "8.2.3.8.9", "RXPBSIZE", func(r *rig) {
			r.Write32(regRXCTRL, 0)
			r.Write32(regRXPBSIZE+4, 1<<10)
			r.Write32(regRXCTRL, rxctrlRXEN)
		}},
		{"RSC", "8.2.3.8.8", "RSCFRSTSIZE", func(r *rig) {
			r.Write32(regRXCTRL, 0)
			r.Write32(regRDRXCTL, rdrxCRC|rdrxRSCSize)
			r.Write32(regRXCTRL, rxctrlRXEN)
		}},
		{"flow", "7.1.2.7.2", "no memory", func(r *rig) { r.Write32(regFDIRCMD, fdirAdd) }},
		{"transmit buffer", "8.2.3.9.16", "threshold", func(r *rig) {
			r.Write32(regTXPBTHRESH, 160)
			r.send(datagram(30), 0, 0, 0)
		}},
		{"no context", "7.2.3.2.3", "not been given", func(r *rig) { r.send(datagram(30), optionL4, 0, 0) }},
		{"empty", "7.2.3.2.4", "without data", func(r *rig) {
			r.place(txRing, 0, buffers, kindData<<20|txDEXT|txEOP|txIFCS)
			r.Write32(txBlock+qTail, 1)
		}},
		{"reserved in a descriptor", "7.2.3.2.4", "reserved bits", func(r *rig) { r.send(datagram(30), 0, 1<<32, 0) }},
		{"third context", "7.2.3.2.3", "IDX", func(r *rig) { r.send(datagram(30), 1<<5, 0, 0) }},
		{"long headers", "7.2.3.2.3", "512", func(r *rig) {
			f := append(datagram(0), make([]byte, 600)...)
			copy(r.memory.At(buffers, len(f)), f)
			r.place(txRing, 0, 14<<9|460, kindContext<<20|txDEXT|60<<40|100<<48)
			n := uint64(len(f))
			r.place(txRing, 1, buffers, n|kindData<<20|txDEXT|txEOP|txIFCS|txTSE|(n-534)<<46)
			r.Write32(txBlock+qTail, 2)
		}},
		{"head", "7.2.3.5.2", "WTHRESH", func(r *rig) {
			r.Write32(txBlock+blockSize+qDCTL, 1<<16)
			r.Write32(txBlock+blockSize+qWBAL, wbalOn)
		}},
		{"tail beyond", "7.2.3.4", "beyond", func(r *rig) { r.Write32(txBlock+qTail, ringSize) }},
		{"receive tail early", "4.6.7.1", "read back", func(r *rig) {
			r.Write32(rxBlock+blockSize+qLEN, 128)
			r.Write32(rxBlock+blockSize+qDCTL, dctlEN)
			r.Write32(rxBlock+blockSize+qTail, 1)
		}},
		{"transmit tail early", "4.6.8.1", "read back", func(r *rig) {
			r.Write32(txBlock+blockSize+qLEN, 128)
			r.Write32(txBlock+blockSize+qTail, 1)
		}},
		{"no ring", "4.6.7.1", "without a ring", func(r *rig) { r.Write32(rxBlock+blockSize+qDCTL, dctlEN) }},
		{"ring moved", "4.6.7.1", "moved", func(r *rig) { r.Write32(rxBlock+qBAL, rxRing+128) }},
		{"unaligned", "7.1.9", "128", func(r *rig) { r.Write32(rxBlock+blockSize+qBAL, 16) }},
		{"too long", "7.1.9", "128 KiB", func(r *rig) { r.Write32(rxBlock+blockSize+qLEN, 1<<20) }},
		{"DMA", "5.2.5.3", "outside", func(r *rig) {
			r.place(txRing, 0, 1<<38, 60|kindData<<20|txDEXT|txEOP|txIFCS|60<<46)
			r.Write32(txBlock+qTail, 1)
		}},
		{"PAYLEN", "7.2.3.2.4", "PAYLEN", func(r *rig) { r.send(datagram(30), 1<<14, 0, 0) }},
		{"context", "7.2.5", "lengths", func(r *rig) { r.send(datagram(30), optionL4, 0, 20|200<<9) }},
		{"counter", "8.2.3.23", "read-only", func(r *rig) { r.Write32(regGPRC, 1) }},
		{"EERD", "8.2.3.2.2", "beyond", func(r *rig) { r.Write32(regEERD, eerdStart|eepromWords<<2) }},
		{"semaphore", "8.2.3.4", "SMBI", func(r *rig) { r.Write32(regSWSM, swsmSWESMBI) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Chip82599)
			r.start()
			r.clean()
			if c.name == "reserved" {
				r = newRig(t, Chip82599)
			}
			c.do(r)
			r.violated(c.section, c.what)
		})
	}
}

func TestTransmitQueueNeedsTheEngine(t *testing.T) {
	r := newRig(t, Chip82599)
	r.Write32(txBlock+qLEN, 128)
	r.Write32(txBlock+qDCTL, dctlEN)
	r.violated("4.6.8", "DMATXCTL.TE")
}

func TestUnmodelledIsNamed(t *testing.T) {
	r := newRig(t, Chip82599)
	r.Write32(regFTQF, 0) // as it is
	r.Write32(regFTQF+4, 0x40)
	if got := r.Unmodelled(); len(got) != 1 || got[0] != regFTQF+4 || r.Read32(regFTQF+4) != 0x40 {
		t.Errorf("unmodelled %#x, want FTQF(1) alone, and its value kept", got)
	}
}

func TestTolerated(t *testing.T) {
	for _, c := range []struct {
		section, what string
		offset, value uint32
	}{
		{"8.2.3.5.4", "EIMC", regEIMC, 0xffffffff},
		{"8.2.3.5.12", "EITR", regEITR, 1950},
		{"8.2.3.7.1", "RXEN", regFCTRL, fctrlUPE},
		{"8.2.3.8.6", "RXDCTL", rxBlock + blockSize + qDCTL, dctlFlush},
	} {
		r := newRig(t, Chip82599)
		r.start()
		r.Write32(c.offset, c.value)
		r.Write32(c.offset, c.value)
		r.tolerated(c.section, c.what)
		r = newStrict(t, Chip82599)
		r.start()
		r.Write32(c.offset, c.value)
		r.violated(c.section, c.what)
	}
	var r *rig
	for _, r = range []*rig{newRig(t, Chip82599), newStrict(t, Chip82599)} {
		r.start()
		r.Write32(rxBlock+qDCTL, 0)
		r.Write32(rxBlock+qTail, 3)
		r.tolerated("4.6.7.1", LateTail)
	}
	r = newRig(t, Chip82599)
	r.start()
	r.place(rxRing, 0, buffers, rxDD)
	r.Receive(datagram(30))
	r.tolerated("7.1.6.1", "done bit")
	r = newRig(t, Chip82599)
	r.Write32(regEIMS, causeLSC)
	r.Write32(regCTRL, ctrlRST)
	r.tolerated("4.6.3.1", "interrupts")
}

// A queue comes up by itself, too; a driver cannot know that, unless it looks.
func TestTailUnseen(t *testing.T) {
	r := newRig(t, ChipX540)
	r.Write32(regDMATXCTL, dmatxTE)
	r.Write32(txBlock+qBAL, txRing)
	r.Write32(txBlock+qLEN, 128)
	r.Write32(txBlock+qDCTL, dctlEN)
	for range settles {
		r.Read32(regSTATUS)
	}
	r.send(datagram(30), 0, 0, 0)
	r.tolerated("4.6.8.1", "read back")
	if len(r.sent) != 1 {
		t.Error("the queue is not at work")
	}
}
