/* Sends UDP datagrams back: addresses and ports change places. */
#include "common.h"

SEC("xdp")
int echo(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4(ctx);
	struct ethhdr *eth = DATA(ctx);
	struct udphdr *u;
	__u8 mac[ETH_ALEN];
	__be32 address;
	__be16 port;

	if (!ip)
		return XDP_PASS;
	u = udp(ctx, ip);
	if (!u)
		return XDP_PASS;
	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	address = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = address;
	port = u->source;
	u->source = u->dest;
	u->dest = port;
	return XDP_TX;
}
