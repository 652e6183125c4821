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
#include "tlsport.h"

#define DISCARD_LEN    4096
#define DISCARD_ROUNDS 16

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
	pending = ctx->partially_sent_record;
	release_sock(sk);
	mutex_unlock(&ctx->tx_lock);
	return pending;
}

/**
 * tlsport_close_notify - send close_notify, once, behind all data
 * @sock: who has the sk
 * @base: net/tls's operations
 * @flags: MSG_DONTWAIT or 0
 *
 * Context: process, conn->lock held.
 * Return: 0: it is out, or nothing can be sent any more; -EAGAIN: the send
 * buffer is full.
 */
int tlsport_close_notify(struct socket *sock, const struct proto_ops *base, int flags)
{
	static const u8 close_notify[TLSPORT_ALERT_LEN] = {
		TLSPORT_ALERT_WARNING,
		TLSPORT_ALERT_CLOSE_NOTIFY,
	};
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int ret;

	if (!test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags)) {
		base->splice_eof(sock);
		ret = tlsport_control_send(sock, base, TLSPORT_TYPE_ALERT, close_notify,
					   sizeof(close_notify), flags);
		if (ret == -EAGAIN || ret == -EINTR || ret == -ERESTARTSYS)
			return -EAGAIN;
		set_bit(TLSPORT_TX_CLOSED, &conn->tx_flags);
	}
	return unsent(sock->sk) ? -EAGAIN : 0;
}

static bool broken(const struct sock *sk)
{
	return READ_ONCE(sk->sk_err) || sk->sk_state == TCP_CLOSE;
}

/* A RST that answers our close_notify, from a peer that has closed, is no event. */
static void note_reset(struct tlsport_conn *conn, const struct sock *sk)
{
	if (!conn->reason && broken(sk) && !conn->rx_closed && !conn->flushed)
		conn->reason = TLSPORT_REASON_PEER_RESET;
}

static void finish(struct tlsport_conn *conn)
{
	note_reset(conn, conn->sk);
	tlsport_conn_count_end(conn, TLSPORT_REASON_CLOSED);
	tlsport_conn_dead(conn);
}

/* Data that comes after our FIN is nobody's.  True: the peer has nothing more to say. */
static bool discard_rest(struct tlsport_conn *conn)
{
	struct sock *sk = conn->sk;
	int i, n = 0;
	u8 *buf, type;

	buf = kmalloc(DISCARD_LEN, GFP_KERNEL);
	if (!buf)
		return true;
	for (i = 0; i < DISCARD_ROUNDS; i++) {
		n = tlsport_control_recv(conn->sock, conn->sock->ops, buf, DISCARD_LEN, 0, &type);
		if (n <= 0)
			break;
		conn->drained += n;
	}
	kfree_sensitive(buf);
	if (n > 0)
		tlsport_conn_queue(conn);
	return (n <= 0 && n != -EAGAIN) || (sk->sk_shutdown & RCV_SHUTDOWN && n <= 0) ||
	       conn->drained > TLSPORT_DRAIN_MAX;
}

/* conn->lock held; CLOSING with TLS: flush, close_notify, FIN, the peer's FIN. */
void tlsport_close_work(struct tlsport_conn *conn)
{
	struct socket *sock = conn->sock;
	bool late = time_after_eq(jiffies, conn->deadline);

	if (broken(conn->sk)) {
		finish(conn);
		return;
	}
	if (!conn->flushed) {
		if (tlsport_close_notify(sock, sock->ops, MSG_DONTWAIT) == -EAGAIN) {
			if (late) {
				conn->reason = TLSPORT_REASON_LINGER_TIMEOUT;
				sock_no_linger(conn->sk);
				finish(conn);
			} else {
				mod_timer(&conn->timer, jiffies + TLSPORT_LINGER_TICK);
			}
			return;
		}
		kernel_sock_shutdown(sock, SHUT_WR);
		conn->flushed = true;
		conn->deadline = jiffies + TLSPORT_FIN_TIMEOUT;
		mod_timer(&conn->timer, conn->deadline);
		late = false;
	}
	if (discard_rest(conn) || late)
		finish(conn);
}

/* The sk leaves the application's socket.  NULL: no memory. */
static struct socket *take_private(struct socket *sock, const struct proto_ops *base)
{
	struct sock *sk = sock->sk;
	struct socket *priv;

	if (sock_create_lite(sk->sk_family, SOCK_STREAM, IPPROTO_TCP, &priv))
		return NULL;
	priv->ops = base;
	priv->state = SS_CONNECTED;
	lock_sock(sk);
	sock->sk = NULL;
	sock_graft(sk, priv);
	release_sock(sk);
	return priv;
}

/* At once: SO_LINGER, a broken connection, or no memory for better. */
static int close_now(struct tlsport_conn *conn, struct socket *sock, const struct proto_ops *base)
{
	struct sock *sk = sock->sk;

	note_reset(conn, sk);
	tlsport_conn_count_end(conn, TLSPORT_REASON_CLOSED);
	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = NULL;
	write_unlock_bh(&sk->sk_callback_lock);
	tlsport_conn_dead(conn);
	mutex_unlock(&conn->lock);
	tlsport_conn_put(conn);
	return base->release(sock);
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
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	struct sock *sk = sock->sk;

	refcount_inc(&conn->ref);
	clear_bit(TLSPORT_TX_CORKED, &conn->tx_flags);
	mutex_lock(&conn->lock);
	if (sock_flag(sk, SOCK_LINGER) || broken(sk)) {
		if (sk->sk_lingertime && !broken(sk))
			tlsport_close_notify(sock, base, 0);
		return close_now(conn, sock, base);
	}
	conn->sock = take_private(sock, base);
	if (!conn->sock) {
		tlsport_close_notify(sock, base, MSG_DONTWAIT);
		return close_now(conn, sock, base);
	}
	conn->state = TLSPORT_CONN_CLOSING;
	conn->deadline = jiffies + TLSPORT_LINGER_TIMEOUT;
	tlsport_conn_set_callbacks(conn);
	tlsport_close_work(conn);
	mutex_unlock(&conn->lock);
	tlsport_conn_put(conn);
	return 0;
}
