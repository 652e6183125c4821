// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module itself sends on an open connection: KeyUpdate, alerts,
 * close_notify, and the FIN behind them.
 *
 * conn->tx_lock makes transmission one at a time: whoever holds it is the only
 * one that makes records.  An application that waits for room in its send
 * buffer holds it meanwhile, so nothing of ours waits for it: what is to be sent
 * is due, as a bit of tx_flags, and is sent by who has the lock, by who had it
 * when the bit was set, or by the connection's work item, when the send buffer
 * has room.
 *
 * Setter:  set bit; barrier; trylock.  Holder:  unlock; barrier; test bits.
 */
#include <linux/sched/signal.h>
#include <linux/wait_bit.h>
#include "tlsport.h"

#define DUE \
	(BIT(TLSPORT_TX_PUSH) | BIT(TLSPORT_TX_UPDATE) | BIT(TLSPORT_TX_REKEY) | \
	 BIT(TLSPORT_TX_ALERT) | BIT(TLSPORT_TX_FIN))

#define AT_END (DUE | BIT(TLSPORT_TX_CLOSED) | BIT(TLSPORT_TX_WAITED))

/* net/tls's work item holds its tx_lock, perhaps for as long as the peer does not read */
static bool net_tls_busy(const struct sock *sk)
{
	struct tls_context *ctx = tls_get_ctx(sk);

	if (!mutex_trylock(&ctx->tx_lock))
		return true;
	mutex_unlock(&ctx->tx_lock);
	return false;
}

/* Not yet, as opposed to never */
static bool again(int err)
{
	return err == -EAGAIN || err == -EINTR || err == -ERESTARTSYS || err == -ENOMEM;
}

/*
 * tx_lock held.  An error that is not the connection's end, as of ICMP with
 * IP_RECVERR: TCP gives it to the next call and goes on.  Net/tls would fail for it at
 * every record from then on, so it must not be there when net/tls sends.
 */
static int take_soft_error(struct sock *sk)
{
	int err = READ_ONCE(sk->sk_err);

	/* EBADMSG is net/tls's, for good */
	if (likely(!err) || err == EBADMSG || READ_ONCE(sk->sk_state) == TCP_CLOSE)
		return 0;
	return tlsport_record_broken(sk) ? 0 : tlsport_sk_take_error(sk);
}

/* What was taken is for the application's next call; one that came since is newer. */
static void give_back_error(struct sock *sk, int err)
{
	if (unlikely(err) && !cmpxchg(&sk->sk_err, 0, -err))
		sk_error_report(sk); /* who looked meanwhile did not see it */
}

/*
 * Who sends gets what is in sk_err: TCP's error, or that of a record of the peer
 * that net/tls cannot read.  Such a one goes back there, for
 * tlsport_control_record_error(); what was to be sent is sent later, while there
 * is a connection.  EBADMSG alone is net/tls's own: it could not encrypt; or, of a
 * connection that is closing, what its work item made of such a record that has been
 * dropped since: there it is tried again until the deadline, and else once, for a reader
 * who has met it may not have said so yet.  EPIPE is final after our FIN; before it, it is
 * what an error became that somebody took while TCP met it.
 */
static int send_error(struct sock *sk, int err)
{
	struct tlsport_conn *conn = tlsport_conn_of(sk);
	bool closing;

	if (err >= 0 && test_bit(TLSPORT_TX_BADMSG, &conn->tx_flags))
		clear_bit(TLSPORT_TX_BADMSG, &conn->tx_flags);

	if (err >= 0 || (err == -EPIPE && (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)) ||
	    READ_ONCE(sk->sk_state) == TCP_CLOSE)
		return err;
	if (!tlsport_record_broken(sk)) {
		closing = conn->state == TLSPORT_CONN_CLOSING;
		if (again(err) || (err == -EBADMSG && !closing &&
				   test_and_set_bit(TLSPORT_TX_BADMSG, &conn->tx_flags)))
			return err;
		if (closing)
			tlsport_sk_take_error(sk); /* there is no other call that would */
		return -EAGAIN;
	}
	if (err != -EAGAIN && !READ_ONCE(conn->rx_err))
		cmpxchg(&sk->sk_err, 0, -err);
	return -EAGAIN;
}

