// SPDX-License-Identifier: GPL-2.0-only
/*
 * One connection, from the raw accept to its end.  conn->lock guards the state
 * and everything of the handshake; the table finds it by an id that is never
 * reused.  Bytes are taken off the receive queue only when the helper's answer
 * says so: what follows the client's Finished stays there and is the first that
 * kTLS reads.
 *
 * Whatever ends a connection counts it in tlsport_conn_count_end(), once; its
 * objects end in tlsport_conn_dead() and, with the last reference, conn_free().
 */
#include <linux/mm.h>
#include <linux/rhashtable.h>
#include <net/inet_hashtables.h>
#include "tlsport.h"
#include "trace.h"

struct rhashtable tlsport_conns;

static const struct rhashtable_params conns_params = {
	.key_len = sizeof_field(struct tlsport_conn, id),
	.key_offset = offsetof(struct tlsport_conn, id),
	.head_offset = offsetof(struct tlsport_conn, node),
	.automatic_shrinking = true,
};

static atomic64_t last_id;
static struct kmem_cache *conn_cache; /* kmalloc() would round up to 1024 */

static void conn_free(struct rcu_head *rcu)
{
	struct tlsport_conn *conn = container_of(rcu, struct tlsport_conn, rcu);

	trace_tlsport_object_free("conn", conn);
	tlsport_port_put(conn->port);
	kfree(conn->server_name);
	kvfree(conn->details);
	tlsport_preamble_free(conn);
	memzero_explicit(conn, sizeof(*conn));
	kmem_cache_free(conn_cache, conn);
}

void tlsport_conn_put(struct tlsport_conn *conn)
{
	if (refcount_dec_and_test(&conn->ref))
		call_rcu(&conn->rcu, conn_free);
}

struct tlsport_conn *tlsport_conn_get(const struct net *net, u64 id)
{
	struct tlsport_conn *conn;

	rcu_read_lock();
	conn = rhashtable_lookup(&tlsport_conns, &id, conns_params);
	if (conn && !refcount_inc_not_zero(&conn->ref))
		conn = NULL;
	rcu_read_unlock();
	if (conn && conn->net != net) {
		tlsport_conn_put(conn);
		conn = NULL;
	}
	return conn;
}

/* Any context; the caller holds a reference or is a callback of its sk. */
void tlsport_conn_queue(struct tlsport_conn *conn)
{
	bool open = READ_ONCE(conn->state) == TLSPORT_CONN_OPEN;

	refcount_inc(&conn->ref);
	if (!queue_work(open ? tlsport_open_wq : tlsport_wq, &conn->work))
		tlsport_conn_put(conn);
}

/* Any context: the work item ends it, with the first reason that was given. */
void tlsport_conn_request_end(struct tlsport_conn *conn, enum tlsport_reason reason)
{
	cmpxchg(&conn->end_request, TLSPORT_REASON_NONE, reason);
	tlsport_conn_queue(conn);
}

/* Callbacks of the sk: softirq or process, sk_user_data valid under sk_callback_lock. */
static void wake(struct sock *sk, void (*call)(struct sock *sk))
{
	if (call)
		call(sk);
}

#define CONN_CALLBACK(name) \
	static void conn_##name(struct sock *sk) \
	{ \
		struct tlsport_conn *conn; \
		typeof(conn->name) saved = NULL; \
		read_lock_bh(&sk->sk_callback_lock); \
		conn = tlsport_conn_of(sk); \
		if (conn) { \
			saved = conn->name; \
			tlsport_conn_queue(conn); \
		} \
		read_unlock_bh(&sk->sk_callback_lock); \
		wake(sk, saved); \
	}

CONN_CALLBACK(data_ready)
CONN_CALLBACK(state_change)
CONN_CALLBACK(write_space)
CONN_CALLBACK(error_report)

/*
 * The socket is private: its events drive the work item.  False: it is somebody else's,
 * as of a BPF program that has put it into a sockmap before it could be accepted.
 */
bool tlsport_conn_set_callbacks(struct tlsport_conn *conn)
{
	struct sock *sk = conn->sk;

	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_user_data && sk->sk_user_data != conn) {
		write_unlock_bh(&sk->sk_callback_lock);
		return false;
	}
	sk->sk_user_data = conn;
	conn->data_ready = sk->sk_data_ready;
	conn->state_change = sk->sk_state_change;
	conn->write_space = sk->sk_write_space;
	conn->error_report = sk->sk_error_report;
	WRITE_ONCE(sk->sk_data_ready, conn_data_ready);
	WRITE_ONCE(sk->sk_state_change, conn_state_change);
	WRITE_ONCE(sk->sk_write_space, conn_write_space);
	WRITE_ONCE(sk->sk_error_report, conn_error_report);
	write_unlock_bh(&sk->sk_callback_lock);
	return true;
}

