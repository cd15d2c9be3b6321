package igb

// Registers used, byte offsets in BAR 0 (82576 8.2, I350 8.2, I210 8.2), and
// their bits. Where the three differ it is said.
const (
	registersSize = 0x12014 // up to the last one used

	regCTRL          = 0x0000  // device control
	ctrlMasterOff    = 1 << 2  // no new DMA
	ctrlSLU          = 1 << 6  // set link up
	ctrlForceSpeed   = 1 << 11 // and not what the PHY has negotiated
	ctrlForceDuplex  = 1 << 12
	ctrlRST          = 1 << 26
	ctrlReceivePause = 1 << 27
	ctrlSendPause    = 1 << 28
	ctrlVME          = 1 << 30 // VLAN tags: strip and insert

	regSTATUS      = 0x0008
	statusFD       = 1 << 0
	statusLU       = 1 << 1
	statusPort     = 2       // shift, two bits: which of the card's ports this is
	statusSpeed    = 6       // shift: 0 is 10, 1 is 100, 2 and 3 are 1000 Mbit/s
	statusMasterOn = 1 << 19 // DMA may be under way

	regEEC      = 0x0010  // 82576, I350: non-volatile memory
	regEECI210  = 0x12010 // the same of an I210
	eecAutoRead = 1 << 9  // what it holds has been loaded

	regCTRLEXT    = 0x0018
	ctrlextDriver = 1 << 28 // tells the firmware that a driver is there
	ctrlextMode   = 3 << 22 // what the port ends in
	ctrlextCopper = 0 << 22

	regMDIC     = 0x0020  // a register of the PHY
	mdicReg     = 16      // shift
	mdicPHY     = 1 << 21 // 82576: the PHY's address; the others have it in MDICNFG
	mdicWrite   = 1 << 26
	mdicRead    = 2 << 26
	mdicReady   = 1 << 28
	mdicError   = 1 << 30
	phyControl  = 0 // IEEE Std 802.3, 22.2.4.1
	phyPowerOff = 1 << 11
	phyIsolate  = 1 << 10
	phyAutoneg  = 1 << 12
	phyRestart  = 1 << 9

	regSWSM      = 0x5b50 // semaphores between the ports' drivers and the firmware
	swsmDrivers  = 1 << 0 // taken by reading it as 0
	swsmFirmware = 1 << 1 // taken if it reads back as 1

	regSWFWSYNC  = 0x5b5c // who owns what: the lower half drivers, the upper half the firmware
	syncFirmware = 16     // shift

	regVET      = 0x0038 // EtherType of a tag
	regFCTTV    = 0x0170 // pause frames: timer
	regICR      = 0x00c0 // interrupt causes; also at 0x1500 and on, but not in QEMU
	regIMS      = 0x00d0 // mask: set
	regIMC      = 0x00d8 // mask: clear
	causeLSC    = 1 << 2 // the wire has changed
	causeRXDMT0 = 1 << 4 // few descriptors are left
	causeRXO    = 1 << 6 // none was left
	causeRXDW   = 1 << 7 // a frame has come

	regGPIE   = 0x1514  // how interrupts work
	gpieNSICR = 1 << 0  // reading ICR clears it, always
	gpieMSIX  = 1 << 4  // several vectors
	gpiePBA   = 1 << 31 // MSI-X pending bits clear by themselves

	regEICR    = 0x1580 // vectors: pending
	regEIMS    = 0x1524 // mask: set
	regEIMC    = 0x1528 // mask: clear
	regEIAC    = 0x152c // that the message acknowledges
	vectorsMax = 25     // that any of them has

	regEITR     = 0x1680 // gap between a vector's interrupts, one word each
	regIVAR     = 0x1700 // queue to vector, four entries a word
	regIVARMISC = 0x1740 // other causes to vector: the second entry
	ivarValid   = 1 << 7 // of an entry
	ivarBits    = 8      // an entry

	regRCTL   = 0x0100  // receive control
	rctlEN    = 1 << 1  // receive
	rctlUPE   = 1 << 3  // all unicast frames
	rctlMPE   = 1 << 4  // all multicast frames
	rctlLPE   = 1 << 5  // frames longer than 1522 bytes
	rctlBAM   = 1 << 15 // broadcast
	rctlVFE   = 1 << 18 // VLAN filter
	rctlSECRC = 1 << 26 // strip the frame check sequence

	regTCTL     = 0x0400 // transmit control
	tctlEN      = 1 << 1
	tctlPSP     = 1 << 3 // pad short frames
	tctlCT      = 0x0f << 4
	tctlBackOff = 0x40 << 12

	regRXCSUM   = 0x5000 // receive checksums
	rxcsumIPOFL = 1 << 8
	rxcsumTUOFL = 1 << 9
	rxcsumPCSD  = 1 << 13 // the hash in the descriptor, as RSS wants it

	regRLPML  = 0x5004 // longest frame with check sequence, with rctlLPE
	regMTA    = 0x5200 // multicast hash, 128 words
	regRAL    = 0x5400 // addresses, 16 pairs
	regRAH    = 0x5404
	rahAV     = 1 << 31
	addresses = 16 // pairs: an 82576 has 24, an I350 32

	regVFTA    = 0x5600 // VLAN bitmap, 128 words
	tableWords = 128

	regMRQC     = 0x5818 // several receive queues
	mrqcRSS     = 2
	mrqcIPv4TCP = 1 << 16 // what the hash covers, where the frame has it
	mrqcIPv4    = 1 << 17
	mrqcIPv6    = 1 << 20
	mrqcIPv6TCP = 1 << 21
	mrqcIPv4UDP = 1 << 22
	mrqcIPv6UDP = 1 << 23

	regRETA     = 0x5c00 // hash to queue, four entries a word
	regRSSRK    = 0x5c80 // key of the hash, ten words
	regETQF     = 0x5cbc // filter 3 by EtherType
	etqfOn      = 1 << 26
	etqfPTP     = 1 << 30
	regSTMPL    = 0xb624 // 82576: time of the last frame that has one
	regSTMPH    = 0xb628
	regSATRH    = 0xb630 // 82576: reading it lets the next have one
	regTSYNCRX  = 0xb620 // which frames have a time
	tsyncOn     = 1 << 4
	tsyncAll    = 4 << 1
	regTSYNCCFG = 0x5f50 // 82576: the PTP message that has one
	regSYSTIML  = 0xb600 // clock; reading the lowest of its registers freezes the others
	regSYSTIMH  = 0xb604
	regSYSTIMR  = 0xb6f8 // I350, I210: below a nanosecond
	regTIMINCA  = 0xb608 // 82576: its pace
	// 16 ns a tick, counted in units of 2^-19 ns.
	timincaNominal = 1<<24 | 16<<fraction82576
	regTSAUXC      = 0xb640 // I350, I210: bit 31 stops the clock

	regQueueRX = 0xc000 // of receive queue 0: see below
	regQueueTX = 0xe000 // of transmit queue 0
	queueStep  = 0x40   // to the next queue's

	ringLow     = 0x00 // of a queue's: where the ring lies
	ringHigh    = 0x04
	ringLength  = 0x08 // bytes
	ringHead    = 0x10
	ringTail    = 0x18
	ringControl = 0x28
	ringEnable  = 1 << 25 // of ringControl

	rxSplit      = 0x0c    // SRRCTL: buffers and kind of descriptors
	rxSplitKiB   = 10      // shift from bytes: a buffer's size in KiB
	rxSplitOne   = 1 << 25 // advanced descriptors, one buffer each
	rxSplitStamp = 1 << 30 // I350, I210: a time before the frame
	rxSplitDrop  = 1 << 31 // what finds no descriptor is dropped, and holds up no other queue
	rxDropped    = 0x30    // RQDPC: frames that found no descriptor
	rxStrip      = 0x38    // I350, DVMOLR: what is stripped
	rxStripTag   = 1 << 30
	rxStripCRC   = 1 << 31
	// Of ringControl: prefetch when fewer than 8 descriptors are in the NIC and
	// there are 8 more, or 1 to send; write back each. An 82576 that collects more
	// before it writes may keep single ones for itself.
	rxThresholds = 8 | 8<<8 | 1<<16
	txThresholds = 8 | 1<<8 | 1<<16
)

// Statistics, cleared by reading (82576 8.19).
const (
	regCRCERRS  = 0x4000
	regALGNERRC = 0x4004
	regRXERRC   = 0x400c
	regMPC      = 0x4010
	regECOL     = 0x4018
	regLATECOL  = 0x4020
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

// maxFrame is the longest frame with check sequence, bytes: 9.5 KiB.
const maxFrame = 9728
