package qtest

import (
	"errors"
	"fmt"
)

// The machine's bus, placed by us since there is no firmware.
const (
	slot       = 4          // of the card, on bus 0; high slots fail with igb, whose virtual functions come after it
	ecamBase   = 0xb0000000 // configuration space of all buses, 4 KiB a function, 256 MiB
	mmioBase   = 0xc0000000 // BARs in memory; far below the interrupt controllers at 0xfec00000
	ioBase     = 0x6000     // BARs in I/O space
	pciExBAR   = 0x60       // register of the host bridge: where configuration space lies, and bit 0 to enable it
	addressIO  = 0xcf8      // the old way to configuration space: address register
	dataIO     = 0xcfc      // and data register
	enableAddr = 1 << 31    // bit of the address register
)

// Configuration space: PCI Local Bus Specification 3.0, chapter 6; PCI Express
// Base Specification, 7.5.3, for the capability Express.
const (
	regCommand = 0x04
	regBAR     = 0x10
	regCap     = 0x34

	cmdIO        = 1 << 0
	cmdMemory    = 1 << 1
	cmdBusMaster = 1 << 2
	cmdNoINTx    = 1 << 10

	capMSI     = 0x05
	capExpress = 0x10
	capMSIX    = 0x11

	expressDevCap = 0x04
	expressDevCtl = 0x08
	devCapFLR     = 1 << 28
	devCtlFLR     = 1 << 15
)

// BAR is a range of a card's registers.
type BAR struct {
	Addr uint64 // where it lies, in the machine's memory or I/O space
	Size uint64 // bytes; 0: there is no such BAR
	IO   bool
}

// BAR returns the i-th BAR, 0 to 5. The second half of a 64-bit BAR has size 0.
func (m *Machine) BAR(i int) BAR { return m.bars[i] }

// enumerate makes configuration space visible, and sizes and places the BARs.
func (m *Machine) enumerate() error {
	for _, c := range []string{
		fmt.Sprintf("outl %#x %#x", addressIO, enableAddr|pciExBAR),
		fmt.Sprintf("outl %#x %#x", dataIO, ecamBase|1),
	} {
		if err := m.s.do(c); err != nil {
			return err
		}
	}
	m.ecam = ecamBase + slot<<15
	if id := m.ConfigRead32(0); id == ^uint32(0) || id == 0 {
		return fmt.Errorf("qtest: no card in slot %d", slot)
	}
	m.ConfigWrite16(regCommand, 0) // no decoding while BARs hold sizes
	mmio, io := uint64(mmioBase), uint64(ioBase)
	for i := 0; i < len(m.bars); i++ {
		reg := uint32(regBAR + 4*i)
		m.ConfigWrite32(reg, ^uint32(0))
		mask := m.ConfigRead32(reg)
		bar, next := &m.bars[i], &mmio
		switch {
		case mask == 0:
			continue
		case mask&1 != 0:
			bar.IO, next = true, &io
			bar.Size = uint64(^(mask &^ 3) + 1)
			bar.Size &= 0xffff // the upper half of an I/O BAR need not exist
		default:
			bar.Size = uint64(^(mask &^ 15) + 1)
		}
		*next = (*next + bar.Size - 1) &^ (bar.Size - 1)
		bar.Addr = *next
		*next += bar.Size
		if mask&7 == 4 { // memory, 64 bits: the next register is the upper half
			i++
		}
	}
	m.place()
	return m.s.do("endianness") // any command: what was posted is done, or an error
}

// place writes the BARs and switches decoding on.
func (m *Machine) place() {
	for i, b := range m.bars {
		if b.Size != 0 {
			m.ConfigWrite32(uint32(regBAR+4*i), uint32(b.Addr))
		} else if i == 0 || m.bars[i-1].Size != 0 {
			m.ConfigWrite32(uint32(regBAR+4*i), 0) // an upper half: all lie below 4 GiB
		}
	}
	m.ConfigWrite16(regCommand, cmdIO|cmdMemory)
}

// ConfigRead8 reads configuration space, of which there are 4 KiB.
func (m *Machine) ConfigRead8(off uint32) uint8 { return uint8(m.read("readb", m.ecam+uint64(off))) }

// ConfigRead16 reads two bytes; off is even.
func (m *Machine) ConfigRead16(off uint32) uint16 {
	return uint16(m.read("readw", m.ecam+uint64(off)))
}

// ConfigRead32 reads four bytes; off is a multiple of four.
func (m *Machine) ConfigRead32(off uint32) uint32 {
	return uint32(m.read("readl", m.ecam+uint64(off)))
}

// ConfigWrite8 writes configuration space.
func (m *Machine) ConfigWrite8(off uint32, v uint8) {
	m.write("writeb", m.ecam+uint64(off), uint32(v))
}

