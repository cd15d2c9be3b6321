/* Metadata before the frame, and access to the frame by copies. */
#include "common.h"

__u64 lengths;

SEC("xdp")
int meta(struct xdp_md *ctx)
{
	__u32 *mark, *data;
	__u8 b[24] = {};
	long err;

	lengths += bpf_xdp_get_buff_len(ctx);
	err = bpf_xdp_load_bytes(ctx, 6, b, sizeof(b));
	if (err)
		return -err;
	b[3] ^= 0xff;
	err = bpf_xdp_store_bytes(ctx, 6 + b[0] % 8, b, 16);
	if (err)
		return -err;
	if (bpf_xdp_adjust_meta(ctx, -6) != -13)
		return XDP_ABORTED;
	err = bpf_xdp_adjust_meta(ctx, -8);
	if (err)
		return -err;
	mark = (void *)(long)ctx->data_meta;
	data = DATA(ctx);
	if (mark + 2 > data || (void *)(data + 4) > END(ctx))
		return XDP_ABORTED;
	mark[0] = data[0];
	mark[1] = data[1] + 1;
	if (bpf_xdp_adjust_head(ctx, -4))
		return XDP_ABORTED;
	mark = (void *)(long)ctx->data_meta;
	data = DATA(ctx);
	if (mark + 2 > data || (void *)(data + 4) > END(ctx))
		return XDP_ABORTED;
	data[0] = mark[1];
	return bpf_xdp_adjust_meta(ctx, 8) ? XDP_ABORTED : XDP_PASS;
}
