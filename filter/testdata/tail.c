/* A verdict program with much on its stack that leaves the verdict to another
 * by a tail call, and has an initialised map and read-only data. */
#include "common.h"

struct chain {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(int));
	__array(values, int (struct xdp_md *));
};

extern struct chain chain;

const volatile unsigned char limit = 200;

SEC("oobnet")
int decide(struct xdp_md *ctx)
{
	volatile unsigned char room[160];
	int v = said(ctx);

	for (int i = 0; i < sizeof(room); i++)
		room[i] = v;
	if (room[v & 127] < limit)
		return ACCEPT;
	bpf_tail_call(ctx, &chain, 1);
	return DROP;
}

SEC("xdp/skip")
int skip_tail(struct xdp_md *ctx)
{
	return SKIP;
}

/* Behind the programs, so that the object has them in this order. */
struct chain chain SEC(".maps") = { .values = { [1] = (void *)&skip_tail } };

char LICENSE[] SEC("license") = "Dual BSD/GPL";
