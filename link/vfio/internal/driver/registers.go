package driver

// Registers that lie at the same place in all of Intel's gigabit NICs, byte offsets
// in BAR 0, and their bits (SDM 13, 82574 10, 82576 8, I350 8, I210 8).
const (
	RegCTRL          = 0x0000  // device control
	CtrlMasterOff    = 1 << 2  // no new DMA; not of an 8254x
	CtrlSLU          = 1 << 6  // set link up
	CtrlForceSpeed   = 1 << 11 // and not what the PHY has negotiated
	CtrlForceDuplex  = 1 << 12
	CtrlRST          = 1 << 26
	CtrlReceivePause = 1 << 27
	CtrlSendPause    = 1 << 28
	CtrlVME          = 1 << 30 // VLAN tags: strip and insert

	RegSTATUS      = 0x0008
	StatusFD       = 1 << 0
	StatusLU       = 1 << 1
	StatusSpeed    = 6       // shift: 0 is 10, 1 is 100, 2 and 3 are 1000 Mbit/s
	StatusMasterOn = 1 << 19 // DMA may be under way; not of an 8254x

	RegMDIC     = 0x0020  // a register of the PHY
	MdicReg     = 16      // shift
	MdicPHY     = 1 << 21 // the PHY's address, of those that do not have it elsewhere
	MdicWrite   = 1 << 26
	MdicRead    = 2 << 26
	MdicReady   = 1 << 28
	MdicError   = 1 << 30
	PhyControl  = 0 // IEEE Std 802.3, 22.2.4.1
	PhyPowerOff = 1 << 11
	PhyIsolate  = 1 << 10
	PhyAutoneg  = 1 << 12
	PhyRestart  = 1 << 9

	RegVET   = 0x0038 // EtherType of a tag
	RegFCTTV = 0x0170 // pause frames: timer

	RegICR      = 0x00c0 // interrupt causes
	RegIMS      = 0x00d0 // mask: set
	RegIMC      = 0x00d8 // mask: clear
	CauseLSC    = 1 << 2 // the wire has changed
	CauseRXDMT0 = 1 << 4 // few descriptors are left
	CauseRXO    = 1 << 6 // none was left

	RegRCTL   = 0x0100  // receive control
	RctlEN    = 1 << 1  // receive
	RctlUPE   = 1 << 3  // all unicast frames
	RctlMPE   = 1 << 4  // all multicast frames
	RctlLPE   = 1 << 5  // frames longer than 1522 bytes
	RctlBAM   = 1 << 15 // broadcast
	RctlVFE   = 1 << 18 // VLAN filter
	RctlSECRC = 1 << 26 // strip the frame check sequence

	RegTCTL = 0x0400 // transmit control
	TctlEN  = 1 << 1
	TctlPSP = 1 << 3    // pad short frames
	TctlCT  = 0x0f << 4 // collision threshold

	RegRXCSUM   = 0x5000 // receive checksums
	RxcsumIPOFL = 1 << 8
	RxcsumTUOFL = 1 << 9

	RegMTA = 0x5200 // multicast hash, 128 words

	RegRAL = 0x5400 // addresses, pairs
	RegRAH = 0x5404
	RahAV  = 1 << 31

	RegVFTA    = 0x5600 // VLAN bitmap, 128 words
	TableWords = 128
)

// Statistics, cleared by reading (SDM 13.7, 82576 8.19).
const (
	RegCRCERRS  = 0x4000
	RegALGNERRC = 0x4004
	RegRXERRC   = 0x400c
	RegMPC      = 0x4010
	RegECOL     = 0x4018
	RegLATECOL  = 0x4020
	RegGPRC     = 0x4074
	RegBPRC     = 0x4078
	RegMPRC     = 0x407c
	RegGPTC     = 0x4080
	RegGORCL    = 0x4088
	RegGORCH    = 0x408c
	RegGOTCL    = 0x4090
	RegGOTCH    = 0x4094
	RegRUC      = 0x40a4
	RegRFC      = 0x40a8
	RegROC      = 0x40ac
	RegRJC      = 0x40b0
)

// Registers of a ring, from where they begin (SDM 13.4.25 on, 82576 8.10.5 on).
const (
	RingLow     = 0x00 // where the ring lies
	RingHigh    = 0x04
	RingLength  = 0x08 // bytes
	RingHead    = 0x10
	RingTail    = 0x18
	RingControl = 0x28 // thresholds, and more
)
