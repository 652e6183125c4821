// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the application's socket does differently from a kTLS socket, so that it
 * behaves as a TCP socket.  The tables are static: one for each table of
 * net/tls that was seen, what it wraps found by container_of on sock->ops, the
 * connection by sk_user_data.  A data record costs one test on the way out and
 * one on the way in.
 *
 * Members of struct proto_ops that are not named in tlsport_session_ops() are
 * net/tls's or TCP's and right as they are; read_sock must be: net/tls reads
 * through it.
 */
#include <asm/ioctls.h>
#include <linux/poll.h>
#include <linux/sockios.h>
#include <net/strparser.h>
#include "tlsport.h"

struct session_table {
	struct proto_ops ops;
	const struct proto_ops *base;
};

static struct session_table tables[16]; /* IPv4, IPv6 times net/tls's modes */
static int ntables;
static DEFINE_MUTEX(tables_lock);

static const struct proto_ops *base_of(const struct socket *sock)
{
	return container_of(sock->ops, struct session_table, ops)->base;
}

/* recvmsg without letting net/tls see, or fill, the caller's control buffer */
static int recv_plain(const struct proto_ops *base, struct socket *sock, struct msghdr *msg,
		      size_t len, int flags)
{
	size_t controllen = msg->msg_controllen;
	void *control = msg->msg_control;
	int ret;

	msg->msg_control = NULL;
	msg->msg_controllen = 0;
	ret = base->recvmsg(sock, msg, len, flags);
	msg->msg_control = control;
	msg->msg_controllen = controllen;
	msg->msg_flags &= ~(MSG_CTRUNC | MSG_EOR);
	return ret;
}

/* End of the stream without close_notify: what the port's policy makes of it */
static int truncated(struct tlsport_conn *conn)
{
	if (conn->rx_shut || READ_ONCE(conn->port->truncation) == TLSPORT_TRUNCATION_TOLERATE)
		return 0;
	mutex_lock(&conn->lock);
	if (!conn->rx_err && !conn->rx_closed) {
		if (!conn->reason)
			conn->reason = TLSPORT_REASON_TRUNCATED;
		WRITE_ONCE(conn->rx_err, -ECONNRESET);
	}
	mutex_unlock(&conn->lock);
	return conn->rx_err;
}

/* A reader got no data.  0: try again; else *ret is what the application gets. */
static int recv_other(struct socket *sock, const struct proto_ops *base, size_t len,
		      int control_err, int *ret)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);

	struct sock *sk = sock->sk;

	if (*ret == 0 && len) {
		/* splice_read gives 0 for a record without content: no end of the stream */
		if (!(READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN) && !sock_flag(sk, SOCK_DONE) &&
		    control_err == -EINVAL)
			return 0;
		*ret = truncated(conn);
		return 1;
	}
	/* -EIO: a control record, which another reader may have handled meanwhile */
	if (*ret == control_err &&
	    (tlsport_control_handle(sock, base) != -EAGAIN || control_err == -EIO))
		return READ_ONCE(conn->rx_err) ? (*ret = conn->rx_err, 1) : 0;
	if (*ret == -EBADMSG || *ret == -EMSGSIZE || (*ret == -EINVAL && control_err != -EINVAL))
		*ret = tlsport_control_record_error(sock, base, *ret);
	return 1;
}

static bool rx_ended(const struct tlsport_conn *conn)
{
	return READ_ONCE(conn->rx_err) || READ_ONCE(conn->rx_closed);
}

static int session_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct proto_ops *base = base_of(sock);
	int ret;

	for (;;) {
		if (unlikely(rx_ended(conn)))
			return conn->rx_err;
		ret = recv_plain(base, sock, msg, len, flags);
		if (likely(ret > 0)) {
			if (unlikely(conn->control_run))
				conn->control_run = 0;
			return ret;
		}
		if (recv_other(sock, base, len, -EIO, &ret))
			return ret;
	}
}