/*
 * tx_lock held.  Nothing can be encrypted any more, or a part of the data is lost: FIN
 * alone, behind what was encrypted before.
 */
static void cut(struct tlsport_conn *conn, enum tlsport_reason reason)
{
	if (!tlsport_record_broken(conn->sk))
		cmpxchg(&conn->sk->sk_err, EBADMSG, 0);
	tlsport_conn_note(conn, reason);
	tlsport_conn_rx_failed(conn);
	set_bit(TLSPORT_TX_CUT, &conn->tx_flags);
	set_bit(TLSPORT_TX_CLOSED, &conn->tx_flags);
	clear_bit(TLSPORT_TX_ALERT, &conn->tx_flags);
	set_bit(TLSPORT_TX_FIN, &conn->tx_flags);
}

/*
 * Sends a record of @type; the record of data that MSG_MORE left open goes out
 * before it.  Returns @len, also where net/tls has made the record and keeps it for
 * later; else a negative errno.  When net/tls could not encrypt the open one, and has
 * thrown it away, nothing more is sent.
 */
static int send_record(struct socket *sock, const struct proto_ops *base, u8 type, const void *data,
		       size_t len, int flags)
{
	union {
		struct cmsghdr hdr;
		u8 buf[CMSG_SPACE(sizeof(u8))];
	} u = {};
	struct msghdr msg = {
		.msg_control = &u,
		.msg_controllen = sizeof(u),
		.msg_flags = flags | MSG_NOSIGNAL,
	};
	struct kvec vec = { .iov_base = (void *)data, .iov_len = len };
	const struct tls_context *ctx = tls_get_ctx(sock->sk);
	bool open = ctx->pending_open_record_frags;
	u64 before = tlsport_tx_records(sock->sk);
	int err;

	lockdep_assert_held(&tlsport_conn_of(sock->sk)->tx_lock);
	if ((flags & MSG_DONTWAIT) && net_tls_busy(sock->sk))
		return -EAGAIN;
	u.hdr.cmsg_level = SOL_TLS;
	u.hdr.cmsg_type = TLS_SET_RECORD_TYPE;
	u.hdr.cmsg_len = CMSG_LEN(sizeof(u8));
	*(u8 *)CMSG_DATA(&u.hdr) = type;
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, &vec, 1, len);
	err = base->sendmsg(sock, &msg, len);
	if (flags & MSG_DONTWAIT)
		err = send_error(sock->sk, err);
	if (err >= 0 || tlsport_tx_records(sock->sk) == before + open + !!len)
		return err < 0 ? len : err;
	if (open && !ctx->pending_open_record_frags && tlsport_tx_records(sock->sk) == before &&
	    READ_ONCE(sock->sk->sk_state) != TCP_CLOSE) {
		cut(tlsport_conn_of(sock->sk), TLSPORT_REASON_NO_MEMORY);
		return -EPIPE;
	}
	return err;
}

/* A record that TCP does not have wholly */
static bool keeps_record(const struct tls_context *ctx)
{
	/* without net/tls's tx_lock a guess, by which nothing is lost: unsent() takes it */
	return data_race(ctx->partially_sent_record) ||
	       (ctx->tx_conf == TLSPORT_CONF_SW && !list_empty(&tls_sw_ctx_tx(ctx)->tx_list));
}

/*
 * Net/tls has taken data, TCP had no memory for them, and nothing is in flight
 * whose acknowledgment would make net/tls try again.
 */
static bool stuck(const struct sock *sk)
{
	if (likely(!keeps_record(tls_get_ctx(sk))) || READ_ONCE(sk->sk_state) == TCP_CLOSE)
		return false;
	/* a guess, too: net/tls's work item is woken in vain */
	return data_race(tcp_rtx_and_write_queues_empty(sk));
}

/* tx_lock held.  Net/tls tries again, as if there were room now. */
static void unstick(struct sock *sk)
{
	const struct tlsport_conn *conn = tlsport_conn_of(sk);

	if (conn->state == TLSPORT_CONN_CLOSING) /* our callbacks are in */
		tlsport_transmit_room(sk, conn->write_space);
	else
		tlsport_transmit_room(sk, sk->sk_write_space);
}

