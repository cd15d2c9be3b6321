/* Counts UDP flows; a datagram to port 9 forgets its flow, and one to port 53
 * replaces the count. */
#include "common.h"

struct flow {
	__be32 source, destination;
	__be16 from, to;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow);
	__type(value, __u64);
	__uint(max_entries, 8);
} flows SEC(".maps");

SEC("xdp")
int count(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4(ctx);
	struct flow key = {};
	struct udphdr *u;
	__u64 one = 1, *n;
	long err;

	if (!ip)
		return XDP_PASS;
	u = udp(ctx, ip);
	if (!u)
		return XDP_PASS;
	key.source = ip->saddr;
	key.destination = ip->daddr;
	key.from = u->source;
	key.to = u->dest;
	if (u->dest == bpf_htons(9)) {
		key.to = bpf_htons(320);
		return bpf_map_delete_elem(&flows, &key) ? XDP_ABORTED : XDP_DROP;
	}
	n = bpf_map_lookup_elem(&flows, &key);
	if (n && u->dest == bpf_htons(53)) {
		one = *n * 3;
		bpf_map_update_elem(&flows, &key, &one, BPF_EXIST);
		return *n & 0xffff; /* the old value is still there */
	}
	if (n) {
		__sync_fetch_and_add(n, 1);
		return XDP_PASS;
	}
	err = bpf_map_update_elem(&flows, &key, &one, BPF_NOEXIST);
	return err ? -err : XDP_TX; /* 7, E2BIG, once it is full */
}
