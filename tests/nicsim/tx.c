// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a device does to packets that leave: net/tls made records with room for the tag,
 * the device encrypts them.
 *
 * The device expects the stream in order.  What comes out of order (retransmissions,
 * what a queueing discipline dropped) is handled as the knob tx_resync says.  A packet that
 * must be encrypted and cannot be is dropped.  The lock of the flow guards all.
 */
#include <linux/highmem.h>
#include <linux/tcp.h>

#include "nicsim.h"

static u32 tcp_payload(const struct sk_buff *skb)
{
	return skb->len - skb_tcp_all_headers(skb);
}

/**
 * nicsim_tx_flow() - the flow that encrypts a packet
 * @dev: who sends it
 * @skb: the packet
 *
 * Of a socket whose flow is another device's net/tls has encrypted the packet already.
 * That one loses its flow is told by NETDEV_DOWN, when its queue is empty: no packet that
 * is still to be encrypted comes after.
 *
 * Context: under RCU, in the transmit function.
 * Return: the flow, valid as long as the packet has its socket, or NULL.
 */
struct nicsim_flow *nicsim_tx_flow(struct net_device *dev, const struct sk_buff *skb)
{
	struct tls_context *ctx;

	if (!nicsim_skb_offloaded(skb) || !tcp_payload(skb))
		return NULL;
	ctx = tls_get_ctx(skb->sk);
	if (rcu_dereference_bh(ctx->netdev) != dev)
		return NULL;
	return *(struct nicsim_flow **)__tls_driver_ctx(ctx, TLS_OFFLOAD_CTX_DIR_TX);
}

/* The record that a byte is in, and pages of it held; false: nobody knows it any more. */
static bool hold_record(struct tls_offload_context_tx *ctx, u32 seq, struct tls_record_info *held,
			u64 *number)
{
	struct tls_record_info *record;
	unsigned long flags;
	bool found;
	int i;

	spin_lock_irqsave(&ctx->lock, flags);
	record = tls_get_record(ctx, seq, number);
	found = record && !tls_record_is_start_marker(record) &&
		!before(seq, tls_record_start_seq(record));
	if (found) {
		*held = *record;
		for (i = 0; i < held->num_frags; i++)
			get_page(skb_frag_page(&held->frags[i]));
	}
	spin_unlock_irqrestore(&ctx->lock, flags);
	return found;
}

static void drop_record(struct tls_record_info *held)
{
	int i;

	for (i = 0; i < held->num_frags; i++)
		put_page(skb_frag_page(&held->frags[i]));
}

/* Encrypts the beginning of a record into nowhere. */
static int replay(struct nicsim_flow *flow, const struct tls_record_info *held, u32 len)
{
	atomic_t no_bad_tags = ATOMIC_INIT(0);
	struct nicsim_walk walk = { .direction = NICSIM_ENCRYPT, .bad_tags = &no_bad_tags };
	u8 *text = kmalloc(PAGE_SIZE, GFP_ATOMIC);
	int i, err = text ? 0 : -ENOMEM;
	u32 at, part;

	for (i = 0; !err && len && i < held->num_frags; i++) {
		const skb_frag_t *frag = &held->frags[i];

		for (at = 0; !err && len && at < skb_frag_size(frag); at += part) {
			u32 offset = skb_frag_off(frag) + at;

			part = min_t(u32, len, skb_frag_size(frag) - at);
			part = min_t(u32, part, PAGE_SIZE - offset_in_page(offset));
			memcpy_from_page(text, skb_frag_page(frag) + (offset >> PAGE_SHIFT),
					 offset_in_page(offset), part);
			err = nicsim_record_walk(&flow->key, &flow->record, &walk, text, part);
			len -= part;
		}
	}
	kfree_sensitive(text);
	return err ?: len ? -EINVAL : 0;
}

/* Puts the device where a packet begins, from the record: net/tls keeps what is unacknowledged. */
static bool rebuild(struct nicsim_flow *flow, struct sock *sk, u32 seq)
{
	struct tls_offload_context_tx *ctx = tls_offload_ctx_tx(tls_get_ctx(sk));
	struct tls_record_info *held = kmalloc(sizeof(*held), GFP_ATOMIC);
	bool done = false;
	u64 number;

	if (!held || !hold_record(ctx, seq, held, &number)) {
		nicsim_count(flow->nic, NICSIM_TX_TLS_DROP_NO_SYNC_DATA);
		goto out;
	}
	nicsim_record_start(&flow->record, number, true);
	done = !replay(flow, held, seq - tls_record_start_seq(held));
	flow->state = done ? NICSIM_SYNCED : NICSIM_LOST;
	flow->expected = seq;
	drop_record(held);
out:
	kfree(held);
	return done;
}

/* Software encrypts it; the device asks where the next record begins if it has lost some. */
static struct sk_buff *fall_back(struct nicsim_flow *flow, struct sk_buff *skb, bool ask)
{
	struct nicsim *nic = flow->nic;
	u32 seq = ntohl(tcp_hdr(skb)->seq);

