package ixgbemodel

import (
	"bytes"
	"slices"
	"testing"
)

func TestResetReadsBackOnce(t *testing.T) {
	r := newRig(t, Chip82599)
	r.Write32(regFCTRL, fctrlBAM)
	r.Write32(regCTRL, ctrlRST)
	if r.Read32(regCTRL)&ctrlRST == 0 || r.Read32(regCTRL)&ctrlRST != 0 {
		t.Error("CTRL.RST is to be set once, then clear")
	}
	if r.Read32(regFCTRL) != 0 || r.Read32(regRAL) != 2 || r.Read32(regRALOld+4) != rahAV|0x100 {
		t.Error("registers are not what they are after a reset")
	}
	r.clean()
}

func TestEEPROMSumsUp(t *testing.T) {
	r := newRig(t, ChipX540)
	word := func(i uint16) uint16 {
		r.Write32(regEERD, eerdStart|uint32(i)<<2)
		v := r.Read32(regEERD)
		if v&eerdDone == 0 {
			t.Fatalf("word %d is not read", i)
		}
		return uint16(v >> 16)
	}
	var sum uint16
	for i := range uint16(0x40) {
		sum += word(i)
	}
	sections := 0
	for p := uint16(3); p < 0xf; p++ {
		at := word(p)
		if p == 4 || p == 5 || at == 0xffff || at == 0 {
			continue
		}
		sections++
		for i := range word(at) {
			sum += word(at + 1 + i)
		}
	}
	if sum != 0xbaba || sections == 0 {
		t.Errorf("sum %#x over %d sections, want 0xbaba", sum, sections)
	}
	r.clean()
}

func TestSemaphores(t *testing.T) {
	r := newRig(t, Chip82599)
	if r.Read32(regSWSM)&swsmSMBI != 0 || r.Read32(regSWSM)&swsmSMBI == 0 {
		t.Error("the first read takes SMBI")
	}
	r.Write32(regSWSM, swsmSMBI|swsmSWESMBI)
	r.Write32(regSWFW, 1)
	r.Write32(regSWSM, 0)
	r.clean()
	r.Write32(regSWFW, 0)
	r.violated("8.2.3.4", "without the semaphore")
}

func TestSemaphoreOutlivesReset(t *testing.T) {
	r := newRig(t, ChipX540)
	r.Read32(regSWSM)
	r.Read32(regSWFW)
	r.Write32(regSWFW, swfwREGSMP|2)
	r.Write32(regCTRL, ctrlRST)
	if r.Read32(regSWFW) != swfwREGSMP|2 {
		t.Error("the reset has taken a semaphore from its holder")
	}
	r.Write32(regSWFW, 0)
	r.clean()
}

func TestLinkInterrupts(t *testing.T) {
	r := newRig(t, Chip82599)
	r.Read32(regEICR)
	r.Write32(regGPIE, gpieMSIX)
	r.Write32(regIVARMisc, (ivarValid|5)<<8)
	r.Write32(regEIMS, causeLSC)
	r.SetLink(false)
	if !slices.Equal(r.vectors, []int{5}) || r.Read32(regLINKS)&linksUp != 0 {
		t.Errorf("vectors %v, want 5 alone, and no link", r.vectors)
	}
	if r.Read32(regEICR) != causeLSC || r.Read32(regEICR) != 0 {
		t.Error("EICR is to be cleared by a read")
	}
	r.Write32(regEIMC, causeLSC)
	r.SetLink(true)
	if len(r.vectors) != 1 {
		t.Error("a masked cause has come")
	}
	r.clean()
}

func TestTraceTellsEachAccess(t *testing.T) {
	r := newRig(t, Chip82599)
	r.Write32(regRALOld, 5)
	r.Read32(regRALOld)
	if want := []access{{true, regRALOld, 5}, {false, regRALOld, 5}}; !slices.Equal(r.trace, want) {
		t.Errorf("trace %v, want %v", r.trace, want)
	}
}

