// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records of the peer that nobody has read yet, by their headers: they lie in
 * TCP's receive queue, the first perhaps in a copy of net/tls's, and what it has
 * decrypted but not given out on a list of its own.
 */
#include <crypto/aead.h>
#include <linux/scatterlist.h>
#include <linux/splice.h>
#include <net/strparser.h>
#include "tlsport.h"

#define NONCE_LEN 12 /* of all AEADs that are attached */
#define TAG_LEN	  16
#define AAD_LEN	  13 /* of TLS 1.2, which has more than TLS 1.3 */

/* Of a record that is decrypted */
static u8 content_type(const struct sk_buff *skb)
{
	return ((const struct sk_skb_cb *)skb->cb)->tls.control;
}

/* net/tls has stopped at a record; it gives the error to one reader only. */
bool tlsport_record_broken(const struct sock *sk)
{
	const struct tls_context *ctx = tls_get_ctx(sk);

	/* once set it stays: who sees it later comes again */
	return ctx->rx_conf && data_race(tls_sw_ctx_rx(ctx)->strp.stopped != 0);
}

/*
 * A reader has met a record that net/tls cannot read.  It says so by sk_err, as
 * where it cannot encrypt, and to one call only: from here on it has stopped.
 * Context: process.
 */
void tlsport_record_stop(struct sock *sk)
{
	struct tls_strparser *strp = &tls_sw_ctx_rx(tls_get_ctx(sk))->strp;

	lock_sock(sk);
	if (strp->msg_ready)
		strp->stopped = 1;
	release_sock(sk);
}

/**
 * tlsport_record_next - decrypt the record that comes next, unless one is waiting
 * @sock: who has the sk
 * @base: net/tls's operations
 *
 * A call to splice no bytes, for which net/tls leaves the record where it is, or
 * takes it off when there is nothing in it.  MSG_PEEK would put all those without
 * content on net/tls's list, a page each, for as long as they come.
 *
 * Context: process; does not wait.
 * Return: 0: data wait, or a record without content went, or the end has come;
 * -EINVAL: a control record waits; else what a reader would get.
 */
int tlsport_record_next(struct socket *sock, const struct proto_ops *base)
{
	return base->splice_read(sock, NULL, NULL, 0, SPLICE_F_NONBLOCK);
}

/* Which record comes next; conn->lock keeps a control record at the head.  Context: process. */
u64 tlsport_record_seq(struct sock *sk)
{
	u64 seq;

	lock_sock(sk);
	seq = get_unaligned_be64(tls_get_ctx(sk)->rx.rec_seq);
	release_sock(sk);
	return seq;
}

/*
 * Takes the decrypted record of data at the head off, when there is one.
 * Context: process; nobody reads.
 */
bool tlsport_record_drop(struct sock *sk)
{
	struct sk_buff_head *list = &tls_sw_ctx_rx(tls_get_ctx(sk))->rx_list;
	struct sk_buff *skb;

	lock_sock(sk);
	skb = skb_peek(list);
	if (skb && content_type(skb) != TLSPORT_TYPE_DATA)
		skb = NULL;
	if (skb)
		__skb_unlink(skb, list);
	release_sock(sk);
	kfree_skb(skb);
	return skb;
}

/* Is the decrypted record at the head, when there is one, for control?  Context: process. */
bool tlsport_record_is_control(struct sock *sk)
{
	const struct sk_buff *skb;
	bool ret;

	lock_sock(sk);
	skb = skb_peek(&tls_sw_ctx_rx(tls_get_ctx(sk))->rx_list);
	ret = skb && content_type(skb) != TLSPORT_TYPE_DATA;
	release_sock(sk);
	return ret;
}

/*
 * Takes the decrypted records without content off, which MSG_PEEK has left.  True:
 * others wait.  Context: process.
 */
