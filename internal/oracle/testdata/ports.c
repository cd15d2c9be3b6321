/* The verdict on a UDP datagram is what the map has for its destination port;
 * without an entry, and for all other frames, it is to accept. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ACCEPT 1

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __be16);
	__type(value, __u32);
} ports SEC(".maps");

SEC("oobnet")
int by_port(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	__u32 *verdict;

	if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
		return ACCEPT;
	verdict = bpf_map_lookup_elem(&ports, &udp->dest);
	return verdict ? *verdict : ACCEPT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
