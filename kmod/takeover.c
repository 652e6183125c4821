// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sockets that were there before their port was registered.
 *
 * A listening socket is taken over live only when it cannot hand a raw
 * connection to anyone any more.  The guard lets nothing create a connection at
 * it from before this file runs, so its accept queue can only shrink: it is
 * emptied, then the socket is hooked, still shut.  A thread inside the stock
 * accept() now finds the empty queue: it returns (O_NONBLOCK), or it sleeps as
 * an exclusive waiter that is neither poll's nor ours, which is seen; one that
 * is on its way there has slept or left after a grace period of tasks.  Only
 * then the guard opens.  Where a sleeper is seen the socket stays shut.
 *
 * Connections that exist in plaintext are reset.  tlsport_net.lock held.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/rcupdate.h>
#include <net/inet_hashtables.h>
#include "tlsport.h"
#include "trace.h"

#define LISTENERS_MAX 1024 /* of a port: more than any program opens */

/**
 * tlsport_takeover_sleeper - does a thread sleep in the stock accept()?
 * @sk: TCP's, of a socket that cannot close
 *
 * Context: process.  Its sleepers are exclusive, and not epoll's or ours.
 */
bool tlsport_takeover_sleeper(struct sock *sk)
{
	struct wait_queue_entry *w;
	bool found = false;

	spin_lock_bh(&sk_sleep(sk)->lock);
	list_for_each_entry(w, &sk_sleep(sk)->head, entry)
		if ((w->flags & WQ_FLAG_EXCLUSIVE) && w->func == autoremove_wake_function)
			found = true;
	spin_unlock_bh(&sk_sleep(sk)->lock);
	return found;
}

static void count_resets(struct sock *sk, int n)
{
	struct tlsport_port *port = tlsport_port_get(sock_net(sk), inet_sk(sk)->inet_num);

	if (!port)
		return;
	this_cpu_add(port->stats->ended[TLSPORT_REASON_PLAINTEXT_RESET], n);
	tlsport_port_put(port);
}

/*
 * The file of a socket that can be taken over, held: no close() goes on at the
 * same time, and what belongs to no program is left alone.  NULL: skip it.
 */
static struct file *pin(struct sock *sk, bool hooked)
{
	struct file *file = NULL;

	lock_sock(sk);
	if (sk->sk_state == TCP_LISTEN && sk->sk_socket &&
	    (hooked || tlsport_listener_hookable(sk))) {
		file = sk->sk_socket->file;
		if (!tlsport_file_get(file))
			file = NULL;
	}
	release_sock(sk);
	return file;
}

static int reset_queue(struct sock *sk)
{
	struct socket *sock = sk->sk_socket;

	return tlsport_mptcp_listener(sk) ? tlsport_mptcp_reset_queue(sock, sock->ops) :
					    tlsport_raw_reset_queue(sk);
}

/* Hooks one socket, shut; its file is held.  -ENOMEM, or 0: hooked, or not to be. */
static int hook_shut(struct sock *sk)
{
	int err = 0;

	lock_sock(sk);
	if (sk->sk_state == TCP_LISTEN && sk->sk_socket && tlsport_listener_hookable(sk) &&
	    !tlsport_takeover_sleeper(sk) && reqsk_queue_empty(&inet_csk(sk)->icsk_accept_queue))
		err = tlsport_listener_hook(sk, TLSPORT_MODE_LISTEN_SHUT);
	release_sock(sk);
	return err == -ENOMEM ? err : 0;
}

/* Listening sockets of the port, held; returns how many. */
static int find_listeners(struct net *net, u16 number, bool (*want)(struct sock *sk),
			  struct sock **found)
{
	struct inet_hashinfo *h = net->ipv4.tcp_death_row.hashinfo;
	struct hlist_nulls_node *node;
	struct sock *sk;
	int i, n = 0;

