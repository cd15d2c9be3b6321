/* Programs of types and sections that filter nothing. */
#include "common.h"

SEC("kprobe/no_such_function") int probe(void *ctx) { return 0; }
SEC("tc") int classify(struct __sk_buff *skb) { return 0; }
SEC("xdp/devmap") int behind(struct xdp_md *ctx) { return XDP_PASS; }
SEC("oobnets") int misspelt(struct xdp_md *ctx) { return ACCEPT; }

char LICENSE[] SEC("license") = "Dual BSD/GPL";