func TestReceive(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	r.Write32(regIVAR, ivarValid|3)
	r.Write32(regGPIE, gpieMSIX)
	r.Write32(regEIMSEX, 1<<3)
	f := datagram(30)
	if !r.Receive(f) {
		t.Fatal("not received")
	}
	_, high := r.get(rxRing, 0)
	if want := uint64(rxDD | rxEOP | rxIPCS | rxL4I | len(f)<<32); high != want {
		t.Errorf("write-back %#x, want %#x", high, want)
	}
	if !bytes.Equal(r.memory.At(buffers, len(f)), f) || !slices.Equal(r.vectors, []int{3}) {
		t.Errorf("another frame, or vectors %v, want 3", r.vectors)
	}
	f[len(f)-1] ^= 1
	r.Receive(f)
	if _, high = r.get(rxRing, 1); high&rxL4E == 0 {
		t.Error("a wrong checksum is not flagged")
	}
	f[5] = 9
	if r.Receive(f) {
		t.Error("a frame for another address was received")
	}
	if n := r.Read32(regGPRC); n != 2 || r.Read32(regGPRC) != 0 {
		t.Errorf("GPRC %d, want 2, then 0", n)
	}
	r.clean()
}

func TestRSSAsInTheDatasheet(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	key := []uint32{0xda565a6d, 0xc20e5b25, 0x3d256741, 0xb08fa343, 0xcb2bcad0, 0xb4307bae, 0xa32dcb77, 0x0cf23080, 0x3bb7426a, 0xfa01acbe}
	for i, w := range key {
		r.Write32(regRSSRK+4*uint32(i), w)
	}
	r.Write32(regMRQC, 1|mrqcUDP4)
	r.Write32(regRXCSUM, rxcsumPCSD)
	r.Receive(datagram(1))
	low, _ := r.get(rxRing, 0)
	if got := uint32(low >> 32); got != 0x51ccc178 || low&15 != rssUDP4 {
		t.Errorf("hash %#x of type %d, want 0x51ccc178 of type %d (66.9.149.187:2794 to 161.142.100.80:1766)", got, low&15, rssUDP4)
	}
	r.clean()
}

func TestTransmitChecksums(t *testing.T) {
	r := newRig(t, ChipX540)
	r.start()
	want := datagram(30)
	f := slices.Clone(want)
	h := f[14:]
	h[10], h[11] = 0, 0
	complete(h[26:], ^sum(nil, pseudo(h[12:20], udp, 38)), false)
	r.send(f, optionIP|optionL4|1<<7, 0, 20|14<<9)
	if len(r.sent) != 1 || !bytes.Equal(r.sent[0], want) {
		t.Errorf("sent\n%x, want\n%x", r.sent, want)
	}
	if _, high := r.get(txRing, 1); high != txDD || r.Read32(regGPTC) != 1 {
		t.Error("the descriptor is not done, or not counted")
	}
	r.clean()
}

func TestVLANTags(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	r.Write32(rxBlock+qDCTL, dctlEN|dctlVME)
	r.send(datagram(30), 0, txVLE, 20|14<<9|7<<16)
	if len(r.sent) != 1 || !tagged(r.sent[0]) {
		t.Fatalf("sent %x, want a tag", r.sent)
	}
	r.Receive(r.sent[0])
	if _, high := r.get(rxRing, 0); high>>48 != 7 || high&rxVP == 0 || high>>32&0xffff != 72 {
		t.Errorf("write-back %#x, want tag 7 and 72 bytes", high)
	}
	r.Write32(regVLNCTRL, vlnctrlVFE)
	if r.Receive(r.sent[0]) {
		t.Error("a VLAN that is not in VFTA was received")
	}
	r.Write32(regVFTA, 1<<7)
	if !r.Receive(r.sent[0]) {
		t.Error("a VLAN that is in VFTA was not received")
	}
	r.clean()
}

func TestMulticastTable(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	f := datagram(30)
	copy(f, []byte{1, 0, 0x5e, 0, 0x12, 0x34})
	r.Write32(regMCSTCTRL, mcstctrlMFE)
	if r.Receive(f) {
		t.Error("a group that is not in MTA was received")
	}
	r.Write32(regMTA+(0x341>>5)*4, 1<<(0x341&31)) // bits 47:36 of the address
	if !r.Receive(f) {
		t.Error("a group that is in MTA was not received")
	}
	r.clean()
}
