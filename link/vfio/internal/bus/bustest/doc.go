// Package bustest makes a bus of QEMU's model of a network card (package
// qtest), so that a driver and the link above it can be tested against a device
// that somebody else wrote. For Linux: elsewhere it is empty.
package bustest
