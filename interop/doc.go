// Package interop holds what joins oobnet to libraries of others, and the tests
// that they work on its sockets, in memory and over AF_XDP. It is a module of its
// own, so that those who embed the stage do not have to fetch them.
//
//	pion/       github.com/pion/transport's Net, for WebRTC and its parts
//	quicudp/    a connection with ECN, batches and segments, for quic-go
//
// Everything else takes a [net.PacketConn] or a [net.Conn], which the sockets of
// package udp are: see the tests for miekg/dns and for quic-go without the
// adapter.
package interop
