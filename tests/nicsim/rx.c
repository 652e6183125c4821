// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a device does to packets that arrive: it finds the flow, decrypts, checks tags.
 *
 * A packet is marked decrypted when every byte of it was and every tag that ends in it is
 * right; else the stack gets it as it was on the wire.  A flow that does not know where the
 * next record begins is lost: it looks for something like a header, follows the lengths from
 * there and asks net/tls for the number of the record; or net/tls tells a place unasked.
 *
 * The lock of the flow guards its state.  Its socket is there while a flow can be found.
 */
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/ip6_checksum.h>
#include <net/tcp.h>

#include "nicsim.h"

/* DRIVER_REQ names a record by the last byte of its header. */
#define ASKED_OFFSET (NICSIM_HEADER - 1)

struct segment {
	struct nicsim_tuple tuple;
	u32 seq;
	u8 *payload;
	u32 len;
};

/* Whether the packet is TCP with nothing in between, all of it here, and its checksum right. */
static bool parse(struct sk_buff *skb, struct segment *segment)
{
	const struct ipv6hdr *ip6 = (struct ipv6hdr *)skb->data;
	const struct iphdr *ip = (struct iphdr *)skb->data;
	u32 header, total, tcp_header;
	const struct tcphdr *tcp;
	__wsum sum;

	memset(&segment->tuple, 0, sizeof(segment->tuple));
	if (skb->protocol == htons(ETH_P_IP) && skb->len >= sizeof(*ip)) {
		header = ip->ihl * 4;
		total = ntohs(ip->tot_len);
		if (ip->version != 4 || header < sizeof(*ip) || ip->protocol != IPPROTO_TCP ||
		    ip_is_fragment(ip))
			return false;
		segment->tuple.family = AF_INET;
		segment->tuple.local4 = ip->daddr;
		segment->tuple.remote4 = ip->saddr;
	} else if (skb->protocol == htons(ETH_P_IPV6) && skb->len >= sizeof(*ip6)) {
		header = sizeof(*ip6);
		total = header + ntohs(ip6->payload_len);
		if (ip6->version != 6 || ip6->nexthdr != IPPROTO_TCP)
			return false;
		segment->tuple.family = AF_INET6;
		segment->tuple.local6 = ip6->daddr;
		segment->tuple.remote6 = ip6->saddr;
	} else {
		return false;
	}
	if (total > skb->len || total < header + sizeof(*tcp))
		return false;
	tcp = (struct tcphdr *)(skb->data + header);
	tcp_header = tcp->doff * 4;
	if (tcp_header < sizeof(*tcp) || header + tcp_header > total)
		return false;

	sum = csum_partial(tcp, total - header, 0);
	if (segment->tuple.family == AF_INET ?
		    csum_tcpudp_magic(ip->saddr, ip->daddr, total - header, IPPROTO_TCP, sum) :
		    csum_ipv6_magic(&ip6->saddr, &ip6->daddr, total - header, IPPROTO_TCP, sum))
		return false;
	segment->tuple.local_port = tcp->dest;
	segment->tuple.remote_port = tcp->source;
	segment->seq = ntohl(tcp->seq);
	segment->payload = (u8 *)tcp + tcp_header;
	segment->len = total - header - tcp_header;
	return true;
}

/**
 * nicsim_rx_lose() - the device knows neither place nor number any more
 * @flow: its lock is held
 */
void nicsim_rx_lose(struct nicsim_flow *flow)
{
	lockdep_assert_held(&flow->lock);
	if (flow->state == NICSIM_DEAD)
		return;
	if (flow->async_open) {
		tls_offload_rx_resync_async_request_cancel(&flow->async);
		nicsim_count(flow->nic, NICSIM_RX_TLS_RESYNC_REQ_SKIP);
		flow->async_open = false;
	}
	flow->state = NICSIM_LOST;
	flow->asked = false;
	flow->hinted = false;
}

/* The question goes up before the packet does: net/tls meets it when it comes to the record. */
static void ask(struct nicsim_flow *flow, const struct segment *segment)
{
	struct nicsim *nic = flow->nic;

	nicsim_count(nic, NICSIM_RX_TLS_RESYNC_REQ_PKT);
	if (flow->resync == NICSIM_RX_ASYNC) {
		nicsim_count(nic, NICSIM_RX_TLS_RESYNC_REQ_START);
		nicsim_async_start(flow->sk, &flow->async, htonl(segment->seq), segment->len);
		flow->async_open = true;
		return;
	}
	tls_offload_rx_resync_request(flow->sk, htonl(flow->guess + ASKED_OFFSET));
	flow->asked = true;
}

