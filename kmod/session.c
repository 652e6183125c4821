// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the application's socket does differently from a kTLS socket, so that it
 * behaves as a TCP socket.  The tables are static: one for each table of
 * net/tls that was seen, what it wraps found by container_of on sock->ops, the
 * connection by sk_user_data.  A call that sends costs a mutex, behind which that
 * of net/tls is uncontended; one that receives costs two tests.
 *
 * Members of struct proto_ops that are not named in fill() are net/tls's or TCP's
 * and right as they are; read_sock must be: net/tls reads through it.
 */
#include <asm/ioctls.h>
#include <linux/poll.h>
#include <linux/sockios.h>
#include <linux/splice.h>
#include "tlsport.h"

struct session_table {
	struct proto_ops ops;
	const struct proto_ops *base;
	struct module *owner; /* of base */
};

static struct session_table tables[18]; /* IPv4, IPv6 times net/tls's modes */
static int ntables;
static DEFINE_MUTEX(tables_lock);

/* Context: the socket is the application's, and cannot close. */
const struct proto_ops *tlsport_session_base(const struct socket *sock)
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
		tlsport_conn_note(conn, TLSPORT_REASON_TRUNCATED);
		WRITE_ONCE(conn->rx_err, -ECONNRESET);
	}
	mutex_unlock(&conn->lock);
	return conn->rx_err;
}

/* TCP gets no more bytes. */
static bool rx_shut(const struct sock *sk)
{
	return (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN) || sock_flag(sk, SOCK_DONE);
}

/* No more bytes come, and none are there. */
static bool rx_is_done(struct sock *sk)
{
	return rx_shut(sk) && !sk->sk_prot->sock_is_readable(sk);
}

/*
 * A reader got no data.  0: try again; else *ret is what the application gets.
 * A control record stops recvmsg with -EIO, splice_read with -EINVAL; another
 * reader may have handled it meanwhile.  0 is the end, or a record without
 * content, perhaps before a control record.
 */
static int recv_other(struct socket *sock, const struct proto_ops *base, size_t len,
		      int control_err, int *ret)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	struct sock *sk = sock->sk;

	/* without memory to decrypt into, net/tls gives up as for a bad record */
	if (tlsport_record_broken(sk) || *ret == -EBADMSG ||
	    (*ret == -ENOMEM && READ_ONCE(sk->sk_err) == EBADMSG)) {
		*ret = tlsport_control_record_error(sock, base, *ret);
		return 1;
	}
	if (*ret == 0 && len && rx_is_done(sk)) {
		*ret = truncated(conn);
		return 1;
	}
	if (*ret == control_err || (*ret == 0 && len)) {
		tlsport_control_handle(sock, base);
		return READ_ONCE(conn->rx_err) ? (*ret = conn->rx_err, 1) : 0;
	}
	return 1;
}

static bool rx_ended(const struct tlsport_conn *conn)
{
	return READ_ONCE(conn->rx_err) || READ_ONCE(conn->rx_closed);
}

/* Nothing more comes out of net/tls: a reader must not wait. */
static int rx_flags(const struct sock *sk)
{
	return unlikely(tlsport_record_broken(sk)) ? MSG_DONTWAIT : 0;
}

static int readable_bytes(struct sock *sk)
{
	int n;

	lock_sock(sk);
	n = tlsport_record_inq(sk, tlsport_conn_of(sk));
	release_sock(sk);
	return n;
}

/* Nothing will come that is worth waiting for. */
static bool rx_stops(struct sock *sk)
{
	return rx_ended(tlsport_conn_of(sk)) || tlsport_record_broken(sk) ||
	       READ_ONCE(sk->sk_err) || rx_shut(sk);
}

/* net/tls's, the same for every socket; written once, before any socket has ours */
static void (*net_tls_data_ready)(struct sock *sk);

/* Softirq.  net/tls tells of a record, but not of the next while that one is unread. */
static void lowat_data_ready(struct sock *sk)
{
	READ_ONCE(net_tls_data_ready)(sk);
	if (READ_ONCE(sk->sk_rcvlowat) > 1)
		tls_sw_ctx_rx(tls_get_ctx(sk))->saved_data_ready(sk);
}

/**
 * tlsport_session_lowat - SO_RCVLOWAT was set, on the socket or on its listener
 * @sk: attached
 *
 * Context: lock_sock(@sk) held.  net/tls takes the callback off again when the
 * sk closes.
 */
void tlsport_session_lowat(struct sock *sk)
{
	if (sk->sk_rcvlowat <= 1)
		return;
	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_data_ready != lowat_data_ready) {
		WRITE_ONCE(net_tls_data_ready, sk->sk_data_ready);
		smp_wmb(); /* before ours can be called */
		WRITE_ONCE(sk->sk_data_ready, lowat_data_ready);
	}
	write_unlock_bh(&sk->sk_callback_lock);
}

static int session_set_rcvlowat(struct sock *sk, int val)
{
	int err = tlsport_session_base(sk->sk_socket)->set_rcvlowat(sk, val);

	if (!err)
		tlsport_session_lowat(sk);
	return err;
}

