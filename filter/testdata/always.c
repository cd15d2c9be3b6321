/* Verdict programs, each with one verdict for all; the first decides by
 * default. The program in front is of a type that filters nothing. */
#include "common.h"

SEC("kprobe/no_such_function") int first(void *ctx) { return 0; }
SEC("oobnet") int accept_all(struct xdp_md *ctx) { return ACCEPT; }
SEC("oobnet/drop") int drop_all(struct xdp_md *ctx) { return DROP; }
SEC("oobnet/skip") int skip_all(struct xdp_md *ctx) { return SKIP; }
SEC("oobnet/vlan") int vlan_all(struct xdp_md *ctx) { return VLAN; }

char LICENSE[] SEC("license") = "Dual BSD/GPL";