/**
 * tlsport_transmit_room - there is room to send
 * @sk: attached
 * @write_space: net/tls's callback, of its sk or saved from there
 *
 * With TCP's lock, as TCP itself calls it: what an interface encrypts net/tls sends
 * from there.  Context: process.
 */
void tlsport_transmit_room(struct sock *sk, void (*write_space)(struct sock *sk))
{
	lock_sock(sk);
	write_space(sk);
	release_sock(sk);
}

/*
 * Is a record of net/tls not wholly in TCP's queue?  Its work item takes the
 * record off while it pushes, with both locks held: without them a FIN could get
 * inside the record.
 */
static bool unsent(struct sock *sk)
{
	struct tls_context *ctx = tls_get_ctx(sk);
	bool pending;

	if (!mutex_trylock(&ctx->tx_lock))
		return true;
	lock_sock(sk);
	pending = keeps_record(ctx);
	release_sock(sk);
	mutex_unlock(&ctx->tx_lock);
	return pending;
}

/* tx_lock held.  The KeyUpdate is out: the key behind it, before anything else goes. */
static int next_key(struct sock *sk, int flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sk);
	int err;

	if (!test_bit(TLSPORT_TX_REKEY, &conn->tx_flags))
		return 0;
	err = tlsport_rekey_tx(sk, conn, flags);
	if (again(err))
		return err;
	clear_bit(TLSPORT_TX_REKEY, &conn->tx_flags);
	if (err)
		cut(conn, TLSPORT_REASON_REKEY_FAILED);
	return 0;
}

/*
 * Our answer to update_requested: the message under the old key, then the next
 * key.  The peer may ask again before there is that.  tx_lock held.
 */
static int update(struct socket *sock, const struct proto_ops *base, int flags)
{
	static const u8 key_update[] = { TLSPORT_MSG_KEY_UPDATE, 0, 0, 1, 0 };
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int err;

	err = next_key(sock->sk, flags);
	if (err)
		return err;
	if (test_bit(TLSPORT_TX_UPDATE, &conn->tx_flags)) {
		err = test_bit(TLSPORT_TX_CUT, &conn->tx_flags) ?
			      -EPIPE :
			      send_record(sock, base, TLSPORT_TYPE_HANDSHAKE, key_update,
					  sizeof(key_update), flags);
		if (again(err) || (err < 0 && !(flags & MSG_DONTWAIT)))
			return err; /* the caller's, who waits for room */
		if (err > 0)
			set_bit(TLSPORT_TX_REKEY, &conn->tx_flags);
		clear_bit(TLSPORT_TX_UPDATE, &conn->tx_flags);
		if (err < 0 && READ_ONCE(sock->sk->sk_state) == TCP_CLOSE)
			return err;
	}
	return next_key(sock->sk, flags);
}

/*
 * tx_lock held.  For an interface net/tls would make an empty record of no data, behind
 * the open one.
 */
static int close_nic_record(struct sock *sk)
{
	struct tls_context *ctx = tls_get_ctx(sk);
	int err;

	if (!mutex_trylock(&ctx->tx_lock))
		return -EAGAIN;
	lock_sock(sk);
	err = ctx->push_pending_record(sk, MSG_DONTWAIT | MSG_NOSIGNAL);
	release_sock(sk);
	mutex_unlock(&ctx->tx_lock);
	return send_error(sk, err);
}

/**
 * tlsport_transmit_close_record - what comes next begins a record
 * @sock: who has the sk
 * @base: net/tls's operations
 *
 * Context: process, tx_lock held.
 * Return: 0, or a negative errno: the record may still be open.
 */
int tlsport_transmit_close_record(struct socket *sock, const struct proto_ops *base)
{
	const struct tls_context *ctx = tls_get_ctx(sock->sk);

	if (!ctx->pending_open_record_frags)
		return 0;
	if (ctx->tx_conf == TLSPORT_CONF_HW)
		return close_nic_record(sock->sk);
	return send_record(sock, base, TLSPORT_TYPE_DATA, NULL, 0, MSG_DONTWAIT);
}

/*
 * The record that MSG_MORE left open, tx_lock held.  Without room it is made all
 * the same, and net/tls sends it when there is.
 */
