// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who does the records of a connection, software or a network interface, and why.
 *
 * net/tls chooses, once for each direction, when it gets the keys: the interface is
 * that of the socket's route.  It does not tell why it takes software: that is
 * found by what it looks at, in its order.  Nor can it be told to: see
 * tlsport_offload_keep_out().
 *
 * The route and the interface may change later.  net/tls then encrypts, and decrypts,
 * in software what goes through another one; so what a connection has now is looked
 * up when somebody asks, and costs those that send nothing.
 */
#include <crypto/aead.h>
#include <linux/netdevice.h>
#include "tlsport.h"

/* Context: RCU.  The interface that net/tls would ask; NULL: there is no route. */
static struct net_device *route_device(struct sock *sk)
{
	struct dst_entry *dst = rcu_dereference(sk->sk_dst_cache);
	struct net_device *dev = dst ? dst_dev_rcu(dst) : NULL;

	/* the kernel's own, which stands for one that is gone */
	return dev && dev != blackhole_netdev ? netdev_sk_get_lowest_dev(dev, sk) : NULL;
}

static netdev_features_t feature(int direction)
{
	return direction == TLS_TX ? NETIF_F_HW_TLS_TX : NETIF_F_HW_TLS_RX;
}

static bool device_offers(struct sock *sk, int direction)
{
	const struct net_device *dev;
	bool offers;

	rcu_read_lock();
	dev = route_device(sk);
	offers = dev && (dev->features & feature(direction));
	rcu_read_unlock();
	return offers;
}

static bool has_sync_gcm(void)
{
	struct crypto_aead *aead = crypto_alloc_aead("gcm(aes)", 0, CRYPTO_ALG_ASYNC);

	if (IS_ERR(aead))
		return false;
	crypto_free_aead(aead);
	return true;
}

/*
 * While RX gets its keys: whatever finds a route in order to send forgets it again,
 * with the socket's lock still held.
 */
struct af_table {
	struct inet_connection_sock_af_ops ops;
	const struct inet_connection_sock_af_ops *base;
};

static struct af_table tables[3]; /* IPv4, IPv6, IPv4 on an IPv6 socket */
static int ntables;
static DEFINE_MUTEX(tables_lock);

static int xmit_and_forget(struct sock *sk, struct sk_buff *skb, struct flowi *fl)
{
	const struct inet_connection_sock_af_ops *ops = inet_csk(sk)->icsk_af_ops;
	int err = container_of(ops, struct af_table, ops)->base->queue_xmit(sk, skb, fl);

	__sk_dst_reset(sk);
	return err;
}

static const struct inet_connection_sock_af_ops *forgetful(
	const struct inet_connection_sock_af_ops *base)
{
	struct af_table *t;
	int i;

	mutex_lock(&tables_lock);
	for (i = 0; i < ntables && tables[i].base != base; i++)
		;
	t = i < ARRAY_SIZE(tables) ? &tables[i] : NULL;
	if (t && i == ntables) {
		t->base = base;
		t->ops = *base;
		t->ops.queue_xmit = xmit_and_forget;
		ntables++;
	}
	mutex_unlock(&tables_lock);
	return t ? &t->ops : NULL;
}

/* RX: a socket without a route has no interface. */
static int keep_out_rx(struct sock *sk)
{
	const struct inet_connection_sock_af_ops *ops = forgetful(inet_csk(sk)->icsk_af_ops);

	if (!ops)
		return -EOPNOTSUPP;
	lock_sock(sk);
	WRITE_ONCE(inet_csk(sk)->icsk_af_ops, ops);
	__sk_dst_reset(sk);
	release_sock(sk);
	return 0;
}

/* TX: net/tls takes the context that it finds, and asks no interface then. */
static int keep_out_tx(struct sock *sk)
{
	struct tls_sw_context_tx *sw = kzalloc(sizeof(*sw), GFP_KERNEL);

	if (!sw)
		return -ENOMEM;
	lock_sock(sk);
	tls_get_ctx(sk)->priv_ctx_tx = sw; /* net/tls's, which frees it, when it has the keys */
	release_sock(sk);
	return 0;
}

/**
 * tlsport_offload_keep_out - offload = off, before net/tls gets the keys
 * @sk: with net/tls, without keys for this direction
 * @direction: TLS_TX or TLS_RX
 *
 * Context: the worker's sendmsg(), conn->lock held.
 * Return: 0: tlsport_offload_let_in() follows; else a negative errno.
 */
int tlsport_offload_keep_out(struct sock *sk, int direction)
{
	if (!IS_ENABLED(CONFIG_TLS_DEVICE))
		return 0;
	if (direction == TLS_TX)
		return keep_out_tx(sk);
	/* net/tls writes to the kernel's log that there is no route: not without need */
	return device_offers(sk, direction) ? keep_out_rx(sk) : 0;
}

/**
 * tlsport_offload_let_in - undoes tlsport_offload_keep_out()
 * @sk: the same
 * @direction: the same
 * @err: what net/tls made of the keys
 *
 * Return: @err, or -EBUSY: an interface got them all the same.
 */
int tlsport_offload_let_in(struct sock *sk, int direction, int err)
{
	struct tls_context *ctx = tls_get_ctx(sk);
	const struct inet_connection_sock_af_ops *ops;

	if (!IS_ENABLED(CONFIG_TLS_DEVICE))
		return err;
	lock_sock(sk);
	ops = inet_csk(sk)->icsk_af_ops;
	if (ops->queue_xmit == xmit_and_forget)
		WRITE_ONCE(inet_csk(sk)->icsk_af_ops,
			   container_of(ops, struct af_table, ops)->base);
	if (direction == TLS_TX && err) {
		kfree(ctx->priv_ctx_tx); /* NULL where net/tls had taken it */
		ctx->priv_ctx_tx = NULL;
	}
	release_sock(sk);
	/* the feature was switched on meanwhile, or a packet told of another MTU */
	if (!err && (direction == TLS_TX ? ctx->tx_conf : ctx->rx_conf) == TLSPORT_CONF_HW)
		err = -EBUSY;
	return err;
}

