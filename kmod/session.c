// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the application's socket does differently from a kTLS socket, so that it
 * behaves as a TCP socket.  The tables are static: one for each table of
 * net/tls that was seen, what it wraps found by container_of on sock->ops, the
 * connection by sk_user_data.  A call that sends costs a mutex, behind which that
 * of net/tls is uncontended; one that receives costs a few tests.
 *
 * Members of struct proto_ops that are not named in fill() are net/tls's or TCP's
 * and right as they are; read_sock must be: net/tls reads through it.
 */
#include <asm/ioctls.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/sockios.h>
#include <linux/splice.h>
#include <linux/tlsport_sockopt.h>
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

/* EBADMSG: of a record that net/tls cannot read, or of one that it could not encrypt */
static bool has_badmsg(const struct sock *sk)
{
	return unlikely(READ_ONCE(sk->sk_err) == EBADMSG);
}

/*
 * Has a call that reads met a record that net/tls cannot read?  Behind good ones it may as
 * well be the caller's buffer that is bad: then the next call meets the record again.
 * @before: of has_badmsg()
 */
static void look_for_broken(struct sock *sk, int ret, bool before)
{
	if (likely(!has_badmsg(sk) && ret != -EBADMSG))
		return;
	if (!before && (ret == -EFAULT || (ret > 0 && tlsport_record_good(sk))))
		cmpxchg(&sk->sk_err, EBADMSG, 0);
	else
		tlsport_record_stop(sk);
}

/* recvmsg without letting net/tls see, or fill, the caller's control buffer */
static int recv_plain(const struct proto_ops *base, struct socket *sock, struct msghdr *msg,
		      size_t len, int flags)
{
	size_t controllen = msg->msg_controllen;
	bool before = has_badmsg(sock->sk);
	void *control = msg->msg_control;
	int ret;

	msg->msg_control = NULL;
	msg->msg_controllen = 0;
	ret = base->recvmsg(sock, msg, len, flags);
	look_for_broken(sock->sk, ret, before);
	msg->msg_control = control;
	msg->msg_controllen = controllen;
	msg->msg_flags &= ~(MSG_CTRUNC | MSG_EOR);
	return ret;
}

/* MSG_TRUNC: TCP counts the bytes and drops them; here they end in a page that nobody reads. */
static noinline_for_stack int recv_dropped(const struct proto_ops *base, struct socket *sock,
					   struct msghdr *msg, size_t len, int flags)
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
	ret = recv_plain(base, sock, &nowhere, len, flags & ~MSG_TRUNC);
	memzero_explicit(page_address(page), PAGE_SIZE);
	__free_page(page);
	return ret;
}

static int recv_once(const struct proto_ops *base, struct socket *sock, struct msghdr *msg,
		     size_t len, int flags)
{
	return unlikely(flags & MSG_TRUNC) ? recv_dropped(base, sock, msg, len, flags) :
					     recv_plain(base, sock, msg, len, flags);
}

/* The connection is over, and not by the peer's FIN. */
static bool was_reset(const struct sock *sk)
{
	return READ_ONCE(sk->sk_state) == TCP_CLOSE && !sock_flag(sk, SOCK_DONE);
}

/* End of the stream without close_notify: what the policy of when it began makes of it */
static int truncated(struct tlsport_conn *conn)
{
	if (was_reset(conn->sk) && !READ_ONCE(conn->rx_shut))
		return READ_ONCE(conn->reset_told) ? 0 : sock_error(conn->sk) ?: -ECONNRESET;
	if (READ_ONCE(conn->rx_shut) || conn->truncation == TLSPORT_TRUNCATION_TOLERATE)
		return 0;
	mutex_lock(&conn->lock);
	if (!READ_ONCE(conn->rx_err) && !conn->rx_closed) {
		tlsport_conn_note(conn, TLSPORT_REASON_TRUNCATED);
		WRITE_ONCE(conn->rx_err, -ECONNRESET);
	}
	mutex_unlock(&conn->lock);
	return READ_ONCE(conn->rx_err);
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
 * content, perhaps before a control record.  @end: it looked like the end before;
 * data may have come with the FIN, while the call went on.
 */
static int recv_other(struct socket *sock, const struct proto_ops *base, size_t len,
		      int control_err, int *ret, bool *end)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	struct sock *sk = sock->sk;
	int err;

	if (fatal_signal_pending(current)) { /* the peer may send what is nothing for ever */
		*ret = -EINTR;
		return 1;
	}
	if (*ret == control_err) { /* before what is behind it */
		tlsport_control_handle(sock, base);
		err = READ_ONCE(conn->rx_err);
		return err ? (*ret = err, 1) : 0;
	}
	/* without memory to decrypt into, net/tls gives up as for a bad record */
	if (tlsport_record_broken(sk) || *ret == -EBADMSG ||
	    (*ret == -ENOMEM && READ_ONCE(sk->sk_err) == EBADMSG)) {
		*ret = tlsport_control_record_error(sock, base, *ret);
		return 1;
	}
	if (*ret || !len)
		return 1;
	if (!rx_is_done(sk)) {
		tlsport_control_handle(sock, base);
		err = READ_ONCE(conn->rx_err);
		return err ? (*ret = err, 1) : 0;
	}
	if (!*end) {
		*end = true;
		return 0;
	}
	*ret = truncated(conn);
	return 1;
}

