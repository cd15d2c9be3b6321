/* Functions that call functions, with arguments on the stack of the caller. */
#include "common.h"

struct sums {
	__u64 even, odd;
};

static __noinline __u32 step(struct sums *s, __u32 n, __u8 byte)
{
	volatile __u32 twice = byte * 2;

	if (n & 1)
		s->odd += twice;
	else
		s->even += twice + 1;
	return n + 1;
}

static __noinline __u32 walk(struct xdp_md *ctx, struct sums *s)
{
	__u8 *data = DATA(ctx);
	__u32 n = 0;
	int i;

	for (i = 0; i < 32; i++) {
		if ((void *)(data + i + 1) > END(ctx))
			break;
		n = step(s, n, data[i]);
	}
	return n;
}

__noinline int mix(__u32 a, __u32 b)
{
	return (a * 2654435761u) ^ b >> 3;
}

SEC("xdp")
int calls(struct xdp_md *ctx)
{
	struct sums s = {};
	__u32 n = walk(ctx, &s);

	return mix(s.even, s.odd) + n;
}
