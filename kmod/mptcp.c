// SPDX-License-Identifier: GPL-2.0-only
/*
 * Listening sockets of MPTCP: programs make them without knowing, Go since 1.24.
 *
 * Behind the program's socket is one of TCP, the first subflow, which listens;
 * sk_socket of both is the program's.  What a client asks of MPTCP is taken out
 * of each packet that makes a connection there: to both ends it is one of TCP,
 * as where a middlebox does the same (RFC 8684, 3.7), and MPTCP lets go of it
 * before anyone can see it.
 */
#include <linux/skbuff.h>
#include <net/mptcp.h>
#include "tlsport.h"

/* The first subflow of a program's socket. */
bool tlsport_mptcp_listener(const struct sock *sk)
{
	const struct socket *sock = READ_ONCE(sk->sk_socket);

	return sk_is_tcp(sk) && sk_is_mptcp(sk) && sock && sock->sk != sk;
}

/**
 * tlsport_mptcp_tcp_ops - the stock operations of TCP
 * @sk: a socket of TCP that has none of its own
 *
 * Context: process.  Not all kernels export those of IPv6: a socket has them.
 * Return: those of its family, or ERR_PTR of sock_create_kern().
 */
const struct proto_ops *tlsport_mptcp_tcp_ops(const struct sock *sk)
{
	const struct proto_ops *ops;
	struct socket *sock;
	int err = sock_create_kern(sock_net(sk), sk->sk_family, SOCK_STREAM, IPPROTO_TCP, &sock);

	if (err)
		return ERR_PTR(err);
	ops = sock->ops;
	sock_release(sock);
	return ops;
}

static void blank(struct sk_buff *skb, struct tcphdr *th, u8 *at)
{
	u8 *pair = (u8 *)th + ((at - (u8 *)th) & ~1);
	__be16 old = get_unaligned((__be16 *)pair);

	*at = TCPOPT_NOP;
	inet_proto_csum_replace2(&th->check, skb, old, get_unaligned((__be16 *)pair), false);
}

/**
 * tlsport_mptcp_strip - take the options of MPTCP out of a packet
 * @skb: on its way in
 * @off: offset of its TCP header, which is in the linear part or can be
 *
 * Context: softirq.
 * Return: 0, or a negative errno: no memory, or no whole header.
 */
int tlsport_mptcp_strip(struct sk_buff *skb, int off)
{
	struct tcphdr *th;
	u8 *option, *end;
	int err, i, len;

	err = skb_ensure_writable(skb, off + sizeof(*th));
	if (err)
		return err;
	len = __tcp_hdrlen((struct tcphdr *)(skb->data + off));
	err = skb_ensure_writable(skb, off + len);
	if (err)
		return err;
	th = (struct tcphdr *)(skb->data + off);
	option = (u8 *)(th + 1);
	end = (u8 *)th + len;
	for (; option < end && *option != TCPOPT_EOL; option += len) {
		len = 1;
		if (*option == TCPOPT_NOP)
			continue;
		if (end - option < 2 || option[1] < 2 || option[1] > end - option)
			break; /* where TCP ends as well */
		len = option[1];
		if (*option == TCPOPT_MPTCP)
			for (i = 0; i < len; i++)
				blank(skb, th, option + i);
	}
	return 0;
}

/*
 * Ends what waits in the queue, of TCP or MPTCP, whose ends only MPTCP knows.
 * The caller keeps the socket from closing.  Returns how many; where memory runs
 * out some are left.
 */
int tlsport_mptcp_reset_queue(struct socket *sock, const struct proto_ops *ops)
{
	struct socket *child;
	int n = 0;

	while (!sock_create_lite(sock->sk->sk_family, SOCK_STREAM, IPPROTO_MPTCP, &child)) {
		__module_get(ops->owner);
		child->ops = ops;
		if (tlsport_raw_accept_to(sock, child, ops, true)) {
			sock_release(child);
			break;
		}
		sock_no_linger(child->sk);
		sock_release(child);
		n++;
	}
	return n;
}