/* What the application gets. */
static int told(struct tlsport_conn *conn, int ret)
{
	if (ret < 0)
		tlsport_conn_told(conn, ret);
	return ret;
}

/* Nothing more comes out of net/tls: a reader must not wait. */
static int rx_flags(const struct sock *sk)
{
	return unlikely(tlsport_record_broken(sk)) ? MSG_DONTWAIT : 0;
}

static int record_bytes(struct sock *sk)
{
	int n;

	lock_sock(sk);
	n = tlsport_record_inq(sk, tlsport_conn_of(sk));
	release_sock(sk);
	return n;
}

static int readable_bytes(struct sock *sk)
{
	return record_bytes(sk) + READ_ONCE(tlsport_conn_of(sk)->preamble_left);
}

/* TCP has no room for more, and a record is there: as on TCP it must do. */
static bool is_full(struct sock *sk)
{
	return sk->sk_prot->sock_is_readable(sk) && tcp_epollin_ready(sk, INT_MAX);
}

/*
 * With SO_RCVLOWAT a rest of a record must do as well: TCP, which wakes for that many
 * bytes, does not count it.
 */
static bool has_rest(const struct sock *sk)
{
	return !skb_queue_empty_lockless(&tls_sw_ctx_rx(tls_get_ctx(sk))->rx_list);
}

/* Nothing will come that is worth waiting for. */
static bool rx_stops(struct sock *sk)
{
	return tlsport_conn_rx_ended(tlsport_conn_of(sk)) || tlsport_record_broken(sk) ||
	       READ_ONCE(sk->sk_err) || rx_shut(sk);
}

/* net/tls's, the same for every socket; written once, before any socket has ours */
static void (*net_tls_data_ready)(struct sock *sk);

/* Not for one that is over: nobody drains the list then, until the sk closes. */
static void stop_flood(struct sock *sk, struct tls_sw_context_rx *rx)
{
	struct tlsport_conn *conn;

	read_lock_bh(&sk->sk_callback_lock);
	conn = tlsport_conn_of(sk);
	if (conn)
		WRITE_ONCE(conn->rx_flooded, true);
	read_unlock_bh(&sk->sk_callback_lock);
	if (!conn)
		return;
	rx->strp.stopped = 1;
	WRITE_ONCE(sk->sk_err, EBADMSG);
	sk_error_report(sk);
}

/*
 * Softirq, or the reader itself.  net/tls tells of a record, but not of the next
 * while that one is unread; and nobody needs so many that MSG_PEEK has decrypted.
 */
static void session_data_ready(struct sock *sk)
{
	struct tls_sw_context_rx *rx = tls_sw_ctx_rx(tls_get_ctx(sk));

	READ_ONCE(net_tls_data_ready)(sk);
	if (READ_ONCE(sk->sk_rcvlowat) > 1)
		rx->saved_data_ready(sk);
	if (unlikely(skb_queue_len_lockless(&rx->rx_list) > TLSPORT_PEEKED_MAX) &&
	    !rx->strp.stopped)
		stop_flood(sk, rx);
}

/* lock_sock held.  Net/tls takes the callback off again when the sk closes. */
static void watch_data(struct sock *sk)
{
	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_data_ready != session_data_ready) {
		WRITE_ONCE(net_tls_data_ready, sk->sk_data_ready);
		smp_wmb(); /* before ours can be called */
		WRITE_ONCE(sk->sk_data_ready, session_data_ready);
	}
	write_unlock_bh(&sk->sk_callback_lock);
}

/**
 * tlsport_session_lowat - SO_RCVLOWAT was set, on the socket or on its listener
 * @sk: attached
 *
 * Context: lock_sock(@sk) held.
 */
void tlsport_session_lowat(struct sock *sk)
{
	if (sk->sk_rcvlowat > 1)
		watch_data(sk);
}

static int session_set_rcvlowat(struct sock *sk, int val)
{
	int err = tlsport_session_base(sk->sk_socket)->set_rcvlowat(sk, val);

	if (!err)
		tlsport_session_lowat(sk);
	return err;
}

/* SO_RCVTIMEO of one call; net/tls begins it anew at each record. */
struct rx_time {
	long timeo; /* below 0: it has not begun */
	unsigned long began;
};

static long time_left(struct sock *sk, struct rx_time *time)
{
	if (time->timeo < 0) {
		time->timeo = sock_rcvtimeo(sk, false);
		time->began = jiffies;
	}
	if (time->timeo == MAX_SCHEDULE_TIMEOUT)
		return time->timeo;
	return time->timeo - min_t(unsigned long, jiffies - time->began, time->timeo);
}

