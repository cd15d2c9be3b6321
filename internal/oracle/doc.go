// Package oracle holds tests alone: a stack with AF_XDP on one end of a veth,
// and the Linux kernel on the other, which says by what it does whether we
// speak IPv4, UDP, ICMP, IGMP and ARP as a host should. Our interface has a
// kernel of its own beside us, with another address, which must not notice us.
//
// The tests need root and network namespaces, and are skipped without. What
// they wait for they wait for long: no result depends on how fast the machine
// is. At the end of each the books have to add up, the kernel's included, and
// nothing may be left behind.
package oracle
