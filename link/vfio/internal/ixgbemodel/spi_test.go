package ixgbemodel

import (
	"testing"
)

// serial is a driver that moves the wires of the EEPROM.
type serial struct{ *Device }

func (s serial) set(on, off uint32) { s.Write32(regEEC, s.Read32(regEEC)&^off|on) }

// out sends so many bits, the high one first.
func (s serial) out(value uint32, bits int) {
	for i := bits - 1; i >= 0; i-- {
		s.set(value>>i&1*eecIn, eecIn)
		s.set(eecClock, 0)
		s.set(0, eecClock)
	}
}

// in takes so many.
func (s serial) in(bits int) (value uint32) {
	for range bits {
		s.set(eecClock, 0)
		value <<= 1
		if s.Read32(regEEC)&eecOut != 0 {
			value |= 1
		}
		s.set(0, eecClock)
	}
	return value
}

// TestSerialEEPROM reads words by the wires, and wants those that EERD gives.
func TestSerialEEPROM(t *testing.T) {
	r := newRig(t, Chip82599)
	s := serial{r.Device}
	s.set(eecRequest, 0)
	if s.Read32(regEEC)&eecGrant == 0 {
		t.Fatal("no grant")
	}
	s.set(0, eecDeselect|eecClock)
	s.out(spiStatus, 8)
	if status := s.in(8); status != 0 {
		t.Errorf("the memory's status is %#x, want 0", status)
	}
	for _, first := range []uint32{0, wordCore0, wordChecksum, eepromWords - 2} {
		s.set(eecDeselect, eecClock)
		s.set(0, eecDeselect)
		s.out(spiRead, 8)
		s.out(2*first, 16)
		for word := first; word < first+2; word++ {
			got := s.in(16)
			s.Write32(regEERD, word<<2|eerdStart)
			if want := s.Read32(regEERD) >> 16; got>>8|got&0xff<<8 != want {
				t.Errorf("word %#x: %#04x by the wires, %#04x by EERD", word, got>>8|got&0xff<<8, want)
			}
		}
	}
	s.set(eecDeselect, eecClock)
	s.set(0, eecRequest)
	if s.Read32(regEEC)&eecGrant != 0 {
		t.Error("the grant stays when the request is gone")
	}
	if v := r.Violations(); len(v) != 0 {
		t.Errorf("violations: %v", v)
	}
	s.set(eecClock, 0)
	if v := r.Violations(); len(v) != 1 || v[0].Offset != regEEC {
		t.Errorf("the clock was moved without a grant: violations %v", v)
	}
}
