// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records that the application never sees: alerts, KeyUpdate, and what must not
 * come after a handshake.  conn->lock makes their handling one at a time.
 *
 * A record is handled while it is still at the head of the receive queue and
 * taken off after: no other reader gets past a KeyUpdate to records under the
 * next key.
 */
#include "tlsport.h"

#define HEAD_LEN	   64 /* of a control record: more than any that is understood has */
#define MESSAGE_HEADER_LEN 4  /* of a handshake message */

/* Reads a record of any type, not waiting; @type is 0 when there was none. */
int tlsport_control_recv(struct socket *sock, const struct proto_ops *base, void *buf, size_t len,
			 int flags, u8 *type)
{
	union {
		struct cmsghdr hdr;
		u8 buf[CMSG_SPACE(sizeof(u8))];
	} u;
	struct msghdr msg = { .msg_control = &u, .msg_controllen = sizeof(u) };
	struct kvec vec = { .iov_base = buf, .iov_len = len };
	int ret;

	u.hdr.cmsg_len = 0;
	iov_iter_kvec(&msg.msg_iter, ITER_DEST, &vec, 1, len);
	ret = base->recvmsg(sock, &msg, len, flags | MSG_DONTWAIT);
	*type = ret >= 0 && u.hdr.cmsg_len ? *(u8 *)CMSG_DATA(&u.hdr) : 0;
	return ret;
}

/**
 * tlsport_control_fatal - the peer broke the protocol: alert, FIN, sticky error
 * @sock: who has the sk
 * @base: net/tls's operations
 * @alert: description
 * @reason: what is counted when the connection ends
 *
 * Context: process, conn->lock held.
 */
void tlsport_control_fatal(struct socket *sock, const struct proto_ops *base, u8 alert,
			   enum tlsport_reason reason)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);

	if (READ_ONCE(conn->rx_err))
		return;
	tlsport_conn_note(conn, reason);
	tlsport_transmit_alert(conn, TLSPORT_ALERT_FATAL, alert);
	tlsport_conn_rx_failed(conn);
	tlsport_transmit_due(sock, base);
}

/**
 * tlsport_control_record_error_locked - net/tls could not read a record
 * @sock: who has the sk
 * @base: net/tls's operations
 * @err: what it gave; -ENOMEM: the record may be a good one
 *
 * Context: process, conn->lock held.
 */
void tlsport_control_record_error_locked(struct socket *sock, const struct proto_ops *base, int err)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int left;
	u8 alert;

	/* net/tls leaves it there, its work item once more: it would stop what is sent */
	left = tlsport_sk_take_error(sock->sk);
	/* what comes after close_notify is ignored: RFC 8446 6.1 */
	if (tlsport_conn_rx_ended(conn))
		return;
	alert = tlsport_record_alert(sock->sk, conn);
	if (left == -ENOMEM || err == -ENOMEM || alert == TLSPORT_ALERT_INTERNAL_ERROR) {
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_INTERNAL_ERROR,
				      TLSPORT_REASON_NO_MEMORY);
		return;
	}
	tlsport_control_fatal(sock, base, alert,
			      alert == TLSPORT_ALERT_BAD_RECORD_MAC ?
				      TLSPORT_REASON_BAD_RECORD_MAC :
				      TLSPORT_REASON_PROTOCOL_ERROR);
}

/* The same for a reader, who does not hold conn->lock.  Returns what the application gets. */
int tlsport_control_record_error(struct socket *sock, const struct proto_ops *base, int err)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);

	mutex_lock(&conn->lock);
	tlsport_control_record_error_locked(sock, base, err);
	mutex_unlock(&conn->lock);
	return READ_ONCE(conn->rx_err);
}

static void key_update_received(struct socket *sock, const struct proto_ops *base, const u8 *msg)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int err;

	if (msg[4] > 1) {
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_ILLEGAL_PARAMETER,
				      TLSPORT_REASON_PROTOCOL_ERROR);
		return;
	}
	err = tlsport_rekey_rx(sock->sk, conn);
	if (err) {
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_INTERNAL_ERROR,
				      TLSPORT_REASON_REKEY_FAILED);
		return;
	}
	TLSPORT_STAT(conn->port, KEY_UPDATES);
	if (msg[4] && !test_bit(TLSPORT_TX_CLOSED, &conn->tx_flags)) {
		set_bit(TLSPORT_TX_UPDATE, &conn->tx_flags);
		tlsport_transmit_due(sock, base);
	}
}