static bool has_timeout(const struct sock *sk)
{
	return READ_ONCE(sk->sk_rcvtimeo) != MAX_SCHEDULE_TIMEOUT;
}

/* What is to be peeked at whole net/tls waits for: nobody else is woken by each record. */
static bool waits_here(const struct sock *sk, int flags)
{
	if (unlikely(READ_ONCE(sk->sk_rcvlowat) > 1))
		return !(flags & MSG_DONTWAIT);
	return unlikely(has_timeout(sk)) && !(flags & MSG_DONTWAIT) &&
	       (~flags & (MSG_PEEK | MSG_WAITALL));
}

/* TLS 1.2 shows what is for control, which is then not counted. */
static bool is_enough(struct sock *sk, int target)
{
	if (target <= 1 && sk->sk_prot->sock_is_readable(sk))
		return true;
	return (READ_ONCE(sk->sk_rcvlowat) > 1 && has_rest(sk)) || record_bytes(sk) >= target ||
	       is_full(sk);
}

/*
 * SO_RCVLOWAT: net/tls would take a record out of TCP's queue and wait for the
 * rest, for which TCP, which counts what is in the queue, would wake nobody.  And
 * MSG_WAITALL that has a part: an error that ends the waiting is for the next call.
 * Waits until @target bytes are there, or the time is over.
 * 0: something is there, or the end; net/tls is not to wait.  Else an error.
 */
static int wait_data(struct sock *sk, int target, struct rx_time *time)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	long left = time_left(sk, time);

	add_wait_queue(sk_sleep(sk), &wait);
	while (!is_enough(sk, target) && left && !rx_stops(sk) && !signal_pending(current)) {
		wait_woken(&wait, TASK_INTERRUPTIBLE, left);
		left = time_left(sk, time);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	if (is_enough(sk, 1) || rx_stops(sk))
		return 0;
	return signal_pending(current) ? sock_intr_errno(time->timeo) : -EAGAIN;
}

/*
 * What seemed to be there was not: nothing was in the records, or another reader
 * was faster.  0: wait again.
 */
static int missed_data(struct sock *sk, struct rx_time *time)
{
	if (tlsport_record_broken(sk))
		return -EBADMSG;
	if (!time_left(sk, time))
		return -EAGAIN;
	schedule_timeout_interruptible(1); /* that reader may still have it */
	return signal_pending(current) ? sock_intr_errno(time->timeo) : 0;
}

/* What wait_data() waits for: what MSG_PEEK has shown it would show again, so all at once */
static int wanted(const struct sock *sk, size_t len, int flags)
{
	return sock_rcvlowat(sk, (flags & MSG_PEEK) && (flags & MSG_WAITALL), len);
}

/* Net/tls ends at a control record, recv_dropped() where its room does, and TCP goes on. */
static bool is_short(const struct sock *sk, int copied, size_t left, int flags)
{
	return left && !(flags & MSG_PEEK) &&
	       ((flags & (MSG_WAITALL | MSG_TRUNC)) || copied < READ_ONCE(sk->sk_rcvlowat));
}

/* With a part in hand, an error of TCP's stays where the next call finds it. */
static bool has_error(struct sock *sk)
{
	return READ_ONCE(sk->sk_err) && !sk->sk_prot->sock_is_readable(sk);
}

/* Data came after control records.  What the application gets. */
static ssize_t data_after(struct socket *sock, const struct proto_ops *base, ssize_t n)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);

	WRITE_ONCE(conn->control_run, 0);
	return tlsport_control_interleaved(sock, base) ? READ_ONCE(conn->rx_err) : n;
}

/*
 * What MSG_PEEK decrypts net/tls keeps, a page and more for each record, and one
 * without content is no end to it.  So there is a record with content, or for
 * control, before it is asked, and whoever wants no more gets no others decrypted;
 * session_data_ready() ends it where they come faster than they are looked at.
 */
static void prepare_peek(struct socket *sock, const struct proto_ops *base)
{
	struct sock *sk = sock->sk;
	u64 seq;

	lock_sock(sk);
	watch_data(sk);
	release_sock(sk);
	while (!tlsport_record_trim(sk) && !fatal_signal_pending(current)) {
		seq = tlsport_record_seq(sk);
		if (tlsport_record_next(sock, base) || tlsport_record_seq(sk) == seq)
			break;
	}
}

/* No bytes: net/tls has them at once, TCP waits for some.  1: they are there. */
static int recv_nothing(struct sock *sk, int flags)
{
	struct rx_time time = { .timeo = -1 };
	int ret = 0;

	if (!(flags & MSG_DONTWAIT))
		ret = wait_data(sk, 1, &time);
	else if (!is_enough(sk, 1) && !rx_stops(sk))
		ret = -EAGAIN;
	if (!ret && has_error(sk) && !has_badmsg(sk) && !tlsport_record_broken(sk))
		ret = sock_error(sk);
	return ret ?: 1;
}

