package ixgbemodel

// Registers of the device, byte offsets in BAR 0, and their bits (82599
// datasheet, 8.2.3). Those of the data path are in registers_data.go, counters
// in counters.go.
const (
	regCTRL      = 0x00000
	ctrlMaster   = 1 << 2 // PCIe master disable
	ctrlLRST     = 1 << 3
	ctrlRST      = 1 << 26
	regSTATUS    = 0x00008
	statusLinkUp = 1 << 7
	statusMaster = 1 << 19 // master requests may be under way
	regCTRLEXT   = 0x00018
	regESDP      = 0x00020
	esdpModule   = 1 << 2 // SDP2: a module is in the cage
	esdpLaserOff = 1 << 3 // SDP3, if it is an output
	esdpLaserOut = 1 << 11
	regI2CCTL    = 0x00028
	regFRTIMER   = 0x00048
	regTCPTIMER  = 0x0004C
	regLEDCTL    = 0x00200
	regEXVET     = 0x05078

	regEEC      = 0x10010
	eecPresent  = 1 << 8
	eecARD      = 1 << 9 // auto-read done
	eecSize     = eepromSize << 11
	regEERD     = 0x10014
	eerdStart   = 1 << 0
	eerdDone    = 1 << 1
	regFLA      = 0x1001C
	regEEMNGCTL = 0x10110
	eemngDone   = 3 << 18 // CFG_DONE of both ports
	regSWSM     = 0x10140
	regFWSM     = 0x10148
	regFACTPS   = 0x10150
	regSWFW     = 0x10160
	regGRC      = 0x10200

	regEICR      = 0x00800
	regEICS      = 0x00808
	regEIAC      = 0x00810
	regEIMS      = 0x00880
	regEIMC      = 0x00888
	regEIAM      = 0x00890
	regEITRSEL   = 0x00894
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
	regEITR      = 0x00820 // 24 of them
	regEITR24    = 0x12300 // and the others
	causeFlow    = 1 << 16
	causeMiss    = 1 << 17
	causeLSC     = 1 << 20
	queueCauses  = 0xffff // EICR bits of queues; those above are of other causes
	maskReserved = 1 << 31

	regFCTTV     = 0x03200 // 4 of them
	regFCRTL     = 0x03220 // 8
	regFCRTH     = 0x03260 // 8
	regFCRTV     = 0x032A0
	regFCCFG     = 0x03D00
	regTFCS      = 0x0CE00
	regMFLCN     = 0x04294
	regPCS1GCFIG = 0x04200
	regPCS1GLCTL = 0x04208
	regPCS1GLSTA = 0x0420C
	regPCS1GANA  = 0x04218
	regPCS1GANLP = 0x0421C

	regHLREG0      = 0x04240
	hlreg0TxCRC    = 1 << 0
	hlreg0CRC      = 1 << 1 // strip it
	hlreg0Jumbo    = 1 << 2
	hlreg0Pad      = 1 << 10
	hlreg0Loopback = 1 << 15
	regPAP         = 0x04248
	regMSCA        = 0x0425C
	regMSRWD       = 0x04260
	regMAXFRS      = 0x04268
	regAUTOC       = 0x042A0
	regLINKS       = 0x042A4
	regAUTOC2      = 0x042A8
	regANLP1       = 0x042B0
	regMMNGC       = 0x042D0
	regMACC        = 0x04330
	regCORECTL     = 0x14F00

	regGCR      = 0x11000
	regGCREXT   = 0x11050
	regDCAID    = 0x11070
	regDCACTRL  = 0x11074
	regWUC      = 0x05800
	regWUFC     = 0x05808
	regWUS      = 0x05810
	regIPAV     = 0x05838
	regMANC     = 0x05820
	regHICR     = 0x15F00
	regFWSTS    = 0x15F0C
	regPFMBICR  = 0x00710
	regPFVFLREC = 0x00700

	regSECTXCTRL = 0x08800
	regSECTXSTAT = 0x08804
	regSECTXFULL = 0x08808
	regSECTXMIN  = 0x08810
	regSECRXCTRL = 0x08D00
	regSECRXSTAT = 0x08D04

	regFDIRCTRL  = 0x0EE00
	regFDIRSIP6  = 0x0EE0C // 3, then addresses, ports, VLAN
	regFDIRHASH  = 0x0EE28
	regFDIRCMD   = 0x0EE2C
	regFDIRFREE  = 0x0EE38
	regFDIRDIP4M = 0x0EE3C // masks: 4 of them
	regFDIRLEN   = 0x0EE4C
	regFDIRUSTAT = 0x0EE50
	regFDIRFSTAT = 0x0EE54
	regFDIRMATCH = 0x0EE58
	regFDIRMISS  = 0x0EE5C
	regFDIRHKEY  = 0x0EE68
	regFDIRSKEY  = 0x0EE6C
	regFDIRM     = 0x0EE70
	regFDIRIP6M  = 0x0EE74
	regFDIRSCTPM = 0x0EE78

	regTSYNCRXCTL = 0x05188
	regRXSTMPL    = 0x051E8
	regRXSTMPH    = 0x051A4
	regRXSATRL    = 0x051A0
	regRXSATRH    = 0x051A8
	regRXMTRL     = 0x05120
	regTSYNCTXCTL = 0x08C00
	regTXSTMPL    = 0x08C04
	regTXSTMPH    = 0x08C08
	regSYSTIML    = 0x08C0C
	regSYSTIMH    = 0x08C10
	regTIMINCA    = 0x08C14
	regTIMADJL    = 0x08C18
	regTIMADJH    = 0x08C1C
	regTSAUXC     = 0x08C20
	regTRGTTIML0  = 0x08C24 // 4 words
	regCLKTIML    = 0x08C34 // 2 words
)
