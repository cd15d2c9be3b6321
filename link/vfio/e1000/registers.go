package e1000

// Registers used, byte offsets in BAR 0 (SDM 13.2, 82574 10.1), and their bits.
const (
	registersSize = 0x5c00 // up to the last one used, rounded up

	regCTRL          = 0x0000 // device control
	ctrlMasterOff    = 1 << 2 // 82574: no new DMA
	ctrlSLU          = 1 << 6 // set link up
	ctrlForceSpeed   = 1 << 11
	ctrlForceDuplex  = 1 << 12
	ctrlRST          = 1 << 26
	ctrlReceivePause = 1 << 27
	ctrlSendPause    = 1 << 28
	ctrlBit29        = 1 << 29 // 82574: has to be 0
	ctrlVME          = 1 << 30 // VLAN tags: strip and insert
	ctrlASDE         = 1 << 5  // take the speed from the PHY

	regSTATUS      = 0x0008
	statusFD       = 1 << 0
	statusLU       = 1 << 1
	statusSpeed    = 6       // shift: 0 is 10, 1 is 100, 2 and 3 are 1000 Mbit/s
	statusMasterOn = 1 << 19 // 82574: DMA may be under way

	regEECD        = 0x0010
	eecdAutoRead   = 1 << 9 // 82574: what the memory holds has been loaded
	regEERD        = 0x0014 // read a word of the non-volatile memory
	eerdStart      = 1 << 0
	eerdDone8254x  = 1 << 4
	eerdShift8254x = 8
	eerdDone82574  = 1 << 1
	eerdShift82574 = 2

	regCTRLEXT      = 0x0018
	ctrlextBit22    = 1 << 22 // 82574: has to be 1
	ctrlextBit23    = 1 << 23 // 82574: has to be 0
	ctrlextPBAClear = 1 << 31 // 82574: MSI-X pending bits clear by themselves

	regMDIC     = 0x0020 // a register of the PHY
	mdicReg     = 16     // shift
	mdicPHY     = 1 << 21
	mdicWrite   = 1 << 26
	mdicRead    = 2 << 26
	mdicReady   = 1 << 28
	mdicError   = 1 << 30
	phyControl  = 0 // IEEE Std 802.3, 22.2.4.1
	phyPowerOff = 1 << 11
	phyIsolate  = 1 << 10
	phyAutoneg  = 1 << 12
	phyRestart  = 1 << 9

	regFCAL  = 0x0028 // pause frames: address, type, timer
	regFCAH  = 0x002c
	regFCT   = 0x0030
	regVET   = 0x0038 // EtherType of a tag
	regFCTTV = 0x0170

	regICR      = 0x00c0 // interrupt causes
	regITR      = 0x00c4 // gap between interrupts
	regIMS      = 0x00d0 // mask: set
	regIMC      = 0x00d8 // mask: clear
	regEIAC     = 0x00dc // 82574: causes that MSI-X clears
	regIVAR     = 0x00e4 // 82574: cause to vector
	causeLSC    = 1 << 2
	causeRXDMT0 = 1 << 4
	causeRXO    = 1 << 6
	causeRXT0   = 1 << 7
	causeRXQ0   = 1 << 20 // 82574
	causeOther  = 1 << 24 // 82574, MSI-X: LSC comes by it
	// RX queue 0 and other causes on vector 0; valid bits 3 and 19.
	ivarAllOnZero = 1<<3 | 1<<19

	regRCTL     = 0x0100 // receive control
	rctlEN      = 1 << 1
	rctlUPE     = 1 << 3 // all unicast frames
	rctlMPE     = 1 << 4 // all multicast frames
	rctlLPE     = 1 << 5 // frames longer than 1522 bytes
	rctlBAM     = 1 << 15
	rctlSize16K = 1<<16 | 1<<25
	rctlSize8K  = 2<<16 | 1<<25
	rctlSize4K  = 3<<16 | 1<<25
	rctlVFE     = 1 << 18 // VLAN filter
	rctlSECRC   = 1 << 26 // strip the frame check sequence

	regTCTL  = 0x0400 // transmit control
	tctlEN   = 1 << 1
	tctlPSP  = 1 << 3    // pad short frames
	tctlCT   = 0x0f << 4 // collision threshold
	tctlCOLD = 0x40 << 12
	regTIPG  = 0x0410
	// Gaps between frames for copper (SDM 13.4.34): 8, 8 and 6.
	tipgCopper = 8 | 8<<10 | 6<<20

	regEXTCNF   = 0x0f00 // 82574: who may use the PHY
	extcnfOwner = 1 << 5
	regPBA      = 0x1000 // packet memory: receive share in KiB
	pbaJumbo    = 40     // of the 64 KiB of an 8254x: 24 are left to send

	regRDBAL   = 0x2800 // receive ring
	regRDBAH   = 0x2804
	regRDLEN   = 0x2808
	regRDH     = 0x2810
	regRDT     = 0x2818
	regRDTR    = 0x2820 // delays of the receive interrupt
	regRXDCTL  = 0x2828
	regRADV    = 0x282c
	rxdctlGRAN = 1 << 24 // thresholds count descriptors
	wthresh1   = 1 << 16 // write back each descriptor

	regTDBAL    = 0x3800 // transmit ring
	regTDBAH    = 0x3804
	regTDLEN    = 0x3808
	regTDH      = 0x3810
	regTDT      = 0x3818
	regTIDV     = 0x3820
	regTXDCTL   = 0x3828
	txdctlCount = 1 << 22 // 82574: has to be 1
	txdctlGRAN  = 1 << 24
	regTADV     = 0x382c
	regTARC0    = 0x3840 // 82574
	tarcClear   = 0xf << 27
	tarcBit26   = 1 << 26

	regRXCSUM   = 0x5000 // receive checksums
	rxcsumIPOFL = 1 << 8
	rxcsumTUOFL = 1 << 9
	regRFCTL    = 0x5008  // 82574: receive filter
	rfctlNFSOff = 3 << 6  // no parsing of NFS
	rfctlACKOff = 1 << 12 // no special interrupts for TCP acknowledgements
	regMTA      = 0x5200  // multicast hash, 128 words
	regRAL      = 0x5400  // addresses, 16 pairs
	regRAH      = 0x5404
	rahAV       = 1 << 31
	regVFTA     = 0x5600 // VLAN bitmap, 128 words
	tableWords  = 128
	addresses   = 16
	regGCR      = 0x5b00 // 82574: PCI Express
	gcrBit22    = 1 << 22
	regGCR2     = 0x5b64
	gcr2Bit0    = 1 << 0
)

// Statistics, cleared by reading (SDM 13.7).
const (
	regCRCERRS  = 0x4000
	regALGNERRC = 0x4004
	regRXERRC   = 0x400c
	regMPC      = 0x4010
	regECOL     = 0x4018
	regLATECOL  = 0x4020
	regCEXTERR  = 0x403c
	regGPRC     = 0x4074
	regBPRC     = 0x4078
	regMPRC     = 0x407c
	regGPTC     = 0x4080
	regGORCL    = 0x4088
	regGORCH    = 0x408c
	regGOTCL    = 0x4090
	regGOTCH    = 0x4094
	regRUC      = 0x40a4
	regRFC      = 0x40a8
	regROC      = 0x40ac
	regRJC      = 0x40b0
)

// Longest frames with check sequence, bytes: what the 8254x takes with LPE set, and
// what the 82574 does.
const (
	maxFrame8254x = 16110
	maxFrame82574 = 9234
)
