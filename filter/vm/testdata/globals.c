/* Configuration in .rodata, state in .data and .bss, a table in .rodata. */
#include "common.h"

const volatile __u32 modulus = 7;
const volatile struct {
	__u16 port;
	__u8 verdict;
} special = {319, XDP_TX};
static const __u8 table[8] = {XDP_PASS, XDP_DROP, XDP_PASS, XDP_PASS, XDP_TX, XDP_DROP, XDP_PASS, XDP_ABORTED};

__u64 seen = 1000;
__u32 histogram[8];
static volatile __u64 last;

SEC("xdp")
int globals(struct xdp_md *ctx)
{
	__u32 len = ctx->data_end - ctx->data, class;
	struct iphdr *ip = ipv4(ctx);
	struct udphdr *u;

	__sync_fetch_and_add(&seen, 1);
	last = last * 31 + len;
	class = len % modulus & 7;
	histogram[class]++;
	u = ip ? udp(ctx, ip) : 0;
	if (u && u->dest == bpf_htons(special.port))
		return special.verdict;
	return table[class];
}