void tlsport_conn_restore_callbacks(struct tlsport_conn *conn)
{
	struct sock *sk = conn->sk;

	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_data_ready == conn_data_ready)
		WRITE_ONCE(sk->sk_data_ready, conn->data_ready);
	if (sk->sk_state_change == conn_state_change)
		WRITE_ONCE(sk->sk_state_change, conn->state_change);
	if (sk->sk_write_space == conn_write_space)
		WRITE_ONCE(sk->sk_write_space, conn->write_space);
	if (sk->sk_error_report == conn_error_report)
		WRITE_ONCE(sk->sk_error_report, conn->error_report);
	write_unlock_bh(&sk->sk_callback_lock);
}

static bool in_handshake(const struct sock *sk)
{
	return READ_ONCE(sk->sk_data_ready) == conn_data_ready;
}

/*
 * Context: RCU or the sk's lock.  Payload of this sk is ours: in handshake only
 * the module can send, with TX attached net/tls encrypts, and what net/tls has
 * left behind at close (no context, no socket) was encrypted.
 */
bool tlsport_sk_secured(const struct sock *sk)
{
	const struct tcp_ulp_ops *ulp = READ_ONCE(inet_csk(sk)->icsk_ulp_ops);
	const struct tls_context *ctx;

	if (in_handshake(sk))
		return true;
	if (!ulp || strcmp(ulp->name, "tls"))
		return false;
	ctx = rcu_dereference_raw(inet_csk(sk)->icsk_ulp_data);
	return !ctx || ctx->tx_conf;
}

/*
 * connect(2) chose the port: no listener's child.  A listener that binds with SO_REUSEADDR
 * next to one gets into its bind bucket, but its children have inherited a backlog.
 *
 * The packets of a tunnel may be sent when nobody has the socket's lock: the bucket's own
 * keeps it there.
 */
bool tlsport_sk_active_open(const struct sock *sk)
{
	struct inet_hashinfo *hinfo = sock_net(sk)->ipv4.tcp_death_row.hashinfo;
	u16 number = READ_ONCE(inet_sk(sk)->inet_num);
	struct inet_bind_hashbucket *head;
	const struct inet_bind_bucket *tb;
	bool ret;

	if (READ_ONCE(sk->sk_max_ack_backlog))
		return false;
	head = &hinfo->bhash[inet_bhashfn(sock_net(sk), number, hinfo->bhash_size)];
	spin_lock_bh(&head->lock);
	tb = inet_csk(sk)->icsk_bind_hash;
	ret = READ_ONCE(inet_sk(sk)->inet_num) == number && tb && tb->fastreuse < 0;
	spin_unlock_bh(&head->lock);
	return ret;
}

static void timer_expired(struct timer_list *timer)
{
	struct tlsport_conn *conn = container_of(timer, struct tlsport_conn, timer);

	WRITE_ONCE(conn->timed_out, true);
	tlsport_conn_queue(conn);
}

/* Any context: why the connection ends; the first reason stays. */
void tlsport_conn_note(struct tlsport_conn *conn, enum tlsport_reason reason)
{
	cmpxchg(&conn->reason, TLSPORT_REASON_NONE, reason);
}

/**
 * tlsport_conn_rx_failed - whoever reads gets ECONNRESET from now on
 * @conn: attached
 *
 * Also who waits in net/tls, or is on the way there, past what looks for it: net/tls
 * gives an error to one of them only, SOCK_DONE ends the waiting of all.  TCP sets
 * it with the peer's FIN and looks at it where it reads itself.
 *
 * Context: process; conn->lock or tx_lock held.
 */
void tlsport_conn_rx_failed(struct tlsport_conn *conn)
{
	struct sock *sk = conn->sk;

	WRITE_ONCE(conn->rx_err, -ECONNRESET);
	lock_sock(sk);
	sock_set_flag(sk, SOCK_DONE);
	release_sock(sk);
	sk->sk_state_change(sk);
}

