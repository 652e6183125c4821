// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The flows of a device: what net/tls adds and deletes.
 *
 * A flow is born in tls_dev_add and ends in tls_dev_del.  Receiving ones are found by
 * addresses and ports under RCU, sending ones by their socket.  flows_lock guards lists
 * and table, the lock of a flow its state; the second nests in the first.
 */
#include <linux/jhash.h>
#include <net/inet_sock.h>
#include <net/ipv6.h>

#include "nicsim.h"

static struct hlist_head *bucket(struct nicsim *nic, const struct nicsim_tuple *tuple)
{
	u32 hash = jhash(tuple, sizeof(*tuple), 0);

	return &nic->flow_table[hash & (ARRAY_SIZE(nic->flow_table) - 1)];
}

/**
 * nicsim_flow_find() - the receiving flow of a packet
 * @nic: who received it
 * @tuple: as this end sees it
 *
 * Context: under RCU, which is what keeps the flow.
 * Return: the flow or NULL.
 */
struct nicsim_flow *nicsim_flow_find(struct nicsim *nic, const struct nicsim_tuple *tuple)
{
	struct nicsim_flow *flow;

	hlist_for_each_entry_rcu(flow, bucket(nic, tuple), node) {
		if (!memcmp(&flow->tuple, tuple, sizeof(*tuple)))
			return flow;
	}
	return NULL;
}

static void set_tuple(struct nicsim_tuple *tuple, const struct sock *sk)
{
	const struct inet_sock *inet = inet_sk(sk);

	tuple->local_port = inet->inet_sport;
	tuple->remote_port = inet->inet_dport;
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6 && !ipv6_addr_v4mapped(&sk->sk_v6_daddr)) {
		tuple->family = AF_INET6;
		tuple->local6 = sk->sk_v6_rcv_saddr;
		tuple->remote6 = sk->sk_v6_daddr;
		return;
	}
#endif
	tuple->family = AF_INET;
	tuple->local4 = inet->inet_rcv_saddr;
	tuple->remote4 = inet->inet_daddr;
}

static int set_key(struct nicsim_flow *flow, const struct tls_crypto_info *info, u64 *number)
{
	const struct tls12_crypto_info_aes_gcm_128 *aes128 = (const void *)info;
	const struct tls12_crypto_info_aes_gcm_256 *aes256 = (const void *)info;

	if (info->version != TLS_1_2_VERSION)
		return -EOPNOTSUPP;
	switch (info->cipher_type) {
	case TLS_CIPHER_AES_GCM_128:
		*number = get_unaligned_be64(aes128->rec_seq);
		return nicsim_gcm_set_key(&flow->key, aes128->key, sizeof(aes128->key),
					  aes128->salt);
	case TLS_CIPHER_AES_GCM_256:
		*number = get_unaligned_be64(aes256->rec_seq);
		return nicsim_gcm_set_key(&flow->key, aes256->key, sizeof(aes256->key),
					  aes256->salt);
	}
	return -EOPNOTSUPP;
}

/* net/tls keeps room for one pointer of ours. */
static void set_driver_flow(struct tls_context *ctx, enum tls_offload_ctx_dir direction,
			    struct nicsim_flow *flow)
{
	*(struct nicsim_flow **)__tls_driver_ctx(ctx, direction) = flow;
}

static struct nicsim_flow *driver_flow(struct tls_context *ctx, enum tls_offload_ctx_dir direction)
{
	return *(struct nicsim_flow **)__tls_driver_ctx(ctx, direction);
}

/* How the device and net/tls find together again, for the life of the flow. */
static void set_resync(struct nicsim_flow *flow, struct sock *sk)
{
	flow->resync = atomic_read(&flow->nic->knobs.rx_resync);
	tls_offload_rx_resync_set_type(sk, (enum tls_offload_sync_type)flow->resync);
	if (flow->resync == NICSIM_RX_ASYNC)
		tls_offload_ctx_rx(tls_get_ctx(sk))->resync_async = &flow->async;
}

static void link_flow(struct nicsim_flow *flow)
{
	struct nicsim *nic = flow->nic;

	spin_lock_bh(&nic->flows_lock);
	list_add(&flow->list, &nic->flow_list);
	if (flow->direction == TLS_OFFLOAD_CTX_DIR_RX)
		hlist_add_head_rcu(&flow->node, bucket(nic, &flow->tuple));
	spin_unlock_bh(&nic->flows_lock);
}

