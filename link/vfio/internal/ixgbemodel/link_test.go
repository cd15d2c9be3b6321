package ixgbemodel

import (
	"bytes"
	"testing"
)

// bang is the host's end of the wires to the module, as SFF-8431 has it.
type bang struct{ *rig }

func (b bang) set(clock, data bool) {
	var v uint32
	if clock {
		v |= i2cClockOut
	}
	if data {
		v |= i2cDataOut
	}
	b.Write32(regI2CCTL, v)
}

func (b bang) start() { b.set(false, true); b.set(true, true); b.set(true, false); b.set(false, false) }
func (b bang) stop()  { b.set(false, false); b.set(true, false); b.set(true, true) }

// bit moves one, and returns what the wire says while the clock is high.
func (b bang) bit(out bool) bool {
	b.set(false, out)
	b.set(true, out)
	in := b.Read32(regI2CCTL)&i2cDataIn != 0
	b.set(false, out)
	return in
}

// write moves a byte, and says whether it was acknowledged.
func (b bang) write(v byte) bool {
	for i := 7; i >= 0; i-- {
		b.bit(v>>i&1 != 0)
	}
	return !b.bit(true)
}

func (b bang) read(more bool) (v byte) {
	for range 8 {
		v <<= 1
		if b.bit(true) {
			v |= 1
		}
	}
	b.bit(!more)
	return v
}

func TestModuleByI2C(t *testing.T) {
	b := bang{newRig(t, Chip82599)}
	b.start()
	if b.write(0xa2) {
		t.Error("diagnostics answer, and there are none")
	}
	b.stop()
	b.start()
	if !b.write(moduleAddress) || !b.write(37) {
		t.Fatal("the module does not answer")
	}
	b.start()
	if !b.write(moduleAddress | 1) {
		t.Fatal("the module does not answer a read")
	}
	oui := []byte{b.read(true), b.read(true), b.read(false)}
	b.stop()
	if !bytes.Equal(oui, []byte{0, 0x1b, 0x21}) {
		t.Errorf("OUI %x, want that of the maker, 001b21", oui)
	}
	b.clean()
}

func TestModuleChecksums(t *testing.T) {
	var base, extended byte
	for _, b := range module[:63] {
		base += b
	}
	for _, b := range module[64:95] {
		extended += b
	}
	if base != module[63] || extended != module[95] || module[0] != 3 || module[3] != 0x10 {
		t.Error("the module's EEPROM is not that of a 10GBASE-SR module")
	}
}

// mdio reads a register of the PHY at an address.
func (r *rig) mdio(address, at uint32) uint16 {
	r.Write32(regMSCA, mscaCommand|address<<21|at)
	r.Write32(regMSCA, mscaCommand|mdioRead<<26|address<<21|at)
	if r.Read32(regMSCA)&mscaCommand != 0 {
		r.t.Error("MDIO is not done")
	}
	return uint16(r.Read32(regMSRWD) >> 16)
}

func (r *rig) mdioWrite(at uint32, value uint16) {
	r.Write32(regMSRWD, uint32(value))
	r.Write32(regMSCA, mscaCommand|at)
	r.Write32(regMSCA, mscaCommand|mdioWrite<<26|at)
}

func TestNoPHYOnThe82599(t *testing.T) {
	r := newRig(t, Chip82599)
	if v := r.mdio(0, phyID1); v != noPHY {
		t.Errorf("a PHY answers %#x", v)
	}
	r.clean()
}

