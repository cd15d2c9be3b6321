/* A plain XDP program after libxdp's convention: the sockets are in a map
 * named xsks_map. Does what the frame says: an XDP action. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} xsks_map SEC(".maps");

SEC("xdp")
int actions(struct xdp_md *ctx)
{
	int action = said(ctx);

	if (action == XDP_REDIRECT)
		return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_DROP);
	if (action == XDP_TX) {
		unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

		if (data + ETHERNET > end)
			return XDP_ABORTED;
		for (int i = 0; i < 6; i++) {
			unsigned char b = data[i];
			data[i] = data[6 + i];
			data[6 + i] = b;
		}
	}
	return action;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