static int recv_records(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct proto_ops *base = tlsport_session_base(sock);
	struct rx_time time = { .timeo = -1 };
	struct sock *sk = sock->sk;
	int ret, more, copied = 0;
	bool end = false;

	if (unlikely(!len)) {
		ret = recv_nothing(sk, flags);
		if (ret <= 0)
			return ret;
	}
	for (;;) {
		if (unlikely(tlsport_conn_rx_ended(conn))) {
			ret = READ_ONCE(conn->rx_err);
			break;
		}
		/* each time anew: what was there may have been a control record */
		more = unlikely(copied) || waits_here(sk, flags) ? MSG_DONTWAIT : 0;
		if (unlikely(more)) {
			ret = wait_data(sk, wanted(sk, len, flags), &time);
			if (ret || (copied && has_error(sk)))
				break;
		}
		if (unlikely(flags & MSG_PEEK))
			prepare_peek(sock, base);
		/* with MSG_WAITALL it would look for what is not there, and take an error */
		ret = recv_once(base, sock, msg, len,
				(more ? flags & ~MSG_WAITALL : flags) | more | rx_flags(sk));
		if (likely(ret > 0)) {
			if (unlikely(READ_ONCE(conn->control_run)))
				ret = data_after(sock, base, ret);
			if (unlikely(ret < 0))
				break;
			copied += ret;
			len -= ret;
			if (likely(!is_short(sk, copied, len, flags)))
				break;
			if (!more && !(flags & MSG_TRUNC) && !sk->sk_prot->sock_is_readable(sk))
				break; /* by an error, which net/tls has taken, or the end */
			if ((flags & (MSG_DONTWAIT | MSG_WAITALL)) != MSG_WAITALL)
				time.timeo = 0; /* TCP counts from here, and might wake nobody */
			continue;
		}
		if (unlikely(more) && ret == -EAGAIN) {
			ret = missed_data(sk, &time);
			if (!ret)
				continue;
		}
		if (recv_other(sock, base, len, -EIO, &ret, &end))
			break;
	}
	return copied ?: ret;
}

/*
 * The preamble, and what is there behind it: on TCP a call that gives less than was
 * asked for has taken all, and who waits for the next edge believes that.  It is
 * enough for any SO_RCVLOWAT: TCP, which wakes for that, does not count it.
 */
static int recv_preamble(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct iov_iter nowhere, *to = &msg->msg_iter;
	struct sock *sk = sock->sk;
	int n, more = 0;
	bool end;

	if (flags & MSG_TRUNC) {
		iov_iter_discard(&nowhere, ITER_DEST, len);
		to = &nowhere;
	}
	n = tlsport_preamble_read(tlsport_conn_of(sk), to, len, flags & MSG_PEEK, &end);
	if (!n && len) /* another reader was faster */
		return recv_records(sock, msg, len, flags);
	if (n < 0 || n == len || !end)
		return n;
	if (flags & MSG_WAITALL)
		more = recv_records(sock, msg, len - n, flags);
	else if (sk->sk_prot->sock_is_readable(sk))
		more = recv_records(sock, msg, len - n, flags | MSG_DONTWAIT);
	return n + max(more, 0); /* an error is for the next call */
}

static int recv_loop(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);

	return told(conn, unlikely(READ_ONCE(conn->preamble_left)) ?
				  recv_preamble(sock, msg, len, flags) :
				  recv_records(sock, msg, len, flags));
}

/* io_uring and TCP_INQ: what is left, and as on TCP 1 where that is nothing but an orderly end */
static void tell_inq(struct sock *sk, struct msghdr *msg)
{
	msg->msg_inq = readable_bytes(sk);
	if (!msg->msg_inq &&
	    ((rx_stops(sk) && !was_reset(sk)) || sk->sk_prot->sock_is_readable(sk)))
		msg->msg_inq = 1;
	/* a bit beside some of TCP's own */
	if (data_race(tcp_sk(sk)->recvmsg_inq != 0))
		put_cmsg(msg, SOL_TCP, TCP_CM_INQ, sizeof(msg->msg_inq), &msg->msg_inq);
}

static int session_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = sock->sk;
	int ret;

	if (unlikely(flags & MSG_ERRQUEUE)) /* notifications, timestamps: with TCP's headers */
		return tlsport_recv_error(sk, msg, len);
	if (unlikely(flags & MSG_OOB))
		return -EINVAL;
	ret = recv_loop(sock, msg, len, flags);
	if (unlikely(flags & MSG_PEEK))
		tlsport_record_trim(sk);
	else if (unlikely(ret > 0 && ret < len && has_rest(sk)))
		tlsport_control_handle(sock, tlsport_session_base(sock)); /* else nobody is told */
	if (unlikely(msg->msg_get_inq || data_race(tcp_sk(sk)->recvmsg_inq != 0)) && ret >= 0)
		tell_inq(sk, msg);
	return ret;
}