/* A guess that has proved good is the one that net/tls is asked about. */
static void ask_in_the_end(struct nicsim_flow *flow)
{
	if (!flow->async_open || flow->record.number < NICSIM_CONFIRMED)
		return;
	nicsim_async_end(flow->sk, &flow->async, htonl(flow->guess));
	nicsim_count(flow->nic, NICSIM_RX_TLS_RESYNC_REQ_END);
	flow->async_open = false;
	flow->asked = true;
}

static void follow(struct nicsim_flow *flow, u8 *data, u32 len)
{
	struct nicsim_walk walk = { .direction = NICSIM_DECRYPT,
				    .bad_tags = &flow->nic->knobs.rx_bad_tags_next };

	if (nicsim_record_walk(&flow->key, &flow->record, &walk, data, len) ||
	    (flow->state == NICSIM_TRACKING && flow->record.number > NICSIM_TRACKED))
		nicsim_rx_lose(flow);
	else if (flow->state == NICSIM_TRACKING)
		ask_in_the_end(flow);
}

/* What net/tls told unasked is used when the stream comes to that place. */
static void take_hint(struct nicsim_flow *flow, const struct segment *segment)
{
	u32 at = flow->hint - segment->seq;

	if (!flow->hinted || before(flow->hint, segment->seq)) {
		flow->hinted = false;
		return;
	}
	if (at >= segment->len)
		return;
	flow->hinted = false;
	flow->state = NICSIM_SYNCED;
	nicsim_record_start(&flow->record, flow->hint_number, true);
	follow(flow, segment->payload + at, segment->len - at);
}

/* Looks for something like a header, from which lengths can be followed. */
static void scan(struct nicsim_flow *flow, const struct segment *segment)
{
	u32 at;

	for (at = 0; at + NICSIM_HEADER <= segment->len; at++) {
		if (!nicsim_record_is_header(segment->payload + at))
			continue;
		flow->state = NICSIM_TRACKING;
		flow->guess = segment->seq + at;
		nicsim_record_start(&flow->record, 0, false);
		ask(flow, segment);
		follow(flow, segment->payload + at, segment->len - at);
		return;
	}
}

/* Bytes that the device has seen already, or will never see, are in the way. */
static void out_of_order(struct nicsim_flow *flow, const struct segment *segment)
{
	u32 end = segment->seq + segment->len, seen;

	if (!after(end, flow->expected))
		return; /* a retransmission changes nothing */
	if (after(segment->seq, flow->expected)) {
		if (!nicsim_record_skip(&flow->record, segment->seq - flow->expected))
			nicsim_rx_lose(flow);
		seen = 0;
	} else {
		seen = flow->expected - segment->seq;
	}
	flow->expected = end;
	if (flow->state != NICSIM_LOST)
		follow(flow, segment->payload + seen, segment->len - seen);
	else if (flow->resync != NICSIM_RX_HINT)
		scan(flow, segment);
}

/* Returns whether the payload is plaintext now; what was on the wire is in the scratch buffer. */
static bool in_order(struct nicsim_flow *flow, const struct segment *segment)
{
	struct nicsim_walk walk = { .direction = NICSIM_DECRYPT,
				    .bad_tags = &flow->nic->knobs.rx_bad_tags_next };
	struct nicsim *nic = flow->nic;

	flow->expected += segment->len;
	if (nicsim_record_walk(&flow->key, &flow->record, &walk, segment->payload, segment->len)) {
		nicsim_count(nic, NICSIM_RX_TLS_ERR);
		nicsim_rx_lose(flow);
		return false;
	}
	if (walk.bad_tags_seen)
		nicsim_count(nic, NICSIM_RX_TLS_AUTH_FAILED);
	return !walk.bad_tags_seen && !walk.unkeyed;
}

static bool decrypt(struct nicsim_flow *flow, const struct segment *segment)
{
	bool next = segment->seq == flow->expected;

	switch (flow->state) {
	case NICSIM_SYNCED:
		if (next)
			return in_order(flow, segment);
		out_of_order(flow, segment);
		break;
	case NICSIM_TRACKING:
		if (!next) {
			out_of_order(flow, segment);
			break;
		}
		flow->expected += segment->len;
		follow(flow, segment->payload, segment->len);
		break;
	case NICSIM_LOST:
		/* where an old packet ends is not where the stream goes on */
		if (!after(segment->seq + segment->len, flow->expected))
			break;
		flow->expected = segment->seq + segment->len;
		if (flow->resync == NICSIM_RX_HINT)
			take_hint(flow, segment);
		else
			scan(flow, segment);
		break;
	case NICSIM_DEAD:
		break;
	}
	return false;
}

