// Package afxdp is a link on an ordinary Linux network interface: frames that
// the stack claims go to user space through AF_XDP sockets, all others go to
// the kernel as if nothing were there.
//
// # What is taken, what is left
//
// A small program runs in the interface's driver (native XDP) or, where the
// driver cannot, just behind it (generic XDP). It takes what [link.Claims] say
// and passes the rest to the kernel: frames of other addresses, other
// EtherTypes, other queues, and, before the first Select, everything. It
// hangs on a descriptor of this process: if the process dies, however it
// dies, the program and the sockets are gone and the interface works on.
//
// The program is written for its claims at run time; no compiler is needed. It
// decides as follows, and [Decide] is the same in Go:
//
//   - An 802.1Q tag (EtherType 0x8100) gives the VLAN. A tag with VLAN 0, which
//     carries only a priority, counts as untagged. A second tag is not parsed:
//     its EtherType is that of the frame. Nor is an 802.1ad tag (0x88a8).
//   - IPv4 with at least 20 bytes of header is taken if (VLAN, destination)
//     is claimed, fragments and options included.
//   - ARP for IPv4 over Ethernet is taken if (VLAN, target address) is claimed.
//   - Any frame is taken if (VLAN, EtherType) or all of the VLAN is claimed.
//
// # Filters
//
// A filter ([Link.SetFilter]) takes the place of the claims. Its program is
// linked as a function behind an entry program of the link's, which turns the
// verdict into an action and counts it: accept is a redirect to the socket of
// the frame's queue, or the kernel's if the queue has none; skip is XDP_PASS;
// vlan accepts if the id is among [link.Claims].VLANs; a number that is no
// verdict drops the frame. A plain XDP program, written for libxdp, decides on
// its own actions, with the link's sockets in the place of its xsks_map. XDP_TX
// and redirects are the driver's to carry out, and its statistics tell of their
// errors; on veth, XDP_TX needs a program on the peer too, or GRO there.
//
// Programs are exchanged on one bpf_link, so each frame meets one of them, and
// a filter that the kernel refuses changes nothing. [Link.Divert] puts a program
// in their place that passes everything, without closing anything.
//
// While the link is open, the device's rx-vlan-offload is off: XDP does not see a
// tag that the device has stripped. It stays off if the process is killed, and
// the kernel takes the tags off itself. Nor does XDP see one that never was in the
// frame: over a veth pair, the kernel's VLAN interface at the other end leaves
// its tag beside the frame, for hardware that is not there, and the frame counts
// as untagged here. `ethtool -K <the other end> tx-vlan-offload off` puts it in.
// With [RXVLAN] the device goes on as it was, and tags beside frames are found.
//
// A card that filters VLANs by itself (rx-vlan-filter) is in promiscuous mode
// while the claims name one: it would drop the frames of those for which the
// kernel has no VLAN interface.
//
// # Sockets and memory
//
// Each queue has two sockets that share the region: one only receives, one
// only sends. In copy mode the kernel sends inside the system call, under the
// socket's lock; with one socket for both, a receiver that waits in poll would
// send as well, and the two sides would stand in each other's way.
//
// The region is registered as one UMEM in aligned mode: a buffer is a UMEM chunk,
// so it is one page at most. The kernel keeps 256 bytes before each received
// frame (XDP_PACKET_HEADROOM). What is left bounds the interface's MTU.
//
// In zero copy the device reads and writes the region by itself. A buffer holds
// whole KiB of a frame then, as Intel's drivers count: buffers of 2048 bytes are
// too small for an MTU of 1500, those of 4096 take 3072 bytes. Stop waits until
// the driver has let go of the region, which it does some time after the sockets
// are gone. QueueStats.RXNoBuffer counts how often the driver found the fill ring
// empty; how many frames the card has lost by that, the card counts.
//
// # What the device says of frames
//
// With [RXTime] the programs ask the driver when the device saw each frame that
// they take, and write it before the frame; Receive puts it into Meta.Time. With
// [RXVLAN] they ask for the tag that the device has taken out, or that never was in
// the frame, and Receive puts it back. Such programs are bound to their device:
// they run in the driver alone, their license must go with the GPL, that of a
// filter too, and before Linux 6.14 they make no tail calls. Select and SetFilter
// load them from within the interface's network namespace: a thread in another
// one needs CAP_SYS_ADMIN for that.
//
// With RXTime the device takes the time of all frames while the link is open
// (`ethtool -T` tells whether it can); what it took before it takes again after
// Close. Each frame costs some 150 ns more (veth, Linux 6.18). A filter that
// leaves metadata of its own before a frame keeps it, and the frame has neither
// time nor tag.
//
// # Requests for frames to send
//
// With [TXChecksum], [TXTime] or [LaunchTime] the region is registered with room for
// requests, 16 or 24 bytes before each frame; one that starts closer to the start
// of its buffer is moved before it is sent. What was asked and cannot be done,
// such as the checksum of what is no datagram, counts in QueueStats.TXInvalid and
// does not leave.
//
// # What it needs
//
// Linux 5.15 or later, and CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF (or root).
// Open works in the network namespace of the calling thread; everything after
// it works on descriptors and may be called from anywhere.
//
// Sources: af_xdp.rst, xdp-rx-metadata.rst and xsk-tx-metadata.rst in
// Documentation/networking of the kernel, linux/if_xdp.h.
package afxdp