/**
 * tlsport_conn_told - the application gets this from a call
 * @conn: attached
 * @err: negative errno
 *
 * Net/tls loses TCP's error where it has bytes to tell of: it must not look like
 * an end until one call has failed by it.  Context: any.
 */
void tlsport_conn_told(struct tlsport_conn *conn, int err)
{
	switch (err) {
	case -EAGAIN: /* of this call alone */
	case -EINTR:
	case -ERESTARTSYS:
	case -EFAULT:
	case -ENOMEM:
		return;
	}
	if (READ_ONCE(conn->sk->sk_state) == TCP_CLOSE)
		WRITE_ONCE(conn->reset_told, true);
}

/* conn->lock held, or nobody else can have it.  Counts the end, once. */
void tlsport_conn_count_end(struct tlsport_conn *conn, enum tlsport_reason reason)
{
	bool attached = conn->state >= TLSPORT_CONN_READY;

	tlsport_conn_note(conn, reason);
	this_cpu_inc(conn->port->stats->ended[conn->reason]);
	if (attached)
		trace_tlsport_close(conn->id, conn->port->number, conn->version, conn->suite,
				    conn->reason);
	else
		trace_tlsport_handshake_fail(conn->id, conn->port->number, conn->version,
					     conn->suite, conn->reason);
}

/* conn->lock held: the handshake is over, well or not. */
static void leave_handshake(struct tlsport_conn *conn)
{
	tlsport_handshakes_leave(conn);
	tlsport_upcall_forget(conn);
}

/*
 * conn->lock held.  The sk has been released or goes with conn->sock; nobody
 * finds the connection any more, running work sees the state.
 */
void tlsport_conn_dead(struct tlsport_conn *conn)
{
	struct socket *sock = conn->sock;

	timer_delete_sync(&conn->timer);
	if (conn->version)
		tlsport_offload_detach(conn->sk);
	if (conn->state != TLSPORT_CONN_HELLO && conn->state != TLSPORT_CONN_HANDSHAKE &&
	    conn->version)
		atomic_dec(&conn->port->open);
	leave_handshake(conn);
	tlsport_listener_forget(conn);
	WRITE_ONCE(conn->state, TLSPORT_CONN_DEAD);
	rhashtable_remove_fast(&tlsport_conns, &conn->node, conns_params);
	if (sock) {
		conn->sock = NULL;
		tlsport_conn_restore_callbacks(conn);
		write_lock_bh(&conn->sk->sk_callback_lock);
		if (conn->sk->sk_user_data == conn)
			conn->sk->sk_user_data = NULL;
		write_unlock_bh(&conn->sk->sk_callback_lock);
		if (conn->sk->sk_lingertime) { /* nobody waits for TCP here */
			lock_sock(conn->sk);
			sock_reset_flag(conn->sk, SOCK_LINGER);
			release_sock(conn->sk);
		}
		conn->sk = NULL;
		sock_release(sock);
	}
	conn->sk = NULL;
	if (conn->acked)
		complete(conn->acked);
	conn->acked = NULL;
	iput(conn->app_inode);
	tlsport_conn_put(conn);	 /* the table's */
	module_put(THIS_MODULE); /* tlsport_conn_start()'s; work is flushed at exit */
}

/* conn->lock held: a connection that no application has; at once, by RST. */
static void end_reset(struct tlsport_conn *conn, enum tlsport_reason reason)
{
	if (conn->upcalled || conn->state == TLSPORT_CONN_HANDSHAKE)
		tlsport_upcall_cancel(conn);
	tlsport_conn_count_end(conn, reason);
	sock_no_linger(conn->sk);
	tlsport_conn_dead(conn);
}

/*
 * conn->lock held: an alert went out.  FIN behind it, then wait for the peer's:
 * data that comes after a close would be answered by a RST, which can overtake
 * the alert.  Meanwhile it counts as a handshake that waits for its peer.
 */
static void end_after_alert(struct tlsport_conn *conn, enum tlsport_reason reason)
{
	tlsport_conn_count_end(conn, reason);
	tlsport_upcall_forget(conn);
	tlsport_handshakes_stall(conn);
	tlsport_listener_forget(conn);
	WRITE_ONCE(conn->state, TLSPORT_CONN_CLOSING);
	conn->flushed = true;
	timer_delete_sync(&conn->timer);
	WRITE_ONCE(conn->timed_out, false);
	mod_timer(&conn->timer, jiffies + TLSPORT_FIN_TIMEOUT);
	kernel_sock_shutdown(conn->sock, SHUT_WR);
	tlsport_conn_queue(conn);
}

