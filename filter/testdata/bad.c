/* A verdict program that reads past the frame's end: the verifier refuses it. */
#include "common.h"

SEC("oobnet")
int bad(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;

	return data[64];
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