static void alert_received(struct tlsport_conn *conn, const u8 *alert)
{
	if (alert[1] == TLSPORT_ALERT_CLOSE_NOTIFY) {
		WRITE_ONCE(conn->rx_closed, true);
		return;
	}
	/* RFC 8446 6: whatever its level, only user_canceled goes on; RFC 5246 7.2: all warnings */
	if (conn->version == TLS_1_3_VERSION ? alert[1] == TLSPORT_ALERT_USER_CANCELED :
					       alert[0] == TLSPORT_ALERT_WARNING)
		return;
	tlsport_conn_note(conn, TLSPORT_REASON_PEER_ALERT);
	set_bit(TLSPORT_TX_CLOSED, &conn->tx_flags);
	WRITE_ONCE(conn->rx_err, -ECONNRESET);
}

/**
 * tlsport_control_interleaved - data came: does it part a handshake message?
 * @sock: the application's, or who has the sk
 * @base: net/tls's operations
 *
 * RFC 8446 5.1.  Another reader may have been given data from before the message.
 *
 * Context: process, may sleep.
 * Return: true: the connection has ended.
 */
bool tlsport_control_interleaved(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	bool ret;

	mutex_lock(&conn->lock);
	ret = conn->version == TLS_1_3_VERSION && conn->fragment_len &&
	      tlsport_record_seq(sock->sk) != conn->fragment_seq;
	if (ret)
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_UNEXPECTED_MESSAGE,
				      TLSPORT_REASON_PROTOCOL_ERROR);
	mutex_unlock(&conn->lock);
	return ret;
}

/*
 * KeyUpdate may come in pieces (RFC 8446 5.1).  NULL: more is to come, or the
 * connection has ended; else the message, @len of it, in @buf where it came so.
 */
static const u8 *whole_message(struct socket *sock, const struct proto_ops *base, const u8 *msg,
			       size_t *len, u8 *buf)
{
	struct sock *sk = sock->sk;
	struct tlsport_conn *conn = tlsport_conn_of(sk);
	size_t have = conn->fragment_len, n = min_t(size_t, *len, TLSPORT_KEY_UPDATE_LEN - have);

	if (!have && (*len >= TLSPORT_KEY_UPDATE_LEN || msg[0] != TLSPORT_MSG_KEY_UPDATE))
		return msg;
	if (have && tlsport_record_seq(sk) != conn->fragment_seq + 1) {
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_UNEXPECTED_MESSAGE,
				      TLSPORT_REASON_PROTOCOL_ERROR);
		return NULL;
	}
	memcpy(buf, conn->fragment, have);
	memcpy(buf + have, msg, n);
	*len += have;
	conn->fragment_len = 0;
	if (*len >= TLSPORT_KEY_UPDATE_LEN || (*len == 4 && (buf[1] || buf[2] || buf[3] != 1)))
		return buf;
	memcpy(conn->fragment, buf, *len);
	conn->fragment_len = *len;
	conn->fragment_seq = tlsport_record_seq(sk);
	lock_sock(sk); /* net/tls looks at the first byte */
	TLSPORT_KEY_UPDATE_DONE(tls_sw_ctx_rx(tls_get_ctx(sk)));
	release_sock(sk);
	return NULL;
}

/*
 * A ClientHello is refused, all its pieces (RFC 5246 6.2.1) by one warning (7.4.1.1): the
 * fragment is what has come of its header.  False: @msg is something else.
 */
static bool renegotiation_refused(struct socket *sock, const struct proto_ops *base, const u8 *msg,
				  size_t len)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	size_t left = conn->hello_left, have = conn->fragment_len;
	bool begins = !left;

	if (begins) {
		memcpy(conn->fragment + have, msg, min(len, MESSAGE_HEADER_LEN - have));
		if (conn->fragment[0] != TLSPORT_MSG_CLIENT_HELLO)
			return false;
		if (have + len < MESSAGE_HEADER_LEN) {
			conn->fragment_len = have + len;
			return true;
		}
		conn->fragment_len = 0;
		left = MESSAGE_HEADER_LEN - have + get_unaligned_be24(conn->fragment + 1);
	}
	if (len > left)
		return false;
	if (begins) {
		tlsport_transmit_alert(conn, TLSPORT_ALERT_WARNING, TLSPORT_ALERT_NO_RENEGOTIATION);
		tlsport_transmit_due(sock, base);
	}
	conn->hello_left = left - len;
	return true;
}

