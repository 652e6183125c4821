// SPDX-License-Identifier: GPL-2.0-only
/*
 * Listening sockets of applications: accept, poll and release of their
 * proto_ops and their sk_data_ready are ours from before the moment a SYN can
 * reach them until they are closed.
 *
 * The replaced proto_ops are one static table a family and the listener is
 * found by a hash on the socket.  A table inside struct tlsport_listener would be
 * shorter, but do_accept() copies sock->ops into the new socket before it asks
 * the LSM and before ->accept: a socket that was refused there is released
 * later, from task work, through that table, when the listener may be freed.
 *
 * Members of struct proto_ops on a listening socket: accept, poll, release,
 * shutdown and connect are ours; listen changes the backlog of a socket that listens and
 * passes the tracepoint on one that does not; all others do on a listening socket
 * what they do without us.
 *
 * listeners_lock guards the hash, listener->lock the queues, mode_sem the mode.
 */
#include <linux/hashtable.h>
#include <linux/tracepoint.h>
#include <trace/events/sock.h>
#include <net/inet_common.h>
#include "tlsport.h"
#include "trace.h"

static DEFINE_HASHTABLE(listeners, 8);
static DEFINE_SPINLOCK(listeners_lock);
static struct proto_ops listen_ops[4]; /* of IPv4, IPv6, MPTCP on each; under listeners_lock */
static bool listen_ops_ready[4];
static struct tracepoint *tp_set_state;

static int refused_release(struct socket *sock)
{
	return 0;
}

/* For a socket that accept() refused: nothing is in it. */
static const struct proto_ops refused_ops = {
	.family = PF_INET,
	.owner = THIS_MODULE,
	.release = refused_release,
};

static struct tlsport_listener *find(const struct socket *sock)
{
	struct tlsport_listener *l;

	hash_for_each_possible_rcu(listeners, l, node, (unsigned long)sock)
		if (l->sock == sock)
			return l;
	return NULL;
}

/* Context: RCU.  The listener whose socket of TCP @sk is. */
struct tlsport_listener *tlsport_listener_find(const struct sock *sk)
{
	struct tlsport_listener *l = find(READ_ONCE(sk->sk_socket));

	return l && l->sk == sk ? l : NULL;
}

/*
 * The same, held, by its struct socket: always there in a call of our proto_ops, for which
 * the caller has the file, or whatever else keeps the socket from its release.
 */
struct tlsport_listener *tlsport_listener_get(const struct socket *sock)
{
	struct tlsport_listener *l;

	rcu_read_lock();
	l = find(sock);
	if (l)
		refcount_inc(&l->ref); /* the hash has its own until a grace period after */
	rcu_read_unlock();
	return l;
}

static void listener_free(struct rcu_head *rcu)
{
	struct tlsport_listener *l = container_of(rcu, struct tlsport_listener, rcu);

	trace_tlsport_object_free("listener", l);
	tlsport_port_put(l->port);
	kfree(l);
}

void tlsport_listener_put(struct tlsport_listener *l)
{
	if (refcount_dec_and_test(&l->ref))
		call_rcu(&l->rcu, listener_free);
}

/* With l->lock or RCU: the accept work is cancelled after closing and a grace period. */
static void kick_accept(struct tlsport_listener *l)
{
	if (!READ_ONCE(l->closing) && READ_ONCE(l->mode) != TLSPORT_MODE_LISTEN_PLAIN)
		queue_delayed_work(tlsport_wq, &l->accept_work, 0);
}

/* Who waits at the program's socket: those of TCP's and of MPTCP's sk are the same. */
static void wake(struct tlsport_listener *l)
{
	if (l->mptcp) /* its callback on TCP's sk wakes for what is in the queue alone */
		l->sock->sk->sk_data_ready(l->sock->sk);
	else
		l->data_ready(l->sk);
}

/*
 * With l->lock, not closing.  A connection of MPTCP, which a plain listening
 * socket may get, goes on with the callback that it inherits.
 */
