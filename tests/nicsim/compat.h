/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The only file of nicsim that knows kernel versions: old interfaces in the shape
 * of the newest one.  Tested: Linux 6.1, 6.12 and 7.3.
 */
#ifndef _NICSIM_COMPAT_H
#define _NICSIM_COMPAT_H

#include <linux/hrtimer.h>
#include <linux/netdevice.h>
#include <linux/version.h>
#include <net/rtnetlink.h>
#include <net/tls.h>

/* GSO has a header of its own since 6.5 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#include <net/gso.h>
#endif

/* rtnl_link_ops->newlink: its parameters are a struct since 6.15 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 15, 0)
#define NICSIM_NEWLINK_PARAMS \
	struct net *net, struct net_device *dev, struct nlattr *tb[], struct nlattr *data[], \
		struct netlink_ext_ack *extack
#define NICSIM_NEWLINK_NET net
#define NICSIM_NEWLINK_TB  tb
#else
#define NICSIM_NEWLINK_PARAMS \
	struct net_device *dev, struct rtnl_newlink_params *params, struct netlink_ext_ack *extack
#define NICSIM_NEWLINK_NET (params->src_net)
#define NICSIM_NEWLINK_TB  (params->tb)
#endif

/* since 6.13 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *),
				 clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

/* asked of the packet, not of the socket, since 6.6 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
static inline bool nicsim_skb_offloaded(const struct sk_buff *skb)
{
	return skb->sk && tls_is_sk_tx_device_offloaded(skb->sk);
}
#else
static inline bool nicsim_skb_offloaded(const struct sk_buff *skb)
{
	return tls_is_skb_tx_device_offloaded(skb);
}
#endif

/* stable kernels, too, want the request, not the socket; Kbuild looks into the header */
#ifdef NICSIM_ASYNC_BY_SOCKET
#define nicsim_async_start(sk, async, seq, len) \
	tls_offload_rx_resync_async_request_start(sk, seq, len)
#define nicsim_async_end(sk, async, seq) tls_offload_rx_resync_async_request_end(sk, seq)
#else
#define nicsim_async_start(sk, async, seq, len) \
	tls_offload_rx_resync_async_request_start(async, seq, len)
#define nicsim_async_end(sk, async, seq) tls_offload_rx_resync_async_request_end(async, seq)
#endif

#endif
