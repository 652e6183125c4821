// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handshake bytes to the helper.  A worker is one netlink socket of it; a new
 * connection goes to the next in turn, one that has been answered stays with
 * who answered.  When nobody is there, or sockets are full, the connection
 * waits in tlsport_net.pending for the next answer of any worker, the next
 * registration or the retry timer.
 *
 * tlsport_net.workers_lock guards both lists; conn->lock is held by callers.
 */
#include "tlsport.h"
#include "trace.h"

#define UPCALL_TRIES 4

static struct tlsport_worker *worker_find(struct tlsport_net *tn, u32 portid)
{
	struct tlsport_worker *w;

	lockdep_assert_held(&tn->workers_lock);
	list_for_each_entry(w, &tn->workers, node)
		if (w->portid == portid)
			return w;
	return NULL;
}

/*
 * By these the worker's result is judged, however late it comes.  Under workers_lock, which a
 * worker registers and drains with: what was set before the one, or after the other, counts so.
 */
static void note_policy(struct tlsport_conn *conn)
{
	conn->min_version = READ_ONCE(conn->port->min_version);
	conn->max_version = READ_ONCE(conn->port->max_version);
	conn->offload = READ_ONCE(conn->port->offload);
}

/* Its own worker, or the next in turn; 0: none. */
static u32 worker_pick(struct tlsport_net *tn, struct tlsport_conn *conn)
{
	struct tlsport_worker *w;
	u32 portid = 0;

	spin_lock_bh(&tn->workers_lock);
	if (conn->state == TLSPORT_CONN_HANDSHAKE) {
		w = worker_find(tn, conn->worker);
		portid = w ? w->portid : 0;
		goto out;
	}
	list_for_each_entry(w, &tn->workers, node)
		if (!w->drain) {
			portid = w->portid;
			note_policy(conn);
			list_move_tail(&w->node, &tn->workers);
			break;
		}
out:
	spin_unlock_bh(&tn->workers_lock);
	return portid;
}

static void wait_for_worker(struct tlsport_net *tn, struct tlsport_conn *conn)
{
	TLSPORT_STAT(conn->port, UPCALL_RETRIES);
	spin_lock_bh(&tn->workers_lock);
	if (list_empty(&conn->pending_node))
		list_add_tail(&conn->pending_node, &tn->pending);
	spin_unlock_bh(&tn->workers_lock);
	queue_delayed_work(tlsport_wq, &tn->retry, TLSPORT_UPCALL_RETRY);
}

void tlsport_upcall_forget(struct tlsport_conn *conn)
{
	struct tlsport_net *tn = tlsport_pernet(conn->net);

	spin_lock_bh(&tn->workers_lock);
	list_del_init(&conn->pending_node);
	spin_unlock_bh(&tn->workers_lock);
}

/* Any context.  A worker has room: the oldest that waits, or all, try again. */
void tlsport_upcall_kick(struct tlsport_net *tn, bool all)
{
	struct tlsport_conn *conn, *next;

	if (list_empty_careful(&tn->pending))
		return;
	spin_lock_bh(&tn->workers_lock);
	list_for_each_entry_safe(conn, next, &tn->pending, pending_node) {
		list_del_init(&conn->pending_node);
		tlsport_conn_queue(conn);
		if (!all)
			break;
	}
	spin_unlock_bh(&tn->workers_lock);
}

void tlsport_upcall_retry_work(struct work_struct *work)
{
	tlsport_upcall_kick(container_of(to_delayed_work(work), struct tlsport_net, retry), true);
}

/*
 * How many of the bytes go up: whole records; all of them when the first cannot
 * be a record, for the helper to refuse; 0 and the length to wait for when the
 * first record is not whole yet.
 */
static u32 whole_records(struct tlsport_conn *conn, const u8 *data, u32 len)
{
	u32 n = 0, end;

	while (n < len) {
		if (data[n] < TLSPORT_TYPE_CCS || data[n] > TLSPORT_TYPE_DATA)
			return n ?: len;
		end = n + TLSPORT_HEADER_LEN;
		if (end <= len) {
			u32 length = data[n + 3] << 8 | data[n + 4];

			if (data[n + 1] != 3 || length > TLSPORT_CIPHERTEXT_MAX)
				return n ?: len;
			end += length;
		}
		if (end > len) {
			if (!n)
				conn->need = end;
			break;
		}
		n = end;
	}
	return n;
}

static int put_address(struct sk_buff *skb, int attr, const struct tlsport_conn *conn,
		       const struct in6_addr *addr)
{
	return nla_put(skb, attr, conn->family == AF_INET6 ? 16 : 4, addr);
}

/* The message up to its data, which is the last attribute; NULL: no memory, or nothing to send */
static struct sk_buff *build(struct tlsport_conn *conn, u32 portid, bool eof, u32 inq, int *err)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_PEEK };
	struct kvec vec = { .iov_len = min_t(u32, inq, TLSPORT_DATA_MAX) };
	struct nlattr *nla;
	struct sk_buff *skb;
	void *hdr;
	int n;

	*err = -ENOMEM;
	skb = genlmsg_new(nla_total_size(vec.iov_len) + 128, GFP_KERNEL);
	if (!skb)
		return NULL;
	hdr = genlmsg_put(skb, portid, 0, &tlsport_genl_family, 0, TLSPORT_CMD_HANDSHAKE);
	if (!hdr || nla_put_u64_64bit(skb, TLSPORT_A_HS_ID, conn->id, TLSPORT_A_HS_PAD) ||
	    nla_put_u16(skb, TLSPORT_A_HS_PORT, conn->port->number) ||
	    put_address(skb, TLSPORT_A_HS_LOCAL_ADDR, conn, &conn->local) ||
	    put_address(skb, TLSPORT_A_HS_PEER_ADDR, conn, &conn->peer) ||
	    nla_put_u16(skb, TLSPORT_A_HS_PEER_PORT, conn->peer_port) ||
	    (eof && nla_put_flag(skb, TLSPORT_A_HS_EOF)))
		goto err;
	nla = nla_reserve(skb, TLSPORT_A_HS_DATA, vec.iov_len);
	if (!nla)
		goto err;
	vec.iov_base = nla_data(nla);
	n = kernel_recvmsg(conn->sock, &msg, &vec, 1, vec.iov_len, msg.msg_flags);
	*err = -ENODATA;
	if (n <= 0)
		goto err;
	conn->shown = whole_records(conn, vec.iov_base, n);
	if (!conn->shown)
		goto err;
	nla->nla_len = nla_attr_size(conn->shown);
	skb_trim(skb, (u8 *)nla + nla_total_size(conn->shown) - skb->data);
	memset((u8 *)nla + nla->nla_len, 0, nla_padlen(conn->shown));
	genlmsg_end(skb, hdr);
	return skb;
