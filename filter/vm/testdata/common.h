/* What the test programs share: headers of frames, and how they are read. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum { DROP = 0, ACCEPT = 1, SKIP = 2, VLAN = 3 };

struct vlan_tag {
	__be16 tci;
	__be16 type;
};

#define DATA(ctx) ((void *)(long)(ctx)->data)
#define END(ctx) ((void *)(long)(ctx)->data_end)

/* ipv4 is the IPv4 header of an untagged frame, NULL if there is none. */
static __always_inline struct iphdr *ipv4(struct xdp_md *ctx)
{
	struct ethhdr *eth = DATA(ctx);
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > END(ctx) || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return 0;
	return ip;
}

/* udp is the UDP header behind ip, NULL if there is none. */
static __always_inline struct udphdr *udp(struct xdp_md *ctx, struct iphdr *ip)
{
	struct udphdr *u = (void *)(ip + 1);

	if (ip->protocol != IPPROTO_UDP || (void *)(u + 1) > END(ctx))
		return 0;
	return u;
}

/* fold makes the 16 bits of a checksum from a sum. */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

char _license[] SEC("license") = "GPL";
