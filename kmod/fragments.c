// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many pieces the buffer of the open record has, where the kernel has sendpage:
 * net/tls's computes a length below zero when there is no room for one more, and not all
 * that it sends then is encrypted.  Its sendmsg does not, so before it comes to that a
 * page goes that way.
 *
 * Net/tls takes the buffer from the task's page fragment.  What follows the last piece
 * there makes it longer; anything else, as after what the task has sent on another
 * socket, is a piece of its own.  The count is an upper bound; tx_lock guards it.
 */
#include "tlsport.h"

#ifdef TLSPORT_HAVE_SENDPAGE

#define PIECES_MAX (MAX_SKB_FRAGS - 1)
#define OVERHEAD   32 /* of a record: header, nonce, content type, tag */

static u32 record_seq(const struct sock *sk)
{
	return get_unaligned_be64(tls_get_ctx(sk)->tx.rec_seq);
}

/* What comes next is taken from here. */
static const void *next_piece(const struct page_frag *frag)
{
	return frag->page ? page_address(frag->page) + frag->offset : NULL;
}

/* Pieces that these bytes are, wherever they come from: the fragment's pages may be single ones. */
static unsigned int pieces(size_t len)
{
	return 1 + DIV_ROUND_UP(min_t(size_t, len, TLS_MAX_PAYLOAD_SIZE) + OVERHEAD, PAGE_SIZE);
}

/**
 * tlsport_fragments_fit - before something is added to the open record
 * @sk: attached, in software
 * @f: of its connection; what is noted is for tlsport_fragments_added()
 * @len: how much
 *
 * Context: process, tx_lock held.
 * Return: its buffer has room for that many pieces.
 */
bool tlsport_fragments_fit(struct sock *sk, struct tlsport_fragments *f, size_t len)
{
	const struct page_frag *frag = sk_page_frag(sk);
	u32 seq = record_seq(sk);

	if (!tls_get_ctx(sk)->pending_open_record_frags) {
		f->count = 0;
		f->end = NULL;
	} else if (f->seq != seq) { /* it began in the midst of a call */
		f->count = pieces(TLS_MAX_PAYLOAD_SIZE);
	}
	f->seq = seq;
	if (!f->end || next_piece(frag) != f->end || frag->size - frag->offset < len + OVERHEAD)
		f->count = min_t(unsigned int, f->count + pieces(len), U8_MAX);
	return f->count <= PIECES_MAX;
}

/* The call is over, the same locks held. */
void tlsport_fragments_added(struct sock *sk, struct tlsport_fragments *f)
{
	f->end = next_piece(sk_page_frag(sk));
}

#endif /* TLSPORT_HAVE_SENDPAGE */
