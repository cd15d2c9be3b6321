/* Wraps IPv4 into IPv4 (protocol 4), with the header's checksum. */
#include "common.h"

SEC("xdp")
int encap(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4(ctx), *outer;
	struct ethhdr eth, *to;
	__u16 length, *word;
	__u32 sum = 0;
	int i;

	if (!ip)
		return XDP_PASS;
	length = bpf_ntohs(ip->tot_len);
	__builtin_memcpy(&eth, DATA(ctx), sizeof(eth));
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*outer)))
		return XDP_ABORTED;
	to = DATA(ctx);
	outer = (void *)(to + 1);
	if ((void *)(outer + 1) > END(ctx))
		return XDP_DROP;
	__builtin_memcpy(to, &eth, sizeof(eth));
	__builtin_memset(outer, 0, sizeof(*outer));
	outer->version = 4;
	outer->ihl = 5;
	outer->ttl = 64;
	outer->protocol = IPPROTO_IPIP;
	outer->tot_len = bpf_htons(length + sizeof(*outer));
	outer->saddr = bpf_htonl(0x0a000001);
	outer->daddr = bpf_htonl(0x0a000002);
	word = (__u16 *)outer;
#pragma unroll
	for (i = 0; i < 10; i++)
		sum += word[i];
	outer->check = fold(sum);
	return XDP_TX;
}
