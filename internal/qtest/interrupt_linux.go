package qtest

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
	"unsafe"
)

// How the card interrupts.
const (
	modeNone uint32 = iota
	modeINTx
	modeMSI
	modeMSIX
)

// pciLines are the inputs of the interrupt controller that PCI cards use.
const pciLines uint32 = 0xff << 16

// interruptPoll is how often a waiter looks. A message is a store to memory, of
// which nothing tells us.
const interruptPoll = 20 * time.Microsecond

// Registers of the capabilities MSI and MSI-X: PCI 3.0, 6.8.
const (
	msiControl  = 2
	msiAddr     = 4
	msiUpper    = 8 // where the control register has bit 7; else the data
	msiEnable   = 1 << 0
	msi64       = 1 << 7
	msixControl = 2
	msixTable   = 4
	msixEnable  = 1 << 15
	msixMaskAll = 1 << 14
	msixEntry   = 16 // bytes: address, upper address, data, control (bit 0: masked)
)

// raised is the word that a vector's message is stored to. The card writes 1
// there by DMA; whoever waits for the vector takes it off.
func (m *Machine) raised(vector int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&m.ram[interruptPage+4*vector]))
}

// MSIXVectors is how many MSI-X vectors the card has, 0 for none.
func (m *Machine) MSIXVectors() int {
	at := m.Capability(capMSIX)
	if at == 0 {
		return 0
	}
	return int(m.ConfigRead16(at+msixControl)&0x7ff) + 1
}

// EnableMSIX lets the card send MSI-X messages for vectors 0 to n-1, and no
// other interrupts. The card needs to be bus master for them.
func (m *Machine) EnableMSIX(n int) error {
	m.DisableInterrupts()
	at, have := m.Capability(capMSIX), m.MSIXVectors()
	if n < 1 || n > have {
		return fmt.Errorf("qtest: %d MSI-X vectors: the card has %d", n, have)
	}
	control := m.ConfigRead16(at + msixControl)
	m.ConfigWrite16(at+msixControl, control|msixEnable|msixMaskAll)
	table := m.ConfigRead32(at + msixTable)
	for v := range n {
		m.raised(v).Store(0) // what the card left there
		entry := table&^7 + uint32(v)*msixEntry
		for i, word := range []uint32{uint32(interruptPage + 4*v), 0, 1, 0} {
			m.Write32(int(table&7), entry+uint32(4*i), word)
		}
	}
	m.ConfigWrite16(at+msixControl, control&^msixMaskAll|msixEnable)
	m.mode.Store(modeMSIX)
	return nil
}

// EnableMSI lets the card send one MSI message, vector 0, and no other
// interrupts. The card needs to be bus master for it.
func (m *Machine) EnableMSI() error {
	m.DisableInterrupts()
	at := m.Capability(capMSI)
	if at == 0 {
		return fmt.Errorf("qtest: the card has no MSI")
	}
	control := m.ConfigRead16(at + msiControl)
	m.raised(0).Store(0) // what the card left there
	m.ConfigWrite32(at+msiAddr, interruptPage)
	data := at + msiUpper
	if control&msi64 != 0 {
		m.ConfigWrite32(at+msiUpper, 0)
		data += 4
	}
	m.ConfigWrite16(data, 1)
	m.ConfigWrite16(at+msiControl, control|msiEnable)
	m.mode.Store(modeMSI)
	return nil
}

// EnableINTx lets the card drive its interrupt line, vector 0. It stays high,
// and WaitInterrupt returns at once, until the driver has read the cause off
// the card.
func (m *Machine) EnableINTx() error {
	m.DisableInterrupts()
	if m.ConfigRead8(0x3d) == 0 { // Interrupt Pin
		return fmt.Errorf("qtest: the card has no interrupt line")
	}
	m.raised(0).Store(0) // what the card left there
	if err := m.s.do("irq_intercept_in ioapic"); err != nil {
		m.broken(err)
		return err
	}
	m.ConfigWrite16(regCommand, m.ConfigRead16(regCommand)&^cmdNoINTx)
	m.mode.Store(modeINTx)
	return nil
}

// DisableInterrupts ends all of them.
func (m *Machine) DisableInterrupts() {
	m.mode.Store(modeNone)
	m.ConfigWrite16(regCommand, m.ConfigRead16(regCommand)|cmdNoINTx)
	if at := m.Capability(capMSI); at != 0 {
		m.ConfigWrite16(at+msiControl, m.ConfigRead16(at+msiControl)&^msiEnable)
	}
	if at := m.Capability(capMSIX); at != 0 {
		m.ConfigWrite16(at+msixControl, m.ConfigRead16(at+msixControl)&^msixEnable)
	}
}

// WaitInterrupt returns when the vector's interrupt has come, or [Machine.Wake]
// was called for it: several in a row may count as one, as with an eventfd.
// With MSI and INTx there is vector 0 alone. Errors are
// [os.ErrDeadlineExceeded], and [net.ErrClosed] when the machine is gone.
func (m *Machine) WaitInterrupt(vector int, deadline time.Time) error {
	for {
		come, err := m.interrupted(vector)
		if err != nil {
			return fmt.Errorf("qtest: waiting for interrupt %d: %w", vector, err)
		}
		if come {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("qtest: waiting for interrupt %d: %w", vector, os.ErrDeadlineExceeded)
		}
		time.Sleep(interruptPoll)
	}
}

// interrupted looks whether the vector's interrupt has come, and takes it.
func (m *Machine) interrupted(vector int) (bool, error) {
	m.mapped.RLock()
	defer m.mapped.RUnlock()
	if m.closed.Load() {
		return false, net.ErrClosed
	}
	if m.raised(vector).Swap(0) != 0 { // the card or Wake put it there
		return true, nil
	}
	if m.mode.Load() != modeINTx || m.gone.Load() {
		return false, nil
	}
	high, err := m.s.high(pciLines)
	if err != nil {
		m.broken(err)
	}
	return high, err
}

// Wake ends a wait for the vector, now or the next one: what a driver's own
// waker does with its eventfd.
func (m *Machine) Wake(vector int) {
	m.mapped.RLock()
	defer m.mapped.RUnlock()
	if !m.closed.Load() {
		m.raised(vector).Store(1) // who waits takes it off
	}
}
