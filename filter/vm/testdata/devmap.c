/* Sends by the device that a map has for the last bits of the destination. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 8);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 8);
} peers SEC(".maps");

SEC("xdp")
int forward(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4(ctx);

	if (!ip)
		return bpf_redirect(ctx->ingress_ifindex, 0);
	if (ip->ttl <= 1)
		return XDP_DROP;
	ip->ttl--;
	if (ip->protocol == IPPROTO_UDP)
		return bpf_redirect_map(&ports, bpf_ntohl(ip->daddr) & 15, XDP_DROP);
	return bpf_redirect_map(&peers, bpf_ntohl(ip->daddr), XDP_PASS);
}