static bool wants_lowat(const struct sock *sk, int flags)
{
	return unlikely(READ_ONCE(sk->sk_rcvlowat) > 1) && !(flags & MSG_DONTWAIT);
}

/*
 * SO_RCVLOWAT: net/tls would take a record out of TCP's queue and wait for the
 * rest, for which TCP, which counts what is in the queue, would wake nobody.
 * Waits until enough is there.  The flags to receive with, or an error when
 * nothing is there.
 */
static int wait_lowat(struct sock *sk, size_t len)
{
	long timeo = sock_rcvtimeo(sk, false);
	int target = min_t(size_t, READ_ONCE(sk->sk_rcvlowat), len), n;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);

	add_wait_queue(sk_sleep(sk), &wait);
	for (;;) {
		n = readable_bytes(sk);
		if (n >= target || !timeo || rx_stops(sk) || signal_pending(current))
			break;
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	if (n >= target)
		return 0;
	if (n || rx_stops(sk))
		return MSG_DONTWAIT;
	return signal_pending(current) ? sock_intr_errno(timeo) : -EAGAIN;
}

static int recv_loop(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct proto_ops *base = tlsport_session_base(sock);
	int ret, more;

	for (;;) {
		if (unlikely(rx_ended(conn)))
			return conn->rx_err;
		/* each time anew: what was there may have been a control record */
		more = wants_lowat(sock->sk, flags) ? wait_lowat(sock->sk, len) : 0;
		if (unlikely(more < 0))
			return more;
		ret = recv_plain(base, sock, msg, len, flags | more | rx_flags(sock->sk));
		if (likely(ret > 0)) {
			if (unlikely(conn->control_run))
				conn->control_run = 0;
			return ret;
		}
		if (recv_other(sock, base, len, -EIO, &ret))
			return ret;
	}
}

/* MSG_TRUNC: TCP counts the bytes and drops them; here they end in a page that nobody reads. */
static int recv_dropped(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct msghdr nowhere = { .msg_flags = msg->msg_flags };
	struct page *page = alloc_page(GFP_KERNEL);
	struct kvec vecs[16];
	int i, ret;

	if (!page)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(vecs); i++)
		vecs[i] = (struct kvec){ .iov_base = page_address(page), .iov_len = PAGE_SIZE };
	len = min_t(size_t, len, ARRAY_SIZE(vecs) * PAGE_SIZE);
	iov_iter_kvec(&nowhere.msg_iter, ITER_DEST, vecs, ARRAY_SIZE(vecs), len);
	ret = recv_loop(sock, &nowhere, len, flags & ~MSG_TRUNC);
	memzero_explicit(page_address(page), PAGE_SIZE);
	__free_page(page);
	return ret;
}

static int session_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	return unlikely(flags & MSG_TRUNC) ? recv_dropped(sock, msg, len, flags) :
					     recv_loop(sock, msg, len, flags);
}

static ssize_t session_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe,
				   size_t len, unsigned int flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct proto_ops *base = tlsport_session_base(sock);
	ssize_t n;
	int ret;

	if (sock->file && sock->file->f_flags & O_NONBLOCK) /* net/tls looks at flags alone */
		flags |= SPLICE_F_NONBLOCK;
	for (;;) {
		if (unlikely(rx_ended(conn)))
			return conn->rx_err;
		n = base->splice_read(sock, ppos, pipe, len,
				      rx_flags(sock->sk) ? flags | SPLICE_F_NONBLOCK : flags);
		if (likely(n > 0)) {
			conn->control_run = 0;
			return n;
		}
		ret = n;
		if (recv_other(sock, base, len, -EINVAL, &ret))
			return ret;
	}
}

/* TCP's test of SO_RCVLOWAT counts ciphertext, and net/tls wants one record. */
static bool is_readable(struct sock *sk)
{
	int lowat = READ_ONCE(sk->sk_rcvlowat);

	return sk->sk_prot->sock_is_readable(sk) && (lowat <= 1 || readable_bytes(sk) >= lowat);
}

/* tcp_poll() calls half a record readable, on which a level-triggered epoll spins. */
static __poll_t session_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	__poll_t mask = tlsport_session_base(sock)->poll(file, sock, wait);
	struct sock *sk = sock->sk;

	if (unlikely(rx_ended(conn) || tlsport_record_broken(sk)))
		mask |= EPOLLIN | EPOLLRDNORM | (conn->rx_closed ? EPOLLRDHUP : 0);
	else if ((mask & EPOLLIN) && !(mask & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) &&
		 !is_readable(sk))
		mask &= ~(EPOLLIN | EPOLLRDNORM);
	return mask;
}

/*
 * FIONREAD: stock kTLS counts ciphertext and forgets what is decrypted but
 * unread; a program that is told 0 with data there waits for ever.
 */
static int session_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	if (cmd != SIOCINQ)
		return tlsport_session_base(sock)->ioctl(sock, cmd, arg);
	return put_user(readable_bytes(sock->sk), (int __user *)arg);
}

