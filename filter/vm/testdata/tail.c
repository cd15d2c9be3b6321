/* A parser in stages: each looks at one header and calls the next. */
#include "common.h"

int parse_vlan(struct xdp_md *ctx);
int parse_ipv4(struct xdp_md *ctx);
int again(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__array(values, int(void *));
} stages SEC(".maps") = {
	.values = {
		[1] = (void *)&parse_vlan,
		[2] = (void *)&parse_ipv4,
		[3] = (void *)&again,
	},
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} calls SEC(".maps");

static __always_inline void counted(void)
{
	__u32 zero = 0, *n = bpf_map_lookup_elem(&calls, &zero);

	if (n)
		++*n;
}

SEC("xdp/again")
int again(struct xdp_md *ctx)
{
	counted();
	bpf_tail_call(ctx, &stages, 3); /* until the limit is reached */
	return XDP_TX;
}

SEC("xdp/ipv4")
int parse_ipv4(struct xdp_md *ctx)
{
	struct iphdr *ip = DATA(ctx) + sizeof(struct ethhdr);

	counted();
	if ((void *)(ip + 1) > END(ctx))
		return XDP_DROP;
	if (ip->protocol == IPPROTO_UDP)
		bpf_tail_call(ctx, &stages, 3);
	if (ip->protocol == IPPROTO_TCP)
		bpf_tail_call(ctx, &stages, 7); /* not set */
	return XDP_PASS;
}

SEC("xdp/vlan")
int parse_vlan(struct xdp_md *ctx)
{
	struct vlan_tag *tag = DATA(ctx) + sizeof(struct ethhdr);

	counted();
	if ((void *)(tag + 1) > END(ctx))
		return XDP_DROP;
	return bpf_ntohs(tag->tci) & 0xfff ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int parse(struct xdp_md *ctx)
{
	struct ethhdr *eth = DATA(ctx);

	counted();
	if ((void *)(eth + 1) > END(ctx))
		return XDP_DROP;
	if (eth->h_proto == bpf_htons(ETH_P_8021Q))
		bpf_tail_call(ctx, &stages, 1);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		bpf_tail_call(ctx, &stages, 2);
	bpf_tail_call(ctx, &stages, 100); /* there is none */
	return XDP_ABORTED;
}
