// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The link type "nicsim": a pair is born and ends as one.
 *
 * RTNL guards the pair; readers of ->peer take RCU.
 */
#include <linux/module.h>

#include "nicsim.h"

static struct rtnl_link_ops nicsim_link_ops;

static void join_pair(struct net_device *a, struct net_device *b)
{
	struct nicsim *nic_a = netdev_priv(a), *nic_b = netdev_priv(b);

	rcu_assign_pointer(nic_a->peer, b);
	rcu_assign_pointer(nic_b->peer, a);
	netif_carrier_off(a);
	netif_carrier_off(b);
}

/* The peer is born beside it, with a name of its own, and may be moved and renamed then. */
static int nicsim_newlink(NICSIM_NEWLINK_PARAMS)
{
	struct net_device *peer;
	int err;

	peer = alloc_netdev(sizeof(struct nicsim), "nicsim%d", NET_NAME_ENUM, nicsim_netdev_setup);
	if (!peer)
		return -ENOMEM;
	dev_net_set(peer, NICSIM_NEWLINK_NET);
	peer->rtnl_link_ops = &nicsim_link_ops;
	eth_hw_addr_random(peer);
	if (!NICSIM_NEWLINK_TB[IFLA_ADDRESS])
		eth_hw_addr_random(dev);

	err = register_netdevice(peer);
	if (err) {
		NL_SET_ERR_MSG_MOD(extack, "the peer cannot be registered");
		free_netdev(peer);
		return err;
	}
	err = register_netdevice(dev);
	if (err) {
		unregister_netdevice(peer);
		return err;
	}
	join_pair(dev, peer);
	return 0;
}

/* They are freed a grace period later, when no packet is on its way from one to the other. */
static void nicsim_dellink(struct net_device *dev, struct list_head *head)
{
	struct nicsim *nic = netdev_priv(dev);
	struct net_device *peer = rtnl_dereference(nic->peer);

	RCU_INIT_POINTER(nic->peer, NULL);
	unregister_netdevice_queue(dev, head);
	if (!peer)
		return;
	nic = netdev_priv(peer);
	RCU_INIT_POINTER(nic->peer, NULL);
	unregister_netdevice_queue(peer, head);
}

static struct net *nicsim_get_link_net(const struct net_device *dev)
{
	const struct nicsim *nic = netdev_priv(dev);
	struct net_device *peer = rtnl_dereference(nic->peer);

	return dev_net(peer ?: dev);
}

static struct rtnl_link_ops nicsim_link_ops = {
	.kind = "nicsim",
	.priv_size = sizeof(struct nicsim),
	.setup = nicsim_netdev_setup,
	.newlink = nicsim_newlink,
	.dellink = nicsim_dellink,
	.get_link_net = nicsim_get_link_net,
};

static int __init nicsim_init(void)
{
	nicsim_gcm_init();
	return rtnl_link_register(&nicsim_link_ops);
}

static void __exit nicsim_exit(void)
{
	rtnl_link_unregister(&nicsim_link_ops);
}

module_init(nicsim_init);
module_exit(nicsim_exit);
MODULE_ALIAS_RTNL_LINK("nicsim");
MODULE_DESCRIPTION("Model of a NIC with inline TLS");
MODULE_LICENSE("GPL");