static void control_message(struct socket *sock, const struct proto_ops *base, u8 type,
			    const u8 *msg, size_t len)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	bool tls13 = conn->version == TLS_1_3_VERSION;

	if (type == TLSPORT_TYPE_ALERT && len == TLSPORT_ALERT_LEN) {
		alert_received(conn, msg);
	} else if (type == TLSPORT_TYPE_ALERT && len) {
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_DECODE_ERROR,
				      TLSPORT_REASON_PROTOCOL_ERROR);
	} else if (type == TLSPORT_TYPE_HANDSHAKE && tls13 && len &&
		   msg[0] == TLSPORT_MSG_KEY_UPDATE && len >= 4 &&
		   (msg[1] || msg[2] || msg[3] != 1)) {
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_DECODE_ERROR,
				      TLSPORT_REASON_PROTOCOL_ERROR);
	} else if (type == TLSPORT_TYPE_HANDSHAKE && tls13 && len == TLSPORT_KEY_UPDATE_LEN &&
		   msg[0] == TLSPORT_MSG_KEY_UPDATE) {
		key_update_received(sock, base, msg);
	} else if (type != TLSPORT_TYPE_HANDSHAKE || tls13 || !len ||
		   !renegotiation_refused(sock, base, msg, len)) {
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_UNEXPECTED_MESSAGE,
				      TLSPORT_REASON_PROTOCOL_ERROR);
	}
}

static void control_record(struct socket *sock, const struct proto_ops *base, u8 type,
			   const u8 *msg, size_t len)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	u8 buf[TLSPORT_KEY_UPDATE_LEN];
	unsigned int run; /* data that is read sets it back */

	if (type == TLSPORT_TYPE_HANDSHAKE && conn->version == TLS_1_3_VERSION && len)
		msg = whole_message(sock, base, msg, &len, buf);
	if (msg)
		control_message(sock, base, type, msg, len);
	run = READ_ONCE(conn->control_run) + 1;
	WRITE_ONCE(conn->control_run, run);
	if (run > TLSPORT_CONTROL_RUN_MAX)
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_UNEXPECTED_MESSAGE,
				      TLSPORT_REASON_PROTOCOL_ERROR);
}

/* What is left of the decrypted record at the head, after a peek put it there. */
static size_t record_len(struct sock *sk)
{
	struct sk_buff *skb;
	size_t len = 0;

	lock_sock(sk);
	skb = skb_peek(&tls_sw_ctx_rx(tls_get_ctx(sk))->rx_list);
	if (skb)
		len = strp_msg(skb)->full_len;
	release_sock(sk);
	return len;
}

/**
 * tlsport_control_handle_locked - handle the control record at the head, if there is one
 * @sock: who has the sk
 * @base: net/tls's operations
 *
 * The record that ends reading stays at the head: other readers, who look there
 * before they wait, find it.  When nobody reads any more it goes, and what comes
 * after it is ignored.
 *
 * Context: process, conn->lock held; does not wait for the peer.
 * Return: 1: one was handled; 0: data is there, or nothing of what was; negative:
 * nothing, or an error.
 */
int tlsport_control_handle_locked(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	bool closing = conn->state == TLSPORT_CONN_CLOSING;
	u8 head[HEAD_LEN], type;
	size_t len;
	int n;

	if (tlsport_conn_rx_ended(conn) && !closing)
		return 1;
	n = tlsport_record_next(sock, base);
	if (n != -EINVAL)
		return min(n, 0);
	n = tlsport_control_recv(sock, base, head, sizeof(head), MSG_PEEK, &type);
	if (n < 0 || !type || type == TLSPORT_TYPE_DATA)
		return min(n, 0);
	len = max_t(size_t, record_len(sock->sk), n);
	if (!tlsport_conn_rx_ended(conn))
		control_record(sock, base, type, head, len);
	if (tlsport_conn_rx_ended(conn) && !closing) {
		sock->sk->sk_state_change(sock->sk); /* who waits for SO_RCVLOWAT, or polls */
		return 1;
	}
	do { /* a byte at least: else one without content stays */
		n = tlsport_control_recv(sock, base, head, clamp_t(size_t, len, 1, sizeof(head)), 0,
					 &type);
		len -= max(n, 0);
	} while (n > 0 && len);
	return 1;
}

/* The same for a reader, who does not hold conn->lock. */
int tlsport_control_handle(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int n;

	mutex_lock(&conn->lock);
	n = tlsport_control_handle_locked(sock, base);
	mutex_unlock(&conn->lock);
	return n;
}
