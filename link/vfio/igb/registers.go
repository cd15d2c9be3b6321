package igb

// Registers used beside those that all gigabit NICs have, byte offsets in BAR 0 (82576 8.2, I350 8.2, I210 8.2), and
// their bits. Where the three differ it is said.
const (
	registersSize = 0x12014 // up to the last one used

	statusPort = 2 // shift, two bits: which of the card's ports this is

	regEEC      = 0x0010  // 82576, I350: non-volatile memory
	regEECI210  = 0x12010 // the same of an I210
	eecAutoRead = 1 << 9  // what it holds has been loaded

	regCTRLEXT    = 0x0018
	ctrlextDriver = 1 << 28 // tells the firmware that a driver is there
	ctrlextMode   = 3 << 22 // what the port ends in
	ctrlextCopper = 0 << 22

	regSWSM      = 0x5b50 // semaphores between the ports' drivers and the firmware
	regSWFWSYNC  = 0x5b5c // who owns what: the lower half drivers, the upper half the firmware
	syncFirmware = 16     // shift

	causeRXDW = 1 << 7 // a frame has come

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

	tctlBackOff = 0x40 << 12

	regRLPML = 0x5004 // longest frame with check sequence, with driver.RctlLPE

	rctlLoop = 1 << 6 // of driver.RegRCTL: LBM, what is sent is received

	mrqcRSS = 2 // of driver.RegMRQC: the hash chooses the queue

	regETQF     = 0x5cbc // filter 3 by EtherType
	etqfOn      = 1 << 26
	etqfPTP     = 1 << 30
	regSTMPL    = 0xb624 // 82576: time of the last frame that has one
	regSTMPH    = 0xb628
	regSATRH    = 0xb630 // 82576: reading it lets the next have one
	regTSYNCRX  = 0xb620 // which frames have a time
	tsyncOn     = 1 << 4
	regTSYNCTX  = 0xb614 // whether frames that ask have a time when they are sent
	regTXSTMPL  = 0xb618 // time of the last frame sent that has one
	regTXSTMPH  = 0xb61c // reading it lets the next have one
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

	rxSplit     = 0x0c    // SRRCTL: buffers and kind of descriptors
	rxSplitOne  = 1 << 25 // advanced descriptors, one buffer each
	rxSplitDrop = 1 << 31 // what finds no descriptor is dropped, and holds up no other queue
	rxDropped   = 0x30    // RQDPC: frames that found no descriptor
	rxStrip     = 0x38    // I350, DVMOLR: what is stripped
	rxStripTag  = 1 << 30
	rxStripCRC  = 1 << 31
	// Of driver.RingControl: prefetch when fewer than 8 descriptors are in the NIC and
	// there are 8 more, or 1 to send; write back each. An 82576 that collects more
	// before it writes may keep single ones for itself.
	rxThresholds = 8 | 8<<8 | 1<<16
	txThresholds = 8 | 1<<8 | 1<<16
)

// Errors of a receive descriptor's second word (7.1.5).
const (
	rxBadL4   = 1 << 29    // L4E
	rxBadIP   = 1 << 30    // IPE
	rxDamaged = 0x97 << 24 // CE, SE, SEQ, CXE, RXE
)

// maxFrame is the longest frame with check sequence, bytes: 9.5 KiB.
const maxFrame = 9728