func TestPHY(t *testing.T) {
	r := newRig(t, ChipX540)
	r.Write32(regMSCA, mscaCommand|phyID1)
	r.violated("10.5.4", "semaphore")
	r = newRig(t, ChipX540)
	r.Read32(regSWSM)
	r.Read32(regSWFW)
	r.Write32(regSWFW, swfwREGSMP|swfwPHY0)
	if hi, lo := r.mdio(0, phyID1), r.mdio(0, phyID2); hi != 0x0154 || lo != 0x0200 || r.mdio(1, phyID1) != noPHY {
		t.Errorf("identifiers %#x, %#x, want those of the X540 at address 0 alone", hi, lo)
	}
	if r.mdio(0, anVendor)&7 != 7 || r.Read32(regLINKS)&links10G != links10G {
		t.Error("no link of 10 Gb/s")
	}
	r.mdioWrite(an10G, 0)
	r.mdioWrite(anControl, anEnable|anRestart)
	if r.Read32(regLINKS)&links10G != links1G || r.mdio(0, anControl) != anEnable || r.mdio(0, anVendor)&7 != 5 {
		t.Error("no link of 1 Gb/s, without 10 on offer")
	}
	r.mdioWrite(globalControl, globalSleep)
	if r.Read32(regLINKS)&linksUp != 0 || r.Read32(regSTATUS)&statusLinkUp != 0 {
		t.Error("a PHY that sleeps has a link")
	}
	r.clean()
}

func TestLinkOfThe82599(t *testing.T) {
	r := newRig(t, Chip82599)
	for _, c := range []struct {
		name           string
		offset, value  uint32
		links, anState uint32
	}{
		{"as it is", regAUTOC, autocDefault, linksUp | links10G, 0},
		{"negotiating", regAUTOC, autocDefault ^ 4<<13 | autocRestart, 0, anlpState},
		{"1 Gb/s", regAUTOC, autocDefault &^ autocMode, linksUp | links1G, 0},
		{"10 Gb/s", regAUTOC, autocDefault, linksUp | links10G, 0},
		{"laser off", regESDP, esdpModule | esdpLaserOut | esdpLaserOff, 0, 0},
		{"laser on", regESDP, esdpModule | esdpLaserOut, linksUp | links10G, 0},
		{"disabled", regAUTOC2, autoc2Default | 1<<30, 0, 0},
	} {
		before := r.Read32(regLINKS)
		r.Read32(regEICR)
		r.Write32(c.offset, c.value)
		if got := r.Read32(regLINKS); got != c.links || r.Read32(regANLP1) != c.anState {
			t.Errorf("%s: LINKS %#x, want %#x; ANLP1 %#x", c.name, got, c.links, r.Read32(regANLP1))
		}
		if lsc := r.Read32(regEICR)&causeLSC != 0; lsc != (before != c.links) {
			t.Errorf("%s: LSC %v", c.name, lsc)
		}
	}
	if r.Read32(regAUTOC)&autocRestart != 0 {
		t.Error("the restart does not clear itself")
	}
	r.clean()
}

func TestTransmitWaitsForALink(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	r.SetLink(false)
	r.send(datagram(30), 0, 0, 0)
	if _, high := r.get(txRing, 0); len(r.sent) != 0 || high&txDD != 0 {
		t.Error("a frame has left without a link")
	}
	r.SetLink(true)
	if _, high := r.get(txRing, 0); len(r.sent) != 1 || high != txDD {
		t.Error("a frame has not left with the link")
	}
	r.clean()
}

func TestForcedLink(t *testing.T) {
	for chip, offset := range map[Chip]uint32{Chip82599: regAUTOC, ChipX540: regMACC} {
		r := newRig(t, chip)
		r.SetLink(false)
		r.Write32(offset, r.Read32(offset)|1)
		if r.Read32(regLINKS)&linksUp == 0 {
			t.Errorf("chip %#x: no link, by force", chip)
		}
		r.clean()
	}
}

func TestMasterAndSecurityHandshakes(t *testing.T) {
	r := newRig(t, Chip82599)
	if r.Read32(regSTATUS)&statusMaster == 0 || r.Read32(regSECRXSTAT) != 0 {
		t.Error("not as after a reset")
	}
	r.Write32(regCTRL, ctrlMaster)
	r.Write32(regSECRXCTRL, 2)
	if r.Read32(regSTATUS)&statusMaster != 0 || r.Read32(regSECRXSTAT) != 1 {
		t.Error("what was disabled is not done")
	}
	r.clean()
}
