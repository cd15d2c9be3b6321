/* Loops by helpers: bpf_loop over the frame, bpf_for_each_map_elem over maps. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 16);
} bytes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __u64);
	__type(value, __u64);
	__uint(max_entries, 1024);
} lengths SEC(".maps");

struct state {
	struct xdp_md *ctx;
	__u64 sum;
};

static long byte(__u32 i, struct state *s)
{
	__u8 *at = DATA(s->ctx), low;
	__u32 key;
	__u64 *n;

	if (i > 255 || (void *)(at + i + 1) > END(s->ctx))
		return 1;
	low = at[i];
	key = low & 15;
	n = bpf_map_lookup_elem(&bytes, &key);
	if (n)
		*n += low;
	return 0;
}

static long add(void *map, const __u32 *key, __u64 *value, struct state *s)
{
	s->sum += *value * (*key + 1);
	return *key == 14;
}

static long add_length(void *map, const __u64 *key, __u64 *value, struct state *s)
{
	s->sum += *key ^ *value;
	++*value;
	return 0;
}

SEC("xdp")
int callbacks(struct xdp_md *ctx)
{
	struct state s = {ctx};
	__u64 len = ctx->data_end - ctx->data, none = 0;
	long n = bpf_loop(200, byte, &s, 0);

	bpf_map_update_elem(&lengths, &len, &none, BPF_NOEXIST);
	n += bpf_for_each_map_elem(&bytes, add, &s, 0) * 1000;
	n += bpf_for_each_map_elem(&lengths, add_length, &s, 0) * 100000;
	return n ^ s.sum;
}
