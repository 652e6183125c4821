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

#define HEAD_LEN 64 /* of a control record: more than any that is understood has */

/**
 * tlsport_control_send - send a record that is not data
 * @sock: who has the sk
 * @base: net/tls's operations
 * @type: content type
 * @data: content
 * @len: its length
 * @flags: MSG_DONTWAIT or 0
 *
 * Return: @len or a negative errno.
 */
int tlsport_control_send(struct socket *sock, const struct proto_ops *base, u8 type,
			 const void *data, size_t len, int flags)
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

	u.hdr.cmsg_level = SOL_TLS;
	u.hdr.cmsg_type = TLS_SET_RECORD_TYPE;
	u.hdr.cmsg_len = CMSG_LEN(sizeof(u8));
	*(u8 *)CMSG_DATA(&u.hdr) = type;
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, &vec, 1, len);
	return base->sendmsg(sock, &msg, len);
}

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
	u8 msg[TLSPORT_ALERT_LEN] = { TLSPORT_ALERT_FATAL, alert };

	if (conn->rx_err)
		return;
	if (!conn->reason)
		conn->reason = reason;
	if (!test_and_set_bit(TLSPORT_TX_CLOSED, &conn->tx_flags)) {
		base->splice_eof(sock);
		tlsport_control_send(sock, base, TLSPORT_TYPE_ALERT, msg, sizeof(msg),
				     MSG_DONTWAIT);
		base->shutdown(sock, SHUT_WR);
	}
	WRITE_ONCE(conn->rx_err, -ECONNRESET);
}

/* The header of the record that net/tls could not read, where it is still in TCP's queue. */
static int record_type(struct sock *sk)
{
	struct sk_buff *skb;
	int type = -1;
	u8 byte;
	u32 off;

	lock_sock(sk);
	skb = tcp_recv_skb(sk, tcp_sk(sk)->copied_seq, &off);
	if (skb && !skb_copy_bits(skb, off, &byte, 1))
		type = byte;
	release_sock(sk);
	return type;
}

/**
 * tlsport_control_record_error - net/tls could not read a record
 * @sock: who has the sk
 * @base: net/tls's operations
 * @err: what recvmsg gave
 *
 * Context: process.
 * Return: what the application gets.
 */
int tlsport_control_record_error(struct socket *sock, const struct proto_ops *base, int err)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	enum tlsport_reason reason = TLSPORT_REASON_PROTOCOL_ERROR;
	u8 alert;

	mutex_lock(&conn->lock);
	if (conn->rx_err)
		goto out;
	if (err == -EMSGSIZE) {
		alert = TLSPORT_ALERT_RECORD_OVERFLOW;
	} else if (err == -EINVAL || (conn->version == TLS_1_3_VERSION &&
				      record_type(sock->sk) != TLSPORT_TYPE_DATA)) {
		alert = TLSPORT_ALERT_UNEXPECTED_MESSAGE;
	} else {
		alert = TLSPORT_ALERT_BAD_RECORD_MAC;
		reason = TLSPORT_REASON_BAD_RECORD_MAC;
	}
	sock_error(sock->sk); /* net/tls left it there: it would stop the alert */
	tlsport_control_fatal(sock, base, alert, reason);
out:
	mutex_unlock(&conn->lock);
	return conn->rx_err;
}

/*
 * Our answer to update_requested: the message under the old key, the next key
 * behind it.  Context: process, conn->lock held or the connection's only
 * writer; -EAGAIN: the send buffer is full.
 */
int tlsport_control_update(struct socket *sock, const struct proto_ops *base, int flags)
{
	static const u8 update[] = { TLSPORT_MSG_KEY_UPDATE, 0, 0, 1, 0 };
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	int ret;

	base->splice_eof(sock);
	ret = tlsport_control_send(sock, base, TLSPORT_TYPE_HANDSHAKE, update, sizeof(update),
				   flags);
	if (ret < 0)
		return ret;
	return tlsport_rekey(sock->sk, conn, true);
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
	err = tlsport_rekey(sock->sk, conn, false);
	if (!err && msg[4]) {
		err = tlsport_control_update(sock, base, MSG_DONTWAIT);
		if (err == -EAGAIN) { /* before the next data then */
			set_bit(TLSPORT_TX_UPDATE, &conn->tx_flags);
			err = 0;
		}
		if (err == -EPIPE) /* we have closed: nothing more to encrypt */
			err = 0;
	}
	if (err)
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_INTERNAL_ERROR,
				      TLSPORT_REASON_REKEY_FAILED);
	else
		TLSPORT_STAT(conn->port, KEY_UPDATES);
}

