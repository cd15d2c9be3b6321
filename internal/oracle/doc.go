// Package oracle holds tests alone: a stack with AF_XDP on one end of a veth,
// and the Linux kernel on the other, which says by what it does whether we
// speak IPv4, UDP, ICMP, IGMP and ARP as a host should. Our interface has a
// kernel of its own beside us, with another address, which must not notice us.
//
// In a virtual machine with a network card ("make test-vm") the same tests run
// over the card: with AF_XDP if the kernel's driver has it, in the mode that
// OOBNET_ORACLE_XDP names, and with link/vfio if VFIO has. Then nobody is beside
// us, and what needs that is skipped.
//
// The tests need root and network namespaces, and are skipped without. What
// they wait for they wait for long: no result depends on how fast the machine
// is. At the end of each the books have to add up, the kernel's included, and
// nothing may be left behind.
package oracle
