// Package qtest gives a test a network card that is nobody's: QEMU's model of
// it, without a guest, driven over QEMU's qtest socket. A driver's reset,
// rings, filters, interrupts and timing are exercised against a device that
// somebody else wrote, in go test, without privileges and in milliseconds.
//
//	m := qtest.Start(t, qtest.Config{Device: "igb"})
//	m.Read32(0, 0x0008)            // the STATUS register, in BAR 0
//	ring, addr := m.Memory(4096)   // memory that the device reaches by DMA
//	m.SendFrame(frame)             // a frame arrives at the device
//	m.ReceiveFrame(buf, deadline)  // a frame that it sent
//
// What a driver's bus needs is here in the same shape as with VFIO: registers
// ([Machine.Read32], [Machine.Write32]), configuration space
// ([Machine.ConfigRead16] and its sisters), DMA memory ([Machine.Memory]),
// interrupts ([Machine.EnableMSIX], [Machine.WaitInterrupt]), and reset
// ([Machine.Reset]). To these come what only a test wants: the other end of the
// cable ([Machine.SetLink]) and a device that vanishes ([Machine.Vanish]).
//
// What to know about time: a register read costs a round trip to QEMU, some
// 20 us; writes are posted, as on PCI: they are on their way when Write32
// returns and done before the next read returns. [Machine.Read32s] reads many
// registers for the price of one. The device's clock is real time: QEMU's igb
// takes half a second to bring its link up.
//
// Three cards are known to work: igb (82576), e1000e (82574), e1000 (82540EM,
// also as e1000-82545em; of this one QEMU ignores the reset bit in CTRL, and its
// window in I/O space reads 0). Where QEMU or the card is missing the test is
// skipped with the reason; hack/deps.sh installs it.
//
// The package is for Linux: elsewhere it is empty.
package qtest