static ssize_t session_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe,
				   size_t len, unsigned int flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct proto_ops *base = tlsport_session_base(sock);
	struct rx_time time = { .timeo = -1 };
	bool end = false, waits, before;
	ssize_t n;
	int ret;

	if (unlikely(READ_ONCE(conn->preamble_left))) {
		n = tlsport_preamble_splice(conn, pipe, len);
		if (n)
			return n;
	}
	/* net/tls looks at flags alone; TCP leaves them to the pipe */
	flags &= ~SPLICE_F_NONBLOCK;
	if (sock->file && sock->file->f_flags & O_NONBLOCK)
		flags |= SPLICE_F_NONBLOCK;
	for (;;) {
		if (unlikely(tlsport_conn_rx_ended(conn)))
			return READ_ONCE(conn->rx_err);
		waits = !(flags & SPLICE_F_NONBLOCK) && has_timeout(sock->sk);
		if (unlikely(waits)) {
			ret = wait_data(sock->sk, 1, &time);
			if (ret)
				return told(conn, ret);
		}
		before = has_badmsg(sock->sk);
		n = base->splice_read(sock, ppos, pipe, len,
				      waits || rx_flags(sock->sk) ? flags | SPLICE_F_NONBLOCK :
								    flags);
		look_for_broken(sock->sk, n, before);
		if (likely(n > 0))
			return unlikely(READ_ONCE(conn->control_run)) ? data_after(sock, base, n) :
									n;
		ret = n;
		if (unlikely(waits) && ret == -EAGAIN) {
			ret = missed_data(sock->sk, &time);
			if (!ret)
				continue;
		}
		if (recv_other(sock, base, len, -EINVAL, &ret, &end))
			return told(conn, ret);
	}
}

/* TCP's test of SO_RCVLOWAT counts ciphertext, and net/tls wants one record. */
static bool is_readable(struct sock *sk)
{
	int lowat = READ_ONCE(sk->sk_rcvlowat);

	return sk->sk_prot->sock_is_readable(sk) &&
	       (lowat <= 1 || has_rest(sk) || readable_bytes(sk) >= lowat || is_full(sk));
}

/* Of the record that comes next TLS 1.2 shows what it is; what TLS 1.3 has for control is short. */
static bool may_be_control(struct sock *sk)
{
	const struct tls_strparser *strp = &tls_sw_ctx_rx(tls_get_ctx(sk))->strp;

	/* the record that ends reading stays */
	if (unlikely(tlsport_conn_rx_ended(tlsport_conn_of(sk)) || tlsport_record_broken(sk)))
		return false;
	if (unlikely(has_rest(sk)))
		return tlsport_record_is_control(sk);
	if (!READ_ONCE(strp->msg_ready))
		return false;
	/* of a record that another reader takes meanwhile: then it is looked at in vain */
	if (data_race(strp->mark != TLSPORT_TYPE_DATA))
		return true;
	if (tls_get_ctx(sk)->prot_info.version != TLS_1_3_VERSION)
		return false;
	/* likewise */
	return data_race(strp->stm.full_len <= TLSPORT_CONTROL_MAX);
}

/*
 * Who is told that there is something to read, and then waits for it, waits in vain where it
 * was a control record, or one without content: they are handled before.  And while
 * another thread takes a part of a record, the rest is nowhere to be seen.
 */
static void settle(struct socket *sock, const struct proto_ops *base)
{
	struct sock *sk = sock->sk;
	int i, n = 0;

	for (i = 0; i < TLSPORT_CONTROL_RUN_MAX && n >= 0 && unlikely(may_be_control(sk)); i++) {
		bool before = has_badmsg(sk);

		n = tlsport_control_handle(sock, base);
		look_for_broken(sk, n, before);
	}
	/* what TCP had to tell is for a call that can */
	if (unlikely(n < 0 && READ_ONCE(sk->sk_state) == TCP_CLOSE && n != -EBADMSG &&
		     n != -EAGAIN))
		cmpxchg(&sk->sk_err, 0, -n);
	if (unlikely(READ_ONCE(tls_sw_ctx_rx(tls_get_ctx(sk))->reader_present)) &&
	    sock_owned_by_user_nocheck(sk) && !sk->sk_prot->sock_is_readable(sk)) {
		lock_sock(sk);
		release_sock(sk);
	}
}

/*
 * tcp_poll() calls half a record readable, on which a level-triggered epoll spins; and of
 * an end that is due, with its FIN behind what the peer does not read, it knows nothing.
 * That of net/tls, where it has one, calls nothing readable from a KeyUpdate on that a
 * reader has decrypted, and left to the next.
 */
