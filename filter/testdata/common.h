/* What the test programs share. They include the kernel's UAPI headers and
 * libbpf's bpf_helpers.h. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum { DROP = 0, ACCEPT = 1, SKIP = 2, VLAN = 3 };

#define ETHERNET 14

/* said is the first byte behind the Ethernet header: test frames carry there
 * what is to become of them. A frame that has none says 255. */
static __always_inline int said(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	return data + ETHERNET + 1 > end ? 255 : data[ETHERNET];
}