// ConfigWrite16 writes two bytes; off is even.
func (m *Machine) ConfigWrite16(off uint32, v uint16) {
	m.write("writew", m.ecam+uint64(off), uint32(v))
}

// ConfigWrite32 writes four bytes; off is a multiple of four.
func (m *Machine) ConfigWrite32(off uint32, v uint32) {
	m.write("writel", m.ecam+uint64(off), v)
}

// SetBusMaster lets the card use memory and send messages, or not.
func (m *Machine) SetBusMaster(on bool) {
	command := m.ConfigRead16(regCommand) &^ cmdBusMaster
	if on {
		command |= cmdBusMaster
	}
	m.ConfigWrite16(regCommand, command)
	m.ConfigRead16(regCommand) // writes are posted; when this returns it holds
}

// Read32 reads a register of a BAR at a byte offset. All ones: there is no such
// BAR, or the card has vanished.
func (m *Machine) Read32(bar int, off uint32) uint32 {
	command, addr, ok := m.locate(bar, off, "readl", "inl")
	if !ok {
		return ^uint32(0)
	}
	return uint32(m.read(command, addr))
}

// Read32s reads registers of a BAR in the order given, in one exchange.
func (m *Machine) Read32s(bar int, offs ...uint32) []uint32 {
	values := make([]uint32, len(offs))
	commands := make([]string, 0, len(offs))
	for i, off := range offs {
		values[i] = ^uint32(0)
		command, addr, ok := m.locate(bar, off, "readl", "inl")
		if !ok {
			return values
		}
		commands = append(commands, fmt.Sprintf("%s %#x", command, addr))
	}
	got, err := m.s.ask(nil, commands...)
	if err != nil {
		m.broken(err)
	}
	for i, v := range got {
		values[i] = uint32(v)
	}
	return values
}

// Write32 writes a register of a BAR at a byte offset. It is posted: done
// before any later read returns, and within microseconds anyway.
func (m *Machine) Write32(bar int, off, v uint32) {
	if command, addr, ok := m.locate(bar, off, "writel", "outl"); ok {
		m.write(command, addr, v)
	}
}

// locate finds a register, and which of two commands goes there.
func (m *Machine) locate(bar int, off uint32, memory, io string) (command string, addr uint64, ok bool) {
	if bar < 0 || bar >= len(m.bars) || uint64(off)+4 > m.bars[bar].Size || m.gone.Load() {
		return "", 0, false
	}
	if b := m.bars[bar]; b.IO {
		return io, b.Addr + uint64(off), true
	}
	return memory, m.bars[bar].Addr + uint64(off), true
}

func (m *Machine) read(command string, addr uint64) uint64 {
	if m.gone.Load() {
		return ^uint64(0)
	}
	var v [1]uint64
	if _, err := m.s.ask(v[:0], fmt.Sprintf("%s %#x", command, addr)); err != nil {
		m.broken(err)
		return ^uint64(0)
	}
	return v[0]
}

func (m *Machine) write(command string, addr uint64, v uint32) {
	if m.gone.Load() {
		return
	}
	if err := m.s.post(fmt.Sprintf("%s %#x %#x", command, addr, v)); err != nil {
		m.broken(err)
	}
}

// Capability finds a capability in configuration space by its id, 0 if the card
// has it not.
func (m *Machine) Capability(id uint8) uint32 {
	at := uint32(m.ConfigRead8(regCap))
	for range 48 { // as many as fit; a list that is a circle ends too
		if at < 0x40 {
			break
		}
		head := m.ConfigRead16(at &^ 3)
		if uint8(head) == id {
			return at &^ 3
		}
		at = uint32(head >> 8)
	}
	return 0
}

// Reset resets the card as VFIO's reset does: by its function-level reset,
// after which BARs and decoding are as before, bus mastering is off, and
// interrupts are to be enabled again. A card without it (of the three all but
// igb) is left alone; the error is [errors.ErrUnsupported], and the driver has
// its own way.
func (m *Machine) Reset() error {
	express := m.Capability(capExpress)
	if express == 0 || m.ConfigRead32(express+expressDevCap)&devCapFLR == 0 {
		return fmt.Errorf("qtest: the card has no function-level reset: %w", errors.ErrUnsupported)
	}
	m.ConfigWrite16(express+expressDevCtl, m.ConfigRead16(express+expressDevCtl)|devCtlFLR)
	m.place()
	m.mode.Store(modeNone)
	return nil
}

// Vanish makes the card look as if it was pulled out: all reads return ones,
// writes go nowhere, and no interrupt comes any more. It does not come back.
func (m *Machine) Vanish() {
	m.SetBusMaster(false)
	m.gone.Store(true)
}
