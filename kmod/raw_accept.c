// SPDX-License-Identifier: GPL-2.0-only
/*
 * The raw accept: connections out of TCP's accept queue of a hooked listening
 * socket, by the module alone.
 *
 * A thread that was on its way into the stock accept() when the socket was
 * hooked would take one too, and its program would read what the client sent:
 * do_accept() looks at sock->ops early and may sleep before it calls ->accept.
 * So struct proto of a hooked socket is a copy whose accept knows the module's
 * calls by a flag and sends all others back to begin anew.
 *
 * Connections are born with the operations of their listener, and its callback:
 * these come off again in syn_recv_sock(), before anyone can see the connection.
 */
#include <linux/bpf.h>
#include <linux/sched/signal.h>
#include "tlsport.h"

#define RAW_ACCEPT BIT(30) /* no O_* flag of any architecture */

struct raw_table {
	struct proto prot;
	struct inet_connection_sock_af_ops af_ops;
	struct proto *base_prot;
	const struct inet_connection_sock_af_ops *base_af_ops;
	void (*data_ready)(struct sock *sk);
};

/* IPv4; IPv6; IPv6 after a connect() to an IPv4-mapped address */
static struct raw_table tables[4];
static int ntables;
static DEFINE_SPINLOCK(tables_lock);

/* The table that @member lies in; NULL: it is a stock one (again). */
static const struct raw_table *table_of(const void *member)
{
	const void *begin = tables, *end = tables + ARRAY_SIZE(tables);

	return member >= begin && member < end ? &tables[(member - begin) / sizeof(*tables)] : NULL;
}

static struct proto *base_prot(struct proto *prot)
{
	const struct raw_table *t = table_of(prot);

	return t ? t->base_prot : prot;
}

static const struct inet_connection_sock_af_ops *base_af_ops(
	const struct inet_connection_sock_af_ops *af_ops)
{
	const struct raw_table *t = table_of(af_ops);

	return t ? t->base_af_ops : af_ops;
}

/*
 * No ULP for a socket that listens, or has: it would copy our tables into its
 * own, which serve every socket of the machine.
 */
static int raw_prot_setsockopt(struct sock *sk, int level, int optname, sockptr_t optval,
			       unsigned int optlen)
{
	if (level == SOL_TCP && optname == TCP_ULP)
		return -ENOTCONN;
	return base_prot(READ_ONCE(sk->sk_prot))->setsockopt(sk, level, optname, optval, optlen);
}

/* ss -K ends a listening socket as shutdown() does; a BPF iterator may not sleep. */
static int raw_prot_diag_destroy(struct sock *sk, int err)
{
	bool listens = READ_ONCE(sk->sk_state) == TCP_LISTEN;

	/* the program may close its socket meanwhile, which is what keeps the module */
	if ((listens && has_current_bpf_ctx()) || !try_module_get(THIS_MODULE))
		return -EOPNOTSUPP;
	if (listens)
		tlsport_listener_shut(sk);
	err = base_prot(READ_ONCE(sk->sk_prot))->diag_destroy(sk, err);
	module_put(THIS_MODULE);
	return err;
}

static struct sock *raw_prot_accept(TLSPORT_PROT_ACCEPT_PARAMS)
{
	if (TLSPORT_ACCEPT_FLAGS & RAW_ACCEPT)
		return base_prot(READ_ONCE(sk->sk_prot))->accept(TLSPORT_PROT_ACCEPT_ARGS);
	if (TLSPORT_ACCEPT_FLAGS & O_NONBLOCK) {
		TLSPORT_ACCEPT_ERR = -EAGAIN;
	} else { /* the system call begins anew, and finds the new operations */
		set_tsk_thread_flag(current, TIF_SIGPENDING);
		TLSPORT_ACCEPT_ERR = -ERESTARTSYS;
	}
	return NULL;
}

static struct sock *raw_syn_recv_sock(TLSPORT_SYN_RECV_SOCK_PARAMS)
{
	const struct inet_connection_sock_af_ops *af_ops = READ_ONCE(inet_csk(sk)->icsk_af_ops);
	const struct raw_table *t = table_of(af_ops);
	struct sock *child;

	child = (t ? t->base_af_ops : af_ops)->syn_recv_sock(TLSPORT_SYN_RECV_SOCK_ARGS);
	if (child) {
		child->sk_prot = base_prot(child->sk_prot);
		child->sk_prot_creator = base_prot(child->sk_prot_creator);
		inet_csk(child)->icsk_af_ops = base_af_ops(inet_csk(child)->icsk_af_ops);
		if (t)
			WRITE_ONCE(child->sk_data_ready, t->data_ready);
	}
	return child;
}

static struct raw_table *find_table(const struct sock *sk)
{
	struct raw_table *t;
	int i;

	spin_lock_bh(&tables_lock);
	for (i = 0; i < ntables; i++)
		if (tables[i].base_prot == sk->sk_prot &&
		    tables[i].base_af_ops == inet_csk(sk)->icsk_af_ops &&
		    tables[i].data_ready == sk->sk_data_ready)
			break;
	t = i < ARRAY_SIZE(tables) ? &tables[i] : NULL;
	if (t && i == ntables) {
		t->base_prot = sk->sk_prot;
		t->prot = *sk->sk_prot;
		t->prot.accept = raw_prot_accept;
		t->prot.setsockopt = raw_prot_setsockopt;
		if (sk->sk_prot->diag_destroy)
			t->prot.diag_destroy = raw_prot_diag_destroy;
		t->prot.psock_update_sk_prot = NULL; /* no sockmap copies this table */
		t->base_af_ops = inet_csk(sk)->icsk_af_ops;
		t->af_ops = *t->base_af_ops;
		t->af_ops.syn_recv_sock = raw_syn_recv_sock;
		t->data_ready = sk->sk_data_ready;
		ntables++;
	}
	spin_unlock_bh(&tables_lock);
	return t;
}

