package e1000

// Registers used beside those that all gigabit NICs have, byte offsets in BAR 0
// (SDM 13.2, 82574 10.1), and their bits.
const (
	registersSize = 0x5c00 // up to the last one used, rounded up

	ctrlBit29 = 1 << 29 // 82574: has to be 0
	ctrlASDE  = 1 << 5  // take the speed from the PHY

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

	regFCAL = 0x0028 // pause frames: address, type, timer
	regFCAH = 0x002c
	regFCT  = 0x0030

	regITR     = 0x00c4 // gap between interrupts
	regEIAC    = 0x00dc // 82574: causes that MSI-X clears
	regIVAR    = 0x00e4 // 82574: cause to vector
	causeRXT0  = 1 << 7
	causeRXQ0  = 1 << 20 // 82574
	causeOther = 1 << 24 // 82574, MSI-X: LSC comes by it
	// RX queue 0 and other causes on vector 0; valid bits 3 and 19.
	ivarAllOnZero = 1<<3 | 1<<19

	rctlSize16K = 1<<16 | 1<<25
	rctlSize8K  = 2<<16 | 1<<25
	rctlSize4K  = 3<<16 | 1<<25

	tctlCOLD = 0x40 << 12
	regTIPG  = 0x0410
	// Gaps between frames for copper (SDM 13.4.34): 8, 8 and 6.
	tipgCopper = 8 | 8<<10 | 6<<20

	regEXTCNF   = 0x0f00 // 82574: who may use the PHY
	extcnfOwner = 1 << 5
	regPBA      = 0x1000 // packet memory: receive share in KiB
	pbaJumbo    = 40     // of the 64 KiB of an 8254x: 24 are left to send

	regRX      = 0x2800 // of the receive ring: driver.RingLow and on
	regRDTR    = 0x2820 // delays of the receive interrupt
	regRADV    = 0x282c
	rxdctlGRAN = 1 << 24 // thresholds count descriptors
	wthresh1   = 1 << 16 // write back each descriptor

	regTX       = 0x3800 // of the transmit ring
	regTIDV     = 0x3820
	txdctlCount = 1 << 22 // 82574: has to be 1
	txdctlGRAN  = 1 << 24
	regTADV     = 0x382c
	regTARC0    = 0x3840 // 82574
	tarcClear   = 0xf << 27
	tarcBit26   = 1 << 26

	regRFCTL    = 0x5008  // 82574: receive filter
	rfctlNFSOff = 3 << 6  // no parsing of NFS
	rfctlACKOff = 1 << 12 // no special interrupts for TCP acknowledgements
	regGCR      = 0x5b00  // 82574: PCI Express
	gcrBit22    = 1 << 22
	regGCR2     = 0x5b64
	gcr2Bit0    = 1 << 0
)

// regCEXTERR counts carrier extension errors; it is cleared by reading (SDM 13.7).
const regCEXTERR = 0x403c

// Longest frames with check sequence, bytes: what the 8254x takes with LPE set, and
// what the 82574 does.
const (
	maxFrame8254x = 16110
	maxFrame82574 = 9234
)
