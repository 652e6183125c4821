// SPDX-License-Identifier: GPL-2.0-only
/*
 * close(): what the application wrote is sent, then close_notify, then FIN;
 * then the peer's last bytes are ignored until its FIN.  net/tls would free a
 * record that the send buffer had no room for, and TCP would answer the peer's
 * close_notify with a RST that can overtake our data.  So the sk moves back to
 * a private socket, and its events drive it to the end, or a deadline does.
 *
 * conn->lock guards all of it.
 */
#include <linux/fs.h>
#include "tlsport.h"

#define DISCARD_ROUNDS 128

/*
 * Nothing can be sent any more: there is no connection, or net/tls could not
 * encrypt.  Any other sk_err is of one call only, or of a record of the peer.
 */
static bool broken(const struct sock *sk)
{
	return READ_ONCE(sk->sk_state) == TCP_CLOSE ||
	       (READ_ONCE(sk->sk_err) == EBADMSG && !tlsport_record_broken(sk));
}

/* Both FINs are acknowledged: the application had shut down its side before. */
static bool ended_by_fin(const struct sock *sk)
{
	return READ_ONCE(sk->sk_state) == TCP_CLOSE && sock_flag(sk, SOCK_DONE) &&
	       (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN) &&
	       tcp_sk(sk)->snd_una == tcp_sk(sk)->write_seq;
}

/* A RST that answers our close_notify, from a peer that has closed, is no event. */
static void note_reset(struct tlsport_conn *conn, const struct sock *sk)
{
	if (broken(sk) && !ended_by_fin(sk) && !conn->rx_closed && !conn->flushed)
		tlsport_conn_note(conn, TLSPORT_REASON_PEER_RESET);
}

static void finish(struct tlsport_conn *conn)
{
	note_reset(conn, conn->sk);
	tlsport_conn_count_end(conn, TLSPORT_REASON_CLOSED);
	tlsport_conn_dead(conn);
}

/* Nothing more comes out of net/tls: what is in TCP's queue goes unread. */
static void discard_raw(struct tlsport_conn *conn)
{
	struct sock *sk = conn->sk;

	lock_sock(sk);
	tls_sw_ctx_rx(tls_get_ctx(sk))->strp.stopped = 1; /* the queue is not its any more */
	conn->drained += tlsport_sk_discard(sk, TLSPORT_DRAIN_MAX);
	release_sock(sk);
	WRITE_ONCE(conn->rx_err, conn->rx_err ?: -ECONNRESET);
}

/* One record.  1: it is gone; 0: the end; else what a reader would get. */
static int discard_record(struct tlsport_conn *conn)
{
	u64 seq = tlsport_record_seq(conn->sk);
	int n = tlsport_control_handle_locked(conn->sock, conn->sock->ops);

	if (n)
		return n;
	/* one without content has gone by itself */
	return tlsport_record_drop(conn->sk) || tlsport_record_seq(conn->sk) != seq;
}

/*
 * Data that comes after our FIN is nobody's; a KeyUpdate still counts, for what
 * follows.  True: the peer has nothing more to say.
 */
static bool discard_rest(struct tlsport_conn *conn)
{
	u32 copied = READ_ONCE(tcp_sk(conn->sk)->copied_seq);
	int i, n = 0;

	for (i = 0; i < DISCARD_ROUNDS && !conn->rx_err; i++) {
		n = discard_record(conn);
		if (n <= 0)
			break;
	}
	conn->drained += READ_ONCE(tcp_sk(conn->sk)->copied_seq) - copied;
	if (n > 0 && !conn->rx_err) { /* more is there: after others have had their turn */
		tlsport_conn_queue(conn);
		return conn->drained > TLSPORT_DRAIN_MAX;
	}
	if (n == -EBADMSG || tlsport_record_broken(conn->sk))
		tlsport_control_record_error_locked(conn->sock, conn->sock->ops, n);
	if (n != -EAGAIN || conn->rx_err)
		discard_raw(conn);
	return READ_ONCE(conn->sk->sk_shutdown) & RCV_SHUTDOWN || conn->drained > TLSPORT_DRAIN_MAX;
}

/*
 * TCP is out of memory: who has no program any more makes room, as TCP's own orphans do,
 * when it closes and when its peer takes nothing.
 */
static bool makes_room(const struct tlsport_conn *conn)
{
	struct sock *sk = conn->sk;
	bool out;

	if (conn->acked) /* a program waits for the peer */
		return false;
	lock_sock(sk);
	out = sk->sk_wmem_queued > SOCK_MIN_SNDBUF && tlsport_is_in_tcp_mem(sk) &&
	      sk_memory_allocated(sk) > sk_prot_mem_limits(sk, 2);
	release_sock(sk);
	if (out)
		NET_INC_STATS(sock_net(sk), LINUX_MIB_TCPABORTONMEMORY);
	return out;
}