err:
	nlmsg_free(skb);
	return NULL;
}

/**
 * tlsport_upcall - send up what waits at the head of the receive queue
 * @conn: in HELLO or HANDSHAKE, no answer due
 * @inq: bytes there
 * @eof: the peer will send no more
 *
 * Context: process, conn->lock held.
 * Return: 0: sent, or it waits for a worker; -ENODATA: no whole record yet;
 * -ESRCH: the worker that has its secrets is gone; -ECANCELED: it was shed.
 */
int tlsport_upcall(struct tlsport_conn *conn, u32 inq, bool eof)
{
	struct net *net = sock_net(conn->sk);
	struct tlsport_net *tn = tlsport_pernet(net);
	struct sk_buff *skb;
	int err, tries;
	u32 portid;

	for (tries = 0; tries < UPCALL_TRIES; tries++) {
		portid = worker_pick(tn, conn);
		if (!portid && conn->state == TLSPORT_CONN_HANDSHAKE)
			return -ESRCH;
		if (!portid)
			break;
		skb = build(conn, portid, eof, inq, &err);
		if (!skb && err == -ENODATA)
			return err;
		if (!skb)
			break;
		if (!tlsport_handshakes_resume(conn)) {
			nlmsg_free(skb);
			return -ECANCELED;
		}
		/* first, so that whoever sees the worker die finds it */
		smp_store_mb(conn->worker, portid);
		conn->upcalled = true;
		err = genlmsg_unicast(net, skb, portid);
		if (!err) {
			TLSPORT_STAT(conn->port, UPCALLS);
			return 0;
		}
		conn->upcalled = false;
	}
	if (!tlsport_handshakes_resume(conn))
		return -ECANCELED;
	wait_for_worker(tn, conn);
	return 0;
}

/* conn->lock held.  The worker may forget the handshake; it also does by its own clock. */
void tlsport_upcall_cancel(struct tlsport_conn *conn)
{
	struct sk_buff *skb;
	void *hdr;

	if (!conn->worker)
		return;
	skb = genlmsg_new(nla_total_size_64bit(sizeof(u64)), GFP_KERNEL);
	if (!skb)
		return;
	hdr = genlmsg_put(skb, conn->worker, 0, &tlsport_genl_family, 0, TLSPORT_CMD_CANCEL);
	if (!hdr || nla_put_u64_64bit(skb, TLSPORT_A_HS_ID, conn->id, TLSPORT_A_HS_PAD)) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, hdr);
	genlmsg_unicast(sock_net(conn->sk), skb, conn->worker);
}

/**
 * tlsport_worker_set - register a worker, or change it
 * @net: network namespace
 * @portid: its netlink socket
 * @scratch: its scratch page, NULL: as before
 * @drain: it takes no new handshakes
 *
 * Return: 0, -EINVAL when a new worker has no scratch page, -ENOMEM.
 */
int tlsport_worker_set(struct net *net, u32 portid, void __user *scratch, bool drain)
{
	struct tlsport_net *tn = tlsport_pernet(net);
	struct tlsport_worker *w, *fresh;

	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL);
	if (!fresh)
		return -ENOMEM;
	spin_lock_bh(&tn->workers_lock);
	w = worker_find(tn, portid);
	if (!w && scratch) {
		w = fresh;
		fresh = NULL;
		w->portid = portid;
		list_add(&w->node, &tn->workers);
		trace_tlsport_object_new("worker", w);
	}
	if (w) {
		w->drain = drain;
		if (scratch)
			w->scratch = scratch;
	}
	spin_unlock_bh(&tn->workers_lock);
	kfree(fresh);
	if (!w)
		return -EINVAL;
	tlsport_upcall_kick(tn, true);
	return 0;
}

void __user *tlsport_worker_scratch(struct net *net, u32 portid)
{
	struct tlsport_net *tn = tlsport_pernet(net);
	void __user *scratch = NULL;
	struct tlsport_worker *w;

	spin_lock_bh(&tn->workers_lock);
	w = worker_find(tn, portid);
	if (w)
		scratch = w->scratch;
	spin_unlock_bh(&tn->workers_lock);
	return scratch;
}

/* The socket was released.  False: it was no worker. */
bool tlsport_worker_release(struct net *net, u32 portid)
{
	struct tlsport_net *tn = tlsport_pernet(net);
	struct tlsport_worker *w;

	spin_lock_bh(&tn->workers_lock);
	w = worker_find(tn, portid);
	if (w)
		list_del(&w->node);
	spin_unlock_bh(&tn->workers_lock);
	if (!w)
		return false;
	trace_tlsport_object_free("worker", w);
	kfree(w);
	return true;
}