static ssize_t session_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe,
				   size_t len, unsigned int flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct proto_ops *base = base_of(sock);
	ssize_t n;
	int ret;

	for (;;) {
		if (unlikely(rx_ended(conn)))
			return conn->rx_err;
		n = base->splice_read(sock, ppos, pipe, len, flags);
		if (likely(n > 0)) {
			conn->control_run = 0;
			return n;
		}
		ret = n;
		if (recv_other(sock, base, len, -EINVAL, &ret))
			return ret;
	}
}

/* tcp_poll() calls half a record readable, on which a level-triggered epoll spins. */
static __poll_t session_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	__poll_t mask = base_of(sock)->poll(file, sock, wait);
	struct sock *sk = sock->sk;

	if (unlikely(rx_ended(conn)))
		mask |= EPOLLIN | EPOLLRDNORM | (conn->rx_closed ? EPOLLRDHUP : 0);
	else if ((mask & EPOLLIN) && !(mask & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) &&
		 !sk->sk_prot->sock_is_readable(sk))
		mask &= ~(EPOLLIN | EPOLLRDNORM);
	return mask;
}

/*
 * FIONREAD: stock kTLS counts ciphertext and forgets what is decrypted but
 * unread; a program that is told 0 with data there waits for ever.  Here: what
 * is decrypted and, while a whole record waits, what the queue holds.
 */
static int session_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct sock *sk = sock->sk;
	struct tls_sw_context_rx *rx;
	struct sk_buff *skb;
	int n = 0;

	if (cmd != SIOCINQ)
		return base_of(sock)->ioctl(sock, cmd, arg);
	lock_sock(sk);
	rx = tls_sw_ctx_rx(tls_get_ctx(sk));
	skb_queue_walk(&rx->rx_list, skb)
		n += strp_msg(skb)->full_len;
	if (READ_ONCE(rx->strp.msg_ready))
		n += tcp_inq(sk);
	release_sock(sk);
	return put_user(n, (int __user *)arg);
}

/*
 * tx_flags is not 0: closed, corked or a KeyUpdate is due.  @flags are the
 * caller's, with MSG_MORE added under a cork.
 */
static int tx_special(struct socket *sock, unsigned int *flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int ret = 0;

	if (test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags)) {
		if (!(*flags & MSG_NOSIGNAL))
			send_sig(SIGPIPE, current, 0);
		return -EPIPE;
	}
	if (test_bit(TLSPORT_TX_UPDATE, &conn->tx_flags)) {
		mutex_lock(&conn->lock);
		if (test_bit(TLSPORT_TX_UPDATE, &conn->tx_flags))
			ret = tlsport_control_update(sock, base_of(sock), *flags & MSG_DONTWAIT);
		if (!ret)
			clear_bit(TLSPORT_TX_UPDATE, &conn->tx_flags);
		mutex_unlock(&conn->lock);
		if (ret)
			return ret;
	}
	if (test_bit(TLSPORT_TX_CORKED, &conn->tx_flags))
		*flags |= MSG_MORE;
	return 0;
}

/* Flags of send(2) that TCP ignores and net/tls refuses */
#define IGNORED_FLAGS \
	(MSG_ZEROCOPY | MSG_EOR | MSG_CONFIRM | MSG_DONTROUTE | MSG_BATCH | MSG_FASTOPEN)

static int session_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	int ret;

	if (unlikely(READ_ONCE(tlsport_conn_of(sock->sk)->tx_flags))) {
		ret = tx_special(sock, &msg->msg_flags);
		if (ret)
			return ret;
	}
	msg->msg_flags &= ~IGNORED_FLAGS;
	msg->msg_controllen = 0; /* the application makes no control records */
	return base_of(sock)->sendmsg(sock, msg, len);
}

