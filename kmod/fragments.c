// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many pieces the open record has, where the kernel has sendpage: net/tls's computes
 * a length below zero when the buffer for what is encrypted has no room for one more, and
 * not all that it sends then is encrypted; and it does not look whether the list of what is
 * to be encrypted has room.  Its sendmsg does both, so before it comes to that a page goes
 * that way.
 *
 * Net/tls takes the buffer from the task's page fragment.  What follows the last piece
 * there makes it longer; anything else, as after what the task has sent on another
 * socket, is a piece of its own.  In the list a page is always one of its own.  The
 * counts are upper bounds; tx_lock guards them.
 */
#include "tlsport.h"

#ifdef TLSPORT_HAVE_SENDPAGE

#define PIECES_MAX (MAX_SKB_FRAGS - 1)
#define OVERHEAD   32 /* of a record: header, nonce, content type, tag */

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
 * Return: it has room for that many pieces.
 */
bool tlsport_fragments_fit(struct sock *sk, struct tlsport_fragments *f, size_t len)
{
	const struct page_frag *frag = sk_page_frag(sk);
	u32 seq = tlsport_tx_records(sk);
	bool longer;

	if (!tls_get_ctx(sk)->pending_open_record_frags) {
		f->buffer = 0;
		f->list = 0;
		f->end = NULL;
	} else if (f->seq != seq) { /* it began in the midst of a call */
		f->buffer = pieces(TLS_MAX_PAYLOAD_SIZE);
		f->list = f->buffer;
	}
	f->seq = seq;
	longer = f->end && next_piece(frag) == f->end &&
		 frag->size - frag->offset >= len + OVERHEAD;
	f->buffer = min_t(unsigned int, f->buffer + (longer ? 0 : pieces(len)), U8_MAX);
	f->list = min_t(unsigned int, f->list + (longer ? 1 : pieces(len)), U8_MAX);
	return f->buffer <= PIECES_MAX && f->list <= PIECES_MAX;
}

/*
 * The call is over, the same lock held.  Where it has not added all, the last piece may be
 * shorter than what was taken of the task's fragment.
 */
void tlsport_fragments_added(struct sock *sk, struct tlsport_fragments *f, bool all)
{
	f->end = all ? next_piece(sk_page_frag(sk)) : NULL;
}

#endif /* TLSPORT_HAVE_SENDPAGE */
