// Package packet is raw Ethernet on the out-of-band stage: [Conn] is a
// net.PacketConn whose frames pass no kernel, no lock and no allocation on
// their way between the application and the link.
//
// # Who gets a frame
//
//	        the wire
//	           │
//	claims, or the device's filter ──────────▶ the host kernel, or nobody
//	           │ what comes here
//	           ▼
//	raw sockets that match: VLAN of the port, EtherType or All;
//	to the port, to a group, to all; to others if promiscuous
//	           │
//	   ┌───────┼────────────┬──────────────────────┐
//	   ▼       ▼            ▼                      ▼
//	Listen   Listen      Listen              ListenDevice: all frames
//	0x88a4   0x88a4,     All                 of the device, any VLAN,
//	         Consume                         and those that it sends
//	           │
//	one of them consumes, or nobody below wants it: it ends here
//	           │ else
//	           ▼
//	IPv4, ARP, protocols of other EtherTypes
//
// Each socket that matches gets the frame, once. If nobody else is to have it,
// the last of them gets the buffer itself, and what it costs is what a datagram
// costs; all others get copies, in buffers of the device's TX pool, of which
// listeners get no more than three quarters. A socket whose program ([Conn.SetBPF])
// refuses a frame does not count: it does not consume it either.
//
// Multicast is as with the packet sockets of Linux: a socket sees every group
// that the device lets through, whoever joined it. A frame to another station
// is for sockets with [Conn.SetPromiscuous].
//
// A link that shares its device, as AF_XDP does with the host kernel, is told to
// take what sockets listen to: that is no longer the kernel's, on that VLAN. A
// socket for All takes the whole VLAN, one for 0x0800 all of IPv4, whatever its
// addresses. An analyser (ListenDevice) takes nothing; it sees what comes here
// for others. A filter of the device (stack.Device.SetFilter) comes first.
//
// # Send
//
// [Conn.WriteToAddr] puts a header before a payload, [Conn.WriteFrame] sends a
// whole frame. On a VLAN port both get the port's tag, with the socket's
// priority in it, or the address's. [Conn.Reserve] lends the buffer, so that the
// payload is written in place. What the device sends, raw sockets of ports do
// not see; analysers do.
//
// # Concurrency
//
// All methods of a Conn may be called by any goroutine. A [Frame] and a [Lease]
// belong to one goroutine at a time. Frames of one queue reach a socket in
// their order; those that are sent and those that are received are two
// sequences.
//
// # Errors
//
// Errors are *net.OpError with what a kernel socket would report inside:
// net.ErrClosed, os.ErrDeadlineExceeded, or a syscall.Errno. When the port is
// disabled, or its device closed, calls return both net.ErrClosed and ENETDOWN.
package packet
