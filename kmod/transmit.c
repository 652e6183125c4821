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
#include "tlsport.h"

#define DUE \
	(BIT(TLSPORT_TX_UPDATE) | BIT(TLSPORT_TX_REKEY) | BIT(TLSPORT_TX_ALERT) | \
	 BIT(TLSPORT_TX_FIN))

/* net/tls's work item holds its tx_lock, perhaps for as long as the peer does not read */
static bool net_tls_busy(const struct sock *sk)
{
	struct tls_context *ctx = tls_get_ctx(sk);

	if (!mutex_trylock(&ctx->tx_lock))
		return true;
	mutex_unlock(&ctx->tx_lock);
	return false;
}

/*
 * Sends a record of @type; the record of data that MSG_MORE left open goes out
 * before it.  Returns @len or a negative errno.
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

	lockdep_assert_held(&tlsport_conn_of(sock->sk)->tx_lock);
	if ((flags & MSG_DONTWAIT) && net_tls_busy(sock->sk))
		return -EAGAIN;
	u.hdr.cmsg_level = SOL_TLS;
	u.hdr.cmsg_type = TLS_SET_RECORD_TYPE;
	u.hdr.cmsg_len = CMSG_LEN(sizeof(u8));
	*(u8 *)CMSG_DATA(&u.hdr) = type;
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, &vec, 1, len);
	return base->sendmsg(sock, &msg, len);
}

static bool again(int err)
{
	return err == -EAGAIN || err == -EINTR || err == -ERESTARTSYS;
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
	pending = ctx->partially_sent_record;
	release_sock(sk);
	mutex_unlock(&ctx->tx_lock);
	return pending;
}

/**
 * tlsport_transmit_open_record - send the record of data that MSG_MORE left open
 * @sock: who has the sk
 * @base: net/tls's operations
 *
 * Without room in the send buffer the record is made all the same, and net/tls
 * sends it when there is.
 *
 * Context: process, conn->tx_lock held; does not wait for the peer.
 */
void tlsport_transmit_open_record(struct socket *sock, const struct proto_ops *base)
{
	if (tls_get_ctx(sock->sk)->pending_open_record_frags)
		send_record(sock, base, TLSPORT_TYPE_DATA, NULL, 0, MSG_DONTWAIT);
}

/*
 * Our answer to update_requested: the message under the old key, then the next
 * key.  tx_lock held.
 */
static int update(struct socket *sock, const struct proto_ops *base, int flags)
{
	static const u8 key_update[] = { TLSPORT_MSG_KEY_UPDATE, 0, 0, 1, 0 };
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int err;

	if (test_bit(TLSPORT_TX_UPDATE, &conn->tx_flags)) {
		err = send_record(sock, base, TLSPORT_TYPE_HANDSHAKE, key_update,
				  sizeof(key_update), flags);
		if (again(err))
			return err;
		if (err > 0)
			set_bit(TLSPORT_TX_REKEY, &conn->tx_flags);
		clear_bit(TLSPORT_TX_UPDATE, &conn->tx_flags);
	}
	if (test_bit(TLSPORT_TX_REKEY, &conn->tx_flags)) {
		err = tlsport_rekey_tx(sock->sk, conn, flags);
		if (again(err))
			return err;
		clear_bit(TLSPORT_TX_REKEY, &conn->tx_flags);
		if (err) { /* no key to send an alert with: FIN alone */
			tlsport_conn_note(conn, TLSPORT_REASON_REKEY_FAILED);
			WRITE_ONCE(conn->rx_err, -ECONNRESET);
			set_bit(TLSPORT_TX_CLOSED, &conn->tx_flags);
			clear_bit(TLSPORT_TX_ALERT, &conn->tx_flags);
			set_bit(TLSPORT_TX_FIN, &conn->tx_flags);
		}
	}
	return 0;
}

/* tx_lock held.  -EAGAIN: something is still due. */
static int send_due(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	u8 msg[TLSPORT_ALERT_LEN];
	u16 alert;

	if (update(sock, base, MSG_DONTWAIT))
		return -EAGAIN;
	if (test_and_clear_bit(TLSPORT_TX_ALERT, &conn->tx_flags)) {
		alert = READ_ONCE(conn->alert);
		msg[0] = alert >> 8;
		msg[1] = alert;
		if (again(send_record(sock, base, TLSPORT_TYPE_ALERT, msg, sizeof(msg),
				      MSG_DONTWAIT))) {
			set_bit(TLSPORT_TX_ALERT, &conn->tx_flags);
			return -EAGAIN;
		}
	}
	if (test_bit(TLSPORT_TX_FIN, &conn->tx_flags)) {
		if (unsent(sock->sk))
			return -EAGAIN;
		clear_bit(TLSPORT_TX_FIN, &conn->tx_flags);
		base->shutdown(sock, SHUT_WR);
	}
	return 0;
}

bool tlsport_transmit_is_due(const struct tlsport_conn *conn)
{
	return READ_ONCE(conn->tx_flags) & DUE;
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
	int err = 0;

	smp_mb(); /* the bits before the trylock; see the head of the file */
	while (!err && tlsport_transmit_is_due(conn) && mutex_trylock(&conn->tx_lock)) {
		err = send_due(sock, base);
		mutex_unlock(&conn->tx_lock);
		smp_mb(); /* unlock before the bits */
	}
	if (err)
		mod_timer(&conn->timer, jiffies + TLSPORT_TX_RETRY);
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

/* tx_flags is not 0: closed, corked or something is due. */
static int begin_special(struct socket *sock, const struct proto_ops *base, unsigned int *flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int err = 0;

	if (!test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags))
		err = update(sock, base, *flags & MSG_DONTWAIT);
	if (err)
		return err;
	if (test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags)) {
		if (!(*flags & MSG_NOSIGNAL))
			send_sig(SIGPIPE, current, 0);
		return -EPIPE;
	}
	if (test_bit(TLSPORT_TX_CORKED, &conn->tx_flags))
		*flags |= MSG_MORE;
	return 0;
}

/**
 * tlsport_transmit_begin - the application wants to send
 * @sock: its socket
 * @base: net/tls's operations
 * @flags: the caller's MSG_*; MSG_MORE is added under a cork
 *
 * Context: the application; waits for the writer before.
 * Return: 0: tx_lock is held, tlsport_transmit_end() follows; else the error
 * for the application.
 */
int tlsport_transmit_begin(struct socket *sock, const struct proto_ops *base, unsigned int *flags)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int err;

	if (mutex_lock_interruptible(&conn->tx_lock))
		return -ERESTARTSYS;
	if (likely(!READ_ONCE(conn->tx_flags)))
		return 0;
	err = begin_special(sock, base, flags);
	if (err)
		tlsport_transmit_end(sock, base);
	return err;
}

void tlsport_transmit_end(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);

	mutex_unlock(&conn->tx_lock);
	smp_mb(); /* unlock before the bits */
	if (unlikely(tlsport_transmit_is_due(conn)))
		tlsport_transmit_due(sock, base);
}
