// SPDX-License-Identifier: GPL-2.0-only
/*
 * The net under every race, by netfilter, per network namespace and only while
 * ports are registered.
 *
 * In: no packet creates a connection at a listening socket of a registered port
 * that is not served: neither a SYN, nor the ACK that ends a handshake begun
 * earlier or answered by a SYN cookie.  What makes one asks for TCP alone.
 *
 * Out: no payload leaves a registered port from a socket that is neither in
 * handshake with us nor has TLS attached.
 *
 * tlsport_net.lock guards the registration; the hooks run under RCU, the one on
 * the way out with the sending socket's lock held.
 */
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/inet_hashtables.h>
#include <net/inet6_hashtables.h>
#include <net/ipv6.h>
#include "tlsport.h"

static void count(const struct net *net, u16 number, int what)
{
	struct tlsport_port *port = xa_load(&tlsport_pernet(net)->ports, number);

	if (port)
		this_cpu_inc(port->stats->count[what]);
}

/*
 * Offset of the TCP header; 0: no TCP, or not its first fragment; -1: IPv6 puts
 * fragments together only after this hook, and a first one that has not all
 * headers, which RFC 7112 forbids, would bring one past it.
 */
static int tcp_offset(const struct sk_buff *skb, u8 pf)
{
	if (pf == NFPROTO_IPV4)
		return ip_hdr(skb)->protocol == IPPROTO_TCP ? ip_hdrlen(skb) : 0;
#if IS_ENABLED(CONFIG_IPV6)
	{
		u8 nexthdr = ipv6_hdr(skb)->nexthdr;
		__be16 frag = 0;
		int off = ipv6_skip_exthdr(skb, sizeof(struct ipv6hdr), &nexthdr, &frag);

		return off < 0 ? -1 : nexthdr == IPPROTO_TCP ? off : 0;
	}
#else
	return 0;
#endif
}

static struct sock *lookup_listener(struct net *net, struct sk_buff *skb, int off,
				    const struct tcphdr *th, u8 pf)
{
	if (pf == NFPROTO_IPV4)
		return __inet_lookup_listener(net, TLSPORT_HASHINFO(net) skb,
					      off + __tcp_hdrlen(th), ip_hdr(skb)->saddr,
					      th->source, ip_hdr(skb)->daddr, ntohs(th->dest),
					      inet_iif(skb), inet_sdif(skb));
#if IS_ENABLED(CONFIG_IPV6)
	return inet6_lookup_listener(net, TLSPORT_HASHINFO(net) skb, off + __tcp_hdrlen(th),
				     &ipv6_hdr(skb)->saddr, th->source, &ipv6_hdr(skb)->daddr,
				     ntohs(th->dest), inet6_iif(skb), inet6_sdif(skb));
#else
	return NULL;
#endif
}

static struct sock *lookup_established(struct net *net, struct sk_buff *skb,
				       const struct tcphdr *th, u8 pf)
{
	if (pf == NFPROTO_IPV4)
		return __inet_lookup_established(net, TLSPORT_HASHINFO(net) ip_hdr(skb)->saddr,
						 th->source, ip_hdr(skb)->daddr, ntohs(th->dest),
						 inet_iif(skb), inet_sdif(skb));
#if IS_ENABLED(CONFIG_IPV6)
	return __inet6_lookup_established(net, TLSPORT_HASHINFO(net) & ipv6_hdr(skb)->saddr,
					  th->source, &ipv6_hdr(skb)->daddr, ntohs(th->dest),
					  inet6_iif(skb), inet6_sdif(skb));
#else
	return NULL;
#endif
}

/* May it make a connection at this listening socket?  If so, one of TCP. */
static bool may_connect(const struct sock *listener, struct sk_buff *skb, int off)
{
	return tlsport_listener_serving(listener) &&
	       (!tlsport_mptcp_listener(listener) || !tlsport_mptcp_strip(skb, off));
}

/*
 * May this packet reach TCP?  Only what would make a connection is looked at: a
 * SYN|ACK does where a request waits, if it has the right numbers and data.
 */