bool tlsport_record_trim(struct sock *sk)
{
	struct sk_buff_head *list = &tls_sw_ctx_rx(tls_get_ctx(sk))->rx_list;
	struct sk_buff *skb, *tmp;
	bool left;

	lock_sock(sk);
	skb_queue_walk_safe(list, skb, tmp) {
		if (content_type(skb) != TLSPORT_TYPE_DATA || strp_msg(skb)->full_len)
			continue;
		__skb_unlink(skb, list);
		kfree_skb(skb);
	}
	left = !skb_queue_empty(list);
	release_sock(sk);
	return left;
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
		if (content_type(skb) == TLSPORT_TYPE_DATA)
			n += strp_msg(skb)->full_len;
	if (strp->copy_mode) { /* TCP's queue goes on behind the copy */
		if (!READ_ONCE(strp->msg_ready))
			return n;
		n += max(strp->stm.full_len - TLSPORT_HEADER_LEN - overhead(conn), 0);
	}
	return n + queued(sk, conn);
}

/* lock_sock held.  The beginning of the record that net/tls stopped at; false: less is there. */
static bool peek_stopped(struct sock *sk, void *buf, int len)
{
	const struct tls_strparser *strp = &tls_sw_ctx_rx(tls_get_ctx(sk))->strp;

	if (!(strp->stopped || READ_ONCE(strp->msg_ready)))
		return false;
	return strp->copy_mode ? !skb_copy_bits(strp->anchor, strp->stm.offset, buf, len) :
				 peek(sk, buf, len);
}

/* Of TLS 1.2 (RFC 5246 6.2.3.3): what is authenticated besides the content. */
static int make_aad(const struct tls_context *ctx, const u8 *record, int content, u8 *aad)
{
	memcpy(aad, ctx->rx.rec_seq, 8);
	memcpy(aad + 8, record, 3);
	put_unaligned_be16(content, aad + 11);
	return AAD_LEN;
}

static void make_nonce(const struct tls_context *ctx, const u8 *explicit, u8 *nonce)
{
	int i;

	memcpy(nonce, ctx->rx.iv, NONCE_LEN);
	for (i = 0; i < 8 && !explicit; i++)
		nonce[NONCE_LEN - 8 + i] ^= ctx->rx.rec_seq[i];
	if (explicit)
		memcpy(nonce + NONCE_LEN - 8, explicit, 8);
}

/* lock_sock held.  @record: all of it, behind AAD_LEN bytes of room; its content is decrypted. */
static bool is_authentic(const struct sock *sk, const struct tlsport_conn *conn, u8 *record)
{
	const struct tls_context *ctx = tls_get_ctx(sk);
	bool tls13 = conn->version == TLS_1_3_VERSION;
	bool explicit = !tls13 && conn->cipher != TLS_CIPHER_CHACHA20_POLY1305;
	int head = TLSPORT_HEADER_LEN + (explicit ? 8 : 0);
	int text = TLSPORT_HEADER_LEN + body_len(record) - head; /* and tag */
	int aad_len = TLSPORT_HEADER_LEN;
	u8 nonce[NONCE_LEN], *aad = record - AAD_LEN;
	struct aead_request *req;
	DECLARE_CRYPTO_WAIT(wait);
	struct scatterlist sg[2];
	int err;

	if (text < TAG_LEN)
		return false;
	req = aead_request_alloc(tls_sw_ctx_rx(ctx)->aead_recv, GFP_KERNEL);
	if (!req)
		return false;
	make_nonce(ctx, explicit ? record + TLSPORT_HEADER_LEN : NULL, nonce);
	if (tls13)
		memcpy(aad, record, TLSPORT_HEADER_LEN);
	else
		aad_len = make_aad(ctx, record, text - TAG_LEN, aad);
	sg_init_table(sg, 2);
	sg_set_buf(&sg[0], aad, aad_len);
	sg_set_buf(&sg[1], record + head, text);
	aead_request_set_callback(req, CRYPTO_TFM_REQ_MAY_BACKLOG, crypto_req_done, &wait);
	aead_request_set_ad(req, aad_len);
	aead_request_set_crypt(req, sg, sg, text, nonce);
	err = crypto_wait_req(crypto_aead_decrypt(req), &wait);
	aead_request_free(req);
	return !err;
}