/**
 * tlsport_raw_hook - from now on only tlsport_raw_accept() takes connections
 * @sk: a listening socket with the operations of stock TCP
 *
 * Context: lock_sock(@sk) held; does not sleep.
 * Return: 0, or -EOPNOTSUPP: TCP has more tables than the kernels that this
 * module knows.
 */
int tlsport_raw_hook(struct sock *sk)
{
	struct raw_table *t;

	if (tlsport_mptcp_listener(sk)) /* MPTCP tells its subflows by their operations */
		return 0;
	t = find_table(sk);
	if (!t)
		return -EOPNOTSUPP;
	WRITE_ONCE(inet_csk(sk)->icsk_af_ops, &t->af_ops);
	smp_wmb(); /* no connection is born with the proto alone */
	WRITE_ONCE(sk->sk_prot, &t->prot);
	return 0;
}

/* lock_sock held.  Undoes it; a connect() may have changed the operations between. */
void tlsport_raw_unhook(struct sock *sk)
{
	WRITE_ONCE(sk->sk_prot, base_prot(sk->sk_prot));
	smp_wmb(); /* as above */
	WRITE_ONCE(inet_csk(sk)->icsk_af_ops, base_af_ops(inet_csk(sk)->icsk_af_ops));
}

/**
 * tlsport_raw_accept_to - one raw connection into a socket of the caller
 * @listen: a listening socket, as its program has it
 * @sock: without sk
 * @ops: stock operations of @listen
 * @kern: as in struct proto_ops
 *
 * Context: process; does not wait.
 * Return: 0, -EAGAIN when there is none, or another negative errno of accept(2).
 */
int tlsport_raw_accept_to(struct socket *listen, struct socket *sock, const struct proto_ops *ops,
			  bool kern)
{
	return tlsport_base_accept(ops, listen, sock, O_NONBLOCK | RAW_ACCEPT, kern);
}

/**
 * tlsport_raw_accept - one raw connection into a private socket
 * @sk: a listening socket, of TCP
 * @ops: stock operations of TCP, for the private socket as well: net/tls takes
 *	those of the first socket that it ever sees as the base of all
 *
 * Context: process; does not wait.
 * Return: a socket that the caller owns, or ERR_PTR of tlsport_raw_accept_to().
 */
struct socket *tlsport_raw_accept(struct sock *sk, const struct proto_ops *ops)
{
	struct socket listen = { .sk = sk }; /* accept() looks at no more of it */
	struct socket *sock;
	int err;

	err = sock_create_lite(sk->sk_family, SOCK_STREAM, IPPROTO_TCP, &sock);
	if (err)
		return ERR_PTR(err);
	__module_get(ops->owner);
	sock->ops = ops;
	err = tlsport_raw_accept_to(&listen, sock, ops, true);
	if (err < 0) {
		module_put(ops->owner);
		sock->ops = NULL;
		sock_release(sock);
		return ERR_PTR(err);
	}
	return sock;
}

/*
 * Resets what waits in TCP's queue; returns how many.  Without sockets for them:
 * no lack of memory may leave one, for TCP to move it to another listener.
 */
int tlsport_raw_reset_queue(struct sock *listen)
{
	struct proto *prot = base_prot(READ_ONCE(listen->sk_prot));
	struct sock *sk;
	int n = 0;

	while ((sk = tlsport_base_prot_accept(prot, listen, O_NONBLOCK))) {
		sock_no_linger(sk);
		sk->sk_prot->close(sk, 0);
		n++;
	}
	return n;
}

static void take_back(struct inet_hashinfo *h, unsigned int bucket)
{
	spinlock_t *lock = inet_ehash_lockp(h, bucket);
	struct hlist_nulls_node *node;
	struct sock *sk;

	spin_lock_bh(lock);
	sk_nulls_for_each(sk, node, &h->ehash[bucket].chain)
		if (table_of(sk->sk_prot))
			WRITE_ONCE(sk->sk_prot, base_prot(sk->sk_prot));
	spin_unlock_bh(lock);
}

/**
 * tlsport_raw_exit - the module goes, and with it what its sockets had
 *
 * A request for a connection has the proto of its listening socket, which it outlives
 * until its timer finds that out; ss -K looks into it.
 *
 * Context: process; no socket is hooked, nor has been one since a grace period.
 */
void tlsport_raw_exit(void)
{
	struct inet_hashinfo *h, *done = NULL;
	struct net *net;
	unsigned int i;

	if (!ntables)
		return;
	down_read(&net_rwsem);
	for_each_net(net) {
		h = net->ipv4.tcp_death_row.hashinfo;
		if (h == done) /* most namespaces share one */
			continue;
		for (i = 0; i <= h->ehash_mask; i++, cond_resched())
			if (!hlist_nulls_empty(&h->ehash[i].chain))
				take_back(h, i);
		done = h;
	}
	up_read(&net_rwsem);
	synchronize_rcu_tasks(); /* who has found ours before is out of it */
}
