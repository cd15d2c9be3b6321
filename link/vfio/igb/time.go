package igb

import "github.com/oobnet/oobnet/link/vfio/internal/driver"

var (
	// clock82576: a binary fraction of nanoseconds (7.9). One frame at a time has
	// its time in registers, until that is read, and only the Sync messages of
	// PTP over Ethernet (IEEE Std 1588-2008, annex F) have one.
	clock82576 = driver.Clock{
		Bits: 64, Fraction: fraction82576, Low: regSYSTIML, High: regSYSTIMH,
		RXControl: regTSYNCRX, RXLow: regSTMPL, RXHigh: regSTMPH, RXNext: regSATRH,
		TXControl: regTSYNCTX, TXLow: regTXSTMPL, TXHigh: regTXSTMPH,
	}
	// clockI350: nanoseconds, in 40 bits (I350 7.9), which come around after 18
	// minutes. Each frame has its time before it in its buffer.
	clockI350 = driver.Clock{
		Bits: 40, Freeze: regSYSTIMR, Low: regSYSTIML, High: regSYSTIMH, InFront: true,
		TXControl: regTSYNCTX, TXLow: regTXSTMPL, TXHigh: regTXSTMPH,
	}
	// clockI210: seconds and nanoseconds (I210 7.8), otherwise as clockI350.
	clockI210 = driver.Clock{
		Seconds: true, Freeze: regSYSTIMR, Low: regSYSTIML, High: regSYSTIMH, InFront: true,
		TXControl: regTSYNCTX, TXLow: regTXSTMPL, TXHigh: regTXSTMPH,
	}
)

const (
	fraction82576 = 19     // bits of the counter below a nanosecond
	etherPTP      = 0x88f7 // IEEE Std 1588-2008, annex F
)

// programTime starts the clock and says which frames are to have a time.
func (d *device) programTime() {
	const received, sent = driver.RXTime, driver.TXTime
	r, on := d.Regs, d.About.On
	r.Write32(regTSYNCRX, 0)
	r.Write32(regTSYNCTX, 0)
	if on&(received|sent) != 0 {
		if !d.chip.clock.InFront {
			r.Write32(regTIMINCA, timincaNominal)
		} else {
			r.Write32(regTSAUXC, 0)
		}
	}
	if on&sent != 0 {
		r.Write32(regTSYNCTX, tsyncOn)
		r.Read32(regTXSTMPH) // what is left there
	}
	switch {
	case on&received == 0:
	case d.chip.clock.InFront:
		r.Write32(regTSYNCRX, tsyncOn|tsyncAll)
	default:
		r.Write32(regTSYNCCFG, 0) // message type 0: Sync
		r.Write32(regETQF, etqfOn|etqfPTP|etherPTP)
		r.Write32(regTSYNCRX, tsyncOn)
		r.Read32(regSATRH) // what is left there
	}
}