static void alert_received(struct tlsport_conn *conn, const u8 *alert)
{
	if (alert[1] == TLSPORT_ALERT_CLOSE_NOTIFY) {
		WRITE_ONCE(conn->rx_closed, true);
		return;
	}
	/* RFC 8446 6: user_canceled is a warning, all others end; RFC 5246 7.2.2: warnings go on */
	if (alert[1] == TLSPORT_ALERT_USER_CANCELED ||
	    (conn->version == TLS_1_2_VERSION && alert[0] == TLSPORT_ALERT_WARNING))
		return;
	if (!conn->reason)
		conn->reason = TLSPORT_REASON_PEER_ALERT;
	set_bit(TLSPORT_TX_CLOSED, &conn->tx_flags);
	WRITE_ONCE(conn->rx_err, -ECONNRESET);
}

static void control_record(struct socket *sock, const struct proto_ops *base, u8 type,
			   const u8 *msg, size_t len)
{
	static const u8 no_renegotiation[] = { TLSPORT_ALERT_WARNING,
					       TLSPORT_ALERT_NO_RENEGOTIATION };
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	bool tls13 = conn->version == TLS_1_3_VERSION;

	if (type == TLSPORT_TYPE_ALERT && len == TLSPORT_ALERT_LEN)
		alert_received(conn, msg);
	else if (type == TLSPORT_TYPE_ALERT && len)
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_DECODE_ERROR,
				      TLSPORT_REASON_PROTOCOL_ERROR);
	else if (type == TLSPORT_TYPE_HANDSHAKE && tls13 && len &&
		 msg[0] == TLSPORT_MSG_KEY_UPDATE && len >= 4 && (msg[1] || msg[2] || msg[3] != 1))
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_DECODE_ERROR,
				      TLSPORT_REASON_PROTOCOL_ERROR);
	else if (type == TLSPORT_TYPE_HANDSHAKE && tls13 && len == 5 &&
		 msg[0] == TLSPORT_MSG_KEY_UPDATE)
		key_update_received(sock, base, msg);
	else if (type == TLSPORT_TYPE_HANDSHAKE && !tls13 && len &&
		 msg[0] == TLSPORT_MSG_CLIENT_HELLO)
		tlsport_control_send(sock, base, TLSPORT_TYPE_ALERT, no_renegotiation,
				     sizeof(no_renegotiation), MSG_DONTWAIT);
	else
		tlsport_control_fatal(sock, base, TLSPORT_ALERT_UNEXPECTED_MESSAGE,
				      TLSPORT_REASON_PROTOCOL_ERROR);
	if (++conn->control_run > TLSPORT_CONTROL_RUN_MAX)
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
 * tlsport_control_handle - handle the control record at the head, if there is one
 * @sock: who has the sk
 * @base: net/tls's operations
 *
 * Context: process; does not wait for the peer.
 * Return: 1: one was handled; 0: data is there; negative: nothing, or an error.
 */
int tlsport_control_handle(struct socket *sock, const struct proto_ops *base)
{
	struct tlsport_conn *conn = tlsport_conn_of(sock->sk);
	u8 head[HEAD_LEN], type;
	size_t len;
	int n;

	mutex_lock(&conn->lock);
	n = tlsport_control_recv(sock, base, head, sizeof(head), MSG_PEEK, &type);
	if (n < 0 || !type || type == TLSPORT_TYPE_DATA) {
		n = min(n, 0);
		goto out;
	}
	len = max_t(size_t, record_len(sock->sk), n);
	control_record(sock, base, type, head, len);
	do {
		n = tlsport_control_recv(sock, base, head, min(len, sizeof(head)), 0, &type);
		len -= max(n, 0);
	} while (n > 0 && len);
	n = 1;
out:
	mutex_unlock(&conn->lock);
	return n;
}
