/* Checks the IPv4 header's checksum, options included, and adds up the bytes
 * behind it. */
#include "common.h"

/* HERE keeps the compiler from moving the check of a pointer out of the loop. */
#define HERE(p) asm volatile("" : "+r"(p))

__u64 bytes;

SEC("xdp")
int check(struct xdp_md *ctx)
{
	struct ethhdr *eth = DATA(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	__u16 *word = (__u16 *)ip;
	__u8 *at = (void *)ip;
	__u32 sum = 0, length;
	int i;

	if ((void *)(ip + 1) > END(ctx) || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl < 5)
		return XDP_PASS;
	length = ip->ihl * 2;
	for (i = 0; i < 30; i++) {
		if (i >= length)
			break;
		HERE(word);
		if ((void *)(word + 1) > END(ctx))
			return XDP_DROP;
		sum += *word++;
	}
	at += sizeof(*ip);
	for (i = 0; i < 180; i++) {
		HERE(at);
		if ((void *)(at + 1) > END(ctx))
			break;
		bytes += *at++;
	}
	return fold(sum) ? XDP_DROP : XDP_TX;
}
