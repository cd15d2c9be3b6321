// Package ixgbetrace compares what two drivers do to the registers of an 82599
// or X540. A trace is a text, a line for each access of a driver to the model
// (package ixgbemodel), with the tasks that it was at:
//
//	# task up
//	r 0x00008 0x00080000
//	w 0x05080 0x00000400
//
// [Fold] makes it short and the same for each run: registers by their names,
// polls and tables in one line, no addresses. [Compare] then says, task by task,
// which registers one driver alone writes, which end with different values, and
// which of the orders that the datasheet wants one of them does not keep.
//
// testdata has the folded traces of Linux's own driver, recorded in a guest. The
// tests record ours, and hold the document link/vfio/ixgbe/NOTES.md to what comes
// out: it explains each difference and none that there is not.
//
// To record Linux's again, and to bring the tables of the document up to date
// (the reasons stay):
//
//	go run ./hack/vmtest -suite ixgbe-trace -trace DIR
//	go run ./link/vfio/internal/ixgbetrace/cmd -fold DIR/82599-ixgbe-0.trace >link/vfio/internal/ixgbetrace/testdata/linux-82599.txt
//	go test ./link/vfio/internal/ixgbetrace -run TestNotes -update
package ixgbetrace