static int push(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	const struct tls_context *ctx = tls_get_ctx(sock->sk);
	bool corked = test_bit(TLSPORT_TX_CORKED, &conn->tx_flags);
	int err;

	if (corked && !test_bit(TLSPORT_TX_OVERDUE, &conn->tx_flags))
		return 0;
	err = tlsport_transmit_close_record(sock, base);
	if (ctx->pending_open_record_frags)
		return err;
	if (stuck(sock->sk))
		return -EAGAIN;
	if (corked) { /* TCP's own cork would hold it as long again */
		tcp_sock_set_cork(sock->sk, false);
		tcp_sock_set_cork(sock->sk, true);
	}
	clear_bit(TLSPORT_TX_OVERDUE, &conn->tx_flags);
	return 0;
}

/* tx_lock held.  A cork, or MSG_MORE, holds a record for a while only. */
static void hold(struct tlsport_conn *conn)
{
	if (tls_get_ctx(conn->sk)->pending_open_record_frags && !timer_pending(&conn->timer))
		mod_timer(&conn->timer, jiffies + TLSPORT_CORK_TIMEOUT);
}

/* The connection's work item, conn->lock held: the timer has run out. */
void tlsport_transmit_overdue(struct tlsport_conn *conn)
{
	/* a writer that leaves one open sets the timer */
	if (!data_race(tls_get_ctx(conn->sk)->pending_open_record_frags))
		return;
	set_bit(TLSPORT_TX_OVERDUE, &conn->tx_flags);
	set_bit(TLSPORT_TX_PUSH, &conn->tx_flags);
}

/* tx_lock held, no soft error.  -EAGAIN: something is still due. */
static int send_due(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	u8 msg[TLSPORT_ALERT_LEN];
	u16 alert;

	if (stuck(sock->sk)) {
		unstick(sock->sk);
		return -EAGAIN;
	}
	if (test_and_clear_bit(TLSPORT_TX_PUSH, &conn->tx_flags) && again(push(sock, base))) {
		set_bit(TLSPORT_TX_PUSH, &conn->tx_flags);
		return -EAGAIN;
	}
	if (update(sock, base, MSG_DONTWAIT))
		return -EAGAIN;
	if (test_and_clear_bit(TLSPORT_TX_ALERT, &conn->tx_flags) &&
	    !test_bit(TLSPORT_TX_CUT, &conn->tx_flags)) {
		alert = READ_ONCE(conn->alert);
		msg[0] = alert >> 8;
		msg[1] = alert;
		if (again(send_record(sock, base, TLSPORT_TYPE_ALERT, msg, sizeof(msg),
				      MSG_DONTWAIT))) {
			set_bit(TLSPORT_TX_ALERT, &conn->tx_flags);
			return -EAGAIN;
		}
	}
	/* an alert that has become due since goes first: the caller comes again */
	if (test_bit(TLSPORT_TX_FIN, &conn->tx_flags) &&
	    !test_bit(TLSPORT_TX_ALERT, &conn->tx_flags)) {
		if (READ_ONCE(sock->sk->sk_state) != TCP_CLOSE && unsent(sock->sk))
			return -EAGAIN;
		clear_bit(TLSPORT_TX_FIN, &conn->tx_flags);
		base->shutdown(sock, SHUT_WR);
	}
	if (stuck(sock->sk)) { /* it was made, and TCP had no memory for it */
		set_bit(TLSPORT_TX_PUSH, &conn->tx_flags);
		return -EAGAIN;
	}
	return 0;
}

/*
 * The connection ends while a writer waits for room: as on TCP it waits no more.
 * The lock keeps it in its system call meanwhile: not_interrupted().
 */
static void interrupt_writer(struct tlsport_conn *conn)
{
	struct task_struct *writer;

	spin_lock(&conn->interrupt_lock);
	smp_mb(); /* TX_CLOSED before the writer */
	writer = READ_ONCE(conn->writer);
	if (writer && writer != current)
		set_tsk_thread_flag(writer, TIF_SIGPENDING);
	spin_unlock(&conn->interrupt_lock);
	if (writer)
		conn->sk->sk_state_change(conn->sk); /* wakes who waits for room */
}

/*
 * The caller is the writer no more, and then found TX_CLOSED.  When this returns
 * nobody sets its flag, and none is set without a signal: the next call that waits
 * would fail with EINTR.
 */