/* Why net/tls does @direction in software: what it looks at, in its order. */
static enum tlsport_sw why_software(struct sock *sk, const struct tls_crypto_info *keys,
				    int direction)
{
	enum tlsport_sw why = TLSPORT_SW_NONE;
	const struct net_device *dev;

	if (!IS_ENABLED(CONFIG_TLS_DEVICE))
		return TLSPORT_SW_NO_KERNEL_SUPPORT;
	rcu_read_lock();
	dev = route_device(sk);
	if (!dev)
		why = TLSPORT_SW_NO_ROUTE;
	else if (!(dev->features & feature(direction)))
		why = TLSPORT_SW_NO_FEATURE;
	else if (keys->version != TLS_1_2_VERSION)
		why = TLSPORT_SW_TLS13;
	else if (keys->cipher_type != TLS_CIPHER_AES_GCM_128 &&
		 keys->cipher_type != TLS_CIPHER_AES_GCM_256)
		why = TLSPORT_SW_CIPHER;
	else if (!(dev->flags & IFF_UP))
		why = TLSPORT_SW_DEVICE_DOWN;
	rcu_read_unlock();
	if (why != TLSPORT_SW_NONE)
		return why;
	if (direction == TLS_TX && !has_sync_gcm())
		return TLSPORT_SW_NO_SYNC_GCM;
	return TLSPORT_SW_DEVICE_FULL;
}

/**
 * tlsport_offload_attached - net/tls has the keys: who does the records?
 * @conn: sets and counts tx_sw, rx_sw
 * @keys: of either direction
 * @policy: by which they were given
 *
 * Context: the worker's sendmsg(), conn->lock held.
 */
void tlsport_offload_attached(struct tlsport_conn *conn, const struct tls_crypto_info *keys,
			      enum tlsport_offload policy)
{
	const struct tls_context *ctx = tls_get_ctx(conn->sk);

	conn->tx_sw = TLSPORT_SW_NONE;
	conn->rx_sw = TLSPORT_SW_NONE;
	if (ctx->tx_conf != TLSPORT_CONF_HW)
		conn->tx_sw = policy == TLSPORT_OFFLOAD_OFF ? TLSPORT_SW_OFF_BY_POLICY :
							      why_software(conn->sk, keys, TLS_TX);
	if (ctx->rx_conf != TLSPORT_CONF_HW)
		conn->rx_sw = policy == TLSPORT_OFFLOAD_OFF ? TLSPORT_SW_OFF_BY_POLICY :
							      why_software(conn->sk, keys, TLS_RX);
	this_cpu_inc(conn->port->stats->tx_sw[conn->tx_sw]);
	this_cpu_inc(conn->port->stats->rx_sw[conn->rx_sw]);
}

/* Context: RCU.  A bond gives the interface what it has the keys for, whichever it would choose. */
static bool leads_to(struct dst_entry *dst, struct net_device *dev)
{
	const struct net_device *top = dst_dev_rcu(dst);

	return top == dev ||
	       (netif_is_bond_master(top) && netdev_master_upper_dev_get_rcu(dev) == top);
}

/* Context: RCU.  What keeps a connection from the interface that has its keys. */
static enum tlsport_sw degraded(struct sock *sk, struct net_device *has)
{
	struct dst_entry *dst = rcu_dereference(sk->sk_dst_cache);

	if (!has) /* for good: net/tls does not ask again */
		return TLSPORT_SW_DEVICE_DOWN;
	/* without a route it sends nothing */
	return !dst || leads_to(dst, has) ? TLSPORT_SW_NONE : TLSPORT_SW_ROUTE_CHANGED;
}

/**
 * tlsport_offload_look - who does the records now?
 * @conn: attached, with its sk
 * @now: filled
 *
 * What has left its interface counts anew, once for each reason.
 *
 * Context: process, conn->lock held.
 */
void tlsport_offload_look(struct tlsport_conn *conn, struct tlsport_offload_now *now)
{
	const struct tls_context *ctx = tls_get_ctx(conn->sk);
	bool tx = conn->tx_sw == TLSPORT_SW_NONE, rx = conn->rx_sw == TLSPORT_SW_NONE;
	enum tlsport_sw why = TLSPORT_SW_NONE;
	struct net_device *dev;

	now->device[0] = '\0';
	now->tx = conn->tx_sw;
	now->rx = conn->rx_sw;
	if (!ctx)
		return;
	rcu_read_lock();
	dev = rcu_dereference(ctx->netdev);
	if (tx || rx)
		why = degraded(conn->sk, dev);
	if (!dev || why != TLSPORT_SW_NONE)
		dev = route_device(conn->sk);
	if (dev)
		strscpy(now->device, dev->name, sizeof(now->device));
	rcu_read_unlock();
	if (tx)
		now->tx = why;
	if (rx)
		now->rx = why;
	if (why == TLSPORT_SW_NONE || conn->left & BIT(why))
		return;
	conn->left |= BIT(why);
	if (tx)
		this_cpu_inc(conn->port->stats->tx_sw[why]);
	if (rx)
		this_cpu_inc(conn->port->stats->rx_sw[why]);
}