	for (i = 0; i <= h->lhash2_mask; i++) {
		struct inet_listen_hashbucket *b = &h->lhash2[i];

		spin_lock_bh(&b->lock);
		sk_nulls_for_each(sk, node, &b->nulls_head) {
			if (n == LISTENERS_MAX)
				break;
			if (net_eq(sock_net(sk), net) && inet_sk(sk)->inet_num == number &&
			    want(sk) && refcount_inc_not_zero(&sk->sk_refcnt))
				found[n++] = sk;
		}
		spin_unlock_bh(&b->lock);
	}
	return n;
}

static bool want_stock(struct sock *sk)
{
	bool hooked;

	rcu_read_lock();
	hooked = tlsport_listener_find(sk);
	rcu_read_unlock();
	return !hooked;
}

static bool want_hooked(struct sock *sk)
{
	return !want_stock(sk);
}

/*
 * Is a thread in the stock accept()?  After a grace period of tasks it sleeps
 * for a connection, or it waits for the socket's lock and will sleep or leave.
 */
static bool in_stock_accept(struct sock *sk)
{
	bool sleeper, waiter;
	int i;

	for (i = 0; i < TLSPORT_TAKEOVER_ROUNDS; i++) {
		lock_sock(sk);
		/* waiters and the test are under the lock that they wait for */
		waiter = waitqueue_active(&sk->sk_lock.wq);
		sleeper = sk->sk_socket && tlsport_takeover_sleeper(sk);
		release_sock(sk);
		if (sleeper || !waiter)
			return sleeper;
		synchronize_rcu_tasks();
	}
	return true; /* a program that keeps the lock busy: in doubt */
}

/*
 * A socket that was hooked in an earlier life of the port, or has just been.  The
 * caller keeps it from closing.
 */
static void open_listener(struct tlsport_listener *l, struct tlsport_port *port)
{
	bool ends;

	if (l->mptcp && READ_ONCE(l->mode) == TLSPORT_MODE_LISTEN_PLAIN)
		count_resets(l->sk, tlsport_mptcp_reset_queue(l->sock, l->base));
	if (READ_ONCE(l->mode) != TLSPORT_MODE_LISTEN_TLS || l->port != port)
		tlsport_listener_set_mode(l,
					  in_stock_accept(l->sk) ? TLSPORT_MODE_LISTEN_SHUT :
								   TLSPORT_MODE_LISTEN_TLS,
					  port);
	/* that took its time: shutdown(2), and perhaps listen(2) after it, came meanwhile */
	smp_mb(); /* after the mode */
	ends = READ_ONCE(l->ending) || READ_ONCE(l->sk->sk_state) != TCP_LISTEN;
	smp_rmb(); /* the mark is set before it listens again */
	if (ends || READ_ONCE(l->stale))
		cmpxchg(&l->mode, TLSPORT_MODE_LISTEN_TLS, TLSPORT_MODE_LISTEN_SHUT);
}

/**
 * tlsport_takeover_again - a hooked socket listens anew: what is it now?
 * @l: shut, or plain, since then; its socket cannot close
 *
 * Context: process, no locks held.
 */
void tlsport_takeover_again(struct tlsport_listener *l)
{
	struct tlsport_net *tn = tlsport_pernet(sock_net(l->sk));
	struct tlsport_port *port;

	mutex_lock(&tn->lock);
	WRITE_ONCE(l->stale, false);
	smp_mb(); /* the mark before the mode */
	port = tlsport_port_get(tn->net, inet_sk(l->sk)->inet_num);
	if (port) {
		open_listener(l, port);
		tlsport_port_put(port);
	} else {
		tlsport_listener_set_mode(l, TLSPORT_MODE_LISTEN_PLAIN, NULL);
	}
	mutex_unlock(&tn->lock);
}

static bool plaintext(const struct sock *sk, const struct net *net, u16 number)
{
	return sk_fullsock(sk) && sk->sk_protocol == IPPROTO_TCP && net_eq(sock_net(sk), net) &&
	       inet_sk(sk)->inet_num == number && !tlsport_sk_secured(sk);
}

