package ixgbemodel

// Registers of the data path: filters, receive, transmit (8.2.3.7 to 8.2.3.10).
const (
	regRXCSUM   = 0x05000
	rxcsumPCSD  = 1 << 13
	regRFCTL    = 0x05008
	regFCTRL    = 0x05080
	fctrlMPE    = 1 << 8
	fctrlUPE    = 1 << 9
	fctrlBAM    = 1 << 10
	regVLNCTRL  = 0x05088
	vlnctrlVFE  = 1 << 30
	regMCSTCTRL = 0x05090
	mcstctrlMFE = 1 << 2
	regETQF     = 0x05128 // 8: filters of EtherTypes
	etqf1588    = 1 << 30
	etqfOn      = 1 << 31
	regETQS     = 0x0EC00 // 8: their queues
	etqsOn      = 1 << 31
	regVTCTL    = 0x051B0
	vtctlOn     = 1 << 0
	regMTA      = 0x05200 // 128 words
	regRALOld   = 0x05400 // the first 16 addresses, under their old offsets
	regPSRTYPE0 = 0x05480 // the first 16, likewise
	regMRQC     = 0x05818
	mrqcMode    = 0xf
	mrqcRSS     = 1
	regRETA     = 0x05C00 // 32 words
	regRSSRK    = 0x05C80 // 10 words
	regVFTA     = 0x0A000 // 128 words
	regRAL      = 0x0A200 // 128 pairs
	rahAV       = 1 << 31
	regMPSAR    = 0x0A600 // 256 words
	regPSRTYPE  = 0x0EA00 // 64
	regRQTC     = 0x0EC70
	regSYNQF    = 0x0EC30
	regFTQF     = 0x0E600 // 128

	regRXCTRL   = 0x03000
	rxctrlRXEN  = 1 << 0
	regRTRUP2TC = 0x03020
	regRSCDBU   = 0x03028
	regRDRXCTL  = 0x02F00
	rdrxCRC     = 1 << 1
	rdrxDMADone = 1 << 3
	rdrxRSCSize = 0x1f << 17 // to be written as 0
	regQDE      = 0x02F04
	regRXPBSIZE = 0x03C00 // 8
	pbSize      = 0x000ffc00
	regDROPEN   = 0x03D04

	regDMATXCTL   = 0x04A80
	dmatxTE       = 1 << 0
	regDTXTCPFLGL = 0x04A88
	regDTXTCPFLGH = 0x04A8C
	regDTXMXSZRQ  = 0x08100
	regTXPBTHRESH = 0x04950 // 8
	regTXPBSIZE   = 0x0CC00 // 8
	regMTQC       = 0x08120
	regRTTDCS     = 0x04900
	rttdcsARBDIS  = 1 << 6
	regRTTDQSEL   = 0x04904
	regRTTDT1C    = 0x04908
	regRTTDT2C    = 0x04910 // 8
	regRTTBCNRM   = 0x04980
	regRTTBCNRC   = 0x04984
	regRTRPCS     = 0x02430
	regRTTPCS     = 0x0CD00
	regRTTUP2TC   = 0x0C800
	regRTRPT4C    = 0x02140 // 8
	regRTTPT2C    = 0x0CD20 // 8
	regRQSMR      = 0x02300 // 32: to which counters receive queues count
	regTQSM       = 0x08600 // 32: likewise of transmit
	regPFDTXGSWC  = 0x08220
	regVFRE       = 0x051E0 // 2
	regVFTE       = 0x08110 // 2
	regVMTXSW     = 0x05180 // 2
	regVMECM      = 0x08790 // 2
	regSPOOF      = 0x08200 // 8
	regVMVIR      = 0x08000 // 64
	regVMOLR      = 0x0F000 // 64
	regVLVF       = 0x0F100 // 64
	regVLVFB      = 0x0F200 // 128
	regUTA        = 0x0F400 // 128
	regMRCTL      = 0x0F600 // 4
	regFCRECTL    = 0x0ED00
	regFCRETA     = 0x0ED10 // 8
	regFCRXCTRL   = 0x05100
	regL34TIMIR   = 0x0E800 // 128
	regLLITHRESH  = 0x0EC90
)

// Queue registers, from the base of a queue's block.
const (
	rxBlock   = 0x01000 // queues 0 to 63
	rxBlock2  = 0x0D000 // queues 64 to 127
	txBlock   = 0x06000
	blockSize = 0x40
	qBAL      = 0x00
	qBAH      = 0x04
	qLEN      = 0x08
	qDCA      = 0x0C
	qHead     = 0x10
	qSRRCTL   = 0x14 // receive alone
	qTail     = 0x18
	qDCTL     = 0x28
	dctlEN    = 1 << 25
	dctlFlush = 1 << 26 // clears itself
	dctlVME   = 1 << 30
	dctlLimit = 1 << 15 // the X540's: frames are at most
	dctlBytes = 0x3fff  // this long
	qRSCCTL   = 0x2C    // receive alone
	qWBAL     = 0x38    // transmit alone: where the head is written,
	wbalOn    = 1 << 0  // instead of done bits
	qWBAH     = 0x3C

	regSRRCTLOld = 0x02100 // queues 0 to 15, under their old offsets
	regDCARXOld  = 0x02200 // likewise
	srrctlSize   = 0x1f    // KiB of a buffer
	srrctlType   = 7 << 25
	srrctlOne    = 1 << 25 // advanced descriptors, one buffer each
	srrctlDrop   = 1 << 28
)
