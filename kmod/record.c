// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records of the peer that nobody has read yet, by their headers: they lie in
 * TCP's receive queue, the first perhaps in a copy of net/tls's, and what it has
 * decrypted but not given out on a list of its own.
 */
#include <net/strparser.h>
#include "tlsport.h"

/* net/tls has stopped at a record; it gives the error to one reader only. */
bool tlsport_record_broken(const struct sock *sk)
{
	const struct tls_context *ctx = tls_get_ctx(sk);

	return ctx->rx_conf && tls_sw_ctx_rx(ctx)->strp.stopped;
}

/* What a record adds to its content: explicit nonce, tag, content type */
static int overhead(const struct tlsport_conn *conn)
{
	if (conn->version == TLS_1_3_VERSION)
		return 1 + 16;
	return 16 + (conn->cipher == TLS_CIPHER_CHACHA20_POLY1305 ? 0 : 8);
}

static int body_len(const u8 *header)
{
	return header[3] << 8 | header[4];
}

/* lock_sock held.  What comes next in TCP's queue; false: not as much is there. */
static bool peek(struct sock *sk, u8 *buf, int len)
{
	u32 seq = tcp_sk(sk)->copied_seq, off;
	struct sk_buff *skb;
	int n;

	skb_queue_walk(&sk->sk_receive_queue, skb) {
		off = seq - TCP_SKB_CB(skb)->seq;
		if (off >= skb->len)
			continue;
		n = min_t(int, len, skb->len - off);
		if (skb_copy_bits(skb, off, buf, n))
			return false;
		buf += n;
		seq += n;
		len -= n;
		if (!len)
			return true;
	}
	return false;
}

/* lock_sock held.  Content of the whole records of data in TCP's queue, which begins with one. */
static int queued(struct sock *sk, const struct tlsport_conn *conn)
{
	u32 seq = tcp_sk(sk)->copied_seq, off, n;
	u32 left = TLSPORT_HEADER_LEN; /* of the header, or of the body */
	u8 header[TLSPORT_HEADER_LEN];
	struct sk_buff *skb;
	bool body = false;
	int total = 0;

	skb_queue_walk(&sk->sk_receive_queue, skb) {
		off = seq - TCP_SKB_CB(skb)->seq;
		for (; off < skb->len; off += n, seq += n) {
			n = min(left, skb->len - off);
			if (!body && skb_copy_bits(skb, off, header + TLSPORT_HEADER_LEN - left, n))
				return total;
			left -= n;
			if (left)
				continue;
			if (body && header[0] == TLSPORT_TYPE_DATA)
				total += max(body_len(header) - overhead(conn), 0);
			body = !body;
			left = body ? body_len(header) : TLSPORT_HEADER_LEN;
		}
	}
	return total;
}

/**
 * tlsport_record_inq - how many bytes a reader would get, not waiting
 * @sk: attached
 * @conn: its connection
 *
 * As a TLS 1.3 record does not show its padding and its type, they count as data
 * until the record is read.
 *
 * Context: process, lock_sock(@sk) held.
 * Return: bytes of content of what is there as a whole.
 */
int tlsport_record_inq(struct sock *sk, const struct tlsport_conn *conn)
{
	struct tls_sw_context_rx *rx = tls_sw_ctx_rx(tls_get_ctx(sk));
	const struct tls_strparser *strp = &rx->strp;
	struct sk_buff *skb;
	int n = 0;

	skb_queue_walk(&rx->rx_list, skb)
		n += strp_msg(skb)->full_len;
	if (strp->copy_mode) { /* TCP's queue goes on behind the copy */
		if (!READ_ONCE(strp->msg_ready))
			return n;
		n += max(strp->stm.full_len - TLSPORT_HEADER_LEN - overhead(conn), 0);
	}
	return n + queued(sk, conn);
}

/**
 * tlsport_record_alert - the alert for the record that net/tls stopped at
 * @sk: attached
 * @conn: its connection
 *
 * With TLS 1.3 every record is one of data outside.
 *
 * Context: process.
 * Return: the description: by the header, or bad_record_mac.
 */
u8 tlsport_record_alert(struct sock *sk, const struct tlsport_conn *conn)
{
	const struct tls_strparser *strp = &tls_sw_ctx_rx(tls_get_ctx(sk))->strp;
	u8 header[TLSPORT_HEADER_LEN], alert = TLSPORT_ALERT_BAD_RECORD_MAC;

	lock_sock(sk);
	if (!(strp->stopped || READ_ONCE(strp->msg_ready)))
		goto out;
	if (strp->copy_mode ?
		    skb_copy_bits(strp->anchor, strp->stm.offset, header, sizeof(header)) :
		    !peek(sk, header, sizeof(header)))
		goto out;
	if (header[0] < TLSPORT_TYPE_CCS || header[0] > TLSPORT_TYPE_DATA || header[1] != 3 ||
	    header[2] != 3 || (conn->version == TLS_1_3_VERSION && header[0] != TLSPORT_TYPE_DATA))
		alert = TLSPORT_ALERT_UNEXPECTED_MESSAGE;
	else if (body_len(header) > TLS_MAX_PAYLOAD_SIZE + overhead(conn))
		alert = TLSPORT_ALERT_RECORD_OVERFLOW;
out:
	release_sock(sk);
	return alert;
}
