/* Changes the destination, and the checksum by the difference. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 8);
} nat SEC(".maps");

__s64 header, seeded, from_only, odd;

SEC("xdp")
int translate(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4(ctx);
	__be32 before, *after;
	__u64 sum;

	if (!ip)
		return XDP_PASS;
	header = bpf_csum_diff(0, 0, (__be32 *)ip, sizeof(*ip), 0);
	seeded = bpf_csum_diff(0, 0, (__be32 *)ip, 12, 0x12345678);
	from_only = bpf_csum_diff((__be32 *)ip, 16, 0, 0, 0xfffe);
	before = ip->daddr;
	after = bpf_map_lookup_elem(&nat, &before);
	if (!after)
		return XDP_PASS;
	odd = bpf_csum_diff(&before, 4, after, 4, ip->saddr);
	sum = bpf_csum_diff(&before, 4, after, 4, ~ip->check & 0xffff);
	ip->daddr = *after;
	ip->check = fold(sum);
	return XDP_TX;
}
