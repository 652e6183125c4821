// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The wire from one of a pair to the other: bytes, and what happens to them on the way.
 *
 * A packet crosses as a copy, as by DMA: what the sender's socket still holds, pages of
 * files even, is never written to, and nothing but bytes comes out at the other end.
 * The ring of the receiver has a lock of its own; what is held back belongs to whoever
 * owns the sender's transmit queue.
 */
#include <linux/random.h>

#include "nicsim.h"

/**
 * nicsim_wire_copy() - a packet as the wire has it
 * @to: who will receive it
 * @skb: what is sent
 *
 * Return: the copy, in one piece, the caller's; NULL without memory.
 */
struct sk_buff *nicsim_wire_copy(struct net_device *to, const struct sk_buff *skb)
{
	struct sk_buff *copy;

	if (skb->len > NICSIM_MAX_FRAME)
		return NULL;
	copy = netdev_alloc_skb_ip_align(to, skb->len);
	if (!copy)
		return NULL;
	if (skb_copy_bits(skb, 0, skb_put(copy, skb->len), skb->len)) {
		kfree_skb(copy);
		return NULL;
	}
	return copy;
}

/**
 * nicsim_wire_checksum() - the checksum that was left to the device
 * @skb: the copy, after encryption
 * @original: what it was copied from
 */
void nicsim_wire_checksum(struct sk_buff *skb, const struct sk_buff *original)
{
	__sum16 sum;
	int start;

	if (original->ip_summed != CHECKSUM_PARTIAL)
		return;
	start = skb_checksum_start_offset(original);
	sum = csum_fold(csum_partial(skb->data + start, skb->len - start, 0));
	memcpy(skb->data + start + original->csum_offset, &(__sum16){ sum ?: CSUM_MANGLED_0 },
	       sizeof(sum));
}

/* When a packet is all at the other end */
static u64 arrival_time(struct nicsim *nic, u32 len)
{
	u32 rate = atomic_read(&nic->knobs.rate), delay = atomic_read(&nic->knobs.delay);
	u64 now = ktime_get_ns();

	if (!rate && !delay)
		return now;
	nic->sent = max(nic->sent, now);
	if (rate)
		nic->sent += div_u64((u64)len * BITS_PER_BYTE * USEC_PER_SEC, rate);
	return nic->sent + (u64)delay * NSEC_PER_USEC;
}

static u64 *arrives(struct sk_buff *skb)
{
	return (u64 *)skb->cb;
}

static bool happens(const atomic_t *per_million)
{
	u32 often = atomic_read(per_million);

	return often && get_random_u32() % NICSIM_PER_MILLION < often;
}

static bool is_next_to_drop(struct nicsim *nic, const struct sk_buff *skb)
{
	return skb->len >= NICSIM_LARGE && !nicsim_strikes(&nic->knobs.drop_after) &&
	       nicsim_strikes(&nic->knobs.drop_next);
}

/* The sender's queue stops at a full ring; the receiver's poll function wakes it. */
static void deliver(struct nicsim *nic, struct nicsim *to, struct sk_buff *skb)
{
	*arrives(skb) = arrival_time(nic, skb->len);
	skb_queue_tail(&to->ring, skb);
	if (skb_queue_len_lockless(&to->ring) >= NICSIM_RING) {
		netif_stop_queue(nic->dev);
		smp_mb(); /* the queue is stopped before we look again */
		if (skb_queue_len_lockless(&to->ring) < NICSIM_RING / 2)
			netif_wake_queue(nic->dev);
	}
	napi_schedule(&to->napi);
}

/**
 * nicsim_wire_send() - put a packet on the wire
 * @nic: the sender
 * @peer: the receiver, under RCU
 * @skb: the packet, consumed
 *
 * Context: softirqs off, the transmit queue's lock held.
 */
void nicsim_wire_send(struct nicsim *nic, struct net_device *peer, struct sk_buff *skb)
{
	struct nicsim *to = netdev_priv(peer);
	struct sk_buff *held;

	if (is_next_to_drop(nic, skb) || happens(&nic->knobs.drop)) {
		nicsim_count(nic, NICSIM_WIRE_LOST);
		kfree_skb(skb);
		return;
	}
	if (!nic->held && happens(&nic->knobs.reorder)) {
		nicsim_count(nic, NICSIM_WIRE_REORDERED);
		nic->held = skb;
		return;
	}
	held = nic->held;
	nic->held = NULL;
	deliver(nic, to, skb);
	if (held)
		deliver(nic, to, held);
}

/**
 * nicsim_wire_receive() - take what has arrived
 * @nic: the receiver, in its poll function
 *
 * Return: the next packet, the caller's; NULL: there is none, and when the next that is
 * on the wire has arrived, the poll function runs again.
 */
struct sk_buff *nicsim_wire_receive(struct nicsim *nic)
{
	struct sk_buff *skb = skb_peek(&nic->ring); /* nobody else takes from the ring */
	u64 now;

	if (!skb)
		return NULL;
	now = ktime_get_ns();
	if (*arrives(skb) > now) {
		hrtimer_start(&nic->arrival, ns_to_ktime(*arrives(skb) - now),
			      HRTIMER_MODE_REL_SOFT);
		return NULL;
	}
	skb = skb_dequeue(&nic->ring);
	memset(skb->cb, 0, sizeof(u64));
	return skb;
}

/**
 * nicsim_wire_arrived() - whether a packet has arrived that no poll function will see
 * @nic: the receiver, whose poll function is done
 */
bool nicsim_wire_arrived(struct nicsim *nic)
{
	return !skb_queue_empty_lockless(&nic->ring) && !hrtimer_active(&nic->arrival);
}

static enum hrtimer_restart arrive(struct hrtimer *timer)
{
	struct nicsim *nic = container_of(timer, struct nicsim, arrival);

	napi_schedule(&nic->napi);
	return HRTIMER_NORESTART;
}

/**
 * nicsim_wire_init() - the end of a wire, still empty
 * @nic: whose end
 */
void nicsim_wire_init(struct nicsim *nic)
{
	skb_queue_head_init(&nic->ring);
	hrtimer_setup(&nic->arrival, arrive, CLOCK_MONOTONIC, HRTIMER_MODE_REL_SOFT);
}

/**
 * nicsim_wire_purge() - forget what is on the wire
 * @nic: has stopped: nothing comes to it nor leaves it any more
 */
void nicsim_wire_purge(struct nicsim *nic)
{
	hrtimer_cancel(&nic->arrival);
	skb_queue_purge(&nic->ring);
	kfree_skb(nic->held);
	nic->held = NULL;
}
