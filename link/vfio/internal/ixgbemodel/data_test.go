package ixgbemodel

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// segment makes a TCP frame with size bytes of payload, of IPv4 or IPv6, and the
// fields that segmentation wants: no length in IP, no checksums but the sum over
// the pseudo-header, without a length.
func segment(six bool, size int) (f []byte, ip int) {
	f = append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0}, make([]byte, 20)...)
	copy(f[14:], []byte{0x45, 0, 0, 0, 0x10, 0, 0x40, 0, 64, tcp, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2})
	addresses := f[26:34]
	if six {
		f = append(f[:12:12], 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, tcp, 64)
		f = append(f, bytes.Repeat([]byte{0xfd, 1}, 16)...)
		addresses = f[22:54]
	}
	ip = len(f) - 14
	header := make([]byte, tcpHeader)
	binary.BigEndian.PutUint32(header[tcpSequence:], 1000)
	binary.BigEndian.PutUint16(header[tcpFlags:], 5<<12|0x19) // FIN, PSH, ACK
	binary.BigEndian.PutUint16(header[tcpSum:], sum(addresses, tcp))
	f = append(f, header...)
	for i := range size {
		f = append(f, byte(i))
	}
	return f, ip
}

func TestSegmentation(t *testing.T) {
	for _, six := range []bool{false, true} {
		r := newRig(t, Chip82599)
		r.start()
		f, ip := segment(six, 250)
		header := 14 + ip + tcpHeader
		copy(r.memory.At(buffers+0x8000, len(f)), f)
		kind := uint64(kindContext<<20|txDEXT|contextTCP<<11) | 100<<48 | tcpHeader<<40
		options := uint64(optionL4) | 250<<14
		if !six {
			kind |= 1 << 10
			options |= optionIP
		}
		r.place(txRing, 0, uint64(14<<9|ip), kind)
		r.place(txRing, 1, buffers+0x8000, uint64(header)|kindData<<20|txDEXT|txIFCS|txTSE|options<<32)
		r.place(txRing, 2, buffers+0x8000+uint64(header), 250|kindData<<20|txDEXT|txIFCS|txEOP|txRS)
		r.Write32(txBlock+qTail, 3)
		r.clean()
		if len(r.sent) != 3 {
			t.Fatalf("IPv6 %v: %d segments, want 3", six, len(r.sent))
		}
		for i, s := range r.sent {
			p := parse(s)
			status := p.checked(Chip82599)
			if p.protocol != tcp || status&(rxIPE|rxL4E) != 0 || len(p.payload) != tcpHeader+[]int{100, 100, 50}[i] {
				t.Fatalf("IPv6 %v: segment %d is wrong: %x", six, i, s)
			}
			flags := binary.BigEndian.Uint16(p.payload[tcpFlags:]) & tcpFlagsMask
			if want := []uint16{0x10, 0x10, 0x19}[i]; flags != want || binary.BigEndian.Uint32(p.payload[tcpSequence:]) != uint32(1000+100*i) {
				t.Errorf("IPv6 %v: segment %d: flags %#x, want %#x, or its sequence is wrong", six, i, flags, want)
			}
			if !six && binary.BigEndian.Uint16(s[14+ip4ID:]) != uint16(0x1000+i) {
				t.Errorf("segment %d: identification %x", i, s[18:20])
			}
		}
	}
}

func TestLegacyTransmit(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	want := datagram(40)
	f := slices.Clone(want)
	complete(f[40:], ^sum(nil, pseudo(f[26:34], udp, 48)), false)
	copy(r.memory.At(buffers, len(f)), f)
	r.place(txRing, 0, buffers, uint64(len(f))|40<<16|34<<40|txEOP|txIFCS|txIC|txRS)
	r.Write32(txBlock+qTail, 1)
	if len(r.sent) != 1 || !bytes.Equal(r.sent[0], want) {
		t.Errorf("sent\n%x, want\n%x", r.sent, want)
	}
	r.clean()
}

func TestHeadWriteBack(t *testing.T) {
	r := newRig(t, Chip82599)
	r.Write32(txBlock+qWBAL, buffers|wbalOn)
	r.start()
	r.send(datagram(30), 0, 0, 0)
	_, high := r.get(txRing, 0)
	if head := binary.LittleEndian.Uint32(r.memory.At(buffers, 4)); head != 1 || high&txDD != 0 {
		t.Errorf("head %d, want 1, and no done bit", head)
	}
	r.clean()
}

func TestJumboInSeveralBuffers(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	f := append(datagram(30), make([]byte, 4500)...)
	if r.Receive(f) || r.Read32(regROC) != 1 {
		t.Error("a frame over 1518 bytes was taken, or not counted")
	}
	r.Write32(regMAXFRS, 9018<<16)
	r.Write32(regHLREG0, r.Read32(regHLREG0)|hlreg0Jumbo)
	if !r.Receive(f) {
		t.Fatal("not received")
	}
	rest := len(f)
	for i := range uint32(3) {
		_, high := r.get(rxRing, i)
		n := min(rest, 2048)
		rest -= n
		if int(high>>32&0xffff) != n || (high&rxEOP != 0) != (rest == 0) {
			t.Errorf("descriptor %d: %#x, want %d bytes", i, high, n)
		}
	}
	if r.Read32(regPRC64+20) != 1 {
		t.Error("not among the longest")
	}
	r.clean()
}

