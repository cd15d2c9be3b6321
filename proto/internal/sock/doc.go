// Package sock is what the sockets of all protocols are made of: deadlines that
// a packet path need not look at, readers that sleep, and the books of what a
// socket holds.
package sock