/* Flags of send(2) that TCP ignores and net/tls refuses */
#define IGNORED_FLAGS \
	(MSG_ZEROCOPY | MSG_EOR | MSG_CONFIRM | MSG_DONTROUTE | MSG_BATCH | MSG_FASTOPEN)

static int session_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	const struct proto_ops *base = tlsport_session_base(sock);
	int ret = tlsport_transmit_begin(sock, base, &msg->msg_flags);

	if (ret)
		return ret;
	msg->msg_flags &= ~IGNORED_FLAGS;
	msg->msg_controllen = 0; /* the application makes no control records */
	ret = base->sendmsg(sock, msg, len);
	return tlsport_transmit_end(sock, base, ret, msg->msg_flags);
}

#ifdef TLSPORT_HAVE_SENDPAGE
static ssize_t session_sendpage(struct socket *sock, struct page *page, int offset, size_t size,
				int flags)
{
	const struct proto_ops *base = tlsport_session_base(sock);
	unsigned int f = flags;
	ssize_t ret = tlsport_transmit_begin(sock, base, &f);

	if (ret)
		return ret;
	ret = base->sendpage(sock, page, offset, size, f);
	return tlsport_transmit_end(sock, base, ret, f);
}
#endif

/* sendfile ends, or the cork is pulled: the record that MSG_MORE left open goes out. */
static void push_open_record(struct socket *sock)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);

	set_bit(TLSPORT_TX_PUSH, &conn->tx_flags);
	tlsport_transmit_due(sock, tlsport_session_base(sock));
}

static int session_setsockopt(struct socket *sock, int level, int optname, sockptr_t optval,
			      unsigned int optlen)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int val, ret;

	if (level == SOL_TLS || (level == SOL_TCP && optname == TCP_ULP))
		return -ENOPROTOOPT;
	ret = tlsport_session_base(sock)->setsockopt(sock, level, optname, optval, optlen);
	if (ret || level != SOL_TCP || optname != TCP_CORK ||
	    copy_from_sockptr(&val, optval, sizeof(val)))
		return ret;
	if (val) {
		set_bit(TLSPORT_TX_CORKED, &conn->tx_flags);
	} else {
		clear_bit(TLSPORT_TX_CORKED, &conn->tx_flags);
		push_open_record(sock);
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
	return tlsport_session_base(sock)->getsockopt(sock, level, optname, optval, optlen);
}

/* As TCP's it does not wait: what the send buffer has no room for goes later. */
static int session_shutdown(struct socket *sock, int how)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct proto_ops *base = tlsport_session_base(sock);

	if (sock->sk->sk_state == TCP_CLOSE || how < SHUT_RD || how > SHUT_RDWR)
		return base->shutdown(sock, how);
	if (how != SHUT_WR)
		conn->rx_shut = true;
	if (how != SHUT_RD) {
		mutex_lock(&conn->lock);
		tlsport_transmit_alert(conn, TLSPORT_ALERT_WARNING, TLSPORT_ALERT_CLOSE_NOTIFY);
		set_bit(TLSPORT_TX_FIN, &conn->tx_flags);
		tlsport_transmit_due(sock, base);
		mutex_unlock(&conn->lock);
	}
	return how == SHUT_WR ? 0 : base->shutdown(sock, SHUT_RD);
}

static int session_release(struct socket *sock)
{
	return sock->sk ? tlsport_close(sock, tlsport_session_base(sock)) : 0;
}

static void fill(struct session_table *t, const struct proto_ops *base)
{
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
	t->ops.splice_eof = push_open_record;
	t->ops.setsockopt = session_setsockopt;
	t->ops.getsockopt = session_getsockopt;
	t->ops.shutdown = session_shutdown;
	t->ops.set_rcvlowat = session_set_rcvlowat;
	t->ops.mmap = NULL; /* zero-copy receive would map ciphertext */
#ifdef TLSPORT_HAVE_GETSOCKOPT_ITER
	t->ops.getsockopt_iter = NULL; /* would give the keys away */
#endif
}

/**
 * tlsport_session_ops - the table for the application's socket
 * @sk: attached
 * @base: net/tls's table of its socket
 *
 * Context: process, may sleep.
 * Return: a table that lives as long as the module, or NULL: net/tls has more
 * tables than the kernels that this module knows.
 */
const struct proto_ops *tlsport_session_ops(const struct sock *sk, const struct proto_ops *base)
{
	struct session_table *t;
	int i;

	mutex_lock(&tables_lock);
	for (i = 0; i < ntables && tables[i].base != base; i++)
		;
	t = i < ARRAY_SIZE(tables) ? &tables[i] : NULL;
	if (i == ntables && !WARN_ON_ONCE(!t)) {
		/* the table that is copied belongs to net/tls, which stays from now on */
		t->owner = inet_csk(sk)->icsk_ulp_ops->owner;
		__module_get(t->owner);
		fill(t, base);
		ntables++;
	}
	mutex_unlock(&tables_lock);
	return t ? &t->ops : NULL;
}

void tlsport_session_exit(void)
{
	while (ntables)
		module_put(tables[--ntables].owner);
}