#ifdef TLSPORT_HAVE_SENDPAGE
static ssize_t session_sendpage(struct socket *sock, struct page *page, int offset, size_t size,
				int flags)
{
	unsigned int f = flags;
	int ret;

	if (unlikely(READ_ONCE(tlsport_conn_of(sock->sk)->tx_flags))) {
		ret = tx_special(sock, &f);
		if (ret)
			return ret;
	}
	return base_of(sock)->sendpage(sock, page, offset, size, f);
}
#endif

static void session_splice_eof(struct socket *sock)
{
	if (!test_bit(TLSPORT_TX_CORKED, &tlsport_conn_of(sock->sk)->tx_flags))
		base_of(sock)->splice_eof(sock);
}

static int session_setsockopt(struct socket *sock, int level, int optname, sockptr_t optval,
			      unsigned int optlen)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int val, ret;

	if (level == SOL_TLS || (level == SOL_TCP && optname == TCP_ULP))
		return -ENOPROTOOPT;
	ret = base_of(sock)->setsockopt(sock, level, optname, optval, optlen);
	if (ret || level != SOL_TCP || optname != TCP_CORK ||
	    copy_from_sockptr(&val, optval, sizeof(val)))
		return ret;
	if (val) {
		set_bit(TLSPORT_TX_CORKED, &conn->tx_flags);
	} else {
		clear_bit(TLSPORT_TX_CORKED, &conn->tx_flags);
		base_of(sock)->splice_eof(sock); /* the record that MSG_MORE left open */
	}
	return ret;
}

static int session_getsockopt(struct socket *sock, int level, int optname, char __user *optval,
			      int __user *optlen)
{
	/* zero-copy receive would give out what is in TCP's queue: ciphertext */
	if (level == SOL_TLS ||
	    (level == SOL_TCP && (optname == TCP_ULP || optname == TCP_ZEROCOPY_RECEIVE)))
		return -ENOPROTOOPT;
	return base_of(sock)->getsockopt(sock, level, optname, optval, optlen);
}

static int session_shutdown(struct socket *sock, int how)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct proto_ops *base = base_of(sock);

	if (how == SHUT_RD || how == SHUT_RDWR)
		conn->rx_shut = true;
	if (how == SHUT_WR || how == SHUT_RDWR) {
		mutex_lock(&conn->lock);
		tlsport_close_notify(sock, base, 0);
		mutex_unlock(&conn->lock);
	}
	return base->shutdown(sock, how);
}

static int session_release(struct socket *sock)
{
	return sock->sk ? tlsport_close(sock, base_of(sock)) : 0;
}

/**
 * tlsport_session_ops - the table for the application's socket
 * @base: net/tls's table of the attached private socket
 *
 * Context: process, may sleep.
 * Return: a table that lives as long as the module.
 */
const struct proto_ops *tlsport_session_ops(const struct proto_ops *base)
{
	struct session_table *t;
	int i;

	mutex_lock(&tables_lock);
	for (i = 0; i < ntables && tables[i].base != base; i++)
		;
	t = &tables[i];
	if (i == ntables && !WARN_ON(i == ARRAY_SIZE(tables))) {
		t->base = base;
		t->ops = *base;
		t->ops.owner = THIS_MODULE;
		t->ops.release = session_release;
		t->ops.recvmsg = session_recvmsg;
		t->ops.splice_read = session_splice_read;
		t->ops.poll = session_poll;
		t->ops.ioctl = session_ioctl;
		t->ops.sendmsg = session_sendmsg;
#ifdef TLSPORT_HAVE_SENDPAGE
		t->ops.sendpage = session_sendpage;
#endif
		t->ops.splice_eof = session_splice_eof;
		t->ops.setsockopt = session_setsockopt;
		t->ops.getsockopt = session_getsockopt;
		t->ops.shutdown = session_shutdown;
		t->ops.mmap = NULL; /* zero-copy receive would map ciphertext */
#ifdef TLSPORT_HAVE_GETSOCKOPT_ITER
		t->ops.getsockopt_iter = NULL; /* would give the keys away */
#endif
		ntables++;
	}
	mutex_unlock(&tables_lock);
	return &t->ops;
}