static void set_data_ready(struct tlsport_listener *l, void (*data_ready)(struct sock *sk))
{
	write_lock_bh(&l->sk->sk_callback_lock);
	WRITE_ONCE(l->sk->sk_data_ready, data_ready);
	write_unlock_bh(&l->sk->sk_callback_lock);
}

static void let_mptcp(struct tlsport_listener *l)
{
	spin_lock_bh(&l->lock);
	if (l->mptcp && !l->closing)
		set_data_ready(l, l->data_ready);
	spin_unlock_bh(&l->lock);
}

/*
 * RCU or lock_sock held: it listens anew, or was hooked while its port went.
 * Shut, or plain where there is no port, until the work item has looked again.
 */
static void recheck(struct tlsport_listener *l)
{
	bool on = tlsport_port_on(sock_net(l->sk), inet_sk(l->sk)->inet_num);

	WRITE_ONCE(l->mode, on ? TLSPORT_MODE_LISTEN_SHUT : TLSPORT_MODE_LISTEN_PLAIN);
	WRITE_ONCE(l->ending, false);
	if (!on || READ_ONCE(READ_ONCE(l->port)->disabled))
		let_mptcp(l);
	smp_wmb(); /* who takes the mark sees the mode */
	WRITE_ONCE(l->stale, true);
	mod_delayed_work(tlsport_wq, &l->accept_work, 0);
}

/* Softirq. */
static void listen_data_ready(struct sock *sk)
{
	struct tlsport_listener *l;

	rcu_read_lock();
	l = tlsport_listener_find(sk);
	/* not listening: the socket was shut down, and connects perhaps */
	if (l && (READ_ONCE(sk->sk_state) != TCP_LISTEN ||
		  READ_ONCE(l->mode) == TLSPORT_MODE_LISTEN_PLAIN))
		l->data_ready(sk);
	else if (l)
		kick_accept(l);
	rcu_read_unlock();
}

/* Context: RCU.  Connections may reach this listening socket. */
bool tlsport_listener_serving(const struct sock *sk)
{
	const struct tlsport_listener *l = tlsport_listener_find(sk);

	return l && READ_ONCE(l->mode) == TLSPORT_MODE_LISTEN_TLS;
}

/*
 * What the application could take, and has not, counts against its backlog, as in
 * TCP's own queue.  A handshake does not: a few idle clients would shut a port
 * whose program has a small one.  Of these the port has a limit.
 */
static bool may_take(struct tlsport_listener *l)
{
	return !READ_ONCE(l->closing) && READ_ONCE(l->mode) != TLSPORT_MODE_LISTEN_PLAIN &&
	       READ_ONCE(l->sk->sk_state) == TCP_LISTEN &&
	       READ_ONCE(l->nready) <= READ_ONCE(l->sk->sk_max_ack_backlog);
}

/*
 * Takes raw children out of TCP's accept queue into private sockets.  When the
 * application's backlog is reached it stops: TCP's own queue, cookies and
 * overflow counters take over.
 */
static void accept_work(struct work_struct *work)
{
	struct tlsport_listener *l =
		container_of(to_delayed_work(work), struct tlsport_listener, accept_work);
	struct socket *sock;
	int n = 0;

	if (READ_ONCE(l->stale))
		tlsport_takeover_again(l);
	/* one that was on its way, past what looks for it, when the socket was hooked */
	if (READ_ONCE(l->mode) == TLSPORT_MODE_LISTEN_TLS && tlsport_takeover_sleeper(l->sk))
		cmpxchg(&l->mode, TLSPORT_MODE_LISTEN_TLS, TLSPORT_MODE_LISTEN_SHUT);
	if (!l->tcp) {
		const struct proto_ops *ops = tlsport_mptcp_tcp_ops(l->sk);

		if (IS_ERR(ops)) {
			queue_delayed_work(tlsport_wq, &l->accept_work, TLSPORT_ACCEPT_RETRY);
			return;
		}
		l->tcp = ops;
	}
	down_read(&l->mode_sem);
	while (may_take(l)) {
		sock = tlsport_raw_accept(l->sk, l->tcp);
		if (IS_ERR(sock)) {
			if (sock != ERR_PTR(-EAGAIN) && sock != ERR_PTR(-EINVAL))
				queue_delayed_work(tlsport_wq, &l->accept_work,
						   TLSPORT_ACCEPT_RETRY);
			break;
		}
		tlsport_conn_start(l, sock);
		/* a flood would keep who changes the mode away for ever */
		if (++n == TLSPORT_ACCEPT_BATCH) {
			queue_delayed_work(tlsport_wq, &l->accept_work, 0);
			break;
		}
	}
	up_read(&l->mode_sem);
}