static int discard_actor(read_descriptor_t *desc, struct sk_buff *skb, unsigned int offset,
			 size_t len)
{
	size_t n = min_t(size_t, len, desc->count);

	desc->count -= n;
	return n;
}

/* lock_sock held.  Takes up to @len bytes off TCP's receive queue; returns how many. */
size_t tlsport_sk_discard(struct sock *sk, size_t len)
{
	read_descriptor_t desc = { .count = len };

	tcp_read_sock(sk, &desc, discard_actor);
	return len - desc.count;
}

/*
 * TCP had no memory for our FIN, and does not try again: it would wait for ever
 * for the acknowledgment of nothing.
 */
bool tlsport_sk_fin_is_lost(struct sock *sk)
{
	bool lost;

	lock_sock(sk);
	lost = (1 << sk->sk_state) & (TCPF_FIN_WAIT1 | TCPF_CLOSING | TCPF_LAST_ACK) &&
	       tcp_rtx_and_write_queues_empty(sk);
	release_sock(sk);
	return lost;
}

/* conn->lock held: closing without TLS, see end_after_alert(). */
static void drain_raw(struct tlsport_conn *conn)
{
	struct sock *sk = conn->sk;
	bool over;

	lock_sock(sk);
	conn->drained += tlsport_sk_discard(sk, TLSPORT_DRAIN_MAX);
	over = sk->sk_err || sk->sk_state == TCP_CLOSE || (sk->sk_shutdown & RCV_SHUTDOWN) ||
	       conn->drained >= TLSPORT_DRAIN_MAX;
	release_sock(sk);
	if (over || READ_ONCE(conn->timed_out) ||
	    READ_ONCE(conn->end_request) == TLSPORT_REASON_SHED) {
		if (tlsport_sk_fin_is_lost(sk)) /* by RST, then */
			sock_no_linger(sk);
		tlsport_conn_dead(conn);
	}
}

/*
 * conn->lock held.  Net/tls takes only a socket in ESTABLISHED, and a client may send
 * FIN with its last handshake message: so as early as can be.  One that opened with
 * TFO is not there yet when it is accepted.  An error is the reason to end it.
 */
static enum tlsport_reason attach_ulp(struct tlsport_conn *conn)
{
	int err = 0;

	if (!inet_csk(conn->sk)->icsk_ulp_ops && READ_ONCE(conn->sk->sk_state) == TCP_ESTABLISHED)
		err = tlsport_attach_ulp(conn->sock);
	if (!err || err == -ENOTCONN) /* it is not there any more: it ends without keys */
		return TLSPORT_REASON_NONE;
	return err == -ENOMEM ? TLSPORT_REASON_NO_MEMORY : TLSPORT_REASON_ATTACH_FAILED;
}

/* conn->lock held: bytes are there, or the peer is gone, or an answer came. */
static void handshake_step(struct tlsport_conn *conn)
{
	enum tlsport_reason reason = READ_ONCE(conn->end_request);
	struct sock *sk = conn->sk;
	bool eof, reset;
	int inq, err;

	if (!reason && READ_ONCE(conn->timed_out))
		reason = TLSPORT_REASON_HANDSHAKE_TIMEOUT;
	if (!reason)
		reason = attach_ulp(conn);
	if (reason) {
		end_reset(conn, reason);
		return;
	}
	lock_sock(sk);
	reset = sk->sk_err || sk->sk_state == TCP_CLOSE;
	eof = sk->sk_shutdown & RCV_SHUTDOWN;
	inq = tcp_inq(sk);
	release_sock(sk);
	if (reset) {
		end_reset(conn, TLSPORT_REASON_PEER_RESET);
		return;
	}
	if (conn->upcalled)
		return;
	if (!inq && eof) {
		end_reset(conn, TLSPORT_REASON_PEER_CLOSED);
		return;
	}
	if (!inq || (inq < conn->need && !eof)) {
		tlsport_handshakes_stall(conn);
		return;
	}
	err = tlsport_upcall(conn, inq, eof);
	if (err == -ECANCELED)
		end_reset(conn, TLSPORT_REASON_SHED);
	else if (err == -ESRCH)
		end_reset(conn, TLSPORT_REASON_WORKER_DIED);
	else if (err == -ENODATA && eof)
		end_reset(conn, TLSPORT_REASON_PEER_CLOSED);
	else if (err == -ENODATA)
		tlsport_handshakes_stall(conn);
}

