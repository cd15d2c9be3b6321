/* A verdict program: returns what the frame says, and counts it. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} seen SEC(".maps");

/* Not inlined: the object has a function of its own beside the program. */
static __attribute__((noinline)) int count(unsigned int verdict)
{
	unsigned long long one = 1, *n = bpf_map_lookup_elem(&seen, &verdict);

	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&seen, &verdict, &one, BPF_ANY);
	return verdict;
}

SEC("oobnet")
int verdict(struct xdp_md *ctx)
{
	return count(said(ctx));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