/* conn->lock held.  A connection is ready: wake accept(), poll() and epoll. */
void tlsport_listener_ready(struct tlsport_conn *conn)
{
	struct tlsport_listener *l = conn->listener;

	spin_lock_bh(&l->lock);
	list_move_tail(&conn->listener_node, &l->ready);
	WRITE_ONCE(l->nhandshakes, l->nhandshakes - 1);
	WRITE_ONCE(l->nready, l->nready + 1);
	if (!l->closing)
		wake(l);
	spin_unlock_bh(&l->lock);
}

/* conn->lock held.  The connection leaves the listener: handed over, or ended. */
void tlsport_listener_forget(struct tlsport_conn *conn)
{
	struct tlsport_listener *l = conn->listener;

	if (!l)
		return;
	spin_lock_bh(&l->lock);
	if (!list_empty(&conn->listener_node)) {
		list_del_init(&conn->listener_node);
		if (conn->state == TLSPORT_CONN_READY)
			WRITE_ONCE(l->nready, l->nready - 1);
		else
			WRITE_ONCE(l->nhandshakes, l->nhandshakes - 1);
	}
	kick_accept(l);
	spin_unlock_bh(&l->lock);
	conn->listener = NULL;
	tlsport_listener_put(l);
}

/* The caller owns what it gets: a connection in no list is handed over by nobody else. */
static struct tlsport_conn *ready_pop(struct tlsport_listener *l)
{
	struct tlsport_conn *conn;

	spin_lock_bh(&l->lock);
	conn = list_first_entry_or_null(&l->ready, struct tlsport_conn, listener_node);
	if (conn) {
		list_del_init(&conn->listener_node);
		WRITE_ONCE(l->nready, l->nready - 1);
		refcount_inc(&conn->ref);
	}
	spin_unlock_bh(&l->lock);
	return conn;
}

/* The reference that sock_release() puts goes with the table. */
static void set_accepted_ops(struct socket *newsock, const struct proto_ops *ops)
{
	__module_get(ops->owner);
	if (newsock->ops) /* do_accept() has taken one for what it found in the listener */
		module_put(newsock->ops->owner);
	newsock->ops = ops;
}

/* The port was disabled: the stock accept; not while the mode changes. */
static int accept_plain(struct tlsport_listener *l, struct socket *sock, struct socket *newsock)
{
	int err = -EAGAIN;

	down_read(&l->mode_sem);
	if (READ_ONCE(l->mode) == TLSPORT_MODE_LISTEN_PLAIN) {
		err = tlsport_raw_accept_to(sock, newsock, l->base, false);
		if (!err) {
			if (newsock->ops == &refused_ops)
				set_accepted_ops(newsock, l->base);
			else /* MPTCP has given one that is of TCP alone those of TCP */
				module_put(THIS_MODULE);
		}
	}
	up_read(&l->mode_sem);
	return err;
}

/* Its own function, so that take-over can tell our sleepers from TCP's. */
static int accept_wake(struct wait_queue_entry *wait, unsigned int mode, int sync, void *key)
{
	return autoremove_wake_function(wait, mode, sync, key);
}

static bool accept_possible(struct tlsport_listener *l)
{
	return !list_empty_careful(&l->ready) ||
	       (READ_ONCE(l->mode) == TLSPORT_MODE_LISTEN_PLAIN &&
		!reqsk_queue_empty(&inet_csk(l->sk)->icsk_accept_queue));
}

