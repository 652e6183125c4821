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

/* Context: RCU.  The interface that the route leads to; NULL: there is no route. */
static struct net_device *upper_device(struct sock *sk)
{
	/* TCP may forget it meanwhile */
	struct dst_entry *dst = rcu_dereference(sk->sk_dst_cache);
	struct net_device *dev = dst ? dst_dev_rcu(dst) : NULL;

	/* the kernel's own, which stands for one that is gone */
	return dev != blackhole_netdev ? dev : NULL;
}

/* Context: RCU.  The interface that net/tls would ask; NULL: there is no route. */
static struct net_device *route_device(struct sock *sk)
{
	struct net_device *dev = upper_device(sk);

	return dev ? netdev_sk_get_lowest_dev(dev, sk) : NULL;
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

	if (IS_ERR(aead)) /* without memory nothing is known of it */
		return PTR_ERR(aead) == -ENOMEM;
	crypto_free_aead(aead);
	return true;
}

/* Operations of TCP's sockets with another queue_xmit.  Static: softirqs call it. */
struct af_table {
	struct inet_connection_sock_af_ops forgetful, nic;
	const struct inet_connection_sock_af_ops *base;
};

static struct af_table tables[3]; /* IPv4, IPv6, IPv4 on an IPv6 socket */
static int ntables;
static DEFINE_MUTEX(tables_lock);
/* net/tls's: its module need not be there before the first connection; tables_lock */
static struct sk_buff *(*encrypt_skb)(struct sk_buff *skb);

/*
 * While RX gets its keys: whatever finds a route in order to send forgets it again,
 * with the socket's lock still held.
 */
static int xmit_and_forget(struct sock *sk, struct sk_buff *skb, struct flowi *fl)
{
	const struct inet_connection_sock_af_ops *ops = inet_csk(sk)->icsk_af_ops;
	int err = container_of(ops, struct af_table, forgetful)->base->queue_xmit(sk, skb, fl);

	__sk_dst_reset(sk);
	return err;
}

static u32 dst_cookie(const struct sock *sk, const struct inet_connection_sock_af_ops *base)
{
#if IS_ENABLED(CONFIG_IPV6)
	if (base->net_header_len == sizeof(struct ipv6hdr))
		return inet6_sk(sk)->dst_cookie;
#endif
	return 0;
}

/* Will the packet go straight to the interface that has the keys? */
static bool goes_to_nic(struct sock *sk, const struct inet_connection_sock_af_ops *base)
{
	struct dst_entry *dst;
	bool goes;

	rcu_read_lock();
	dst = __sk_dst_check(sk, dst_cookie(sk, base));
	goes = dst && dst_dev_rcu(dst) == rcu_dereference(tls_get_ctx(sk)->netdev);
	rcu_read_unlock();
	return goes;
}

/*
 * For a packet that goes elsewhere net/tls's software comes in at every interface that it
 * passes, of a VLAN, then below: twice is plaintext again.  So it is encrypted here, once,
 * and belongs to no socket then.
 */
static int nic_xmit(struct sock *sk, struct sk_buff *skb, struct flowi *fl)
{
	const struct inet_connection_sock_af_ops *ops = inet_csk(sk)->icsk_af_ops;
	const struct inet_connection_sock_af_ops *base =
		container_of(ops, struct af_table, nic)->base;

	if (skb->len > skb_transport_offset(skb) + tcp_hdrlen(skb) && !goes_to_nic(sk, base)) {
		skb = encrypt_skb(skb);
		if (!skb) /* no memory: TCP sends it again */
			return -ENOBUFS;
		skb->prev = NULL;
		skb_orphan(skb);
		tlsport_skb_encrypted(skb);
	}
	return base->queue_xmit(sk, skb, fl);
}

static struct af_table *table_of(const struct inet_connection_sock_af_ops *base)
{
	struct af_table *t;
	int i;

	mutex_lock(&tables_lock);
	for (i = 0; i < ntables && tables[i].base != base; i++)
		;
	t = i < ARRAY_SIZE(tables) ? &tables[i] : NULL;
	if (t && !encrypt_skb)
		encrypt_skb = symbol_get(tls_encrypt_skb);
	if (!encrypt_skb)
		t = NULL;
	if (t && i == ntables) {
		t->base = base;
		t->forgetful = *base;
		t->forgetful.queue_xmit = xmit_and_forget;
		t->nic = *base;
		t->nic.queue_xmit = nic_xmit;
		ntables++;
	}
	mutex_unlock(&tables_lock);
	return t;
}

/* lock_sock held: TCP's own again */
static void restore_af_ops(struct sock *sk)
{
	const struct inet_connection_sock_af_ops *ops = inet_csk(sk)->icsk_af_ops;

	if (ops->queue_xmit == xmit_and_forget)
		ops = container_of(ops, struct af_table, forgetful)->base;
	else if (ops->queue_xmit == nic_xmit)
		ops = container_of(ops, struct af_table, nic)->base;
	WRITE_ONCE(inet_csk(sk)->icsk_af_ops, ops);
}

/**
 * tlsport_offload_detach - the connection ends: TCP's operations again
 * @sk: attached
 *
 * What an interface was to encrypt must not be sent again without nic_xmit(): where the
 * peer has not acknowledged all of it the connection ends by RST.
 *
 * Context: process, conn->lock held.
 */
