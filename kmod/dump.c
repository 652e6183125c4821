// SPDX-License-Identifier: GPL-2.0-only
/* Dumps of the registry, the listening sockets and the connections. */
#include <linux/rhashtable.h>
#include <net/inet_hashtables.h>
#include "tlsport.h"

static int put_u64(struct sk_buff *skb, int attr, u64 value, int pad)
{
	return nla_put_u64_64bit(skb, attr, value, pad);
}

static int put_sw(struct sk_buff *skb, u32 why, u64 tx, u64 rx)
{
	struct nlattr *nest;

	if (!tx && !rx)
		return 0;
	nest = nla_nest_start(skb, TLSPORT_A_STATS_SW);
	if (!nest || nla_put_u32(skb, TLSPORT_A_SW_REASON, why) ||
	    put_u64(skb, TLSPORT_A_SW_TX, tx, TLSPORT_A_SW_PAD) ||
	    put_u64(skb, TLSPORT_A_SW_RX, rx, TLSPORT_A_SW_PAD))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int put_stats(struct sk_buff *skb, const struct tlsport_port *port)
{
	struct nlattr *nest = nla_nest_start(skb, TLSPORT_A_PORT_STATS), *ended;
	struct tlsport_stats sum;
	int i;

	if (!nest)
		return -EMSGSIZE;
	tlsport_stats_sum(port->stats, &sum);
	for (i = TLSPORT_A_STATS_STARTED; i <= TLSPORT_A_STATS_SENDFILE_COPIED; i++)
		if (put_u64(skb, i, sum.count[i], TLSPORT_A_STATS_PAD))
			return -EMSGSIZE;
	for (i = 0; i < __TLSPORT_REASON_COUNT; i++) {
		if (!sum.ended[i])
			continue;
		ended = nla_nest_start(skb, TLSPORT_A_STATS_ENDED);
		if (!ended || nla_put_u32(skb, TLSPORT_A_ENDED_REASON, i) ||
		    put_u64(skb, TLSPORT_A_ENDED_COUNT, sum.ended[i], TLSPORT_A_ENDED_PAD))
			return -EMSGSIZE;
		nla_nest_end(skb, ended);
	}
	for (i = 0; i < __TLSPORT_SW_COUNT; i++)
		if (put_sw(skb, i, sum.tx_sw[i], sum.rx_sw[i]))
			return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static enum tlsport_listener_state listener_state(struct sock *sk)
{
	const struct tlsport_listener *l = tlsport_listener_find(sk);

	if (!l)
		return tlsport_listener_hookable(sk) ? TLSPORT_LISTENER_SHUT :
						       TLSPORT_LISTENER_FOREIGN;
	switch (READ_ONCE(l->mode)) {
	case TLSPORT_MODE_LISTEN_TLS:
		return TLSPORT_LISTENER_TLS;
	case TLSPORT_MODE_LISTEN_PLAIN:
		return TLSPORT_LISTENER_PLAIN;
	default:
		return TLSPORT_LISTENER_SHUT;
	}
}

/* Listening sockets of the port, served and shut. */
static void count_listeners(struct net *net, u16 number, u32 *served, u32 *shut)
{
	struct inet_hashinfo *h = net->ipv4.tcp_death_row.hashinfo;
	struct hlist_nulls_node *node;
	struct sock *sk;
	int i;

	for (i = 0; i <= h->lhash2_mask; i++) {
		struct inet_listen_hashbucket *b = &h->lhash2[i];

		if (hlist_nulls_empty(&b->nulls_head))
			continue;
		spin_lock_bh(&b->lock);
		sk_nulls_for_each(sk, node, &b->nulls_head) {
			if (!net_eq(sock_net(sk), net) || inet_sk(sk)->inet_num != number)
				continue;
			if (listener_state(sk) == TLSPORT_LISTENER_TLS)
				(*served)++;
			else
				(*shut)++;
		}
		spin_unlock_bh(&b->lock);
	}
}

/* Context: RCU or a reference on the port. */
static int put_port(struct sk_buff *skb, struct net *net, const struct tlsport_port *port,
		    u32 portid, u32 seq, int flags)
{
	u32 served = 0, shut = 0;
	void *hdr;

	hdr = genlmsg_put(skb, portid, seq, &tlsport_genl_family, flags, TLSPORT_CMD_PORT_GET);
	if (!hdr)
		return -EMSGSIZE;
	count_listeners(net, port->number, &served, &shut);
	if (nla_put_u16(skb, TLSPORT_A_PORT_NUMBER, port->number) ||
	    nla_put_u16(skb, TLSPORT_A_PORT_MIN_VERSION, READ_ONCE(port->min_version)) ||
	    nla_put_u16(skb, TLSPORT_A_PORT_MAX_VERSION, READ_ONCE(port->max_version)) ||
	    nla_put_u8(skb, TLSPORT_A_PORT_TRUNCATION, READ_ONCE(port->truncation)) ||
	    nla_put_u32(skb, TLSPORT_A_PORT_HANDSHAKE_TIMEOUT,
			READ_ONCE(port->handshake_timeout)) ||
	    nla_put_u32(skb, TLSPORT_A_PORT_MAX_HANDSHAKES, READ_ONCE(port->max_handshakes)) ||
	    nla_put_u32(skb, TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE,
			READ_ONCE(port->max_per_source)) ||
	    nla_put_u32(skb, TLSPORT_A_PORT_KEY_LIMIT, READ_ONCE(port->key_limit)) ||
	    nla_put_u8(skb, TLSPORT_A_PORT_OFFLOAD, READ_ONCE(port->offload)) ||
	    nla_put_u8(skb, TLSPORT_A_PORT_ZEROCOPY, READ_ONCE(port->zerocopy)) ||
	    nla_put_u32(skb, TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE,
			READ_ONCE(port->max_rate_per_source)) ||
	    nla_put_u32(skb, TLSPORT_A_PORT_MAX_HANDSHAKE_RATE, READ_ONCE(port->max_rate)) ||
	    nla_put_u32(skb, TLSPORT_A_PORT_LISTENERS, served) ||
	    nla_put_u32(skb, TLSPORT_A_PORT_LISTENERS_SHUT, shut) ||
	    nla_put_u32(skb, TLSPORT_A_PORT_HANDSHAKES, READ_ONCE(port->handshakes)) ||
	    nla_put_u32(skb, TLSPORT_A_PORT_OPEN, atomic_read(&port->open)) ||
	    put_stats(skb, port)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

int tlsport_port_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	struct tlsport_port *port;
	struct sk_buff *reply;
	int err;

	if (!info->attrs[TLSPORT_A_PORT_NUMBER]) {
		NL_SET_ERR_MSG(info->extack, "the port number is missing");
		return -EINVAL;
	}
	port = tlsport_port_get(net, nla_get_u16(info->attrs[TLSPORT_A_PORT_NUMBER]));
	if (!port) {
		NL_SET_ERR_MSG(info->extack, "the port is not enabled");
		return -ENOENT;
	}
	reply = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	err = reply ? put_port(reply, net, port, info->snd_portid, info->snd_seq, 0) : -ENOMEM;
	tlsport_port_put(port);
	if (!err)
		return genlmsg_reply(reply, info);
	nlmsg_free(reply);
	return err;
}

int tlsport_port_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct net *net = sock_net(skb->sk);
	struct tlsport_net *tn = tlsport_pernet(net);
	struct tlsport_port *port;
	unsigned long number;

	mutex_lock(&tn->lock);
	xa_for_each_start(&tn->ports, number, port, cb->args[0]) {
		if (put_port(skb, net, port, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
			     NLM_F_MULTI))
			break;
		cb->args[0] = number + 1;
	}
	mutex_unlock(&tn->lock);
	return skb->len;
}

/* Context: the bucket's lock and RCU. */
static int put_listener(struct sk_buff *skb, struct sock *sk, struct netlink_callback *cb)
{
	const struct tlsport_listener *l = tlsport_listener_find(sk);
	bool v6 = sk->sk_family == AF_INET6;
	const void *addr = &sk->sk_rcv_saddr;
	void *hdr;

#if IS_ENABLED(CONFIG_IPV6)
	if (v6)
		addr = &sk->sk_v6_rcv_saddr;
#endif
	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &tlsport_genl_family,
			  NLM_F_MULTI, TLSPORT_CMD_LISTENER_GET);
	if (!hdr)
		return -EMSGSIZE;
	if (nla_put_u16(skb, TLSPORT_A_LISTENER_PORT, inet_sk(sk)->inet_num) ||
	    nla_put_u32(skb, TLSPORT_A_LISTENER_INODE, sock_i_ino(sk)) ||
	    nla_put_u32(skb, TLSPORT_A_LISTENER_UID,
			from_kuid_munged(sk_user_ns(NETLINK_CB(cb->skb).sk), tlsport_sk_uid(sk))) ||
	    nla_put_u8(skb, TLSPORT_A_LISTENER_STATE, listener_state(sk)) ||
	    nla_put(skb, TLSPORT_A_LISTENER_ADDR, v6 ? 16 : 4, addr) ||
	    nla_put_u32(skb, TLSPORT_A_LISTENER_BACKLOG, READ_ONCE(sk->sk_max_ack_backlog)) ||
	    (l && (nla_put_u32(skb, TLSPORT_A_LISTENER_HANDSHAKES, READ_ONCE(l->nhandshakes)) ||
		   nla_put_u32(skb, TLSPORT_A_LISTENER_READY, READ_ONCE(l->nready))))) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

/* args[0]: bucket, args[1]: how many of it are done */
int tlsport_listener_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct net *net = sock_net(skb->sk);
	struct inet_hashinfo *h = net->ipv4.tcp_death_row.hashinfo;
	struct hlist_nulls_node *node;
	struct sock *sk;
	long n;
	int err = 0;

	for (; !err && cb->args[0] <= h->lhash2_mask; cb->args[0]++, cb->args[1] = 0) {
		struct inet_listen_hashbucket *b = &h->lhash2[cb->args[0]];

		n = 0;
		rcu_read_lock();
		spin_lock_bh(&b->lock);
		sk_nulls_for_each(sk, node, &b->nulls_head) {
			if (!net_eq(sock_net(sk), net) || n++ < cb->args[1])
				continue;
			if (!tlsport_port_on(net, inet_sk(sk)->inet_num) &&
			    !tlsport_listener_find(sk))
				continue;
			err = put_listener(skb, sk, cb);
			if (err) {
				cb->args[1] = n - 1;
				break;
			}
		}
		spin_unlock_bh(&b->lock);
		rcu_read_unlock();
		if (err)
			break;
	}
	return skb->len;
}

static u8 mode(enum tlsport_sw why)
{
	return why == TLSPORT_SW_NONE ? TLSPORT_MODE_NIC : TLSPORT_MODE_SW;
}

/* conn->lock held. */
static int put_crypt(struct sk_buff *skb, struct tlsport_conn *conn)
{
	bool attached = conn->state == TLSPORT_CONN_READY || conn->state == TLSPORT_CONN_OPEN;
	struct tlsport_offload_now now = { .tx = conn->tx_sw, .rx = conn->rx_sw };
	const char *driver;

	if (!conn->version)
		return nla_put_u8(skb, TLSPORT_A_CONN_TX_MODE, TLSPORT_MODE_NONE) ?:
			       nla_put_u8(skb, TLSPORT_A_CONN_RX_MODE, TLSPORT_MODE_NONE);
	driver = attached ? tlsport_attach_driver(conn->sk) : NULL;
	if (attached)
		tlsport_offload_look(conn, &now);
	if (nla_put_u8(skb, TLSPORT_A_CONN_TX_MODE, mode(now.tx)) ||
	    nla_put_u8(skb, TLSPORT_A_CONN_RX_MODE, mode(now.rx)) ||
	    (driver && nla_put_string(skb, TLSPORT_A_CONN_DRIVER, driver)) ||
	    (now.tx && nla_put_u8(skb, TLSPORT_A_CONN_TX_SW, now.tx)) ||
	    (now.rx && nla_put_u8(skb, TLSPORT_A_CONN_RX_SW, now.rx)) ||
	    (now.device[0] && nla_put_string(skb, TLSPORT_A_CONN_DEVICE, now.device)))
		return -EMSGSIZE;
	return 0;
}

/* conn->lock held. */
static int put_conn(struct sk_buff *skb, struct tlsport_conn *conn, struct netlink_callback *cb)
{
	int alen = conn->family == AF_INET6 ? 16 : 4;
	void *hdr;

	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &tlsport_genl_family,
			  NLM_F_MULTI, TLSPORT_CMD_CONN_GET);
	if (!hdr)
		return -EMSGSIZE;
	if (put_u64(skb, TLSPORT_A_CONN_ID, conn->id, TLSPORT_A_CONN_PAD) ||
	    nla_put_u16(skb, TLSPORT_A_CONN_PORT, conn->port->number) ||
	    nla_put_u8(skb, TLSPORT_A_CONN_STATE, conn->state) ||
	    nla_put(skb, TLSPORT_A_CONN_LOCAL_ADDR, alen, &conn->local) ||
	    nla_put(skb, TLSPORT_A_CONN_PEER_ADDR, alen, &conn->peer) ||
	    nla_put_u16(skb, TLSPORT_A_CONN_PEER_PORT, conn->peer_port) ||
	    put_u64(skb, TLSPORT_A_CONN_AGE, ktime_ms_delta(ktime_get(), conn->started),
		    TLSPORT_A_CONN_PAD) ||
	    (conn->version && (nla_put_u16(skb, TLSPORT_A_CONN_VERSION, conn->version) ||
			       nla_put_u16(skb, TLSPORT_A_CONN_SUITE, conn->suite))) ||
	    (conn->resumed && nla_put_flag(skb, TLSPORT_A_CONN_RESUMED)) ||
	    (conn->server_name &&
	     nla_put_string(skb, TLSPORT_A_CONN_SERVER_NAME, conn->server_name)) ||
	    put_crypt(skb, conn)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

/* Where a dump of connections is: owned by its netlink_callback. */
struct conn_dump {
	struct rhashtable_iter iter;
	struct tlsport_conn *next; /* did not fit the last message; a reference */
	u16 port;		   /* 0: all */
};

int tlsport_conn_dump_start(struct netlink_callback *cb)
{
	const struct genl_dumpit_info *info = genl_dumpit_info(cb);
	struct nlattr *port = TLSPORT_DUMP_ATTRS(info)[TLSPORT_A_CONN_PORT];
	struct conn_dump *dump = kzalloc(sizeof(*dump), GFP_KERNEL);

	if (!dump)
		return -ENOMEM;
	if (port)
		dump->port = nla_get_u16(port);
	rhashtable_walk_enter(&tlsport_conns, &dump->iter);
	cb->args[0] = (long)dump;
	return 0;
}

int tlsport_conn_dump_done(struct netlink_callback *cb)
{
	struct conn_dump *dump = (struct conn_dump *)cb->args[0];

	if (dump->next)
		tlsport_conn_put(dump->next);
	rhashtable_walk_exit(&dump->iter);
	kfree(dump);
	return 0;
}

static struct tlsport_conn *next_conn(struct conn_dump *dump, const struct net *net)
{
	struct tlsport_conn *conn = dump->next;

	dump->next = NULL;
	if (conn)
		return conn;
	rhashtable_walk_start(&dump->iter);
	do {
		conn = rhashtable_walk_next(&dump->iter);
	} while (conn && (IS_ERR(conn) || conn->net != net ||
			  (dump->port && conn->port->number != dump->port) ||
			  !refcount_inc_not_zero(&conn->ref)));
	rhashtable_walk_stop(&dump->iter);
	return conn;
}

int tlsport_conn_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct conn_dump *dump = (struct conn_dump *)cb->args[0];
	struct net *net = sock_net(skb->sk);
	struct tlsport_conn *conn;
	int err = 0;

	while (!err && (conn = next_conn(dump, net))) {
		mutex_lock(&conn->lock);
		if (conn->state != TLSPORT_CONN_DEAD)
			err = put_conn(skb, conn, cb);
		mutex_unlock(&conn->lock);
		if (err)
			dump->next = conn;
		else
			tlsport_conn_put(conn);
	}
	return skb->len;
}