/*
 * conn->lock held: the socket cannot close.  What was due may have kept a writer
 * away that does not wait: wake it.
 */
static void open_step(struct tlsport_conn *conn)
{
	struct socket *sock = conn->sk->sk_socket;

	if (xchg(&conn->timed_out, false))
		tlsport_transmit_overdue(conn);
	if (!tlsport_transmit_is_due(conn))
		return;
	tlsport_transmit_due(sock, tlsport_session_base(sock));
	if (!tlsport_transmit_is_due(conn))
		tlsport_transmit_room(conn->sk, conn->sk->sk_write_space);
}

static void conn_work(struct work_struct *work)
{
	struct tlsport_conn *conn = container_of(work, struct tlsport_conn, work);

	mutex_lock(&conn->lock);
	switch (conn->state) {
	case TLSPORT_CONN_HELLO:
	case TLSPORT_CONN_HANDSHAKE:
		handshake_step(conn);
		break;
	case TLSPORT_CONN_READY:
		if (READ_ONCE(conn->end_request) && conn->sock)
			end_reset(conn, READ_ONCE(conn->end_request));
		break;
	case TLSPORT_CONN_OPEN:
		open_step(conn);
		break;
	case TLSPORT_CONN_CLOSING:
		if (conn->version)
			tlsport_close_work(conn);
		else
			drain_raw(conn);
		break;
	default:
		break;
	}
	mutex_unlock(&conn->lock);
	tlsport_conn_put(conn);
}

static void read_addresses(struct tlsport_conn *conn)
{
	const struct sock *sk = conn->sk;

	conn->family = sk->sk_family;
	conn->peer_port = ntohs(inet_sk(sk)->inet_dport);
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6 && !ipv6_addr_v4mapped(&sk->sk_v6_daddr)) {
		conn->local = sk->sk_v6_rcv_saddr;
		conn->peer = sk->sk_v6_daddr;
		return;
	}
#endif
	conn->family = AF_INET;
	conn->local.s6_addr32[0] = sk->sk_rcv_saddr;
	conn->peer.s6_addr32[0] = sk->sk_daddr;
}

/**
 * tlsport_conn_start - begin with a raw connection
 * @l: the listener that it came from; its mode_sem is held
 * @sock: a private socket with stock ops; owned by the connection from here on,
 *	released when there is no memory for one
 *
 * Context: the listener's work item.
 */
void tlsport_conn_start(struct tlsport_listener *l, struct socket *sock)
{
	struct tlsport_conn *conn = kmem_cache_zalloc(conn_cache, GFP_KERNEL);
	struct tlsport_port *port = l->port;
	enum tlsport_reason reason;
	int err = -ENOMEM;

	TLSPORT_STAT(port, STARTED);
	if (!conn)
		goto err_sock;
	refcount_set(&conn->ref, 2); /* the table's, ours */
	mutex_init(&conn->lock);
	mutex_init(&conn->tx_lock);
	spin_lock_init(&conn->interrupt_lock);
	INIT_WORK(&conn->work, conn_work);
	timer_setup(&conn->timer, timer_expired, 0);
	INIT_LIST_HEAD(&conn->listener_node);
	INIT_LIST_HEAD(&conn->port_node);
	INIT_LIST_HEAD(&conn->source_node);
	INIT_LIST_HEAD(&conn->pending_node);
	conn->id = atomic64_inc_return(&last_id);
	WRITE_ONCE(conn->state, TLSPORT_CONN_HELLO);
	conn->started = ktime_get();
	conn->sock = sock;
	conn->sk = sock->sk;
	conn->net = sock_net(sock->sk);
	refcount_inc(&port->ref);
	conn->port = port;
	read_addresses(conn);
	conn->source = tlsport_handshakes_source(conn);
	trace_tlsport_object_new("conn", conn);

	mutex_lock(&conn->lock);
	err = rhashtable_insert_fast(&tlsport_conns, &conn->node, conns_params);
	if (err)
		goto err_conn;
	__module_get(THIS_MODULE);
	refcount_inc(&l->ref);
	conn->listener = l;
	spin_lock_bh(&l->lock);
	list_add_tail(&conn->listener_node, &l->handshakes);
	WRITE_ONCE(l->nhandshakes, l->nhandshakes + 1);
	spin_unlock_bh(&l->lock);
	trace_tlsport_handshake_start(conn->id, port->number, 0, 0, -1);
	conn->rcvlowat = READ_ONCE(conn->sk->sk_rcvlowat);
	WRITE_ONCE(conn->sk->sk_rcvlowat, 1); /* a Finished is shorter than it may be */
	reason = tlsport_conn_set_callbacks(conn) ? tlsport_handshakes_enter(conn) :
						    TLSPORT_REASON_ATTACH_FAILED;
	if (reason) {
		end_reset(conn, reason);
		goto out;
	}
	mod_timer(&conn->timer, jiffies + msecs_to_jiffies(READ_ONCE(port->handshake_timeout)));
	if (READ_ONCE(port->disabled))
		tlsport_conn_request_end(conn, TLSPORT_REASON_PORT_DISABLED);
	if (READ_ONCE(l->mode) == TLSPORT_MODE_LISTEN_SHUT) /* before the list had it */
		tlsport_conn_request_end(conn, TLSPORT_REASON_LISTENER_CLOSED);
	/* at once: a burst has to find who makes room */
	if (skb_queue_empty_lockless(&conn->sk->sk_receive_queue))
		tlsport_handshakes_stall(conn);
	tlsport_conn_queue(conn); /* data may be there already */
out:
	mutex_unlock(&conn->lock);
	tlsport_conn_put(conn);
	return;

err_conn:
	mutex_unlock(&conn->lock);
	tlsport_conn_put(conn);
	tlsport_conn_put(conn);
err_sock:
	this_cpu_inc(port->stats->ended[TLSPORT_REASON_NO_MEMORY]);
	sock_no_linger(sock->sk);
	sock_release(sock);
}

