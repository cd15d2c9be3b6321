package ixgbemodel

// I2CCTL: the two wires to the SFP+ module, moved bit by bit (8.2.3.1.5).
const (
	i2cClockIn  = 1 << 0
	i2cClockOut = 1 << 1
	i2cDataIn   = 1 << 2
	i2cDataOut  = 1 << 3
)

// moduleAddress is that of a module's EEPROM, as it stands on the wire: SFF-8472.
const moduleAddress = 0xa0

// i2c is the module's end of the wires.
type i2c struct {
	clock, data bool // as the host last drove them
	low         bool // the module pulls data down
	phase       phase
	bits        int  // clocked in this byte
	shift       byte // what came in or goes out
	address     byte // of the next byte to be read
}

// phase is what the module does with the bits that come.
type phase int

const (
	idle      phase = iota // until a start
	addressed              // takes the device's address
	pointed                // takes the byte address
	written                // takes bytes to be stored, which this module does not
	reading                // gives bytes
)

// module is what the EEPROM of a 10GBASE-SR module holds: SFF-8472, table 3.1.
var module = func() (m [256]byte) {
	m[0] = 3              // an SFP or SFP+
	m[1], m[2] = 4, 7     // by two-wire interface; LC
	m[3] = 0x10           // 10GBASE-SR, and no 1 GbE codes in byte 6
	m[11], m[12] = 6, 103 // 64B/66B; 10.3 GBd
	m[16] = 30            // 300 m on OM3, in 10 m
	copy(m[20:36], "OOBNET          ")
	copy(m[37:40], []byte{0x00, 0x1b, 0x21}) // Intel's OUI: drivers take no other's
	copy(m[40:56], "MODEL-SR        ")
	copy(m[56:60], "A   ")
	m[60], m[61] = 0x03, 0x52 // 850 nm
	copy(m[68:84], "MODEL00001      ")
	copy(m[84:92], "260101  ")
	for _, b := range m[:63] {
		m[63] += b
	}
	for _, b := range m[64:95] {
		m[95] += b
	}
	return m
}()

// readI2C reads I2CCTL: the wires are high where no one pulls them down.
func (d *Device) readI2C() uint32 {
	v := *d.reg(regI2CCTL) & (i2cClockOut | i2cDataOut)
	if v&i2cClockOut != 0 {
		v |= i2cClockIn
	}
	if v&i2cDataOut != 0 && !d.wire.low {
		v |= i2cDataIn
	}
	return v
}

// writeI2C moves the wires.
func (d *Device) writeI2C(value uint32) {
	*d.reg(regI2CCTL) = value & (i2cClockOut | i2cDataOut)
	if d.config.Chip == Chip82599 { // the X540 has no module
		d.wire.move(value&i2cClockOut != 0, value&i2cDataOut != 0)
	}
}

// move is one change of the wires: start, stop, or an edge of the clock.
func (w *i2c) move(clock, data bool) {
	wasClock, wasData := w.clock, w.data
	w.clock, w.data = clock, data
	switch {
	case clock && wasClock && wasData && !data:
		w.phase, w.bits, w.shift, w.low = addressed, 0, 0, false
	case clock && wasClock && !wasData && data:
		w.phase, w.low = idle, false
	case clock && !wasClock:
		w.rise()
	case !clock && wasClock:
		w.fall()
	}
}

// rise samples: eight bits of a byte, then the acknowledgement.
func (w *i2c) rise() {
	if w.phase == idle {
		return
	}
	if w.bits < 8 && w.phase != reading {
		w.shift <<= 1
		if w.data {
			w.shift |= 1
		}
	}
	if w.bits == 8 && w.phase == reading && w.data {
		w.phase, w.bits, w.low = idle, 0, false // the host has enough
		return
	}
	w.bits++
}

// fall drives: the acknowledgement of a byte that came, or the next bit.
func (w *i2c) fall() {
	if w.phase == idle {
		return
	}
	if w.bits == 9 {
		w.low, w.bits = false, 0
		w.turn()
	}
	switch {
	case w.phase == reading:
		w.low = w.bits < 8 && w.shift<<w.bits&0x80 == 0
	case w.phase != idle && w.bits == 8:
		w.low = w.phase != addressed || w.shift&0xfe == moduleAddress
	}
}

// turn goes on to the next byte, one being complete.
func (w *i2c) turn() {
	switch {
	case w.phase == addressed && w.shift&0xfe != moduleAddress:
		w.phase = idle
	case w.phase == addressed && w.shift&1 == 0:
		w.phase = pointed
	case w.phase == pointed:
		w.address, w.phase = w.shift, written
	case w.phase == addressed, w.phase == reading:
		w.phase, w.shift = reading, module[w.address]
		w.address++
		return
	}
	w.shift = 0
}