static void reset_one(struct sock *sk, const struct net *net, u16 number)
{
	bool reset;

	lock_sock(sk);
	reset = plaintext(sk, net, number) && !tlsport_sk_active_open(sk) &&
		sk->sk_state != TCP_CLOSE;
	release_sock(sk);
	if (reset) {
		count_resets(sk, 1);
		tcp_abort(sk, ECONNABORTED);
	}
	sock_put(sk);
}

/* Plaintext connections of a bucket, held: how many there are, @max of them in @found */
static unsigned int collect(struct inet_hashinfo *h, unsigned int bucket, const struct net *net,
			    u16 number, struct sock **found, unsigned int max)
{
	spinlock_t *lock = inet_ehash_lockp(h, bucket);
	struct hlist_nulls_node *node;
	unsigned int n = 0;
	struct sock *sk;

	spin_lock_bh(lock);
	sk_nulls_for_each(sk, node, &h->ehash[bucket].chain)
		if (plaintext(sk, net, number)) {
			if (n < max && !refcount_inc_not_zero(&sk->sk_refcnt))
				continue;
			if (n < max)
				found[n] = sk;
			n++;
		}
	spin_unlock_bh(lock);
	return n;
}

/*
 * Resets the plaintext connections of the port, whose listeners are shut: no new
 * ones come, but at a socket that listens since, which may lose its first.
 * -ENOMEM: some may be left.
 */
static int sweep(struct net *net, u16 number)
{
	struct inet_hashinfo *h = net->ipv4.tcp_death_row.hashinfo;
	unsigned int i, n, max = 0;
	struct sock **found = NULL;

	for (i = 0; i <= h->ehash_mask; i++, cond_resched()) {
		if (hlist_nulls_empty(&h->ehash[i].chain))
			continue;
		n = collect(h, i, net, number, found, max);
		if (n > max) { /* let go, make room, look again */
			while (max)
				sock_put(found[--max]);
			kvfree(found);
			max = n;
			found = kvmalloc_array(max, sizeof(*found), GFP_KERNEL);
			if (!found)
				return -ENOMEM;
			n = min(collect(h, i, net, number, found, max), max);
		}
		while (n)
			reset_one(found[--n], net, number);
	}
	kvfree(found);
	return 0;
}

/**
 * tlsport_takeover - take over what listens on a port that was just registered,
 *	and reset what is connected
 * @net: network namespace
 * @port: the caller's; the guard is on
 *
 * Context: process, tlsport_net.lock held; waits for a grace period of tasks
 * when there is something to take over.
 * Return: 0 or -ENOMEM: not all are taken over, and none of them is served;
 * connections may be left.
 */
int tlsport_takeover(struct net *net, struct tlsport_port *port)
{
	struct tlsport_listener *l;
	struct sock **found;
	struct file *file;
	int n, i, err = 0;

	found = kcalloc(LISTENERS_MAX, sizeof(*found), GFP_KERNEL);
	if (!found)
		return -ENOMEM;
	n = find_listeners(net, port->number, want_stock, found);
	for (i = 0; i < n; i++) {
		file = pin(found[i], false);
		if (file) {
			/* raw connections that nobody accepted before the port was registered */
			count_resets(found[i], reset_queue(found[i]));
			err = hook_shut(found[i]) ?: err;
			fput(file);
		}
		sock_put(found[i]);
	}
	err = err ?: sweep(net, port->number);
	if (err)
		goto out;
	if (n)
		synchronize_rcu_tasks();
	n = find_listeners(net, port->number, want_hooked, found);
	for (i = 0; i < n; i++) {
		file = pin(found[i], true);
		if (file) {
			l = tlsport_listener_get(found[i]->sk_socket);
			if (l) {
				open_listener(l, port);
				tlsport_listener_put(l);
			}
			fput(file);
		}
		sock_put(found[i]);
	}
out:
	kfree(found);
	return err;
}
