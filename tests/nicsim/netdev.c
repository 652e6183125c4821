// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The interface: up, down, features, and how a packet leaves.
 *
 * Carrier is on while both of a pair are up; RTNL guards that.
 */
#include <linux/ethtool.h>
#include <linux/if_vlan.h>

#include "nicsim.h"

#define NICSIM_FEATURES \
	(NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_RXCSUM | NETIF_F_TSO | NETIF_F_TSO6 | \
	 NETIF_F_TSO_ECN | NETIF_F_TSO_MANGLEID)
#define NICSIM_TLS_FEATURES (NETIF_F_HW_TLS_TX | NETIF_F_HW_TLS_RX)

static int nicsim_dev_init(struct net_device *dev)
{
	struct nicsim *nic = netdev_priv(dev);
	int i;

	nic->dev = dev;
	nic->scratch = kmalloc(NICSIM_MAX_FRAME, GFP_KERNEL);
	if (!nic->scratch)
		return -ENOMEM;
	nicsim_wire_init(nic);
	nicsim_knobs_init(&nic->knobs);
	spin_lock_init(&nic->flows_lock);
	INIT_LIST_HEAD(&nic->flow_list);
	for (i = 0; i < ARRAY_SIZE(nic->flow_table); i++)
		INIT_HLIST_HEAD(&nic->flow_table[i]);
	netif_napi_add(dev, &nic->napi, nicsim_rx_poll);
	return 0;
}

static void nicsim_dev_uninit(struct net_device *dev)
{
	struct nicsim *nic = netdev_priv(dev);

	netif_napi_del(&nic->napi);
	kfree(nic->scratch);
}

static int nicsim_open(struct net_device *dev)
{
	struct nicsim *nic = netdev_priv(dev);
	struct net_device *peer = rtnl_dereference(nic->peer);

	if (!peer)
		return -ENOTCONN;
	napi_enable(&nic->napi);
	netif_start_queue(dev);
	if (peer->flags & IFF_UP) {
		netif_carrier_on(dev);
		netif_carrier_on(peer);
	}
	return 0;
}

/* net/tls takes the flows of this end away afterwards; the other end sees its link go. */
static int nicsim_stop(struct net_device *dev)
{
	struct nicsim *nic = netdev_priv(dev);
	struct net_device *peer = rtnl_dereference(nic->peer);

	netif_stop_queue(dev);
	netif_carrier_off(dev);
	if (peer) {
		netif_carrier_off(peer);
		nicsim_flow_link_down(netdev_priv(peer));
	}
	synchronize_net(); /* the peer sends nothing more here */
	napi_disable(&nic->napi);
	nicsim_wire_purge(nic);
	if (peer && netif_running(peer))
		netif_wake_queue(peer); /* it may have waited for room */
	return 0;
}

/* A packet of the size of the wire; the original still belongs to its socket. */
static void send_one(struct nicsim *nic, struct net_device *peer, struct nicsim_flow *flow,
		     struct sk_buff *skb)
{
	struct sk_buff *copy = nicsim_wire_copy(peer, skb);

	bool ready = copy;

	/* without a copy the flow learns that it is out of step */
	if (flow)
		ready = nicsim_tx_encrypt(flow, copy, skb_tcp_all_headers(skb));
	if (!ready) {
		nicsim_count(nic, NICSIM_TX_DROPPED);
		kfree_skb(copy);
		return;
	}
	nicsim_wire_checksum(copy, skb);
	nicsim_count(nic, NICSIM_TX_PACKETS);
	nicsim_count_more(nic, NICSIM_TX_BYTES, copy->len);
	nicsim_wire_send(nic, peer, copy);
}

static void send_all(struct nicsim *nic, struct net_device *peer, struct nicsim_flow *flow,
		     struct sk_buff *skb)
{
	struct sk_buff *segments, *segment, *next;

	if (!skb_is_gso(skb)) {
		send_one(nic, peer, flow, skb);
		return;
	}
	/* without SG each segment is in one piece */
	segments = skb_gso_segment(skb, NETIF_F_HW_CSUM);
	if (IS_ERR_OR_NULL(segments)) {
		nicsim_count(nic, NICSIM_TX_DROPPED);
		return;
	}
	skb_list_walk_safe(segments, segment, next) {
		skb_mark_not_on_list(segment);
		send_one(nic, peer, flow, segment);
		consume_skb(segment);
	}
}

static netdev_tx_t nicsim_start_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct nicsim *nic = netdev_priv(dev);
	struct nicsim_flow *flow;
	struct net_device *peer;

	rcu_read_lock();
	peer = rcu_dereference(nic->peer);
	if (!peer || !netif_running(peer) || !netif_carrier_ok(dev))
		goto drop;
	skb_tx_timestamp(skb);
	flow = nicsim_tx_flow(dev, skb);
	if (flow) {
		skb = nicsim_tx_begin(&flow, skb);
		if (!skb)
			goto out;
	}
	send_all(nic, peer, flow, skb);
	consume_skb(skb);
	goto out;

drop:
	nicsim_count(nic, NICSIM_TX_DROPPED);
	kfree_skb(skb);
out:
	rcu_read_unlock();
	return NETDEV_TX_OK;
}

static u64 stat(const struct nicsim *nic, enum nicsim_stat which)
{
	return atomic64_read(&nic->stats[which]);
}

static void nicsim_get_stats64(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	const struct nicsim *nic = netdev_priv(dev);

	stats->rx_packets = stat(nic, NICSIM_RX_PACKETS);
	stats->rx_bytes = stat(nic, NICSIM_RX_BYTES);
	stats->rx_dropped = stat(nic, NICSIM_RX_DROPPED);
	stats->tx_packets = stat(nic, NICSIM_TX_PACKETS);
	stats->tx_bytes = stat(nic, NICSIM_TX_BYTES);
	stats->tx_dropped = stat(nic, NICSIM_TX_DROPPED);
}

static int nicsim_get_iflink(const struct net_device *dev)
{
	const struct nicsim *nic = netdev_priv(dev);
	struct net_device *peer;
	int iflink;

	rcu_read_lock();
	peer = rcu_dereference(nic->peer);
	iflink = peer ? READ_ONCE(peer->ifindex) : 0;
	rcu_read_unlock();
	return iflink;
}

const struct net_device_ops nicsim_netdev_ops = {
	.ndo_init = nicsim_dev_init,
	.ndo_uninit = nicsim_dev_uninit,
	.ndo_open = nicsim_open,
	.ndo_stop = nicsim_stop,
	.ndo_start_xmit = nicsim_start_xmit,
	.ndo_get_stats64 = nicsim_get_stats64,
	.ndo_get_iflink = nicsim_get_iflink,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_features_check = passthru_features_check,
};

/**
 * nicsim_netdev_setup() - what an interface is before it is registered
 * @dev: zeroed, its private part a struct nicsim
 */
void nicsim_netdev_setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &nicsim_netdev_ops;
	dev->ethtool_ops = &nicsim_ethtool_ops;
	dev->tlsdev_ops = &nicsim_tlsdev_ops;
	dev->sysfs_groups[0] = &nicsim_knobs_group;
	dev->needs_free_netdev = true;
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE;
	dev->max_mtu = NICSIM_MAX_MTU;
	dev->hw_features = NICSIM_FEATURES | NICSIM_TLS_FEATURES;
	dev->features = dev->hw_features;
	dev->vlan_features = NICSIM_FEATURES;
}
