/* Division and modulo, shifts of signed numbers, comparisons, byte swaps. */
#include "common.h"

__u64 results[16];

static __always_inline __s64 divide(__s64 a, __s64 b)
{
	/* Version 3 of the instruction set divides unsigned numbers only. */
	__u64 q = (__u64)(a < 0 ? -a : a) / (__u64)(b < 0 ? -b : b);

	return (a < 0) == (b < 0) ? q : -q;
}

SEC("xdp")
int arith(struct xdp_md *ctx)
{
	__u8 *data = DATA(ctx);
	__s64 a;
	__s32 b;
	__s16 c;
	__u32 u;

	if (data + 32 > (__u8 *)END(ctx))
		return XDP_DROP;
	a = *(__s64 *)data;
	b = *(__s32 *)(data + 9); /* not aligned */
	c = *(__s16 *)(data + 14);
	u = *(__u32 *)(data + 16);
	results[0] = divide(a, b);
	results[1] = (__u64)a / u;
	results[2] = (__u64)a % u;
	results[3] = u / (__u32)(b | 1);
	results[4] = u % (__u32)(b & 0xff);
	results[5] = a >> (u & 63);
	results[6] = b >> (u & 31);
	results[7] = (__s64)c * b;
	results[8] = bpf_be64_to_cpu(a) + bpf_ntohl(u) + bpf_ntohs(c);
	results[9] = (__s8)data[20] < (__s8)data[21] ? a : b;
	results[10] = b < c ? 1 : b > (__s32)u ? 2 : 3;
	results[11] = (__u64)a << (u & 63) | -(__u64)b;
	results[12] += (__u32)b << (u & 31) ^ ~u;
	return results[0] ^ results[8] >> 32 ^ results[12];
}
