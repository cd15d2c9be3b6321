package ixgbemodel

// reset puts all registers to what they are after a reset (4.2).
func (d *Device) reset() {
	d.regs = [Size / 4]uint32{}
	for i := range Queues {
		d.rx[i], d.tx[i] = d.rx[i].reset(), d.tx[i].reset()
	}
	d.held, d.wire = packetBuffer{}, i2c{}
	d.clock = systemTime{read: d.config.Now()}
	d.causes, d.misc, d.mask, d.miscMask, d.auto = 0, 0, 0, 0, 0
	d.moderated = [messages + 1]moderation{}
	for offset, value := range defaults {
		*d.reg(offset) = value
	}
	for i := range uint32(8) {
		*d.reg(regTXPBTHRESH + i*4) = 0x96
	}
	if d.config.Chip == Chip82599 {
		*d.reg(regESDP) = esdpModule | esdpLaserOut
	}
	*d.reg(regRXPBSIZE) = d.packetBufferSize()
	m := d.config.MAC
	*d.reg(regRAL) = uint32(m[0]) | uint32(m[1])<<8 | uint32(m[2])<<16 | uint32(m[3])<<24
	*d.reg(regRAL + 4) = rahAV | uint32(m[4]) | uint32(m[5])<<8
	*d.reg(regMPSAR) = 1
}

// defaults are the registers that are not 0 after a reset.
var defaults = map[uint32]uint32{
	regEEC:        eecPresent | eecARD | eecLongAddr | eecSize,
	regEEMNGCTL:   eemngDone,
	regRDRXCTL:    rdrxDMADone | 8<<17,
	regHLREG0:     hlreg0TxCRC | hlreg0CRC | hlreg0Pad,
	regMAXFRS:     1518 << 16,
	regVLNCTRL:    0x8100, // the EtherType of tags
	regDMATXCTL:   0x8100 << 16,
	regDTXTCPFLGL: 0x0f760ff6, // what first and middle segments keep of the flags
	regDTXTCPFLGH: 0x0f7f,     // and the last
	regDTXMXSZRQ:  0x10,
	regTXPBSIZE:   160 << 10,
	regAUTOC:      autocDefault,
	regAUTOC2:     autoc2Default,
	regI2CCTL:     i2cClockOut | i2cDataOut,
}

func (d *Device) read(offset uint32) uint32 {
	if q, r, _ := queueOf(offset); q != nil && r == qDCTL {
		return q(d).control(d.reg(offset))
	}
	v, ok := d.readInterrupt(offset)
	if !ok {
		v, ok = d.show(offset)
	}
	if !ok {
		v, ok = d.readTime(offset)
	}
	if !ok {
		v, ok = d.readSemaphore(offset)
	}
	if ok {
		return v
	}
	r := d.reg(offset)
	v = *r
	if counter(offset) {
		*r = 0
	}
	return v
}

func (d *Device) write(offset, value uint32) {
	if counter(offset) {
		d.violate(offset, "8.2.3.23", "counters are read-only")
		return
	}
	value = d.screen(offset, value)
	if d.writeInterrupt(offset, value) || d.writeQueue(offset, value) || d.writeSemaphore(offset, value) ||
		d.writeSPI(offset, value) || d.act(offset, value) || d.writeTime(offset, value) {
		return
	}
	r := d.reg(offset)
	if ruleOf[offset] == nil && value != *r {
		d.unmodelled[offset] = true
	}
	d.check(offset, value)
	*r = value
	if offset == regRXCTRL {
		d.held.close(value)
	}
}

// softReset is a reset by CTRL: it should come with interrupts masked, and its
// bit reads as one until it is done. It leaves the semaphores to their holders:
// on the X540 a driver holds one across it.
func (d *Device) softReset() {
	if d.mask != 0 || d.miscMask != 0 {
		d.tolerate(regCTRL, "4.6.3.1", "reset while interrupts are enabled")
	}
	swsm, swfw := *d.reg(regSWSM), *d.reg(regSWFW)
	d.reset()
	*d.reg(regSWSM), *d.reg(regSWFW) = swsm, swfw
	d.resetting = true
}

// check wants what the datasheet demands of a value, beside reserved bits.
func (d *Device) check(offset, value uint32) {
	old, receives := *d.reg(offset), *d.reg(regRXCTRL)&rxctrlRXEN != 0
	switch {
	case offset == regRXCTRL && value&rxctrlRXEN != 0 && !receives:
		d.checkReceive()
	case offset == regFCTRL && receives && value != old:
		d.tolerate(offset, "8.2.3.7.1", "FCTRL changed while RXCTRL.RXEN is set")
	case offset == regMTQC && *d.reg(regRTTDCS)&rttdcsARBDIS == 0 && value != old:
		d.violate(offset, "8.2.3.9.15", "MTQC changed while RTTDCS.ARBDIS is clear")
	case offset == regMAXFRS && (value>>16 < minFrame || value>>16 > maxFrame):
		d.violate(offset, "8.2.3.22.13", "MAXFRS is less than 64 or more than 15872 bytes")
	case offset == regMRQC && value&mrqcMode > mrqcRSS, offset == regVTCTL && value&vtctlOn != 0:
		d.unmodelled[offset] = true
	}
}

// Frames that the MAC takes, with their checksum (1.3).
const (
	minFrame = 64
	maxFrame = 15872
)

// checkReceive wants all in place before receive goes on.
func (d *Device) checkReceive() {
	if (*d.reg(regRDRXCTL)&rdrxCRC != 0) != (*d.reg(regHLREG0)&hlreg0CRC != 0) {
		d.violate(regRXCTRL, "8.2.3.8.8", "RDRXCTL.CRCStrip and HLREG0.RXCRCSTRP differ")
	}
	if *d.reg(regRDRXCTL)&rdrxRSCSize != 0 {
		d.violate(regRXCTRL, "8.2.3.8.8", "RDRXCTL.RSCFRSTSIZE is not 0")
	}
	sum := d.flowMemory()
	for i := range uint32(8) {
		sum += *d.reg(regRXPBSIZE + 4*i)
	}
	if sum > d.packetBufferSize() {
		d.violate(regRXCTRL, "8.2.3.8.9", "RXPBSIZE and the flow director take more than there is")
	}
}

// packetBufferSize is the receive packet buffer's, in bytes.
func (d *Device) packetBufferSize() uint32 {
	if d.config.Chip == ChipX540 {
		return 384 << 10
	}
	return 512 << 10
}

// flowMemory is what the flow director takes of it.
func (d *Device) flowMemory() uint32 {
	if n := *d.reg(regFDIRCTRL) & fdirAlloc; n != 0 {
		return 32 << 10 << n
	}
	return 0
}
