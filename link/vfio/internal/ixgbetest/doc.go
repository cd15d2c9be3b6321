// Package ixgbetest joins models of the 82599 and the X540 by a wire, each behind a
// bus of its own, for tests of the link and its driver that need no privilege. It
// runs on Linux, whose eventfds a bus raises.
package ixgbetest
