/* Counts packets and bytes by UDP port and by protocol, on each CPU. */
#include "common.h"

struct counter {
	__u64 packets, bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__type(key, __u16);
	__type(value, struct counter);
	__uint(max_entries, 4);
} by_port SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 256);
} by_protocol SEC(".maps");

SEC("xdp")
int ports(struct xdp_md *ctx)
{
	__u64 len = ctx->data_end - ctx->data;
	struct iphdr *ip = ipv4(ctx);
	struct counter *c, first = {1, len};
	struct udphdr *u;
	__u32 protocol, *n;

	if (!ip)
		return XDP_PASS;
	protocol = ip->protocol;
	n = bpf_map_lookup_elem(&by_protocol, &protocol);
	if (n)
		++*n;
	u = udp(ctx, ip);
	if (!u)
		return XDP_PASS;
	c = bpf_map_lookup_elem(&by_port, &u->dest);
	if (c) {
		c->packets++;
		c->bytes += len;
		return XDP_PASS;
	}
	return bpf_map_update_elem(&by_port, &u->dest, &first, BPF_NOEXIST) ? XDP_DROP : XDP_PASS;
}
