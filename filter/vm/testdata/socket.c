/* A socket filter, as EVL takes them: the context's fields, copies out of the
 * frame, and the packet loads of classic BPF. */
#include "common.h"

unsigned long long load_byte(void *skb, unsigned long long off) asm("llvm.bpf.load.byte");
unsigned long long load_half(void *skb, unsigned long long off) asm("llvm.bpf.load.half");
unsigned long long load_word(void *skb, unsigned long long off) asm("llvm.bpf.load.word");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u16);
	__type(value, __u32);
	__uint(max_entries, 64);
} types SEC(".maps");

__u32 fields[8];
__u8 headers[20];

SEC("socket")
int filter(struct __sk_buff *skb)
{
	__u32 one = 1, *n;
	__u16 type;
	__u64 v;

	fields[0] = skb->len;
	fields[1] = skb->protocol;
	fields[2] = skb->vlan_present + skb->vlan_tci;
	fields[3] = skb->pkt_type;
	skb->cb[1] = 0x12345678;
	fields[4] = ((__u8 *)&skb->cb[1])[2] + skb->cb[0];
	fields[5] = skb->mark;
	if (bpf_skb_load_bytes(skb, 14, headers, sizeof(headers)))
		return SKIP;
	if (bpf_skb_load_bytes(skb, 12, &type, sizeof(type)))
		return DROP;
	n = bpf_map_lookup_elem(&types, &type);
	if (n)
		++*n;
	else
		bpf_map_update_elem(&types, &type, &one, BPF_ANY);
	v = load_half(skb, 12);
	if (v != ETH_P_IP)
		return v == 0x8100 ? VLAN : SKIP;
	if (load_byte(skb, 23) == IPPROTO_UDP)
		return load_word(skb, 14 + (load_byte(skb, 14) & 15) * 4); /* both ports */
	return ACCEPT;
}
