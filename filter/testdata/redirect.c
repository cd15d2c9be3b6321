/* A plain XDP program that redirects into sockets and to other devices: frames
 * that say 4 to the sockets, 5 to devices[0], 6 to the interface in target[0]. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 8);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} xsks_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 8);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, unsigned int);
} target SEC(".maps");

SEC("xdp.frags")
int redirect(struct xdp_md *ctx)
{
	unsigned int zero = 0, *to;

	switch (said(ctx)) {
	case 4:
		return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
	case 5:
		return bpf_redirect_map(&devices, 0, XDP_DROP);
	case 6:
		to = bpf_map_lookup_elem(&target, &zero);
		return to ? bpf_redirect(*to, 0) : XDP_ABORTED;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
