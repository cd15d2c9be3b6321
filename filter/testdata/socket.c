/* A filter as EVL takes them: a socket-filter program. Returns what the frame says. */
#include "common.h"

SEC("socket")
int filter(struct __sk_buff *skb)
{
	unsigned char verdict;

	if (bpf_skb_load_bytes(skb, ETHERNET, &verdict, 1))
		return 255;
	return verdict;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
