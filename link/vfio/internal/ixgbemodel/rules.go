package ixgbemodel

// rule says what a register takes when it is written.
type rule struct {
	span
	writable uint32 // the other bits are reserved or read-only
	lenient  uint32 // of those: what drivers in wide use set nevertheless
	name     string
	section  string
}

const all = 0xffffffff

// rules are of all registers that the model knows, but queues' rings, counters
// and semaphores. One that is not here is unmodelled. Reserved bits are checked
// where the datasheet names them.
var rules = []rule{
	{span{regCTRL, 1, 4}, ctrlMaster | ctrlLRST | ctrlRST, 0, "CTRL", "8.2.3.1.1"},
	{span{regSTATUS, 1, 4}, 0, 0, "STATUS", "8.2.3.1.2"},
	{span{regCTRLEXT, 1, 4}, 1<<14 | 1<<16 | 1<<17 | 1<<26 | 1<<28, 0, "CTRL_EXT", "8.2.3.1.3"},
	{span{regESDP, 1, 4}, 0x00ffffff, 0, "ESDP", "8.2.3.1.4"},
	{span{regI2CCTL, 1, 4}, all, 0, "I2CCTL", "8.2.3.1.5"},
	{span{regFRTIMER, 2, 4}, all, 0, "TCPTIMER", "8.2.3.15"},
	{span{regLEDCTL, 1, 4}, all, 0, "LEDCTL", "8.2.3.1.6"},
	{span{regEXVET, 1, 4}, all, 0, "EXVET", "8.2.3.1.7"},
	{span{regEEC, 1, 4}, all, 0, "EEC", "8.2.3.2.1"},
	{span{regFWSM, 1, 4}, 0, 0, "FWSM", "8.2.3.4"},
	{span{regGRC, 1, 4}, all, 0, "GRC", "8.2.3.2"},

	{span{regEICR, 1, 4}, 0x7fffffff, maskReserved, "EICR", "8.2.3.5.1"},
	{span{regEICS, 1, 4}, 0x7fffffff, maskReserved, "EICS", "8.2.3.5.2"},
	{span{regEIMS, 1, 4}, 0x7fffffff, maskReserved, "EIMS", "8.2.3.5.3"},
	{span{regEIMC, 1, 4}, 0x7fffffff, maskReserved, "EIMC", "8.2.3.5.4"},
	{span{regEIAC, 1, 4}, 0x7fffffff, maskReserved, "EIAC", "8.2.3.5.5"},
	{span{regEIAM, 1, 4}, 0x7fffffff, maskReserved, "EIAM", "8.2.3.5.6"},
	{span{regEITRSEL, 1, 4}, all, 0, "EITRSEL", "8.2.3.5.11"},
	{span{regEITR, 24, 4}, 0xfffffff8 &^ 0x7000, 7, "EITR", "8.2.3.5.12"},
	{span{regEITR24, 105, 4}, 0xfffffff8 &^ 0x7000, 7, "EITR", "8.2.3.5.12"},
	{span{regIVAR, 64, 4}, 0xbfbfbfbf, 0, "IVAR", "8.2.3.5.16"},
	{span{regIVARMisc, 1, 4}, 0xbfbf, 0, "IVAR_MISC", "8.2.3.5.17"},
	{span{regGPIE, 1, 4}, 0xc000ffff, 0, "GPIE", "8.2.3.5.18"},
	{span{regLLITHRESH, 1, 4}, all, 0, "LLITHRESH", "8.2.3.5.14"},
	{span{regL34TIMIR, 128, 4}, all, 0, "L34TIMIR", "8.2.3.5.13"},

	{span{regFCTTV, 4, 4}, all, 0, "FCTTV", "8.2.3.3"},
	{span{regFCRTL, 8, 4}, 1<<31 | 0x7fff0, 0xf, "FCRTL", "8.2.3.3"},
	{span{regFCRTH, 8, 4}, 1<<31 | 0x7ffe0, 0x7ff8001f, "FCRTH", "8.2.3.3"},
	{span{regFCRTV, 1, 4}, 0xffff, 0, "FCRTV", "8.2.3.3"},
	{span{regFCCFG, 1, 4}, 0x18, 0, "FCCFG", "8.2.3.3"},
	{span{regTFCS, 1, 4}, all, 0, "TFCS", "8.2.3.3"},
	{span{regMFLCN, 1, 4}, 0xf, 0xff0, "MFLCN", "8.2.3.22"},

	{span{regRXCSUM, 1, 4}, 0x3000, 0, "RXCSUM", "8.2.3.7.5"},
	{span{regRFCTL, 1, 4}, all, 0, "RFCTL", "8.2.3.7.6"},
	{span{regFCTRL, 1, 4}, 0x3702, 0, "FCTRL", "8.2.3.7.1"},
	{span{regVLNCTRL, 1, 4}, 0x7000ffff, 0, "VLNCTRL", "8.2.3.7.2"},
	{span{regMCSTCTRL, 1, 4}, 0x7, 0, "MCSTCTRL", "8.2.3.7.3"},
	{span{regETQF, 8, 4}, all, 0, "ETQF", "8.2.3.7"},
	{span{regETQS, 8, 4}, all, 0, "ETQS", "8.2.3.7"},
	{span{regMTA, 128, 4}, all, 0, "MTA", "8.2.3.7.7"},
	{span{regRAL, 128, 8}, all, 0, "RAL", "8.2.3.7.8"},
	{span{regRAL + 4, 128, 8}, 0x8000ffff, 0, "RAH", "8.2.3.7.9"},
	{span{regMPSAR, 256, 4}, all, 0, "MPSAR", "8.2.3.7.10"},
	{span{regVFTA, 128, 4}, all, 0, "VFTA", "8.2.3.7.11"},
	{span{regMRQC, 1, 4}, 0xffff800f, 0, "MRQC", "8.2.3.7.12"},
	{span{regRQTC, 1, 4}, 0x77777777, 0, "RQTC", "8.2.3.7.13"},
	{span{regRSSRK, 10, 4}, all, 0, "RSSRK", "8.2.3.7.14"},
	{span{regRETA, 32, 4}, 0x0f0f0f0f, 0, "RETA", "8.2.3.7.15"},
	{span{regPSRTYPE, 64, 4}, all, 0, "PSRTYPE", "8.2.3.7.4"},
	{span{regSYNQF, 1, 4}, all, 0, "SYNQF", "8.2.3.7"},

	{span{regRDRXCTL, 1, 4}, rdrxCRC | rdrxDMADone | rdrxRSCSize | 0x06810026, 0, "RDRXCTL", "8.2.3.8.8"},
	{span{regRXPBSIZE, 8, 4}, pbSize, 0, "RXPBSIZE", "8.2.3.8.9"},
	{span{regRXCTRL, 1, 4}, rxctrlRXEN, 0, "RXCTRL", "8.2.3.8.10"},
	{span{regRSCDBU, 1, 4}, all, 0, "RSCDBU", "8.2.3.8"},
	{span{regQDE, 1, 4}, all, 0, "QDE", "8.2.3.27"},
	{span{regDROPEN, 1, 4}, 0xff, 0, "DROPEN", "8.2.3.8"},
	{span{rxBlock + qSRRCTL, 64, blockSize}, 0x1fc03f1f, 0, "SRRCTL", "8.2.3.8.7"},
	{span{rxBlock2 + qSRRCTL, 64, blockSize}, 0x1fc03f1f, 0, "SRRCTL", "8.2.3.8.7"},
	{span{rxBlock + qDCTL, 64, blockSize}, 0x4200bfff, dctlFlush, "RXDCTL", "8.2.3.8.6"},
	{span{rxBlock2 + qDCTL, 64, blockSize}, 0x4200bfff, dctlFlush, "RXDCTL", "8.2.3.8.6"},
	{span{rxBlock + qRSCCTL, 64, blockSize}, 0xf, 0, "RSCCTL", "8.2.3.8.13"},
	{span{rxBlock2 + qRSCCTL, 64, blockSize}, 0xf, 0, "RSCCTL", "8.2.3.8.13"},
	{span{rxBlock + qDCA, 64, blockSize}, all, 0, "DCA_RXCTRL", "8.2.3.11"},
	{span{rxBlock2 + qDCA, 64, blockSize}, all, 0, "DCA_RXCTRL", "8.2.3.11"},

	{span{regDMATXCTL, 1, 4}, 0xffff000b, 0, "DMATXCTL", "8.2.3.9.2"},
	{span{regDTXTCPFLGL, 1, 4}, 0x0fff0fff, 0, "DTXTCPFLGL", "8.2.3.9.3"},
	{span{regDTXTCPFLGH, 1, 4}, 0x0fff, 0, "DTXTCPFLGH", "8.2.3.9.4"},
	{span{regDTXMXSZRQ, 1, 4}, 0xfff, 0, "DTXMXSZRQ", "8.2.3.9.1"},
	{span{regTXPBSIZE, 8, 4}, pbSize, 0, "TXPBSIZE", "8.2.3.9.13"},
	{span{regTXPBTHRESH, 8, 4}, 0x3ff, 0, "TXPBTHRESH", "8.2.3.9.16"},
	{span{regMTQC, 1, 4}, 0xf, 0, "MTQC", "8.2.3.9.15"},
	{span{txBlock + qDCTL, Queues, blockSize}, 0x067f7f7f, 0, "TXDCTL", "8.2.3.9.10"},
	{span{txBlock + qWBAL, Queues, blockSize}, all &^ 2, 0, "TDWBAL", "8.2.3.9.11"},
	{span{txBlock + qWBAH, Queues, blockSize}, all, 0, "TDWBAH", "8.2.3.9.12"},
	{span{txBlock + qDCA, Queues, blockSize}, all, 0, "DCA_TXCTRL", "8.2.3.11"},

	{span{regRTTDCS, 1, 4}, all, 0, "RTTDCS", "8.2.3.10"},
	{span{regRTTDQSEL, 3, 4}, all, 0, "RTTDQSEL", "8.2.3.10"},
	{span{regRTTDT2C, 8, 4}, all, 0, "RTTDT2C", "8.2.3.10"},
	{span{regRTTBCNRM, 2, 4}, all, 0, "RTTBCNRC", "8.2.3.10"},
	{span{regRTRPCS, 1, 4}, all, 0, "RTRPCS", "8.2.3.10"},
	{span{regRTTPCS, 1, 4}, all, 0, "RTTPCS", "8.2.3.10"},
	{span{regRTRUP2TC, 1, 4}, 0xffffff, 0, "RTRUP2TC", "8.2.3.10"},
	{span{regRTTUP2TC, 1, 4}, 0xffffff, 0, "RTTUP2TC", "8.2.3.10"},
	{span{regRTRPT4C, 8, 4}, all, 0, "RTRPT4C", "8.2.3.10"},
	{span{regRTTPT2C, 8, 4}, all, 0, "RTTPT2C", "8.2.3.10"},
	{span{regDCAID, 2, 4}, all, 0, "DCA_CTRL", "8.2.3.11"},
	{span{regSECTXCTRL, 1, 4}, 7, 0, "SECTXCTRL", "8.2.3.12"},
	{span{regSECTXFULL, 1, 4}, all, 0, "SECTXBUFFAF", "8.2.3.12"},
	{span{regSECTXMIN, 1, 4}, all, 0, "SECTXMINIFG", "8.2.3.12"},
	{span{regSECRXCTRL, 1, 4}, 3, 0, "SECRXCTRL", "8.2.3.12"},

	{span{regFDIRCTRL, 1, 4}, all, 0, "FDIRCTRL", "8.2.3.21"},
	{span{regFDIRSIP6, 9, 4}, all, 0, "FDIR", "8.2.3.21"},
	{span{regFDIRFREE, 1, 4}, 0, all, "FDIRFREE", "8.2.3.21"},
	{span{regFDIRDIP4M, 4, 4}, all, 0, "FDIRM", "8.2.3.21"},
	{span{regFDIRLEN, 1, 4}, 0, all, "FDIRLEN", "8.2.3.21"},
	{span{regFDIRHKEY, 5, 4}, all, 0, "FDIRHKEY", "8.2.3.21"},

	{span{regPCS1GCFIG, 9, 4}, all, 0, "PCS1G", "8.2.3.22"},
	{span{regHLREG0, 1, 4}, 0x18f38407, 0, "HLREG0", "8.2.3.22.8"},
	{span{regPAP, 1, 4}, all, 0, "PAP", "8.2.3.22"},
	{span{regMSCA, 2, 4}, all, 0, "MSCA", "8.2.3.22.11"},
	{span{regMAXFRS, 1, 4}, 0xffff0000, 0, "MAXFRS", "8.2.3.22.13"},
	{span{regAUTOC, 1, 4}, all, 0, "AUTOC", "8.2.3.22.19"},
	{span{regLINKS, 1, 4}, 0, 0, "LINKS", "8.2.3.22.20"},
	{span{regAUTOC2, 1, 4}, all, 0, "AUTOC2", "8.2.3.22.22"},
	{span{regMACC, 1, 4}, all, 0, "MACC", "8.2.3.22"},
	{span{regCORECTL, 1, 4}, all, 0, "CORECTL", "8.2.3.22"},
	{span{regRQSMR, 32, 4}, 0x0f0f0f0f, 0, "RQSMR", "8.2.3.23"},
	{span{regTQSM, 32, 4}, 0x0f0f0f0f, 0, "TQSM", "8.2.3.23"},
	{span{regWUC, 1, 4}, all, 0, "WUC", "8.2.3.24"},
	{span{regWUFC, 1, 4}, all, 0, "WUFC", "8.2.3.24"},
	{span{regWUS, 1, 4}, all, 0, "WUS", "8.2.3.24"},
	{span{regIPAV, 1, 4}, all, 0, "IPAV", "8.2.3.24"},
	{span{regFWSTS, 1, 4}, all, 0, "FWSTS", "8.2.3.25"},
	{span{regMANC, 1, 4}, all, 0, "MANC", "8.2.3.25"},

	{span{regTSYNCRXCTL, 1, 4}, 0x1e, 1, "TSYNCRXCTL", "8.2.3.26"},
	{span{regRXMTRL, 1, 4}, all, 0, "RXMTRL", "8.2.3.26"},
	{span{regTSYNCTXCTL, 1, 4}, 0x10, 1, "TSYNCTXCTL", "8.2.3.26"},
	{span{regSYSTIML, 11, 4}, all, 0, "SYSTIM", "8.2.3.26"},
	{span{regCLKTIML + 4, 1, 4}, all, 0, "CLKTIMH", "8.2.3.26"},

	{span{regVTCTL, 1, 4}, all, 0, "VT_CTL", "8.2.3.27"},
	{span{regPFDTXGSWC, 1, 4}, 1, 0, "PFDTXGSWC", "8.2.3.27"},
	{span{regSPOOF, 8, 4}, all, 0, "PFVFSPOOF", "8.2.3.27"},
	{span{regVFRE, 2, 4}, all, 0, "VFRE", "8.2.3.27"},
	{span{regVFTE, 2, 4}, all, 0, "VFTE", "8.2.3.27"},
	{span{regVMTXSW, 2, 4}, all, 0, "VMTXSW", "8.2.3.27"},
	{span{regVMECM, 2, 4}, all, 0, "VMECM", "8.2.3.27"},
	{span{regVMVIR, 64, 4}, all, 0, "VMVIR", "8.2.3.27"},
	{span{regVMOLR, 64, 4}, all, 0, "VMOLR", "8.2.3.27"},
	{span{regVLVF, 64, 4}, all, 0, "VLVF", "8.2.3.27"},
	{span{regVLVFB, 128, 4}, all, 0, "VLVFB", "8.2.3.27"},
	{span{regUTA, 128, 4}, all, 0, "UTA", "8.2.3.27"},
	{span{regMRCTL, 4, 4}, all, 0, "MRCTL", "8.2.3.27"},
	{span{regGCR, 1, 4}, all, 0, "GCR", "8.2.3.4"},
	{span{regGCREXT, 1, 4}, all, 0, "GCR_EXT", "8.2.3.4"},
	{span{regFCRXCTRL, 1, 4}, all, 0, "FCRXCTRL", "8.2.3.16"},
	{span{regFCRECTL, 1, 4}, all, 0, "FCRECTL", "8.2.3.16"},
	{span{regFCRETA, 8, 4}, all, 0, "FCRETA", "8.2.3.16"},
}

// ruleOf returns the rule of a register by its offset, nil if it has none.
var ruleOf = func() map[uint32]*rule {
	m := map[uint32]*rule{}
	for i := range rules {
		r := &rules[i]
		for n := range r.count {
			m[r.first+n*r.stride] = r
		}
	}
	return m
}()

// screen reports the bits that should not change, and returns the value
// without them.
func (d *Device) screen(offset, value uint32) uint32 {
	r := ruleOf[offset]
	if r == nil {
		return value
	}
	old := *d.reg(offset)
	wrong := (value ^ old) &^ r.writable
	what := r.name + ": reserved or read-only bits changed"
	switch {
	case wrong&^r.lenient != 0:
		d.violate(offset, r.section, what)
	case wrong != 0:
		d.tolerate(offset, r.section, what)
	}
	return value&r.writable | old&^r.writable
}