/* As inet_csk_wait_for_connect(): exclusive, with the errors that it gives. */
static int accept_wait(struct tlsport_listener *l, long *timeo)
{
	struct sock *sk = l->sk;
	DEFINE_WAIT_FUNC(wait, accept_wake);
	int err = 0;

	for (;;) {
		prepare_to_wait_exclusive(sk_sleep(sk), &wait, TASK_INTERRUPTIBLE);
		if (accept_possible(l))
			break;
		err = -EINVAL;
		if (READ_ONCE(sk->sk_state) != TCP_LISTEN)
			break;
		err = -EAGAIN;
		if (!*timeo)
			break;
		err = sock_intr_errno(*timeo);
		if (signal_pending(current))
			break;
		err = 0;
		*timeo = schedule_timeout(*timeo);
	}
	finish_wait(sk_sleep(sk), &wait);
	return err;
}

/* The connection's sk moves from its private socket to the application's. */
static bool hand_over(struct tlsport_conn *conn, struct socket *newsock)
{
	struct socket *priv;
	struct sock *sk;

	mutex_lock(&conn->lock);
	if (conn->state != TLSPORT_CONN_READY) { /* ended between */
		mutex_unlock(&conn->lock);
		return false;
	}
	priv = conn->sock;
	sk = priv->sk;
	conn->sock = NULL;
	lock_sock(sk);
	priv->sk = NULL;
	sock_graft(sk, newsock);
	set_accepted_ops(newsock, tlsport_session_ops(sk, priv->ops));
	newsock->state = SS_CONNECTED;
	set_bit(SOCK_SUPPORT_ZC, &newsock->flags); /* as TCP: session_sendmsg() */
	tlsport_charge(sk);
	WRITE_ONCE(sk->sk_rcvlowat, conn->rcvlowat);
	tlsport_session_lowat(sk);
	release_sock(sk);
	module_put(priv->ops->owner);
	priv->ops = NULL;
	sock_release(priv);
	WRITE_ONCE(conn->state, TLSPORT_CONN_OPEN);
	TLSPORT_STAT(conn->port, ACCEPTED);
	tlsport_listener_forget(conn);
	mutex_unlock(&conn->lock);
	return true;
}

static int listen_accept(TLSPORT_ACCEPT_PARAMS)
{
	struct tlsport_listener *l = tlsport_listener_get(sock);
	struct tlsport_conn *conn;
	long timeo;
	int err;

	set_accepted_ops(newsock, &refused_ops); /* safe to release, whatever happens below */
	if (TLSPORT_ACCEPT_KERN) { /* a server in the kernel would give it operations of ours */
		tlsport_listener_put(l);
		return -EOPNOTSUPP;
	}
	timeo = sock_rcvtimeo(sock->sk, TLSPORT_ACCEPT_FLAGS & O_NONBLOCK);
	do {
		conn = ready_pop(l);
		if (conn) {
			bool done = hand_over(conn, newsock);

			tlsport_conn_put(conn);
			err = 0;
			if (done)
				break;
			continue;
		}
		if (READ_ONCE(l->mode) == TLSPORT_MODE_LISTEN_PLAIN) {
			err = accept_plain(l, sock, newsock);
			if (err != -EAGAIN)
				break;
		}
		err = accept_wait(l, &timeo);
	} while (!err);
	tlsport_listener_put(l);
	return err;
}

static __poll_t listen_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait)
{
	struct tlsport_listener *l = tlsport_listener_get(sock);
	__poll_t mask = 0;

	if (READ_ONCE(sock->sk->sk_state) != TCP_LISTEN) {
		mask = l->base->poll(file, sock, wait);
	} else {
		sock_poll_wait(file, sock, wait);
		if (accept_possible(l))
			mask = EPOLLIN | EPOLLRDNORM;
	}
	tlsport_listener_put(l);
	return mask;
}

