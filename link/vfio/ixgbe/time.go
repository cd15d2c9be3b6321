package ixgbe

import "github.com/oobnet/oobnet/link/vfio/internal/driver"

// Registers of time (7.9, 8.2.3.26).
const (
	regETQF     = 0x05134 // filter 3 by EtherType
	etqfPTP     = 1 << 30
	etqfOn      = 1 << 31
	etherPTP    = 0x88f7  // IEEE Std 1588-2008, annex F
	regRXMTRL   = 0x05120 // PTP over UDP: the port, in the upper half
	portPTP     = 319 << 16
	regTSYNCRX  = 0x05188 // which frames have a time
	tsyncEvents = 5 << 1  // PTP's event messages, over Ethernet and UDP
	tsyncOn     = 1 << 4
	regRXSTMPL  = 0x051e8 // time of the last frame that has one
	regRXSTMPH  = 0x051a4 // reading it lets the next have one
	regTSYNCTX  = 0x08c00 // whether frames that ask have a time when they are sent
	regTXSTMPL  = 0x08c04
	regTXSTMPH  = 0x08c08
	regSYSTIML  = 0x08c0c
	regSYSTIMH  = 0x08c10
	regTIMINCA  = 0x08c14
	timincaEach = 1 << 24 // 82599: each cycle counts
	// fraction is how many bits of the clock are below a nanosecond: as many as
	// leave the slowest wire's cycle room in the 82599's 24 bits of increment. The
	// fastest's, 6.4 ns, is so rounded by 4 millionths, less than the crystal's error.
	fraction = 14
)

// systemTime counts fractions of ns. One frame at a time has its time in registers,
// until that is read, and only event messages of PTP have one.
var systemTime = driver.Clock{
	Bits: 64, Fraction: fraction, Low: regSYSTIML, High: regSYSTIMH, RXControl: regTSYNCRX, RXLow: regRXSTMPL, RXHigh: regRXSTMPH,
	TXControl: regTSYNCTX, TXLow: regTXSTMPL, TXHigh: regTXSTMPH,
}

// programTime starts the clock and says which frames are to have a time.
func (d *device) programTime() {
	const received, sent = driver.RXTime, driver.TXTime
	r, on := d.Regs, d.About.On
	r.Write32(regTSYNCRX, 0)
	r.Write32(regTSYNCTX, 0)
	if on&(received|sent) == 0 {
		return
	}
	d.setPace(d.Status().Speed)
	if on&sent != 0 {
		r.Write32(regTSYNCTX, tsyncOn)
		r.Read32(regTXSTMPH) // what is left there
	}
	if on&received != 0 {
		r.Write32(regRXMTRL, portPTP)
		r.Write32(regETQF, etqfOn|etqfPTP|etherPTP)
		r.Write32(regTSYNCRX, tsyncOn|tsyncEvents)
		r.Read32(regRXSTMPH)
	}
}

// setPace tells the clock how long its cycle is: 64 bits of the wire (7.9.3.1). With
// the wire down it is taken for the fastest.
func (d *device) setPace(mbits int) {
	d.paced = mbits
	if d.About.On&(driver.RXTime|driver.TXTime) == 0 {
		return
	}
	if mbits == 0 {
		mbits = 10000
	}
	const bits, unit = 64, 1000 << fraction // of a cycle; a us, so that the quotient is in fractions of a ns
	d.Regs.Write32(regTIMINCA, d.chip.pace|uint32((bits*unit+mbits/2)/mbits))
	d.Repace()
}
