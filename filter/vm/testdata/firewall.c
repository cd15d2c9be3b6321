/* Drops by source prefix, the longest that fits, and counts hits. */
#include "common.h"

struct prefix {
	__u32 length;
	__u8 address[4];
};

struct rule {
	__u32 action;
	__u32 hits;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, struct rule);
	__uint(max_entries, 64);
} rules SEC(".maps");

SEC("xdp")
int firewall(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4(ctx);
	struct prefix key = {32};
	struct rule *rule;

	if (!ip)
		return XDP_PASS;
	__builtin_memcpy(key.address, &ip->saddr, 4);
	rule = bpf_map_lookup_elem(&rules, &key);
	if (!rule)
		return XDP_ABORTED;
	__sync_fetch_and_add(&rule->hits, 1);
	return rule->action;
}