/*
 * Handshake bytes must go whole, whatever send buffer the listener gave the
 * connection: there may be no later moment before the keys.
 */
int tlsport_sk_send(struct sock *sk, const void *data, size_t len)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	struct kvec vec = { .iov_base = (void *)data, .iov_len = len };
	int sndbuf, ret;

	if (!len)
		return 0;
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, &vec, 1, len);
	lock_sock(sk);
	sndbuf = sk->sk_sndbuf;
	WRITE_ONCE(sk->sk_sndbuf, max_t(int, sndbuf, sk->sk_wmem_queued + 4 * len + 65536));
	ret = tcp_sendmsg_locked(sk, &msg, len);
	WRITE_ONCE(sk->sk_sndbuf, sndbuf);
	release_sock(sk);
	/* there was room: it was memory that TCP did not have */
	return ret == len ? 0 : ret >= 0 || ret == -EAGAIN ? -ENOMEM : ret;
}

/*
 * As sock_error(), not between TCP's look at the error and its taking it: net/tls would
 * get EPIPE, as after a FIN, and leave that in sk_err.  Context: process.
 */
int tlsport_sk_take_error(struct sock *sk)
{
	int err;

	lock_sock(sk);
	err = sock_error(sk);
	release_sock(sk);
	return err;
}

/* Nagle forgets that what is in flight was a small segment. */
void tlsport_sk_forget_small(struct sock *sk)
{
	lock_sock(sk);
	tcp_sk(sk)->snd_sml = tcp_sk(sk)->snd_una;
	release_sock(sk);
}

/*
 * conn->lock held.  What an answer of the helper does in either case: bytes are
 * used up, bytes are sent.
 */
static int take_answer(struct tlsport_conn *conn, struct genl_info *info)
{
	struct nlattr *consumed = info->attrs[TLSPORT_A_HS_CONSUMED];
	struct nlattr *data = info->attrs[TLSPORT_A_HS_DATA];
	u32 n = consumed ? nla_get_u32(consumed) : 0;
	size_t done;

	conn->upcalled = false;
	conn->need = 0;
	if (n > conn->shown) {
		NL_SET_ERR_MSG(info->extack, "more bytes consumed than were shown");
		return -EINVAL;
	}
	lock_sock(conn->sk);
	done = n ? tlsport_sk_discard(conn->sk, n) : 0;
	release_sock(conn->sk);
	if (done != n)
		return -EPIPE;
	return data ? tlsport_sk_send(conn->sk, nla_data(data), nla_len(data)) : 0;
}