/*
 * Has the peer acknowledged everything, our FIN too?  From then on it has a
 * moment for its own; a close() with SO_LINGER goes on.
 */
static bool acknowledged(struct tlsport_conn *conn)
{
	if (!conn->flushed ||
	    (1 << READ_ONCE(conn->sk->sk_state)) & (TCPF_FIN_WAIT1 | TCPF_CLOSING | TCPF_LAST_ACK))
		return false;
	if (!conn->fin_acked) {
		conn->fin_acked = true;
		conn->deadline = jiffies + TLSPORT_FIN_TIMEOUT;
		if (conn->acked)
			complete(conn->acked);
		conn->acked = NULL;
	}
	return true;
}

static unsigned long linger_end(void)
{
	return jiffies + READ_ONCE(tlsport_linger_timeout) * HZ;
}

/* Has the peer taken anything since the last look? */
static bool progress(struct tlsport_conn *conn)
{
	u32 una = data_race(tcp_sk(conn->sk)->snd_una); /* a later one is for the next look */

	if (una == conn->una)
		return false;
	conn->una = una;
	conn->deadline = linger_end();
	return true;
}

static void give_up(struct tlsport_conn *conn, enum tlsport_reason reason, int err)
{
	tlsport_conn_note(conn, reason);
	tcp_abort(conn->sk, err); /* net/tls's work item waits no more */
	finish(conn);
}

/* No later than it is due to be looked at, whatever comes meanwhile. */
static void look_again(struct tlsport_conn *conn)
{
	unsigned long next = jiffies + TLSPORT_CLOSING_LOOK;

	timer_reduce(&conn->timer, time_before(conn->deadline, next) ? conn->deadline : next);
}

/* TCP must not send again what is encrypted on the way: see nic_xmit(). */
static bool on_nic(const struct tlsport_conn *conn)
{
	return tls_get_ctx(conn->sk)->tx_conf == TLSPORT_CONF_HW;
}

/* conn->lock held; CLOSING with TLS: flush, close_notify, FIN, the peer's FIN. */
void tlsport_close_work(struct tlsport_conn *conn)
{
	struct socket *sock = conn->sock;
	bool over, acked, late, look;

	look = xchg(&conn->timed_out, false);
	/* net/tls tells by sk_err: what was written still goes out */
	if (tlsport_record_broken(conn->sk))
		tlsport_control_record_error_locked(sock, sock->ops, 0);
	if (broken(conn->sk)) {
		finish(conn);
		return;
	}
	if (!conn->flushed) {
		tlsport_transmit_due(sock, sock->ops);
		conn->flushed = !tlsport_transmit_is_due(conn);
	}
	if (conn->flushed && tlsport_sk_fin_is_lost(conn->sk)) {
		give_up(conn, TLSPORT_REASON_NO_MEMORY, ECONNABORTED);
		return;
	}
	over = conn->flushed && discard_rest(conn);
	acked = acknowledged(conn); /* moves the deadline */
	late = time_after_eq(jiffies, conn->deadline);
	if ((over && (acked || !(conn->acked || on_nic(conn)))) || (acked && late)) {
		finish(conn);
		return;
	}
	if ((look || late) && !acked && !progress(conn)) {
		if (late) {
			give_up(conn, TLSPORT_REASON_LINGER_TIMEOUT, ETIMEDOUT);
			return;
		}
		if (makes_room(conn)) {
			give_up(conn, TLSPORT_REASON_NO_MEMORY, ECONNABORTED);
			return;
		}
	}
	if (conn->flushed) /* else the timer of what is due runs */
		look_again(conn);
}

/*
 * The sk leaves the application's socket.  Net/tls's work item may be asleep on
 * that socket's wait queue: the inode stays until the connection is dead, and
 * the sk stays with its wait queue.  NULL: no memory.
 */
static struct socket *take_private(struct tlsport_conn *conn, struct socket *sock,
				   const struct proto_ops *base)
{
	struct sock *sk = sock->sk;
	struct socket *priv;

	if (sock_create_lite(sk->sk_family, SOCK_STREAM, IPPROTO_TCP, &priv))
		return NULL;
	__module_get(base->owner);
	priv->ops = base;
	priv->state = SS_CONNECTED;
	ihold(SOCK_INODE(sock));
	conn->app_inode = SOCK_INODE(sock);
	set_bit(SOCK_NOSPACE, &priv->flags); /* TCP tells when there is room by this one now */
	lock_sock(sk);
	/* SHUT_RD before the peer's FIN: TCP would answer a close_notify by RST */
	if ((1 << sk->sk_state) & (TCPF_ESTABLISHED | TCPF_FIN_WAIT1 | TCPF_FIN_WAIT2))
		WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown & ~RCV_SHUTDOWN);
	sock->sk = NULL;
	sock_graft(sk, priv);
	rcu_assign_pointer(sk->sk_wq, &sock->wq);
	WRITE_ONCE(sk->sk_sndtimeo, 0);
	release_sock(sk);
	return priv;
}

