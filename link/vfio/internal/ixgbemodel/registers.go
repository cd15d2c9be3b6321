package ixgbemodel

// Registers, byte offsets in BAR 0, and their bits (82599 datasheet, 8.2.3).
const (
	regCTRL    = 0x00000
	ctrlMaster = 1 << 2 // PCIe master disable
	ctrlLRST   = 1 << 3
	ctrlRST    = 1 << 26

	regSTATUS    = 0x00008
	statusLinkUp = 1 << 7
	statusMaster = 1 << 19 // master requests may be under way

	regEEC      = 0x10010
	eecPresent  = 1 << 8
	eecARD      = 1 << 9 // auto-read done
	regEERD     = 0x10014
	eerdStart   = 1 << 0
	eerdDone    = 1 << 1
	regSWSM     = 0x10140
	swsmSMBI    = 1 << 0
	swsmSWESMBI = 1 << 1
	regSWFW     = 0x10160
	swfwREGSMP  = 1 << 31 // X540: the second half of its semaphore

	regEICR      = 0x00800
	regEICS      = 0x00808
	regEIAC      = 0x00810
	regEIMS      = 0x00880
	regEIMC      = 0x00888
	regEIAM      = 0x00890
	regGPIE      = 0x00898
	gpieMSIX     = 1 << 4
	gpieOCD      = 1 << 5
	gpieEIAME    = 1 << 30
	regEICSEX    = 0x00A90 // and so on: two words each
	regEIMSEX    = 0x00AA0
	regEIMCEX    = 0x00AB0
	regEIAMEX    = 0x00AD0
	regIVAR      = 0x00900 // a word for two queues
	regIVARMisc  = 0x00A00
	ivarValid    = 1 << 7
	ivarVector   = 0x3f
	regEITR      = 0x00820 // 24 of them; the others at 0x12300
	causeLSC     = 1 << 20
	queueCauses  = 0xffff // EICR bits of queues; those above are of other causes
	maskReserved = 1 << 31

	regFCTRL    = 0x05080
	fctrlMPE    = 1 << 8
	fctrlUPE    = 1 << 9
	fctrlBAM    = 1 << 10
	regRXCTRL   = 0x03000
	rxctrlRXEN  = 1 << 0
	regRDRXCTL  = 0x02F00
	rdrxCRC     = 1 << 1
	rdrxDMADone = 1 << 3
	regVLNCTRL  = 0x05088
	vlnctrlVFE  = 1 << 30
	regMCSTCTRL = 0x05090
	mcstctrlMFE = 1 << 2
	regMTA      = 0x05200 // 128 words
	regVFTA     = 0x0A000 // 128 words
	regRALOld   = 0x05400 // the first 16 addresses, under their old offsets
	regRAL      = 0x0A200 // 128 pairs
	rahAV       = 1 << 31
	regRXCSUM   = 0x05000
	rxcsumPCSD  = 1 << 13
	regMRQC     = 0x05818
	regRETA     = 0x05C00 // 32 words
	regRSSRK    = 0x05C80 // 10 words

	regHLREG0   = 0x04240
	hlreg0CRC   = 1 << 1 // strip it
	hlreg0Jumbo = 1 << 2
	hlreg0Pad   = 1 << 10
	regMAXFRS   = 0x04268
	regAUTOC    = 0x042A0
	regLINKS    = 0x042A4
	linksUp     = 1<<30 | 1<<7
	links10G    = 3 << 28

	regDMATXCTL = 0x04A80
	dmatxTE     = 1 << 0
)

// Queue registers, from the base of a queue's block (8.2.3.8, 8.2.3.9).
const (
	rxBlock   = 0x01000 // queues 0 to 63
	rxBlock2  = 0x0D000 // queues 64 to 127
	txBlock   = 0x06000
	blockSize = 0x40
	qBAL      = 0x00
	qBAH      = 0x04
	qLEN      = 0x08
	qHead     = 0x10
	qSRRCTL   = 0x14 // receive alone
	qTail     = 0x18
	qDCTL     = 0x28
	dctlEN    = 1 << 25
	dctlVME   = 1 << 30

	regSRRCTLOld = 0x02100 // queues 0 to 15, under their old offsets
	srrctlDrop   = 1 << 28
)

// Counters, cleared when read (8.2.3.23).
const (
	regMPC   = 0x03FA0
	regGPRC  = 0x04074
	regBPRC  = 0x04078
	regMPRC  = 0x0407C
	regGPTC  = 0x04080
	regGORCL = 0x04088
	regGOTCL = 0x04090
	regROC   = 0x040B0
	regTPR   = 0x040D0
	regTPT   = 0x040D4
	regMPTC  = 0x040F0
	regBPTC  = 0x040F4
)

// rule says which bits of a register software may change.
type rule struct {
	first, count, stride uint32
	writable             uint32
	name, section        string
}

var rules = []rule{
	{regSTATUS, 1, 4, 0, "STATUS", "8.2.3.1.2"},
	{regFCTRL, 1, 4, 0x3702, "FCTRL", "8.2.3.7.1"},
	{regVLNCTRL, 1, 4, 0x7000ffff, "VLNCTRL", "8.2.3.7.2"},
	{regMCSTCTRL, 1, 4, 0x7, "MCSTCTRL", "8.2.3.7.3"},
	{regRXCTRL, 1, 4, rxctrlRXEN, "RXCTRL", "8.2.3.8.10"},
	{regRAL + 4, 128, 8, 0x8000ffff, "RAH", "8.2.3.7.9"},
	{regIVAR, 64, 4, 0xbfbfbfbf, "IVAR", "8.2.3.5.16"},
	{regIVARMisc, 1, 4, 0xbfbf, "IVAR_MISC", "8.2.3.5.17"},
	{regEITR, 24, 4, 0x80008ff8 | 0x7fff0000, "EITR", "8.2.3.5.12"},
	{regLINKS, 1, 4, 0, "LINKS", "8.2.3.22.20"},
}

// writable returns the rule of a register, nil if it has none.
func writable(offset uint32) *rule {
	for i := range rules {
		r := &rules[i]
		if d := offset - r.first; offset >= r.first && d%r.stride == 0 && d/r.stride < r.count {
			return r
		}
	}
	return nil
}

// counters are cleared by a read, and read-only.
func counter(offset uint32) bool {
	switch offset {
	case regGPRC, regBPRC, regMPRC, regGPTC, regROC, regTPR, regTPT, regMPTC, regBPTC, regMPC,
		regGORCL, regGORCL + 4, regGOTCL, regGOTCL + 4:
		return true
	}
	return false
}