/* What was shown and is not used up is shown again: nothing used up would be asked for ever. */
static int check_progress(struct genl_info *info)
{
	struct nlattr *consumed = info->attrs[TLSPORT_A_HS_CONSUMED];

	if (consumed && nla_get_u32(consumed))
		return 0;
	NL_SET_ERR_MSG(info->extack, "no bytes consumed: CONTINUE without keys must consume some");
	return -EINVAL;
}

static bool awaits(const struct tlsport_conn *conn, const struct genl_info *info)
{
	return (conn->state == TLSPORT_CONN_HELLO || conn->state == TLSPORT_CONN_HANDSHAKE) &&
	       conn->worker == info->snd_portid && conn->upcalled;
}

static void attached(struct tlsport_conn *conn, struct genl_info *info)
{
	struct nlattr *name = info->attrs[TLSPORT_A_HS_SERVER_NAME];
	struct tlsport_port *port = conn->port;

	/*
	 * The session ticket that was just sent is a small segment in flight:
	 * Nagle would hold the application's first write for the peer's delayed
	 * ACK.  On TCP nothing would be in flight.
	 */
	tlsport_sk_forget_small(conn->sk);
	timer_delete_sync(&conn->timer);
	if (info->attrs[TLSPORT_A_HS_SUITE])
		conn->suite = nla_get_u16(info->attrs[TLSPORT_A_HS_SUITE]);
	conn->resumed = nla_get_flag(info->attrs[TLSPORT_A_HS_RESUMED]);
	if (name)
		conn->server_name = nla_strdup(name, GFP_KERNEL); /* shown only: may fail */
	TLSPORT_STAT(port, ATTACHED);
	if (conn->version == TLS_1_3_VERSION)
		TLSPORT_STAT(port, ATTACHED_TLS13);
	if (conn->resumed)
		TLSPORT_STAT(port, RESUMED);
	atomic_inc(&port->open);
	trace_tlsport_handshake_done(conn->id, port->number, conn->version, conn->suite, -1);
	leave_handshake(conn);
	tlsport_listener_ready(conn);
	WRITE_ONCE(conn->state, TLSPORT_CONN_READY);
	if (READ_ONCE(conn->end_request) || READ_ONCE(conn->timed_out))
		tlsport_conn_queue(conn);
}

/* conn->lock held: the port requires offload.  The alert goes out by software. */
static void refuse_attached(struct tlsport_conn *conn)
{
	tlsport_conn_note(conn, TLSPORT_REASON_OFFLOAD_REQUIRED);
	leave_handshake(conn);
	tlsport_listener_forget(conn);
	atomic_inc(&conn->port->open); /* as of every one that is attached, until it is dead */
	tlsport_close_unaccepted(conn, TLSPORT_ALERT_INTERNAL_ERROR);
}

/**
 * tlsport_conn_continue - CONTINUE from the worker
 * @conn: the connection, a reference is the caller's
 * @info: the message
 *
 * Context: the worker's sendmsg(): its memory is at hand.
 * Return: 0; -ESTALE when the connection has ended or waits for no answer of
 * this worker; else the error that ended the connection.
 */
int tlsport_conn_continue(struct tlsport_conn *conn, struct genl_info *info)
{
	bool keys = info->attrs[TLSPORT_A_HS_TX] && info->attrs[TLSPORT_A_HS_RX];
	enum tlsport_reason reason = TLSPORT_REASON_WORKER_ERROR;
	struct page *page = NULL;
	void __user *scratch;
	int err = -ESTALE;

	/* under the lock it is not faulted in: it may be of a kind that waits */
	scratch = tlsport_worker_scratch(genl_info_net(info), info->snd_portid);
	if (keys && pin_user_pages_fast((unsigned long)scratch, 1, FOLL_WRITE, &page) != 1)
		page = NULL;
	mutex_lock(&conn->lock);
	if (!awaits(conn, info))
		goto out;
	err = keys ? tlsport_attach_check(conn, info) : check_progress(info);
	if (err)
		goto end;
	err = take_answer(conn, info);
	if (err) {
		if (err == -EPIPE || err == -ECONNRESET)
			reason = TLSPORT_REASON_PEER_RESET;
		if (err == -ENOMEM)
			reason = TLSPORT_REASON_NO_MEMORY;
		goto end;
	}
	if (!keys) {
		WRITE_ONCE(conn->state, TLSPORT_CONN_HANDSHAKE);
		tlsport_conn_queue(conn);
		goto out;
	}
	err = tlsport_attach(conn, page ? scratch : NULL, info);
	if (!err) {
		attached(conn, info);
		goto out;
	}
	if (err == -EPROTO && conn->version) {
		refuse_attached(conn);
		err = 0; /* the answer was good */
		goto out;
	}
	reason = err == -ENOMEM ? TLSPORT_REASON_NO_MEMORY : TLSPORT_REASON_ATTACH_FAILED;
end:
	conn->upcalled = false;
	end_reset(conn, reason);
out:
	mutex_unlock(&conn->lock);
	if (page)
		unpin_user_page(page);
	return err;
}