static void not_interrupted(struct tlsport_conn *conn)
{
	/* its own stays until it ends */
	struct sighand_struct *sighand = rcu_dereference_protected(current->sighand, true);

	spin_lock(&conn->interrupt_lock);
	spin_unlock(&conn->interrupt_lock);
	if (!signal_pending(current))
		return;
	spin_lock_irq(&sighand->siglock);
	recalc_sigpending();
	spin_unlock_irq(&sighand->siglock);
}

/* tx_lock is free, barrier. */
static void next_writer(struct tlsport_conn *conn)
{
	if (likely(!test_bit(TLSPORT_TX_WAITED, &conn->tx_flags)))
		return;
	clear_bit(TLSPORT_TX_WAITED, &conn->tx_flags);
	smp_mb__after_atomic(); /* wake_up_var() */
	wake_up_var(&conn->tx_lock);
}

bool tlsport_transmit_is_due(const struct tlsport_conn *conn)
{
	return READ_ONCE(conn->tx_flags) & DUE;
}

/* Each time twice as late.  Others may be here, too: a race costs a delay. */
static void transmit_later(struct tlsport_conn *conn)
{
	u8 retries = READ_ONCE(conn->tx_retries);

	mod_timer(&conn->timer, jiffies + (TLSPORT_TX_RETRY << retries));
	WRITE_ONCE(conn->tx_retries, min(retries + 1, TLSPORT_TX_RETRIES_MAX));
}

/**
 * tlsport_transmit_due - send what is due
 * @sock: who has the sk
 * @base: net/tls's operations
 *
 * Context: process, tx_lock not held; the connection cannot be dead: conn->lock
 * is held, or a system call on its socket goes on.  Does not wait for the peer.
 */
void tlsport_transmit_due(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int err = 0, soft;

	smp_mb(); /* the bits before the trylock; see the head of the file */
	while (!err && tlsport_transmit_is_due(conn) && mutex_trylock(&conn->tx_lock)) {
		soft = take_soft_error(sock->sk);
		err = send_due(sock, base);
		give_back_error(sock->sk, soft);
		mutex_unlock(&conn->tx_lock);
		smp_mb(); /* unlock before the bits */
		next_writer(conn);
	}
	if (err)
		transmit_later(conn);
	else
		WRITE_ONCE(conn->tx_retries, 0);
	if (tlsport_transmit_is_due(conn) && test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags))
		interrupt_writer(conn);
}

/**
 * tlsport_transmit_alert - an alert is due
 * @conn: whose; tlsport_transmit_due() comes next
 * @level: of the alert
 * @description: close_notify and fatal alerts are the last that is sent: FIN follows
 *
 * Context: process, conn->lock held.
 */
void tlsport_transmit_alert(struct tlsport_conn *conn, u8 level, u8 description)
{
	bool last = level == TLSPORT_ALERT_FATAL || description == TLSPORT_ALERT_CLOSE_NOTIFY;

	if (last ? test_and_set_bit(TLSPORT_TX_CLOSED, &conn->tx_flags) :
		   test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags))
		return;
	WRITE_ONCE(conn->alert, level << 8 | description);
	smp_mb__before_atomic(); /* the alert before its bit */
	set_bit(TLSPORT_TX_ALERT, &conn->tx_flags);
	if (last)
		set_bit(TLSPORT_TX_FIN, &conn->tx_flags);
}

static int broken_pipe(unsigned int flags)
{
	if (!(flags & MSG_NOSIGNAL))
		send_sig(SIGPIPE, current, 0);
	return -EPIPE;
}

/* There is no connection any more, and what the peer sent last is not why. */
static bool is_closed(const struct tlsport_conn *conn)
{
	return READ_ONCE(conn->sk->sk_state) == TCP_CLOSE &&
	       (READ_ONCE(conn->rx_closed) || !tlsport_record_broken(conn->sk));
}

/* The peer's RST, or TCP's own end: one call gets the error, the others EPIPE. */
static int closed_error(struct sock *sk, unsigned int flags)
{
	int err = sock_error(sk);

	return !err || err == -EPIPE ? broken_pipe(flags) : err;
}

/*
 * A record of the peer that is of no concern: what net/tls makes of it stopped the
 * call, and is gone, so the system call begins anew.  Other errors are the call's own.
 */