/* Ends what waits at a listener that nobody can accept from any more. */
static void end_waiting(struct tlsport_listener *l)
{
	struct tlsport_conn *conn;

	spin_lock_bh(&l->lock);
	list_for_each_entry(conn, &l->handshakes, listener_node)
		tlsport_conn_request_end(conn, TLSPORT_REASON_LISTENER_CLOSED);
	list_for_each_entry(conn, &l->ready, listener_node)
		tlsport_conn_request_end(conn, TLSPORT_REASON_LISTENER_CLOSED);
	spin_unlock_bh(&l->lock);
}

/*
 * Its listening ends: what is in TCP's queue is reset before TCP moves it to
 * another listening socket, ours or not.
 */
static void shut(struct tlsport_listener *l)
{
	WRITE_ONCE(l->ending, true);
	smp_mb(); /* before the mode: open_listener() sets that, and looks */
	if (READ_ONCE(l->sk->sk_state) != TCP_LISTEN ||
	    READ_ONCE(l->mode) == TLSPORT_MODE_LISTEN_PLAIN)
		return;
	WRITE_ONCE(l->mode, TLSPORT_MODE_LISTEN_SHUT); /* until it listens again */
	synchronize_rcu();
	tlsport_raw_reset_queue(l->sk);
}

static int listen_shutdown(struct socket *sock, int how)
{
	struct tlsport_listener *l = tlsport_listener_get(sock);
	int ret;

	if (how == SHUT_RD || how == SHUT_RDWR)
		shut(l);
	ret = l->base->shutdown(sock, how);
	tlsport_listener_put(l);
	return ret;
}

/* AF_UNSPEC ends its listening as shutdown() does. */
static int listen_connect(struct socket *sock, TLSPORT_SOCKADDR *addr, int addr_len, int flags)
{
	struct tlsport_listener *l = tlsport_listener_get(sock);
	int ret;

	if (addr_len >= (int)sizeof(addr->sa_family) && addr->sa_family == AF_UNSPEC)
		shut(l);
	ret = l->base->connect(sock, addr, addr_len, flags);
	tlsport_listener_put(l);
	return ret;
}

/* ss -K: the same.  Context: process, may sleep; @sk is held. */
void tlsport_listener_shut(struct sock *sk)
{
	struct tlsport_listener *l = tlsport_listener_get(READ_ONCE(sk->sk_socket));

	if (!l)
		return;
	if (l->sk == sk)
		shut(l);
	tlsport_listener_put(l);
}

static int listen_release(struct socket *sock)
{
	struct tlsport_listener *l = sock->sk ? tlsport_listener_get(sock) : NULL;
	const struct proto_ops *base;
	struct sock *sk;

	if (!sock->sk) /* a socket that do_accept() gave up before it asked us */
		return 0;
	if (WARN_ON_ONCE(!l))
		return 0;
	base = l->base;
	sk = l->sk;
	spin_lock_bh(&l->lock);
	WRITE_ONCE(l->closing, true);
	set_data_ready(l, l->data_ready);
	spin_unlock_bh(&l->lock);
	spin_lock(&listeners_lock);
	hash_del_rcu(&l->node);
	spin_unlock(&listeners_lock);
	synchronize_rcu(); /* no softirq and no probe queues accept_work any more */
	cancel_delayed_work_sync(&l->accept_work);
	end_waiting(l);
	/* TCP would reset them, or move them to another listening socket, ours or not */
	if (!l->mptcp || READ_ONCE(l->mode) != TLSPORT_MODE_LISTEN_PLAIN)
		tlsport_raw_reset_queue(sk);
	lock_sock(sk);
	tlsport_raw_unhook(sk);
	release_sock(sk);
	tlsport_listener_put(l); /* the hash's */
	tlsport_listener_put(l);
	return base->release(sock);
}

/**
 * tlsport_listener_hook - take a listening socket over
 * @sk: passes from TCP_CLOSE to TCP_LISTEN now, or listens with an empty queue
 * @mode: what it does from now on
 *
 * Context: lock_sock(@sk) held; does not sleep.
 * Return: 0, or a negative errno: the guard then keeps every connection away.
 */