static __poll_t session_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait)
{
	const struct proto_ops *base = tlsport_session_base(sock);
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	__poll_t mask = base->poll(file, sock, wait);
	struct sock *sk = sock->sk;

	settle(sock, base);
	if (unlikely(tlsport_conn_rx_ended(conn) || tlsport_record_broken(sk)))
		mask |= EPOLLIN | EPOLLRDNORM | (READ_ONCE(conn->rx_closed) ? EPOLLRDHUP : 0);
	else if (!(mask & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)))
		mask = is_readable(sk) ? mask | EPOLLIN | EPOLLRDNORM :
					 mask & ~(EPOLLIN | EPOLLRDNORM);
	if (unlikely(READ_ONCE(conn->preamble_left)))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (unlikely(test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags)))
		mask |= EPOLLOUT | EPOLLWRNORM | (mask & EPOLLRDHUP ? EPOLLHUP : 0);
	return mask;
}

/* sendfile ends, or the cork is pulled: the record that MSG_MORE left open goes out. */
static void push_open_record(struct socket *sock)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);

	set_bit(TLSPORT_TX_PUSH, &conn->tx_flags);
	tlsport_transmit_due(sock, tlsport_session_base(sock));
}

/*
 * TCP sends what it has, of Nagle's and of the cork: so must be sent what net/tls
 * has, and before, to be in the same segment.  The cork holds what comes next.
 */
static void push_past_cork(struct socket *sock)
{
	set_bit(TLSPORT_TX_OVERDUE, &tlsport_conn_of(sock->sk)->tx_flags);
	push_open_record(sock);
}

static bool has_open_record(const struct sock *sk)
{
	/* one that another thread opens meanwhile came later */
	return data_race(tls_get_ctx(sk)->pending_open_record_frags);
}

/*
 * FIONREAD: stock kTLS counts ciphertext and forgets what is decrypted but
 * unread; a program that is told 0 with data there waits for ever, and one that is told
 * of a KeyUpdate, too.  SIOCOUTQ: what is in a record that is open TCP does not have
 * yet, so it gets it.
 */
static int session_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	if ((cmd == SIOCOUTQ || cmd == SIOCOUTQNSD) && has_open_record(sock->sk))
		push_past_cork(sock);
	if (cmd != SIOCINQ)
		return tlsport_session_base(sock)->ioctl(sock, cmd, arg);
	settle(sock, tlsport_session_base(sock));
	return put_user(readable_bytes(sock->sk), (int __user *)arg);
}

/*
 * MSG_ZEROCOPY with SO_ZEROCOPY: the program waits to be told when it may use its
 * memory again.  At once: what is encrypted is a copy, and so the notification
 * says.  tx_lock held: numbers of calls that fail are given back.
 */
static int send_notified(const struct proto_ops *base, struct socket *sock, struct msghdr *msg,
			 size_t len)
{
	struct sock *sk = sock->sk;
	struct ubuf_info *uarg;
	int ret;

	lock_sock(sk);
	uarg = TLSPORT_ZEROCOPY_ALLOC(sk, len);
	release_sock(sk);
	if (!uarg)
		return -ENOBUFS;
	uarg_to_msgzc(uarg)->zerocopy = 0;
	ret = base->sendmsg(sock, msg, len);
	if (ret > 0)
		net_zcopy_put(uarg);
	else
		net_zcopy_put_abort(uarg, true);
	return ret;
}

/* io_uring brings its own notification, and gives it when the call is over. */
static bool wants_notification(const struct sock *sk, const struct msghdr *msg, size_t len)
{
	return unlikely(msg->msg_flags & MSG_ZEROCOPY) && sock_flag(sk, SOCK_ZEROCOPY) && len &&
	       !msg->msg_ubuf;
}

/* Of send(2): others TCP ignores and net/tls refuses.  Both refuse urgent data. */
#define KEPT_FLAGS (MSG_OOB | MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL | TLSPORT_SPLICE_FLAGS)

/*
 * More than a record: net/tls gives each to TCP as if it were a call of its own.
 * The end of one is a small segment, and Nagle holds that of the next for the
 * peer's delayed ACK; on TCP one call leaves one small segment.
 */
static bool makes_records(const struct sock *sk, const struct msghdr *msg, size_t len)
{
	return !(msg->msg_flags & MSG_MORE) &&
	       (len > TLS_MAX_PAYLOAD_SIZE || tls_get_ctx(sk)->pending_open_record_frags);
}

/* A guess: one of an earlier call, for which Nagle holds the next on TCP as well */
static bool small_in_flight(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	/* as it says */
	return data_race(after(tp->snd_sml, tp->snd_una));
}

/* TCP holds data, for Nagle, for its cork or for want of a window. */
static bool has_unsent(const struct sock *sk)
{
	return READ_ONCE(tcp_sk(sk)->snd_nxt) != READ_ONCE(tcp_sk(sk)->write_seq);
}

