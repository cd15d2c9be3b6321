// Package guesttest is for tests that want a network card of a virtual machine
// of package vmtest. They skip, with the reason, where they run on something
// else:
//
//	func TestOpen(t *testing.T) {
//		card := guesttest.First(t)
//		card.Bind(t, "vfio-pci")
//		l, err := vfio.Open(card.Address, nil)
//
// The peer at the other end of the card's wire is an interface of the guest's
// kernel, in the namespace that the tests start in, without addresses and down.
// A test that sends IP there had better move it to a namespace of its own: else
// the kernel, which then has both ends' addresses, answers by itself.
//
// The package is for Linux: elsewhere it is empty.
package guesttest