static int nicsim_tls_add(struct net_device *dev, struct sock *sk,
			  enum tls_offload_ctx_dir direction, struct tls_crypto_info *info,
			  u32 start)
{
	struct nicsim *nic = netdev_priv(dev);
	bool rx = direction == TLS_OFFLOAD_CTX_DIR_RX;
	struct nicsim_flow *flow;
	u64 number;
	int err;

	if (nicsim_strikes(&nic->knobs.add_fails_next))
		return -EIO;
	if (atomic_inc_return(&nic->flows) > atomic_read(&nic->knobs.max_flows)) {
		err = -ENOSPC;
		goto err_count;
	}
	flow = kzalloc(sizeof(*flow), GFP_KERNEL);
	if (!flow) {
		err = -ENOMEM;
		goto err_count;
	}
	err = set_key(flow, info, &number);
	if (err)
		goto err_flow;
	flow->nic = nic;
	flow->direction = direction;
	flow->start = start;
	flow->expected = start;
	spin_lock_init(&flow->lock);
	nicsim_record_start(&flow->record, number, true);
	if (rx) {
		flow->sk = sk;
		set_tuple(&flow->tuple, sk);
		set_resync(flow, sk);
	}
	set_driver_flow(tls_get_ctx(sk), direction, flow);
	link_flow(flow);
	nicsim_count(nic, rx ? NICSIM_RX_TLS_CTX : NICSIM_TX_TLS_CTX);
	return 0;

err_flow:
	kfree_sensitive(flow);
err_count:
	atomic_dec(&nic->flows);
	return err;
}

/*
 * No packet of a sending flow is left: its socket is gone or goes by software. Of a
 * receiving one the poll function may have hold until a grace period is over; until
 * then its socket is there, for net/tls is still in its close or holds that up.
 */
static void nicsim_tls_del(struct net_device *dev, struct tls_context *ctx,
			   enum tls_offload_ctx_dir direction)
{
	struct nicsim_flow *flow = driver_flow(ctx, direction);
	struct nicsim *nic = netdev_priv(dev);
	bool rx = direction == TLS_OFFLOAD_CTX_DIR_RX;

	spin_lock_bh(&nic->flows_lock);
	list_del(&flow->list);
	if (rx)
		hlist_del_rcu(&flow->node);
	spin_unlock_bh(&nic->flows_lock);
	if (rx)
		synchronize_net();
	set_driver_flow(ctx, direction, NULL);
	nicsim_gcm_clear_key(&flow->key);
	kfree_sensitive(flow);
	atomic_dec(&nic->flows);
	nicsim_count(nic, rx ? NICSIM_RX_TLS_DEL : NICSIM_TX_TLS_DEL);
}

static int nicsim_tls_resync(struct net_device *dev, struct sock *sk, u32 seq, u8 *number,
			     enum tls_offload_ctx_dir direction)
{
	struct nicsim_flow *flow = driver_flow(tls_get_ctx(sk), direction);
	struct nicsim *nic = netdev_priv(dev);

	if (nicsim_strikes(&nic->knobs.resync_lost_next)) {
		if (direction == TLS_OFFLOAD_CTX_DIR_RX)
			nicsim_count(nic, NICSIM_RX_TLS_RESYNC_RES_SKIP);
		return -EIO;
	}
	if (direction == TLS_OFFLOAD_CTX_DIR_TX)
		return nicsim_tx_resync(flow, seq, get_unaligned_be64(number));
	return nicsim_rx_resync(flow, seq, get_unaligned_be64(number));
}

const struct tlsdev_ops nicsim_tlsdev_ops = {
	.tls_dev_add = nicsim_tls_add,
	.tls_dev_del = nicsim_tls_del,
	.tls_dev_resync = nicsim_tls_resync,
};

/**
 * nicsim_flow_link_down() - the fault that a device loses state with its link
 * @nic: whose link went; what it loses is its knob's affair
 */
void nicsim_flow_link_down(struct nicsim *nic)
{
	int forget = atomic_read(&nic->knobs.forget_at_link_down);
	struct nicsim_flow *flow;

	if (forget == NICSIM_KEEP)
		return;
	spin_lock_bh(&nic->flows_lock);
	list_for_each_entry(flow, &nic->flow_list, list) {
		spin_lock(&flow->lock);
		if (forget == NICSIM_FORGET_FLOW)
			flow->state = NICSIM_DEAD;
		else if (flow->direction == TLS_OFFLOAD_CTX_DIR_RX)
			nicsim_rx_lose(flow);
		else
			flow->state = NICSIM_LOST;
		spin_unlock(&flow->lock);
	}
	spin_unlock_bh(&nic->flows_lock);
}