static void receive(struct nicsim *nic, struct sk_buff *skb)
{
	struct nicsim_flow *flow;
	struct segment segment;
	bool decrypted;

	if (!parse(skb, &segment))
		return;
	if (nic->dev->features & NETIF_F_RXCSUM)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	if (!segment.len)
		return;
	flow = nicsim_flow_find(nic, &segment.tuple);
	if (!flow)
		return;

	memcpy(nic->scratch, segment.payload, segment.len);
	spin_lock(&flow->lock);
	decrypted = decrypt(flow, &segment);
	spin_unlock(&flow->lock);
	if (!decrypted) {
		memcpy(segment.payload, nic->scratch, segment.len);
		return;
	}
	skb->decrypted = 1;
	/* what the wire's checksum covered is gone */
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	nicsim_count(nic, NICSIM_RX_TLS_DECRYPTED_PACKETS);
	nicsim_count_more(nic, NICSIM_RX_TLS_DECRYPTED_BYTES, segment.len);
}

static void wake_peer(struct nicsim *nic)
{
	struct net_device *peer;

	rcu_read_lock();
	peer = rcu_dereference(nic->peer);
	if (peer && netif_queue_stopped(peer) && netif_running(peer) &&
	    skb_queue_len_lockless(&nic->ring) < NICSIM_RING / 2)
		netif_wake_queue(peer);
	rcu_read_unlock();
}

/**
 * nicsim_rx_poll() - hand what arrived to the stack
 * @napi: of the receiver
 * @budget: how many packets at most
 *
 * Return: how many there were.
 */
int nicsim_rx_poll(struct napi_struct *napi, int budget)
{
	struct nicsim *nic = container_of(napi, struct nicsim, napi);
	struct sk_buff *skb;
	int done = 0;

	while (done < budget) {
		skb = nicsim_wire_receive(nic);
		if (!skb)
			break;
		done++;
		nicsim_count(nic, NICSIM_RX_PACKETS);
		nicsim_count_more(nic, NICSIM_RX_BYTES, skb->len);
		skb->protocol = eth_type_trans(skb, nic->dev);
		rcu_read_lock();
		receive(nic, skb);
		rcu_read_unlock();
		napi_gro_receive(napi, skb);
	}
	wake_peer(nic);
	if (done < budget && napi_complete_done(napi, done) && nicsim_wire_arrived(nic))
		napi_schedule(napi);
	return done;
}

/* Whether an answer is about the header that the device follows lengths from. */
static bool is_answer(const struct nicsim_flow *flow, u32 seq)
{
	u32 asked = flow->guess + (flow->resync == NICSIM_RX_REQUEST ? ASKED_OFFSET : 0);

	return flow->state == NICSIM_TRACKING && flow->asked && seq == asked;
}

/**
 * nicsim_rx_resync() - net/tls tells the number of a record
 * @flow: of the record
 * @seq: where it begins, in the way of the resync type
 * @number: its number
 *
 * Return: 0 or -EINVAL, it is of no use any more.
 */
int nicsim_rx_resync(struct nicsim_flow *flow, u32 seq, u64 number)
{
	struct nicsim *nic = flow->nic;
	bool used = false;

	spin_lock_bh(&flow->lock);
	if (flow->resync == NICSIM_RX_HINT) {
		used = flow->state == NICSIM_LOST && !before(seq, flow->expected);
		if (used) {
			flow->hinted = true;
			flow->hint = seq;
			flow->hint_number = number;
		}
	} else if (is_answer(flow, seq)) {
		used = true;
		flow->record.number += number;
		flow->record.numbered = true;
		/* the record that we are in has not passed whole unless it is about to begin */
		flow->record.keyed = !flow->record.offset;
		flow->state = NICSIM_SYNCED;
		flow->asked = false;
	}
	spin_unlock_bh(&flow->lock);
	nicsim_count(nic, used ? NICSIM_RX_TLS_RESYNC_RES_OK : NICSIM_RX_TLS_RESYNC_RES_SKIP);
	return used ? 0 : -EINVAL;
}