/* lock_sock held.  True: its tag is right; @padding: and TLS 1.3's content is all padding. */
static bool check_tag(struct sock *sk, const struct tlsport_conn *conn, const u8 *header,
		      bool *padding)
{
	int len = TLSPORT_HEADER_LEN + body_len(header);
	u8 *buf = kmalloc(AAD_LEN + len, GFP_KERNEL | __GFP_NOWARN), *record = buf + AAD_LEN;
	bool right = buf && peek_stopped(sk, record, len) && is_authentic(sk, conn, record);

	*padding = right && conn->version == TLS_1_3_VERSION &&
		   !memchr_inv(record + TLSPORT_HEADER_LEN, 0, body_len(header) - TAG_LEN);
	kfree_sensitive(buf);
	return right;
}

/*
 * lock_sock held.  Net/tls says as little of content that is all padding (RFC 8446
 * 5.4), and of memory that it did not get, as of a wrong tag: a tag that is right
 * tells them apart, and what is behind it.
 */
static u8 alert_by_tag(struct sock *sk, const struct tlsport_conn *conn, const u8 *header)
{
	bool padding;

	if (!check_tag(sk, conn, header, &padding))
		return TLSPORT_ALERT_BAD_RECORD_MAC;
	return padding ? TLSPORT_ALERT_UNEXPECTED_MESSAGE : TLSPORT_ALERT_INTERNAL_ERROR;
}

/**
 * tlsport_record_good - is the record that a reader has met, and net/tls not decrypted, a good one?
 * @sk: attached
 *
 * Context: process.
 * Return: its tag is right: what was wrong is the reader's memory.
 */
bool tlsport_record_good(struct sock *sk)
{
	const struct tls_strparser *strp = &tls_sw_ctx_rx(tls_get_ctx(sk))->strp;
	u8 header[TLSPORT_HEADER_LEN];
	bool good, padding;

	lock_sock(sk);
	if (!strp->stopped && !strp->msg_ready) /* another reader has had it */
		good = true;
	else
		good = !strp->stopped && peek_stopped(sk, header, sizeof(header)) &&
		       check_tag(sk, tlsport_conn_of(sk), header, &padding) && !padding;
	release_sock(sk);
	return good;
}

/**
 * tlsport_record_alert - the alert for the record that net/tls stopped at
 * @sk: attached
 * @conn: its connection
 *
 * With TLS 1.3 every record is one of data outside.
 *
 * Context: process.
 * Return: the description; bad_record_mac also where nothing can be told,
 * internal_error where the record is good and memory ran out.
 */
u8 tlsport_record_alert(struct sock *sk, const struct tlsport_conn *conn)
{
	u8 header[TLSPORT_HEADER_LEN], alert = TLSPORT_ALERT_BAD_RECORD_MAC;

	if (READ_ONCE(conn->rx_flooded))
		return TLSPORT_ALERT_UNEXPECTED_MESSAGE;
	lock_sock(sk);
	if (!peek_stopped(sk, header, sizeof(header)))
		goto out;
	if (header[0] < TLSPORT_TYPE_CCS || header[0] > TLSPORT_TYPE_DATA || header[1] != 3 ||
	    header[2] != 3 || (conn->version == TLS_1_3_VERSION && header[0] != TLSPORT_TYPE_DATA))
		alert = TLSPORT_ALERT_UNEXPECTED_MESSAGE;
	else if (body_len(header) > TLS_MAX_PAYLOAD_SIZE + overhead(conn))
		alert = TLSPORT_ALERT_RECORD_OVERFLOW;
	else
		alert = alert_by_tag(sk, conn, header);
out:
	release_sock(sk);
	return alert;
}