static int begin_anew(int ret)
{
	if (ret != -EBADMSG && ret != -EMSGSIZE && ret != -EINVAL)
		return ret;
	set_tsk_thread_flag(current, TIF_SIGPENDING);
	return -ERESTARTSYS;
}

/* tx_flags is neither 0 nor a cork alone: closed, or something is due. */
static int begin_special(struct socket *sock, const struct proto_ops *base, unsigned int *flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int err = 0;

	if (!test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags))
		err = update(sock, base, *flags & MSG_DONTWAIT);
	if (err == -EAGAIN) /* open_step() wakes who polls for it */
		set_bit(SOCK_NOSPACE, &sock->flags);
	if (err && err != -EPIPE)
		return err;
	if (err || test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags))
		return broken_pipe(*flags);
	if (is_closed(conn)) /* while it waited */
		return closed_error(sock->sk, *flags);
	if (test_bit(TLSPORT_TX_CORKED, &conn->tx_flags))
		*flags |= MSG_MORE;
	return 0;
}

/*
 * tx_lock held.  When the key has encrypted all the records that it may, KeyUpdate
 * is due; true: there is none, end_of_key() comes next.
 */
static bool wears_out(const struct sock *sk, struct tlsport_conn *conn)
{
	if (likely(tlsport_tx_records(sk) < conn->key_limit) ||
	    test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags))
		return false;
	if (conn->version != TLS_1_3_VERSION)
		return true;
	if (!test_bit(TLSPORT_TX_REKEY, &conn->tx_flags) &&
	    !test_and_set_bit(TLSPORT_TX_UPDATE, &conn->tx_flags))
		TLSPORT_STAT(conn->port, KEY_UPDATES);
	return false;
}

/* TLS 1.2 has no other key, and what comes next must not look like the end of the data. */
static void end_of_key(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);

	mutex_lock(&conn->lock);
	tlsport_control_fatal(sock, base, TLSPORT_ALERT_INTERNAL_ERROR, TLSPORT_REASON_KEY_LIMIT);
	mutex_unlock(&conn->lock);
}

/* Whoever has tx_lock finds the bit when it lets go, as with what is due. */
static bool try_turn(struct tlsport_conn *conn)
{
	set_bit(TLSPORT_TX_WAITED, &conn->tx_flags);
	smp_mb__after_atomic(); /* the bit before the trylock */
	return mutex_trylock(&conn->tx_lock);
}

/*
 * No room, for which whoever has tx_lock may wait, and nothing else to tell: on TCP
 * who does not wait is told so.  What makes room wakes who polls.
 */
static bool has_no_room(struct sock *sk)
{
	set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	smp_mb__after_atomic(); /* as in tcp_poll() */
	return !sk_stream_memory_free(sk) && !READ_ONCE(sk->sk_err) &&
	       !test_bit(TLSPORT_TX_CLOSED, &tlsport_conn_of(sk)->tx_flags);
}

/* Another has tx_lock, and may wait for room with it: no longer than the caller would. */
static int wait_turn(struct sock *sk, unsigned int flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sk);
	long timeo = sock_sndtimeo(sk, flags & MSG_DONTWAIT);

	if (!timeo && has_no_room(sk))
		return -EAGAIN;
	if (!timeo || timeo == MAX_SCHEDULE_TIMEOUT)
		return mutex_lock_interruptible(&conn->tx_lock) ? -ERESTARTSYS : 0;
	timeo = ___wait_var_event(&conn->tx_lock, ___wait_cond_timeout(try_turn(conn)),
				  TASK_INTERRUPTIBLE, 0, timeo, __ret = schedule_timeout(__ret));
	if (timeo < 0)
		return -EINTR;
	return timeo ? 0 : -EAGAIN;
}

/**
 * tlsport_transmit_begin - the application wants to send
 * @sock: its socket
 * @base: net/tls's operations
 * @flags: the caller's MSG_*; MSG_MORE is added under a cork
 *
 * Context: the application; waits for the writer before, for SO_SNDTIMEO at most.
 * Return: 0: tx_lock is held, tlsport_transmit_end() follows; else the error
 * for the application.
 */
