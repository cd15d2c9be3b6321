// Package differential holds tests alone: the same frames, good ones and
// damaged ones, go into a stack of ours and into one that is gVisor's from the
// wire to the socket. Both must deliver the same payloads from the same
// senders, and answer the same by ICMP and ARP. Where they may differ, a table
// says so, with the reason, and with a frame that shows it.
package differential
