package ixgbemodel

// AUTOC and its kin: which link there is (8.2.3.22.19 to 8.2.3.22.23).
const (
	autocFLU       = 1 << 0 // force the link up
	autocRestart   = 1 << 12
	autocMode      = 7 << 13
	autoc1G        = 0 << 13
	autoc1GAN      = 2 << 13
	autocSerial    = 3 << 13 // 10 GbE over one lane, no negotiation
	autocNegotiate = 4 << 13 // the modes that negotiate have this bit
	autocDefault   = 0xc09c6004
	autoc2Default  = 0x000a0000
	autoc2Off      = 7 << 28
	autoc2Serial   = 3 << 16
	autoc2SFI      = 2 << 16
	anlpState      = 1 << 16
	maccFLU        = 1 << 0
	linksUp        = 1<<30 | 1<<7
	links100M      = 1 << 28
	links1G        = 2 << 28
	links10G       = 3 << 28
)

// speed is what LINKS says of the link: 0 without one. It takes a cable and, on
// the 82599, a MAC that is set for the module and a laser that is on; the
// X540's PHY does all by itself.
func (d *Device) speed() uint32 {
	const off = esdpLaserOff | esdpLaserOut
	autoc, autoc2 := *d.reg(regAUTOC), *d.reg(regAUTOC2)
	switch {
	case d.forced():
		return links10G
	case !d.cable:
		return 0
	case d.config.Chip == ChipX540:
		return d.negotiated()
	case autoc2&autoc2Off != 0, *d.reg(regESDP)&off == off:
		return 0
	}
	switch mode := autoc & autocMode; {
	case mode == autocSerial && autoc2&autoc2Serial == autoc2SFI:
		return links10G
	case mode == autoc1G, mode == autoc1GAN:
		return links1G
	}
	return 0
}

// forced says whether the link is up by force, which loopback needs (14.1).
func (d *Device) forced() bool {
	if d.config.Chip == ChipX540 {
		return *d.reg(regMACC)&maccFLU != 0
	}
	return *d.reg(regAUTOC)&autocFLU != 0
}

func (d *Device) linkUp() bool { return d.speed() != 0 }

// loops says whether what is sent comes back: the MAC's loopback (14.1).
func (d *Device) loops() bool { return *d.reg(regHLREG0)&hlreg0Loopback != 0 }

// changeLink does what may change the link, and raises LSC if it did.
func (d *Device) changeLink(change func()) {
	was := d.speed()
	change()
	if d.speed() != was {
		d.other(causeLSC)
		d.resume()
	}
}
