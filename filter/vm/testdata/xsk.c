/* Hands over IPv4 to a queue's socket, and what has no socket to the kernel. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 64);
} xsks_map SEC(".maps");

SEC("xdp")
int xsk(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4(ctx);
	__u32 queue = ctx->rx_queue_index;

	if (!ip)
		return XDP_DROP;
	if (ip->protocol == IPPROTO_TCP && !bpf_map_lookup_elem(&xsks_map, &queue))
		return XDP_TX;
	return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}