/**
 * tlsport_conn_fail - FAIL from the worker: send the alert and end
 * @conn: the connection, a reference is the caller's
 * @info: the message
 *
 * Context: process, may sleep.
 * Return: 0, or -ESTALE.
 */
int tlsport_conn_fail(struct tlsport_conn *conn, struct genl_info *info)
{
	struct nlattr *why = info->attrs[TLSPORT_A_HS_REASON];
	enum tlsport_reason reason = why ? nla_get_u32(why) : TLSPORT_REASON_HANDSHAKE_REFUSED;
	int err = -ESTALE;

	mutex_lock(&conn->lock);
	if (!awaits(conn, info))
		goto out;
	err = take_answer(conn, info);
	WRITE_ONCE(conn->state, TLSPORT_CONN_HELLO); /* the worker has forgotten it: no CANCEL */
	if (err)
		end_reset(conn, reason);
	else
		end_after_alert(conn, reason);
	err = 0;
out:
	mutex_unlock(&conn->lock);
	return err;
}

/* One walk over the table; true when it was interrupted, and may have missed some. */
static bool worker_died_walk(const struct net *net, u32 portid)
{
	struct rhashtable_iter iter;
	struct tlsport_conn *conn;
	bool done = false;

	smp_mb(); /* its socket is gone before: who still found that has set conn->worker */
	rhashtable_walk_enter(&tlsport_conns, &iter);
	rhashtable_walk_start(&iter);
	while ((conn = rhashtable_walk_next(&iter))) {
		if (IS_ERR(conn) || conn->net != net || READ_ONCE(conn->worker) != portid ||
		    READ_ONCE(conn->state) > TLSPORT_CONN_HANDSHAKE ||
		    !refcount_inc_not_zero(&conn->ref))
			continue;
		rhashtable_walk_stop(&iter);
		done = true;
		mutex_lock(&conn->lock);
		if (conn->worker == portid && conn->state <= TLSPORT_CONN_HANDSHAKE) {
			conn->upcalled = false;
			WRITE_ONCE(conn->worker, 0);
			if (conn->state == TLSPORT_CONN_HELLO)
				tlsport_conn_queue(conn);
			else
				end_reset(conn, TLSPORT_REASON_WORKER_DIED);
		}
		mutex_unlock(&conn->lock);
		tlsport_conn_put(conn);
		rhashtable_walk_start(&iter);
	}
	rhashtable_walk_stop(&iter);
	rhashtable_walk_exit(&iter);
	return done;
}

/**
 * tlsport_conn_worker_died - a worker's socket was closed
 * @net: its network namespace
 * @portid: its address; it is in no list any more
 *
 * Unanswered first flights go to another worker; connections past that have
 * their secrets in the dead one and end.
 *
 * Context: process, may sleep.
 */
void tlsport_conn_worker_died(struct net *net, u32 portid)
{
	/* a walk can skip the neighbour of one that ended under it */
	while (worker_died_walk(net, portid))
		cond_resched();
}

int tlsport_conn_init(void)
{
	int err;

	/* an idle connection is to cost no more; debug builds have larger locks */
	BUILD_BUG_ON(!IS_ENABLED(CONFIG_DEBUG_SPINLOCK) && sizeof(struct tlsport_conn) > 648);
	conn_cache = kmem_cache_create("tlsport_conn", sizeof(struct tlsport_conn), 0, 0, NULL);
	if (!conn_cache)
		return -ENOMEM;
	err = rhashtable_init(&tlsport_conns, &conns_params);
	if (err)
		kmem_cache_destroy(conn_cache);
	return err;
}

/* No conn_free() is on its way. */
void tlsport_conn_exit(void)
{
	WARN_ON(atomic_read(&tlsport_conns.nelems));
	rhashtable_destroy(&tlsport_conns);
	kmem_cache_destroy(conn_cache);
}
