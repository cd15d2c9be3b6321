/* Takes off a VLAN tag, and the padding behind an IPv4 packet. */
#include "common.h"

SEC("xdp")
int decap(struct xdp_md *ctx)
{
	struct ethhdr *eth = DATA(ctx), copy;
	struct vlan_tag *tag = (void *)(eth + 1);
	struct iphdr *ip;
	long surplus;

	if ((void *)(tag + 1) > END(ctx))
		return XDP_DROP;
	if (eth->h_proto == bpf_htons(ETH_P_8021Q)) {
		copy = *eth;
		copy.h_proto = tag->type;
		if (bpf_xdp_adjust_head(ctx, sizeof(*tag)))
			return XDP_ABORTED;
		eth = DATA(ctx);
		if ((void *)(eth + 1) > END(ctx))
			return XDP_DROP;
		*eth = copy;
	}
	ip = ipv4(ctx);
	if (!ip)
		return XDP_PASS;
	surplus = ctx->data_end - ctx->data - sizeof(*eth);
	surplus -= bpf_ntohs(ip->tot_len);
	if (bpf_xdp_adjust_tail(ctx, surplus > 0 ? -surplus : 8))
		return XDP_ABORTED;
	return surplus < 0 ? XDP_DROP : XDP_TX;
}