	if (ask && !tls_offload_tx_resync_pending(skb->sk)) {
		nicsim_count(nic, NICSIM_TX_TLS_RESYNC_REQ);
		tls_offload_tx_resync_request(skb->sk, seq, flow->expected);
	}
	skb = tls_encrypt_skb(skb);
	nicsim_count(nic, skb ? NICSIM_TX_TLS_FALLBACK : NICSIM_TX_TLS_DROP_NO_SYNC_DATA);
	return skb;
}

/**
 * nicsim_tx_begin() - make the device ready for a packet of a flow
 * @flow_ptr: the flow of the packet; set to NULL when the packet goes as it is
 * @skb: the packet, perhaps of many segments, consumed
 *
 * Context: under RCU, softirqs off.
 * Return: what to send; NULL, it was dropped.
 */
struct sk_buff *nicsim_tx_begin(struct nicsim_flow **flow_ptr, struct sk_buff *skb)
{
	struct nicsim_flow *flow = *flow_ptr;
	struct nicsim *nic = flow->nic;
	u32 seq = ntohl(tcp_hdr(skb)->seq);
	bool ahead;

	if (before(seq, flow->start)) {
		*flow_ptr = NULL;
		if (!after(seq + tcp_payload(skb), flow->start)) {
			nicsim_count(nic, NICSIM_TX_TLS_SKIP_NO_SYNC_DATA);
			return skb;
		}
		nicsim_count(nic, NICSIM_TX_TLS_DROP_BYPASS_REQ);
		goto drop;
	}

	spin_lock(&flow->lock);
	if (flow->state == NICSIM_DEAD) {
		spin_unlock(&flow->lock);
		*flow_ptr = NULL;
		return fall_back(flow, skb, false);
	}
	if (flow->state == NICSIM_SYNCED && seq == flow->expected) {
		spin_unlock(&flow->lock);
		return skb;
	}
	nicsim_count(nic, NICSIM_TX_TLS_OOO);
	if (atomic_read(&nic->knobs.tx_resync) == NICSIM_TX_REBUILD) {
		bool done = rebuild(flow, skb->sk, seq);

		spin_unlock(&flow->lock);
		if (done)
			return skb;
		*flow_ptr = NULL;
		goto drop;
	}
	ahead = flow->state == NICSIM_LOST || after(seq, flow->expected);
	spin_unlock(&flow->lock);
	*flow_ptr = NULL;
	return fall_back(flow, skb, ahead);

drop:
	nicsim_count(nic, NICSIM_TX_DROPPED);
	kfree_skb(skb);
	return NULL;
}

/**
 * nicsim_tx_encrypt() - encrypt a packet of the size of the wire
 * @flow: of the packet
 * @skb: the copy for the wire; NULL, there was no memory for it
 * @payload_offset: where its TCP payload begins
 *
 * Context: softirqs off, nicsim_tx_begin() for the whole packet before.
 * Return: whether it may be sent.
 */
bool nicsim_tx_encrypt(struct nicsim_flow *flow, struct sk_buff *skb, u32 payload_offset)
{
	struct nicsim *nic = flow->nic;
	struct nicsim_walk walk = { .direction = NICSIM_ENCRYPT,
				    .bad_tags = &nic->knobs.tx_bad_tags_next };
	bool done;
	u32 len;

	spin_lock(&flow->lock);
	done = skb && flow->state == NICSIM_SYNCED;
	if (done) {
		len = skb->len - payload_offset;
		done = !nicsim_record_walk(&flow->key, &flow->record, &walk,
					   skb->data + payload_offset, len) &&
		       !walk.unkeyed;
	}
	if (done) {
		flow->expected += len;
		nicsim_count(nic, NICSIM_TX_TLS_ENCRYPTED_PACKETS);
		nicsim_count_more(nic, NICSIM_TX_TLS_ENCRYPTED_BYTES, len);
	} else if (flow->state != NICSIM_DEAD) {
		flow->state = NICSIM_LOST;
	}
	spin_unlock(&flow->lock);
	return done;
}

/**
 * nicsim_tx_resync() - net/tls tells where a record begins
 * @flow: that asked
 * @seq: TCP sequence number of the next record that will be sent
 * @number: of that record
 *
 * Return: 0.
 */
int nicsim_tx_resync(struct nicsim_flow *flow, u32 seq, u64 number)
{
	spin_lock_bh(&flow->lock);
	if (flow->state != NICSIM_DEAD) {
		nicsim_record_start(&flow->record, number, true);
		flow->expected = seq;
		flow->state = NICSIM_SYNCED;
		nicsim_count(flow->nic, NICSIM_TX_TLS_RESYNC_RES);
	}
	spin_unlock_bh(&flow->lock);
	return 0;
}