void tlsport_offload_detach(struct sock *sk)
{
	const struct tls_context *ctx = tls_get_ctx(sk);
	const struct tcp_sock *tp = tcp_sk(sk);

	/* what is acknowledged meanwhile has been: then it ends by a RST in vain */
	if (ctx && ctx->tx_conf == TLSPORT_CONF_HW && data_race(tp->snd_una != tp->write_seq))
		tcp_abort(sk, ECONNRESET);
	lock_sock(sk);
	restore_af_ops(sk);
	release_sock(sk);
}

/* No connection is left. */
void tlsport_offload_exit(void)
{
	if (encrypt_skb)
		symbol_put(tls_encrypt_skb);
}

/* Over a bond net/tls lets pass what a slave will encrypt, and encrypts twice when it is lost. */
static bool is_stacked(struct sock *sk)
{
	struct net_device *dev;
	bool stacked;

	rcu_read_lock();
	dev = upper_device(sk);
	stacked = dev && netdev_sk_get_lowest_dev(dev, sk) != dev;
	rcu_read_unlock();
	return stacked;
}

/**
 * tlsport_offload_unwanted - must the interface stay out of it?
 * @sk: with net/tls, without keys for this direction
 * @direction: TLS_TX or, when TX has its keys, TLS_RX
 * @policy: of the port
 *
 * RX alone: when the link goes down net/tls takes it for both, and software's context of
 * TX for one of an interface.  TLS 1.3 no interface gets.
 */
bool tlsport_offload_unwanted(struct sock *sk, int direction, enum tlsport_offload policy)
{
	const struct tls_context *ctx;

	if (policy == TLSPORT_OFFLOAD_OFF)
		return true;
	ctx = tls_get_ctx(sk);
	if (direction == TLS_TX)
		return is_stacked(sk);
	return ctx->tx_conf != TLSPORT_CONF_HW && ctx->crypto_send.info.version == TLS_1_2_VERSION;
}

/* RX: a socket without a route has no interface. */
static int keep_out_rx(struct sock *sk)
{
	struct af_table *t = table_of(inet_csk(sk)->icsk_af_ops);

	if (!t)
		return -EOPNOTSUPP;
	lock_sock(sk);
	WRITE_ONCE(inet_csk(sk)->icsk_af_ops, &t->forgetful);
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

	if (!IS_ENABLED(CONFIG_TLS_DEVICE))
		return err;
	lock_sock(sk);
	restore_af_ops(sk);
	if (!__sk_dst_get(sk)) /* else a connection at rest is shown without its interface */
		inet_csk(sk)->icsk_af_ops->rebuild_header(sk);
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
				    int direction, enum tlsport_offload policy)
{
	bool kept_out = tlsport_offload_unwanted(sk, direction, policy);
	enum tlsport_sw why = TLSPORT_SW_NONE;
	const struct net_device *dev;

	if (policy == TLSPORT_OFFLOAD_OFF)
		return TLSPORT_SW_OFF_BY_POLICY;
	if (!IS_ENABLED(CONFIG_TLS_DEVICE))
		return TLSPORT_SW_NO_KERNEL_SUPPORT;
	if (direction == TLS_TX && kept_out)
		return TLSPORT_SW_BOND;
	rcu_read_lock();
	dev = route_device(sk);
	if (!dev)
		why = TLSPORT_SW_NO_ROUTE;
	else if (!(dev->features & feature(direction)))
		why = TLSPORT_SW_NO_FEATURE;
	else if (kept_out)
		why = TLSPORT_SW_TX_SW;
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

/* What goes elsewhere is encrypted once, see nic_xmit(). */
static int watch_xmit(struct sock *sk)
{
	struct af_table *t = table_of(inet_csk(sk)->icsk_af_ops);

	if (!t)
		return -EOPNOTSUPP;
	lock_sock(sk);
	WRITE_ONCE(inet_csk(sk)->icsk_af_ops, &t->nic);
	release_sock(sk);
	return 0;
}

/**
 * tlsport_offload_outcome - net/tls has the keys of a direction: who does the records?
 * @sk: with the route that it had then: what comes next may take it away
 * @keys: of either direction
 * @direction: TLS_TX or TLS_RX
 * @policy: by which they were given
 *
 * Context: the worker's sendmsg(), conn->lock held.
 * Return: TLSPORT_SW_NONE: a network interface; else why not.
 */
enum tlsport_sw tlsport_offload_outcome(struct sock *sk, const struct tls_crypto_info *keys,
					int direction, enum tlsport_offload policy)
{
	const struct tls_context *ctx = tls_get_ctx(sk);
	int conf = direction == TLS_TX ? ctx->tx_conf : ctx->rx_conf;

	return conf == TLSPORT_CONF_HW ? TLSPORT_SW_NONE :
					 why_software(sk, keys, direction, policy);
}

/**
 * tlsport_offload_attached - both directions have their keys
 * @conn: tx_sw and rx_sw are set, and counted here
 *
 * Context: the worker's sendmsg(), conn->lock held.
 * Return: 0 or a negative errno: the connection must end.
 */
int tlsport_offload_attached(struct tlsport_conn *conn)
{
	int err = conn->tx_sw == TLSPORT_SW_NONE ? watch_xmit(conn->sk) : 0;

	if (err)
		return err;
	this_cpu_inc(conn->port->stats->tx_sw[conn->tx_sw]);
	this_cpu_inc(conn->port->stats->rx_sw[conn->rx_sw]);
	return 0;
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