/* No cork: TCP sends, whatever it is that calls before have left small. */
static void send_rest(struct sock *sk)
{
	/* bits beside some of TCP's own */
	if (data_race(tcp_sk(sk)->nonagle & TCP_NAGLE_OFF) || !has_unsent(sk))
		return;
	tlsport_sk_forget_small(sk);
	tcp_sock_set_cork(sk, false); /* there is none: it looks again at what it holds */
}

/*
 * So many pages of a file that they need a record more than the one that is open
 * in any case: behind a header their ends would be no ends of AES blocks, and
 * cost a copy each.
 */
static bool begins_record(const struct msghdr *msg, size_t len)
{
	return (msg->msg_flags & TLSPORT_SPLICE_FLAGS) && len >= TLS_MAX_PAYLOAD_SIZE;
}

/*
 * Around what adds to the open record, or begins one that stays open: false: not by
 * sendpage, see fragments.c.  tx_lock held.
 */
static bool will_add(struct sock *sk, bool more, size_t len)
{
#ifdef TLSPORT_HAVE_SENDPAGE
	if (more && tls_get_ctx(sk)->tx_conf == TLSPORT_CONF_SW)
		return tlsport_fragments_fit(sk, &tlsport_conn_of(sk)->fragments, len);
#endif
	return true;
}

static void has_added(struct sock *sk, bool more, bool all)
{
#ifdef TLSPORT_HAVE_SENDPAGE
	if (more)
		tlsport_fragments_added(sk, &tlsport_conn_of(sk)->fragments, all);
#endif
}

static int session_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	const struct proto_ops *base = tlsport_session_base(sock);
	int ret = tlsport_transmit_begin(sock, base, &msg->msg_flags);
	bool corked = test_bit(TLSPORT_TX_CORKED, &tlsport_conn_of(sock->sk)->tx_flags);
	bool notify = wants_notification(sock->sk, msg, len), records;

	if (ret)
		return ret;
	msg->msg_flags &= KEPT_FLAGS;
	msg->msg_controllen = 0; /* the application makes no control records */
	records = makes_records(sock->sk, msg, len) && !small_in_flight(sock->sk);
	if (corked && begins_record(msg, len))
		tlsport_transmit_close_record(sock, base);
	will_add(sock->sk, msg->msg_flags & MSG_MORE, len);
	ret = notify ? send_notified(base, sock, msg, len) : base->sendmsg(sock, msg, len);
	has_added(sock->sk, msg->msg_flags & MSG_MORE, ret == len);
	if (records && !corked)
		send_rest(sock->sk);
	return tlsport_transmit_end(sock, base, ret, len, msg->msg_flags);
}

#ifdef TLSPORT_HAVE_SENDPAGE
static ssize_t page_by_sendmsg(struct socket *sock, struct page *page, int offset, size_t size,
			       int flags)
{
	struct bio_vec vec = { .bv_page = page, .bv_offset = offset, .bv_len = size };
	struct msghdr msg = { .msg_flags = flags };

	if (flags & MSG_SENDPAGE_NOTLAST)
		msg.msg_flags |= MSG_MORE;
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, &vec, 1, size);
	return session_sendmsg(sock, &msg, size);
}

static ssize_t session_sendpage(struct socket *sock, struct page *page, int offset, size_t size,
				int flags)
{
	const struct proto_ops *base = tlsport_session_base(sock);
	unsigned int f = flags;
	ssize_t ret = tlsport_transmit_begin(sock, base, &f);
	bool fits;

	if (ret)
		return ret;
	fits = will_add(sock->sk, true, size);
	if (likely(fits)) {
		ret = base->sendpage(sock, page, offset, size, f);
		has_added(sock->sk, true, ret == size);
	}
	ret = tlsport_transmit_end(sock, base, ret, fits ? size : 0, f);
	return fits ? ret : page_by_sendmsg(sock, page, offset, size, flags);
}
#endif

/* An interface encrypts: pages of files that may change are copied, see zerocopy.c. */
static int nic_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	if ((msg->msg_flags & TLSPORT_SPLICE_FLAGS) &&
	    !tlsport_zerocopy_iter(sock->sk, &msg->msg_iter))
		msg->msg_flags &= ~TLSPORT_SPLICE_FLAGS;
	return session_sendmsg(sock, msg, len);
}

#ifdef TLSPORT_HAVE_SENDPAGE
static ssize_t nic_sendpage(struct socket *sock, struct page *page, int offset, size_t size,
			    int flags)
{
	if (tlsport_zerocopy_page(sock->sk, page))
		return session_sendpage(sock, page, offset, size, flags);
	return page_by_sendmsg(sock, page, offset, size, flags);
}
#endif

/*
 * The last record is made while TCP still holds the one before, if it does: see
 * makes_records().  What the cork held is sent now: tcp(7).
 */
static int uncork(struct socket *sock, sockptr_t optval, unsigned int optlen)
{
	bool held = has_unsent(sock->sk);
	int ret;

	clear_bit(TLSPORT_TX_CORKED, &tlsport_conn_of(sock->sk)->tx_flags);
	if (held)
		push_open_record(sock);
	ret = tlsport_session_base(sock)->setsockopt(sock, SOL_TCP, TCP_CORK, optval, optlen);
	if (!held)
		push_open_record(sock);
	send_rest(sock->sk);
	return ret;
}

