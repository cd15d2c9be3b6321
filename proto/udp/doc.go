// Package udp is UDP (RFC 768) on the out-of-band stage: [Conn] is a
// net.PacketConn and a net.Conn whose datagrams pass no kernel, no lock and no
// allocation on their way between the application and the link.
//
// # Receive
//
// The RX thread checks length and checksum, finds the socket and puts the
// buffer into its inbox; the bytes stay where they are until the reader has
// copied them ([Conn.ReadFromUDPAddrPort]), or for as long as it holds the
// lease ([Conn.Receive]). A reader that is slow fills its own quota
// ([Conn.SetReadBuffer]) and loses its own datagrams. [Config.Handler] has the
// RX thread call the application instead.
//
// # Send
//
// A send looks the destination up in the stack's front cache, writes the frame
// into a buffer of the TX pool and hands it to the link. [Conn.Reserve] lends
// the buffer, so that the payload is written in place. What the fast stage
// cannot send (no entry yet, longer than the MTU) goes in-band, or fails, or
// waits, as [Config.OnMiss] says.
//
// # Concurrency
//
// All methods of a Conn may be called by any goroutine. A [Datagram] and a
// [Lease] belong to one goroutine at a time.
//
// # Errors
//
// Errors are *net.OpError with what a kernel socket would report inside:
// net.ErrClosed, os.ErrDeadlineExceeded, or a syscall.Errno. They are not
// wrapped once more, so that err.(net.Error) works.
package udp