int tlsport_listener_hook(struct sock *sk, enum tlsport_listener_mode mode)
{
	struct socket *sock = sk->sk_socket;
	bool mptcp = tlsport_mptcp_listener(sk);
	int table = 2 * mptcp + (sk->sk_family == AF_INET6);
	struct tlsport_listener *l;
	int err;

	if (tlsport_fail_hook)
		return -ENOMEM;
	if (!try_module_get(THIS_MODULE)) /* for sock->ops, which sock_release() puts */
		return -ENODEV;
	err = -ENOMEM;
	l = kzalloc(sizeof(*l), GFP_ATOMIC);
	if (!l)
		goto err_module;
	err = -ENOENT;
	l->port = tlsport_port_get(sock_net(sk), inet_sk(sk)->inet_num);
	if (!l->port)
		goto err_free;
	err = tlsport_raw_hook(sk);
	if (err)
		goto err_port;
	refcount_set(&l->ref, 1);
	spin_lock_init(&l->lock);
	init_rwsem(&l->mode_sem);
	INIT_LIST_HEAD(&l->ready);
	INIT_LIST_HEAD(&l->handshakes);
	INIT_DELAYED_WORK(&l->accept_work, accept_work);
	l->mode = mode;
	l->sock = sock;
	l->sk = sk;
	l->mptcp = mptcp;
	l->base = sock->ops;
	l->tcp = mptcp ? NULL : sock->ops;
	l->data_ready = sk->sk_data_ready;
	trace_tlsport_object_new("listener", l);

	spin_lock(&listeners_lock);
	if (!listen_ops_ready[table]) {
		listen_ops[table] = *sock->ops;
		listen_ops[table].owner = THIS_MODULE;
		listen_ops[table].accept = listen_accept;
		listen_ops[table].poll = listen_poll;
		listen_ops[table].release = listen_release;
		listen_ops[table].shutdown = listen_shutdown;
		listen_ops[table].connect = listen_connect;
		listen_ops_ready[table] = true;
	}
	/* from here on others find it, and call its functions */
	hash_add_rcu(listeners, &l->node, (unsigned long)sock);
	spin_unlock(&listeners_lock);

	module_put(sock->ops->owner);
	write_lock_bh(&sk->sk_callback_lock);
	WRITE_ONCE(sk->sk_data_ready, listen_data_ready);
	write_unlock_bh(&sk->sk_callback_lock);
	WRITE_ONCE(sock->ops, &listen_ops[table]);
	smp_mb(); /* in the hash before the test, as port_remove() sets before it walks */
	if (READ_ONCE(READ_ONCE(l->port)->disabled))
		recheck(l);
	return 0;

err_port:
	tlsport_port_put(l->port);
err_free:
	kfree(l);
err_module:
	module_put(THIS_MODULE);
	return err;
}

/* A socket of a program, of TCP with the stock accept, or of MPTCP, on a registered port. */
bool tlsport_listener_hookable(const struct sock *sk)
{
	const struct socket *sock = sk->sk_socket;

	if (sk->sk_protocol != IPPROTO_TCP || !sock || !sock->file ||
	    !tlsport_port_on(sock_net(sk), inet_sk(sk)->inet_num))
		return false;
	if (tlsport_mptcp_listener(sk))
		return sock->ops->accept != listen_accept;
	return sock->ops->accept == inet_accept && sk->sk_prot == sk->sk_prot_creator;
}

/* lock_sock held: shutdown(2), or listen(2) that failed after the hook, or listens again. */
static void listen_again(struct tlsport_listener *l, int newstate)
{
	if (newstate == TCP_CLOSE) {
		/* tlsport_conn_start() looks at it */
		if (READ_ONCE(l->mode) == TLSPORT_MODE_LISTEN_TLS)
			WRITE_ONCE(l->mode, TLSPORT_MODE_LISTEN_SHUT);
		end_waiting(l);
		wake(l); /* accept() gives EINVAL by the state */
	} else {
		recheck(l);
	}
}