/* One that net/tls's open record is concerned by; false also where TCP says what is wrong. */
static bool concerns_record(int level, int optname, sockptr_t optval, unsigned int optlen, int *val)
{
	return level == SOL_TCP && (optname == TCP_CORK || optname == TCP_NODELAY) &&
	       optlen >= sizeof(*val) && !copy_from_sockptr(val, optval, sizeof(*val));
}

static int session_setsockopt(struct socket *sock, int level, int optname, sockptr_t optval,
			      unsigned int optlen)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct proto_ops *base = tlsport_session_base(sock);
	int val = 0, ret;
	bool concerns = concerns_record(level, optname, optval, optlen, &val);
	bool cork = concerns && optname == TCP_CORK;

	if (level == SOL_TLS || (level == SOL_TCP && optname == TCP_ULP))
		return -ENOPROTOOPT;
	if (cork && !val)
		return uncork(sock, optval, optlen);
	if (concerns && !cork && val)
		push_past_cork(sock);
	if (cork) /* before TCP's, for who pulls it meanwhile */
		set_bit(TLSPORT_TX_CORKED, &conn->tx_flags);
	ret = base->setsockopt(sock, level, optname, optval, optlen);
	if (cork && ret)
		clear_bit(TLSPORT_TX_CORKED, &conn->tx_flags);
	return ret;
}

static int session_getsockopt(struct socket *sock, int level, int optname, char __user *optval,
			      int __user *optlen)
{
	if (level == SOL_TLSPORT)
		return tlsport_sockopt_get(tlsport_conn_of(sock->sk), optname, optval, optlen);
	if (level == SOL_TLS) /* as of a level that is not known */
		return sock->sk->sk_family == AF_INET ? -EOPNOTSUPP : -ENOPROTOOPT;
	/* zero-copy receive would give out what is in TCP's queue: ciphertext */
	if (level == SOL_TCP && (optname == TCP_ULP || optname == TCP_ZEROCOPY_RECEIVE))
		return -ENOPROTOOPT;
	return tlsport_session_base(sock)->getsockopt(sock, level, optname, optval, optlen);
}

/* As TCP's it does not wait: what the send buffer has no room for goes later. */
static int session_shutdown(struct socket *sock, int how)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct proto_ops *base = tlsport_session_base(sock);

	if (READ_ONCE(sock->sk->sk_state) == TCP_CLOSE || how < SHUT_RD || how > SHUT_RDWR)
		return base->shutdown(sock, how);
	if (how != SHUT_WR)
		WRITE_ONCE(conn->rx_shut, true);
	if (how != SHUT_RD) {
		mutex_lock(&conn->lock);
		if (tlsport_record_broken(sock->sk)) /* its alert comes first */
			tlsport_control_record_error_locked(sock, base, -EBADMSG);
		tlsport_transmit_alert(conn, TLSPORT_ALERT_WARNING, TLSPORT_ALERT_CLOSE_NOTIFY);
		set_bit(TLSPORT_TX_FIN, &conn->tx_flags);
		tlsport_transmit_due(sock, base);
		mutex_unlock(&conn->lock);
	}
	if (how != SHUT_WR)
		return base->shutdown(sock, SHUT_RD);
	if (tlsport_transmit_is_due(conn)) /* TCP, which wakes who polls, has no FIN yet */
		sock->sk->sk_state_change(sock->sk);
	return 0;
}

static int session_release(struct socket *sock)
{
	return sock->sk ? tlsport_close(sock, tlsport_session_base(sock)) : 0;
}

static void fill(struct session_table *t, const struct proto_ops *base, bool nic)
{
	t->base = base;
	t->ops = *base;
	t->ops.owner = THIS_MODULE;
	t->ops.release = session_release;
	t->ops.recvmsg = session_recvmsg;
	t->ops.splice_read = session_splice_read;
	t->ops.poll = session_poll;
	t->ops.ioctl = session_ioctl;
	t->ops.sendmsg = nic ? nic_sendmsg : session_sendmsg;
#ifdef TLSPORT_HAVE_SENDPAGE
	t->ops.sendpage = nic ? nic_sendpage : session_sendpage;
#endif
	t->ops.splice_eof = push_open_record;
	t->ops.setsockopt = session_setsockopt;
	t->ops.getsockopt = session_getsockopt;
	t->ops.shutdown = session_shutdown;
	t->ops.set_rcvlowat = session_set_rcvlowat;
	t->ops.set_peek_off = NULL; /* net/tls does not know it */
	t->ops.mmap = sock_no_mmap; /* zero-copy receive would map ciphertext */
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
		fill(t, base, tls_get_ctx(sk)->tx_conf == TLSPORT_CONF_HW);
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