// Frames wait in the packet buffer for descriptors; with DROP_EN they are lost.
func TestNoDescriptors(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	for range ringSize - 1 {
		r.Receive(datagram(30))
	}
	if !r.Receive(datagram(31)) || r.Read32(regQPRC) != ringSize-1 {
		t.Error("the last frame is to wait")
	}
	r.Write32(rxBlock+qTail, 0)
	if _, high := r.get(rxRing, ringSize-1); high>>32&0xffff != 73 || r.Read32(regQPRC) != 1 {
		t.Error("the frame that waited has not come")
	}
	r.Write32(rxBlock+qSRRCTL, srrctlOne|2|srrctlDrop)
	if r.Receive(datagram(30)) || r.Read32(regQPRDC) != 1 || r.Read32(regMPC) != 0 {
		t.Error("a frame without a descriptor is to be dropped, and counted by its queue")
	}
	r.Write32(rxBlock+qSRRCTL, srrctlOne|2)
	for range 512 << 10 / 76 {
		r.Receive(datagram(30))
	}
	if r.Receive(datagram(30)); r.Read32(regMPC) == 0 {
		t.Error("the packet buffer has no end")
	}
	r.clean()
}

func TestIPv6ByPorts(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	r.Write32(regMRQC, mrqcRSS|mrqcTCP6|mrqcIPv6)
	r.Write32(regRXCSUM, rxcsumPCSD)
	for i := range uint32(10) {
		r.Write32(regRSSRK+4*i, 0x01020304*(i+1))
	}
	f, ip := segment(true, 10)
	binary.BigEndian.PutUint16(f[18:], tcpHeader+10)
	binary.BigEndian.PutUint16(f[14+ip+tcpSum:], 0)
	complete(f[14+ip+tcpSum:], sum(f[14+ip:], pseudo(f[22:54], tcp, tcpHeader+10)), false)
	copy(f, []byte{2, 0, 0, 0, 0, 1})
	r.Receive(f)
	low, high := r.get(rxRing, 0)
	if kind := uint32(low); kind != packetIPv6|packetTCP|rssTCP6 || low>>32 == 0 {
		t.Errorf("descriptor %#x, want a hash over IPv6 and TCP", low)
	}
	if high&(rxL4I|rxL4E|rxIPCS) != rxL4I {
		t.Errorf("status %#x, want a TCP checksum that is right, and none of IP", high)
	}
	r.clean()
}

func TestNoUDPChecksum(t *testing.T) {
	for chip, want := range map[Chip]uint64{Chip82599: rxL4I | rxL4E, ChipX540: 0} {
		r := newRig(t, chip)
		r.start()
		f := datagram(30)
		f[40], f[41] = 0, 0
		r.Receive(f)
		if _, high := r.get(rxRing, 0); high&(rxL4I|rxL4E) != want {
			t.Errorf("chip %#x: status %#x, want %#x of it", chip, high, want)
		}
		r.clean()
	}
}

func TestCountersBySet(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	r.Write32(regRQSMR, 3)
	r.Write32(regTQSM, 5)
	f := datagram(100)
	r.Receive(f)
	r.send(f, 0, 0, 0)
	for offset, want := range map[uint32]int{
		regQPRC + 3*blockSize: 1, regQBRC + 3*blockSize: len(f), regQPTC + 5*blockSize: 1, regQBTC + 5*8: len(f) + fcs,
		regPRC64 + 8: 1, regPTC64 + 8: 1, regTORL: len(f) + fcs, regGOTCL: len(f) + fcs, regTXDGPC: 1, regRXDGPC: 1,
	} {
		if got := r.Read32(offset); got != uint32(want) || r.Read32(offset) != 0 {
			t.Errorf("counter %#x is %d, want %d, then 0", offset, got, want)
		}
	}
	r.count(regGPRC, 0xffffffff)
	r.count(regGPRC, 2)
	if r.Read32(regGPRC) != 0xffffffff {
		t.Error("a counter has wrapped")
	}
	r.clean()
}

func TestLoopback(t *testing.T) {
	r := newRig(t, Chip82599)
	r.SetLink(false)
	r.start()
	r.Write32(regHLREG0, r.Read32(regHLREG0)|hlreg0Loopback)
	f := datagram(30)
	r.send(f, 0, 0, 0)
	if len(r.sent) != 0 || !bytes.Equal(r.memory.At(buffers, len(f)), f) || r.Receive(f) {
		t.Error("a frame is to come back, and to go nowhere else")
	}
	r.clean()
}

