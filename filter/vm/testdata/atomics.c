/* Every atomic operation of C on 32 and 64 bits. */
#include "common.h"

struct words {
	__u64 add, and, or, xor, exchange, compare, got[6];
	__u32 add32, and32, or32, xor32, exchange32, compare32, got32[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct words);
	__uint(max_entries, 1);
} state SEC(".maps");

SEC("xdp")
int atomics(struct xdp_md *ctx)
{
	__u64 len = ctx->data_end - ctx->data, mix = len * 0x9e3779b97f4a7c15ull;
	__u32 zero = 0;
	struct words *w = bpf_map_lookup_elem(&state, &zero);

	if (!w)
		return XDP_ABORTED;
	w->got[0] += __sync_fetch_and_add(&w->add, mix);
	w->got[1] += __sync_fetch_and_and(&w->and, mix);
	w->got[2] += __sync_fetch_and_or(&w->or, mix >> 7);
	w->got[3] += __sync_fetch_and_xor(&w->xor, mix);
	w->got[4] += __sync_lock_test_and_set(&w->exchange, mix);
	w->got[5] += __sync_val_compare_and_swap(&w->compare, len & 1 ? w->compare : 5, mix);
	w->got32[0] += __sync_fetch_and_add(&w->add32, (__u32)mix);
	w->got32[1] += __sync_fetch_and_and(&w->and32, (__u32)mix);
	w->got32[2] += __sync_fetch_and_or(&w->or32, (__u32)mix >> 7);
	w->got32[3] += __sync_fetch_and_xor(&w->xor32, (__u32)mix);
	w->got32[4] += __sync_lock_test_and_set(&w->exchange32, (__u32)mix);
	w->got32[5] += __sync_val_compare_and_swap(&w->compare32, len & 1 ? w->compare32 : 5, (__u32)mix);
	__sync_fetch_and_add(&w->add, 3);
	__sync_fetch_and_or(&w->and, ~7ull);
	__sync_fetch_and_and(&w->or32, 0xff00ff);
	__sync_fetch_and_xor(&w->xor32, 0x55);
	return w->got[0] ^ w->got32[5];
}