/*
 * At once: SO_LINGER of 0, a broken connection, or no memory for better: then
 * net/tls would free what is still due, and FIN would hide that it is missing.
 */
static int close_now(struct tlsport_conn *conn, struct socket *sock, const struct proto_ops *base)
{
	struct sock *sk = sock->sk;
	bool lost = !broken(sk) && ((sock_flag(sk, SOCK_LINGER) && !sk->sk_lingertime) ||
				    tlsport_transmit_is_due(conn) || tlsport_sk_fin_is_lost(sk));

	note_reset(conn, sk);
	tlsport_conn_count_end(conn, TLSPORT_REASON_CLOSED);
	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = NULL;
	write_unlock_bh(&sk->sk_callback_lock);
	tlsport_conn_dead(conn);
	mutex_unlock(&conn->lock);
	tlsport_conn_put(conn);
	if (lost)
		tcp_abort(sk, ECONNRESET); /* net/tls's work item waits no more */
	return base->release(sock);
}

/* conn->lock held; its socket is private. */
static void begin_closing(struct tlsport_conn *conn)
{
	WRITE_ONCE(conn->state, TLSPORT_CONN_CLOSING);
	conn->deadline = linger_end();
	conn->una = data_race(tcp_sk(conn->sk)->snd_una); /* progress() asks for another */
	WRITE_ONCE(conn->timed_out, true);		  /* the first look */
	tlsport_conn_set_callbacks(conn);
	/* in the queue of those that are open others may wait */
	if (cancel_work(&conn->work))
		tlsport_conn_put(conn);
	tlsport_close_work(conn);
}

/**
 * tlsport_close_unaccepted - end an attached connection that no application had
 * @conn: its socket is private, without our callbacks
 * @alert: fatal, goes out before the FIN
 *
 * Context: process, conn->lock held.
 */
void tlsport_close_unaccepted(struct tlsport_conn *conn, u8 alert)
{
	timer_delete_sync(&conn->timer);
	WRITE_ONCE(conn->timed_out, false);
	tlsport_transmit_alert(conn, TLSPORT_ALERT_FATAL, alert);
	WRITE_ONCE(conn->sk->sk_sndtimeo, 0);
	set_bit(SOCK_NOSPACE, &conn->sock->flags);
	begin_closing(conn);
}

/* SO_LINGER: wait as TCP does, for the peer's acknowledgment of everything */
static void linger(struct tlsport_conn *conn, struct completion *acked, unsigned long timeout)
{
	wait_for_completion_interruptible_timeout(acked, timeout);
	mutex_lock(&conn->lock);
	conn->acked = NULL;
	mutex_unlock(&conn->lock);
}

/**
 * tlsport_close - the application's last reference to the socket is gone
 * @sock: its socket
 * @base: net/tls's operations
 *
 * Context: process, may sleep, waits for the peer only with SO_LINGER.
 * Return: 0.
 */
int tlsport_close(struct socket *sock, const struct proto_ops *base)
{
	DECLARE_COMPLETION_ONSTACK(acked);
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	struct tlsport_offload_now now;
	struct sock *sk = sock->sk;
	unsigned long timeout = 0;

	if (sock_flag(sk, SOCK_LINGER) && !(current->flags & PF_EXITING))
		timeout = sk->sk_lingertime;
	refcount_inc(&conn->ref);
	mutex_lock(&conn->lock);
	tlsport_offload_look(conn, &now); /* the last that counts */
	if (tlsport_record_broken(sk)) {  /* nobody has read that far, nor what is before it */
		tlsport_control_handle_locked(sock, base);
		tlsport_control_record_error_locked(sock, base, -EBADMSG);
	}
	if (!broken(sk)) {
		tlsport_transmit_alert(conn, TLSPORT_ALERT_WARNING, TLSPORT_ALERT_CLOSE_NOTIFY);
		set_bit(TLSPORT_TX_FIN, &conn->tx_flags);
	}
	if (broken(sk) || (sock_flag(sk, SOCK_LINGER) && !sk->sk_lingertime))
		return close_now(conn, sock, base);
	conn->sock = take_private(conn, sock, base);
	if (!conn->sock) {
		tlsport_conn_note(conn, TLSPORT_REASON_NO_MEMORY);
		tlsport_transmit_due(sock, base);
		return close_now(conn, sock, base);
	}
	if (timeout)
		conn->acked = &acked;
	begin_closing(conn);
	mutex_unlock(&conn->lock);
	if (timeout)
		linger(conn, &acked, timeout);
	tlsport_conn_put(conn);
	return 0;
}
