package ixgbemodel

import "testing"

func TestViolations(t *testing.T) {
	for _, c := range []struct {
		name, section, what string
		do                  func(r *rig)
	}{
		{"beyond", "8.1", "beyond", func(r *rig) { r.Read32(Size) }},
		{"reserved", "8.2.3.7.1", "reserved", func(r *rig) { r.Write32(rxBlock, 0); r.Write32(regRXCTRL, 0); r.Write32(regFCTRL, 1) }},
		{"EIMC", "8.2.3.5", "bit 31", func(r *rig) { r.Write32(regEIMC, 0xffffffff) }},
		{"FCTRL", "8.2.3.7.1", "RXEN", func(r *rig) { r.Write32(regFCTRL, fctrlUPE) }},
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
		{"DMA", "5.2.5.3", "outside", func(r *rig) {
			r.place(txRing, 0, 1<<38, 60|kindData<<20|txDEXT|txEOP|txIFCS|60<<46)
			r.Write32(txBlock+qTail, 1)
		}},
		{"PAYLEN", "7.2.3.2.4", "PAYLEN", func(r *rig) { r.send(datagram(30), 1<<14, 0, 0) }},
		{"context", "7.2.5", "lengths", func(r *rig) { r.send(datagram(30), optionL4, 0, 0) }},
		{"counter", "8.2.3.23", "read-only", func(r *rig) { r.Write32(regGPRC, 1) }},
		{"reset", "4.6.3.1", "interrupts", func(r *rig) { r.Write32(regEIMS, causeLSC); r.Write32(regCTRL, ctrlRST) }},
		{"EERD", "8.2.3.2.2", "beyond", func(r *rig) { r.Write32(regEERD, eerdStart|eepromWords<<2) }},
		{"semaphore", "8.2.3.4.8", "SMBI", func(r *rig) { r.Write32(regSWSM, swsmSWESMBI) }},
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
	r.Write32(0x04900, 0x40)
	if got := r.Unmodelled(); len(got) != 1 || got[0] != 0x04900 || r.Read32(0x04900) != 0x40 {
		t.Errorf("unmodelled %#x, want 0x4900 alone, and its value kept", got)
	}
}