/* RCU and lock_sock held. */
static void listen_first(struct sock *sk)
{
	if (tlsport_listener_hook(sk, TLSPORT_MODE_LISTEN_TLS))
		net_warn_ratelimited(
			"tlsport: port %u: a listening socket could not be taken over and is shut\n",
			inet_sk(sk)->inet_num);
	else if (waitqueue_active(&sk->sk_lock.wq)) /* in the stock accept() already, perhaps */
		recheck(tlsport_listener_find(sk));
}

/*
 * In listen(2), lock_sock held, preemption off, the socket not hashed yet: no
 * SYN can come between.
 */
static void on_set_state(void *data, const struct sock *csk, const int oldstate, const int newstate)
{
	struct sock *sk = (struct sock *)csk;
	struct tlsport_listener *l;

	if (newstate != TCP_LISTEN && oldstate != TCP_LISTEN)
		return;
	rcu_read_lock();
	l = tlsport_listener_find(sk);
	if (l)
		listen_again(l, newstate);
	else if (newstate == TCP_LISTEN && tlsport_listener_hookable(sk))
		listen_first(sk);
	rcu_read_unlock();
}

/**
 * tlsport_listener_set_mode - change what a listening socket does
 * @l: the listener
 * @mode: new mode
 * @port: its port from now on, or NULL: as before
 *
 * Context: process, tlsport_net.lock held.  When it returns, no accept() in
 * the old mode is going on.
 */
void tlsport_listener_set_mode(struct tlsport_listener *l, enum tlsport_listener_mode mode,
			       struct tlsport_port *port)
{
	struct tlsport_port *old = NULL;

	if (l->mptcp && mode != TLSPORT_MODE_LISTEN_PLAIN) { /* before a connection comes */
		spin_lock_bh(&l->lock);
		if (!l->closing)
			set_data_ready(l, listen_data_ready);
		spin_unlock_bh(&l->lock);
	}
	down_write(&l->mode_sem);
	if (port && port != l->port) {
		refcount_inc(&port->ref);
		old = l->port;
		WRITE_ONCE(l->port, port);
	}
	WRITE_ONCE(l->mode, mode);
	if (mode == TLSPORT_MODE_LISTEN_PLAIN)
		let_mptcp(l);
	up_write(&l->mode_sem);
	if (old)
		tlsport_port_put(old);
	spin_lock_bh(&l->lock);
	kick_accept(l);
	if (!l->closing)
		wake(l);
	spin_unlock_bh(&l->lock);
}

static struct tlsport_listener *next_served(const struct tlsport_port *port)
{
	struct tlsport_listener *l;
	int i;

	rcu_read_lock();
	hash_for_each_rcu(listeners, i, l, node)
		if (READ_ONCE(l->port) == port && READ_ONCE(l->mode) != TLSPORT_MODE_LISTEN_PLAIN &&
		    refcount_inc_not_zero(&l->ref))
			goto out;
	l = NULL;
out:
	rcu_read_unlock();
	return l;
}

/* tlsport_net.lock held.  The port goes: its listeners serve plain TCP. */
void tlsport_listeners_disable(struct tlsport_port *port)
{
	struct tlsport_listener *l;

	while ((l = next_served(port))) {
		tlsport_listener_set_mode(l, TLSPORT_MODE_LISTEN_PLAIN, NULL);
		tlsport_listener_put(l);
	}
}

static void find_tracepoint(struct tracepoint *tp, void *priv)
{
	if (!strcmp(tp->name, "inet_sock_set_state"))
		tp_set_state = tp;
}

int tlsport_listener_init(void)
{
	for_each_kernel_tracepoint(find_tracepoint, NULL);
	if (!tp_set_state) {
		pr_err("tlsport: this kernel has no tracepoint inet_sock_set_state (CONFIG_TRACEPOINTS)\n");
		return -ENOENT;
	}
	return tracepoint_probe_register(tp_set_state, on_set_state, NULL);
}

void tlsport_listener_exit(void)
{
	tracepoint_probe_unregister(tp_set_state, on_set_state, NULL);
	tracepoint_synchronize_unregister();
	WARN_ON(!hash_empty(listeners));
}