int tlsport_transmit_begin(struct socket *sock, const struct proto_ops *base, unsigned int *flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	unsigned long tx_flags;
	int err;

	if (unlikely(!mutex_trylock(&conn->tx_lock))) {
		err = wait_turn(sock->sk, *flags);
		if (err)
			return err;
	}
	smp_store_mb(conn->writer, current); /* interrupt_writer(): the bits, then the writer */
	if (unlikely(is_closed(conn)))
		return tlsport_transmit_end(sock, base, closed_error(sock->sk, *flags), 0, *flags);
	err = take_soft_error(sock->sk);
	if (unlikely(err))
		return tlsport_transmit_end(sock, base, err, 0, *flags);
	tx_flags = READ_ONCE(conn->tx_flags);
	if (likely(!tx_flags))
		return 0;
	if (likely(tx_flags == BIT(TLSPORT_TX_CORKED))) {
		*flags |= MSG_MORE;
		return 0;
	}
	err = begin_special(sock, base, flags);
	return err ? tlsport_transmit_end(sock, base, err, 0, *flags) : 0;
}

/* What is in tx_flags concerns others, or the caller, who may have been interrupted. */
static void end_special(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);

	next_writer(conn);
	if (tlsport_transmit_is_due(conn))
		tlsport_transmit_due(sock, base);
	if (test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags))
		not_interrupted(conn);
}

/* By what TCP leaves of it, which counts time, not tries; a negative errno */
static int how_it_ended(const struct sock *sk)
{
	const struct inet_connection_sock *icsk = inet_csk(sk);
	int tries = icsk->icsk_retransmits + icsk->icsk_probes_out;

	if (tries && (READ_ONCE(icsk->icsk_user_timeout) ||
		      2 * tries >= READ_ONCE(sock_net(sk)->ipv4.sysctl_tcp_retries2)))
		return -(READ_ONCE(sk->sk_err_soft) ?: ETIMEDOUT);
	return -ECONNRESET;
}

/*
 * Some of it.  Net/tls has taken the error that it met out of sk_err, for none is told with
 * bytes: the next call is to have it.
 */
static void sent_less(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	struct sock *sk = sock->sk;

	if (tlsport_record_broken(sk))
		tlsport_control_record_error(sock, base, -EBADMSG);
	else if (READ_ONCE(sk->sk_state) == TCP_CLOSE && !sock_flag(sk, SOCK_DONE) &&
		 !READ_ONCE(conn->reset_told))
		cmpxchg(&sk->sk_err, 0, -how_it_ended(sk));
}

/**
 * tlsport_transmit_end - the application has sent
 * @sock: its socket; tx_lock is held, and released here
 * @base: net/tls's operations
 * @ret: what net/tls gave
 * @len: what the application wanted to send
 * @flags: the caller's MSG_*
 *
 * Return: what the application gets.
 */
ssize_t tlsport_transmit_end(struct socket *sock, const struct proto_ops *base, ssize_t ret,
			     size_t len, unsigned int flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	bool worn = wears_out(sock->sk, conn), broken;
	int err;

	if (flags & MSG_MORE)
		hold(conn);
	WRITE_ONCE(conn->writer, NULL);
	if (stuck(sock->sk))
		set_bit(TLSPORT_TX_PUSH, &conn->tx_flags);
	mutex_unlock(&conn->tx_lock);
	if (unlikely(worn))
		end_of_key(sock, base);
	smp_mb(); /* unlock, and the writer, before the bits */
	if (unlikely(READ_ONCE(conn->tx_flags) & AT_END))
		end_special(sock, base);
	if (likely(ret == (ssize_t)len))
		return ret;
	if (ret >= 0) {
		sent_less(sock, base);
		return ret;
	}
	broken = tlsport_record_broken(sock->sk);
	err = broken ? tlsport_control_record_error(sock, base, -EBADMSG) : 0;
	if (err) /* what the peer sent */
		return err;
	if ((ret == -EINTR || ret == -ERESTARTSYS) && test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags))
		return broken_pipe(flags); /* interrupt_writer() */
	if (broken)
		ret = begin_anew(ret);
	else if (ret == -EBADMSG) /* net/tls could not encrypt */
		ret = -ECONNRESET;
	tlsport_conn_told(conn, ret);
	return ret;
}
