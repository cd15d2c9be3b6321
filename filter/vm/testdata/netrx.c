/* Accepts the VLANs of a bitmap, as EVL's netrx does; of two tags the inner one
 * counts. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 64);
} vlans SEC(".maps");

SEC("oobnet")
int netrx(struct xdp_md *ctx)
{
	struct ethhdr *eth = DATA(ctx);
	struct vlan_tag *tag = (void *)(eth + 1);
	__u16 type, id;
	__u32 word;
	__u64 *set;

	if ((void *)tag > END(ctx))
		return DROP;
	type = eth->h_proto;
	if (type == bpf_htons(ETH_P_8021AD)) {
		if ((void *)(tag + 1) > END(ctx))
			return DROP;
		type = tag->type;
		tag++;
	}
	if (type != bpf_htons(ETH_P_8021Q))
		return type == bpf_htons(0x88a4) ? VLAN : SKIP;
	if ((void *)(tag + 1) > END(ctx))
		return DROP;
	id = bpf_ntohs(tag->tci) & 0xfff;
	word = id / 64;
	set = bpf_map_lookup_elem(&vlans, &word);
	return set && *set >> (id % 64) & 1 ? ACCEPT : SKIP;
}