static bool may_enter(struct net *net, struct sk_buff *skb, int off, const struct tcphdr *th, u8 pf)
{
	struct sock *sk = skb->sk;
	bool ok = true;

	if (sk && READ_ONCE(sk->sk_state) == TCP_NEW_SYN_RECV)
		return may_connect(inet_reqsk(sk)->rsk_listener, skb, off);
	if (sk && READ_ONCE(sk->sk_state) == TCP_LISTEN) /* TPROXY, bpf_sk_assign() chose it */
		return may_connect(sk, skb, off);
	if (sk && !th->syn)
		return true;
	if (!th->syn || th->ack) {
		sk = lookup_established(net, skb, th, pf);
		if (sk) {
			if (READ_ONCE(sk->sk_state) == TCP_NEW_SYN_RECV)
				ok = may_connect(inet_reqsk(sk)->rsk_listener, skb, off);
			sock_gen_put(sk);
			return ok;
		}
	}
	if (th->syn && th->ack)
		return true;
	sk = lookup_listener(net, skb, off, th, pf);
	return !sk || may_connect(sk, skb, off); /* none: TCP refuses it */
}

/*
 * What MPTCP of a client on this machine has noted on its packets is nobody's here,
 * and net/tls, which copies a packet's header to look at a record, would lose it.
 */
static void forget_mptcp(struct sk_buff *skb)
{
#if IS_ENABLED(CONFIG_MPTCP)
	skb_ext_del(skb, SKB_EXT_MPTCP);
#endif
}

static unsigned int guard_in(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct net *net = state->net;
	int off = tcp_offset(skb, state->pf);
	const struct tcphdr *th;
	struct tcphdr buf;
	u16 number;

	if (!off)
		return NF_ACCEPT;
	if (off < 0)
		return NF_DROP;
	th = skb_header_pointer(skb, off, sizeof(buf), &buf);
	if (!th) /* TCP would drop it, or find the rest in the next fragment */
		return NF_DROP;
	number = ntohs(th->dest);
	if (!tlsport_port_on(net, number) || th->rst)
		return NF_ACCEPT;
	forget_mptcp(skb);
	if (tlsport_no_syn_guard || may_enter(net, skb, off, th, state->pf))
		return NF_ACCEPT;
	count(net, number, TLSPORT_A_STATS_GUARD_SYN);
	net_warn_ratelimited("tlsport: port %u is shut: its listening socket is not served\n",
			     number);
	return NF_DROP;
}

static unsigned int guard_out(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	const struct sock *sk = skb->sk;
	u16 number;

	if (!sk || !sk_fullsock(sk) || sk->sk_protocol != IPPROTO_TCP)
		return NF_ACCEPT;
	number = inet_sk(sk)->inet_num;
	if (!tlsport_port_on(state->net, number) || likely(tlsport_sk_secured(sk)))
		return NF_ACCEPT;
	if (skb->len == skb_transport_offset(skb) + __tcp_hdrlen(tcp_hdr(skb)) ||
	    tlsport_sk_active_open(sk) || tlsport_no_payload_guard)
		return NF_ACCEPT;
	count(state->net, number, TLSPORT_A_STATS_GUARD_PAYLOAD);
	net_warn_ratelimited("tlsport: port %u: plaintext stopped on its way out\n", number);
	return NF_DROP;
}

static const struct nf_hook_ops guard_ops[] = {
	{
		.hook = guard_in,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_LOCAL_IN,
		.priority = NF_IP_PRI_LAST,
	},
	{
		.hook = guard_out,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_LOCAL_OUT,
		.priority = NF_IP_PRI_FIRST,
	},
#if IS_ENABLED(CONFIG_IPV6)
	{
		.hook = guard_in,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_LOCAL_IN,
		.priority = NF_IP6_PRI_LAST,
	},
	{
		.hook = guard_out,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_LOCAL_OUT,
		.priority = NF_IP6_PRI_FIRST,
	},
#endif
};

int tlsport_guard_init(struct net *net)
{
	struct tlsport_net *tn = tlsport_pernet(net);
	int err;

	if (tn->guarded)
		return 0;
	err = nf_register_net_hooks(net, guard_ops, ARRAY_SIZE(guard_ops));
	tn->guarded = !err;
	return err;
}

void tlsport_guard_exit(struct net *net)
{
	struct tlsport_net *tn = tlsport_pernet(net);

	if (!tn->guarded)
		return;
	nf_unregister_net_hooks(net, guard_ops, ARRAY_SIZE(guard_ops));
	tn->guarded = false;
}
