package ixgbe

import (
	"time"

	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Registers used beside driver.RegCTRL, driver.RegSTATUS and those of RSS and of
// rings, byte offsets in BAR 0 (8.2.3), and their bits. The X540's are the same
// where nothing is said.
const (
	registersSize = 0x12400 // up to the last one used

	ctrlLinkReset = 1 << 3 // of CTRL: PCS and auto-negotiation, too

	statusPort = 2 // shift, two bits: which of the card's ports this is

	regCTRLEXT     = 0x00018
	ctrlextNoSnoop = 1 << 16 // no cycles that caches do not see
	ctrlextDriver  = 1 << 28 // tells the firmware that a driver is there

	regESDP       = 0x00020 // pins
	esdpLaserOff  = 1 << 3
	esdpLaserPin  = 1 << 11 // that pin is an output
	regEEC        = 0x10010 // non-volatile memory
	eecAutoRead   = 1 << 9  // what it holds has been loaded
	regEEMNGCTL   = 0x10110
	eemngDone     = 18 // shift, a bit a port: the firmware has set up what is its own
	regGCREXT     = 0x11050
	gcrextFlush   = 1 << 30 // Buffers_Clear_Func
	regSWSM       = 0x10140 // semaphores between the ports' drivers and the firmware
	regSWFWSYNC   = 0x10160 // who owns what: the lowest bits drivers, those above the firmware
	syncFirmware  = 5       // shift
	syncPHY       = 1 << 1  // of port 0; the next bit is port 1's
	syncMAC       = 1 << 3  // AUTOC, which firmware that finds a link by itself writes, too (LESM)
	regMSCA       = 0x0425c // the PHY's registers: which one
	mscaDevice    = 16      // shift
	mscaPHY       = 21      // shift
	mscaWrite     = 1 << 26
	mscaRead      = 3 << 26
	mscaGo        = 1 << 30 // clear when done
	regMSRWD      = 0x04260 // and what is in it
	msrwdRead     = 16      // shift
	regAUTOC      = 0x042a0 // what the port speaks
	autocForceUp  = 1 << 0  // link is up, whatever the wire says
	autocRestart  = 1 << 12
	autocMode     = 7 << 13 // LMS
	autocHighest  = 4 << 13
	autoc10Serial = 3 << 13
	autoc1AN      = 2 << 13
	autoc1PMD     = 1 << 9 // KX or BX in place of SFI
	regANLP1      = 0x042b0
	anlpState     = 0xf << 16 // of negotiation; 0: not begun
	regAUTOC2     = 0x042a8
	autoc2Serial  = 3 << 16
	autoc2SFI     = 2 << 16
	regMACC       = 0x04330 // X540
	maccForceUp   = 1 << 0
	regLINKS      = 0x042a4
	linksUp       = 1 << 30
	linksSpeed    = 28 // shift, two bits

	regEICR      = 0x00800 // interrupt causes: bits 0 to 15 of queues
	eicrLSC      = 1 << 20 // the wire has changed
	eicrQueues   = 0xffff
	regEIMS      = 0x00880 // mask: set
	regEIMC      = 0x00888 // mask: clear
	eimcAll      = 1<<31 - 1
	regEIMSEX    = 0x00aa0 // the same for vectors, two words
	regEIMCEX    = 0x00ab0
	regEIAC      = 0x00810 // that the message acknowledges
	regGPIE      = 0x00898 // how interrupts work
	gpieMSIX     = 1 << 4
	gpieOCD      = 1 << 5  // reading EICR leaves the causes of queues
	gpiePBA      = 1 << 31 // MSI-X pending bits clear by themselves
	regEITR      = 0x00820 // gap between a vector's interrupts, one word each
	regEITRMore  = 0x12300 // from vector 24 on
	eitrFirst    = 24
	regIVAR      = 0x00900 // queue to vector, four entries a word
	ivarWords    = 64
	regIVARMISC  = 0x00a00 // other causes to vector: the second entry
	ivarValid    = 1 << 7  // of an entry
	ivarBits     = 8       // an entry
	vectorsAWord = 32

	regFCTRL     = 0x05080 // filters; changed only while the receiver is off
	fctrlUPE     = 1 << 9  // all unicast frames
	fctrlBAM     = 1 << 10 // broadcast
	regVLNCTRL   = 0x05088
	vlnctrlType  = 0x8100  // EtherType of a tag
	vlnctrlVFE   = 1 << 30 // VLAN filter
	regMCSTCTRL  = 0x05090
	mcstctrlMFE  = 1 << 2 // multicast table; with the bits below it 0: bits 47 to 36 of the address
	regRAL       = 0x0a200
	regVFTA      = 0x0a000
	regRXCSUM    = 0x05000
	regRQSMR     = 0x02300 // queue to counters, four entries a word
	rqsmrWords   = 32
	regQPRDC     = 0x01430 // frames that found no descriptor, by counter
	statCounters = 16

	regRXCTRL     = 0x03000
	rxctrlRXEN    = 1 << 0
	regSECRXCTRL  = 0x08d00
	secrxOff      = 1 << 1 // the path into the receive buffer
	regSECRXSTAT  = 0x08d04
	secrxEmpty    = 1 << 0
	regRDRXCTL    = 0x02f00
	rdrxCRC       = 1 << 1 // strip the frame check sequence; HLREG0 has to say the same
	rdrxReady     = 1 << 3 // DMAIDONE
	rdrxFirstSize = 0x1f << 17
	rdrxAckC      = 1 << 25 // RSCACKC and FCOE_WRFIX: to be set, always
	rdrxWriteFix  = 1 << 26
	regHLREG0     = 0x04240
	hlreg0TxCRC   = 1 << 0
	hlreg0RxCRC   = 1 << 1 // strip it
	hlreg0Jumbo   = 1 << 2 // MAXFRS counts
	hlreg0Pad     = 1 << 10
	hlreg0Loop    = 1 << 15
	regMAXFRS     = 0x04268
	maxfrsSize    = 16 // shift: longest frame with check sequence, without a tag
	regMFLCN      = 0x04294
	mflcnPause    = 3 << 2 // heed pause frames
	regFCCFG      = 0x03d00
	regRXPBSIZE   = 0x03c00 // packet buffers, eight words each
	regTXPBSIZE   = 0x0cc00
	regTXPBTHRESH = 0x04950
	buffers       = 8
	bufferKiB     = 10  // shift
	txBuffer      = 160 // KiB
	txSpare       = 10  // KiB of it for the frame that is being fetched, at least: after a reset, and with other drivers

	regRTTDCS   = 0x04900
	rttdcsOff   = 1 << 6  // ARBDIS: while MTQC is changed
	regMTQC     = 0x08120 // 0: 64 queues, one buffer
	regDTXMXSZ  = 0x08100
	dtxmxszAll  = 0xfff
	regDMATXCTL = 0x04a80
	dmatxTE     = 1 << 0

	mrqcRSS = 1 // of driver.RegMRQC: the hash chooses the queue

	regQueueRX   = 0x01000 // of receive queue 0
	regQueueTX   = 0x06000 // of transmit queue 0
	rxOrder      = 0x0c    // DCA_RXCTRL
	rxOrderLoose = 1<<13 | 1<<15
	txOrder      = 0x0c // DCA_TXCTRL
	txOrderLoose = 1 << 11

	rxSplit       = 0x14    // SRRCTL: buffers and kind of descriptors
	rxSplitHeader = 4 << 8  // 256 bytes, the least that does for all kinds; not used by ours
	rxSplitOne    = 1 << 25 // advanced descriptors, one buffer each
	rxSplitDrop   = 1 << 28 // what finds no descriptor is dropped, and holds up no other queue
	rxStripTag    = 1 << 30 // of driver.RingControl to receive
	// Of driver.RingControl to send: prefetch when fewer than 32 descriptors are in
	// the NIC and there is 1 more; WTHRESH stays 0, since not every descriptor
	// reports (7.2.3.5.1).
	txThresholds = 32 | 1<<8
)

// Errors of a receive descriptor's second word (7.1.6.2).
const (
	rxBadL4   = 1 << 30    // L4E
	rxBadIP   = 1 << 31    // IPE
	rxDamaged = 0x38 << 24 // SECERR, RXE
)

const (
	// maxQueues: with one packet buffer there are 64 to send (MTQC).
	maxQueues = 64
	// spreadQueues: an entry of RETA has 4 bits.
	spreadQueues = 16
	// maxFrame is the longest frame with check sequence, bytes: 15.5 KiB.
	maxFrame = 15872
	// ownerWait bounds the firmware's holding what is shared.
	ownerWait = 50 * time.Millisecond
)

// tables are where the filters are (7.1.1). The last address is the firmware's, if
// it wants one.
var tables = driver.Tables{Addresses: regRAL, Count: 128, MaxUnicast: 126, VLANs: regVFTA, VLANWrites: 1, EveryGroup: true}

// Statistics, cleared by reading (8.2.3.23). They stop at their highest value.
const (
	regCRCERRS = 0x04000
	regMPC     = 0x03fa0 // no room in the packet buffer, eight words
	regRLEC    = 0x04040
	regGPRC    = 0x04074
	regBPRC    = 0x04078
	regMPRC    = 0x0407c
	regGPTC    = 0x04080
	regGORCL   = 0x04088
	regGORCH   = 0x0408c
	regGOTCL   = 0x04090
	regGOTCH   = 0x04094
	regRUC     = 0x040a4
	regRFC     = 0x040a8
	regROC     = 0x040ac
	regRJC     = 0x040b0
)