func TestFlowDirectorHandshakes(t *testing.T) {
	r := newRig(t, Chip82599)
	r.Write32(regFDIRCTRL, 1)
	r.Write32(regFDIRCMD, fdirAdd|1<<15)
	r.Write32(regFDIRCMD, fdirClear)
	r.Write32(regFDIRCMD, 0)
	r.Write32(regFDIRCMD, fdirAdd|1<<15)
	if r.Read32(regFDIRCTRL)&fdirDone == 0 || r.Read32(regFDIRCMD)&fdirCommand != 0 {
		t.Error("the flow director is not ready")
	}
	if r.Read32(regFDIRUSTAT) != 2 || r.Read32(regFDIRFREE) != fdirCapacity-1 {
		t.Error("a filter is not counted")
	}
	r.clean()
}

func TestAutoMask(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	r.Read32(regEICR) // LSC
	r.Write32(regGPIE, gpieMSIX|gpieOCD|gpieEIAME)
	r.Write32(regEIAMEX, 1<<2)
	r.Write32(regEIAC, 1<<2)
	r.Write32(regIVAR, ivarValid|2)
	r.Write32(regEIMSEX, 1<<2)
	r.Receive(datagram(30))
	r.Receive(datagram(30))
	if !slices.Equal(r.vectors, []int{2}) || r.Read32(regEIMS) != 0 {
		t.Errorf("vectors %v, want 2 once, and masked", r.vectors)
	}
	r.Write32(regEIMSEX, 1<<2)
	if !slices.Equal(r.vectors, []int{2, 2}) || r.Read32(regEICS) != 0 {
		t.Errorf("vectors %v, want 2 again, and cleared", r.vectors)
	}
	r.Write32(regEICS, causeLSC|1)
	if got := r.Read32(regEICS); got != causeLSC|1 || r.Read32(regEICR) != got || r.Read32(regEICR) != 1 {
		t.Error("with GPIE.OCD a read of EICR clears other causes alone, one of EICS none")
	}
	r.clean()
}

func TestLine(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	r.Read32(regEICR)
	r.Write32(regIVAR, ivarValid)
	r.Write32(regEIMS, 1)
	r.Receive(datagram(30))
	r.Receive(datagram(30))
	if !slices.Equal(r.lines, []bool{true}) {
		t.Errorf("line %v, want it up once", r.lines)
	}
	r.Write32(regEIMC, 1)
	r.Write32(regEIMS, 1)
	r.Read32(regEICR)
	if !slices.Equal(r.lines, []bool{true, false, true, false}) {
		t.Errorf("line %v, want it down by a mask, and by reading its cause", r.lines)
	}
	r.Reset()
	r.clean()
}

func TestTimes(t *testing.T) {
	for chip, increment := range map[Chip]uint32{Chip82599: 1<<24 | 0xcccccc, ChipX540: 0x66666666} {
		r := newRig(t, chip)
		shift := map[Chip]int{Chip82599: 21, ChipX540: 28}[chip]
		r.start()
		r.Write32(regTIMINCA, increment)
		r.Write32(regSYSTIML, 0)
		r.Write32(regSYSTIMH, 0)
		r.now += 3 * time.Second
		got := uint64(r.Read32(regSYSTIML)) | uint64(r.Read32(regSYSTIMH))<<32
		if ns := time.Duration(got >> shift); (ns - 3*time.Second).Abs() > time.Microsecond {
			t.Errorf("chip %#x: %v, want 3 s", chip, ns)
		}
		r.Write32(regTIMADJL, 5)
		r.Write32(regTIMADJH, 1<<31)
		if again := uint64(r.Read32(regSYSTIML)) | uint64(r.Read32(regSYSTIMH))<<32; again != got-5 {
			t.Errorf("chip %#x: %d after an adjustment of %d by -5", chip, again, got)
		}
		r.Write32(regETQF+12, etqfOn|etqf1588|etherTypePTP)
		r.Write32(regTSYNCRXCTL, stampOn|stampEventV2)
		r.Write32(regTSYNCTXCTL, stampOn)
		f := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xf7, 0, 2}, make([]byte, 60)...)
		f[14+31] = 7 // sequence
		r.Receive(f)
		low, high := r.get(rxRing, 0)
		if high&rxTS == 0 || uint32(low) != packetETQF|3<<4 || r.Read32(regRXSTMPL) != uint32(got-5) || r.Read32(regRXSATRH)>>16 != 0 {
			t.Errorf("chip %#x: descriptor %#x %#x, want the time of a frame that filter 3 took", chip, low, high)
		}
		if r.Read32(regTSYNCRXCTL)&stampValid == 0 || r.Read32(regRXSTMPH) != uint32((got-5)>>32) || r.Read32(regTSYNCRXCTL)&stampValid != 0 {
			t.Errorf("chip %#x: reading the high word is to free the registers", chip)
		}
		r.send(f, 0, txStamp, 0)
		if r.Read32(regTSYNCTXCTL)&stampValid == 0 || r.Read32(regTXSTMPL) != uint32(got-5) {
			t.Errorf("chip %#x: no time of a frame that was sent", chip)
		}
		r.clean()
	}
}
