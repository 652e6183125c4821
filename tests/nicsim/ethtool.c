// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What ethtool shows: counters under the names of the kernel's TLS offload documentation.
 */
#include <linux/ethtool.h>

#include "nicsim.h"

static const char names[NICSIM_STATS][ETH_GSTRING_LEN] = {
	[NICSIM_RX_PACKETS] = "rx_packets",
	[NICSIM_RX_BYTES] = "rx_bytes",
	[NICSIM_RX_DROPPED] = "rx_dropped",
	[NICSIM_TX_PACKETS] = "tx_packets",
	[NICSIM_TX_BYTES] = "tx_bytes",
	[NICSIM_TX_DROPPED] = "tx_dropped",
	[NICSIM_WIRE_LOST] = "tx_wire_lost",
	[NICSIM_WIRE_REORDERED] = "tx_wire_reordered",
	[NICSIM_TX_TLS_ENCRYPTED_PACKETS] = "tx_tls_encrypted_packets",
	[NICSIM_TX_TLS_ENCRYPTED_BYTES] = "tx_tls_encrypted_bytes",
	[NICSIM_TX_TLS_CTX] = "tx_tls_ctx",
	[NICSIM_TX_TLS_DEL] = "tx_tls_del",
	[NICSIM_TX_TLS_OOO] = "tx_tls_ooo",
	[NICSIM_TX_TLS_FALLBACK] = "tx_tls_fallback",
	[NICSIM_TX_TLS_RESYNC_REQ] = "tx_tls_resync_req",
	[NICSIM_TX_TLS_RESYNC_RES] = "tx_tls_resync_res",
	[NICSIM_TX_TLS_SKIP_NO_SYNC_DATA] = "tx_tls_skip_no_sync_data",
	[NICSIM_TX_TLS_DROP_NO_SYNC_DATA] = "tx_tls_drop_no_sync_data",
	[NICSIM_TX_TLS_DROP_BYPASS_REQ] = "tx_tls_drop_bypass_req",
	[NICSIM_RX_TLS_DECRYPTED_PACKETS] = "rx_tls_decrypted_packets",
	[NICSIM_RX_TLS_DECRYPTED_BYTES] = "rx_tls_decrypted_bytes",
	[NICSIM_RX_TLS_CTX] = "rx_tls_ctx",
	[NICSIM_RX_TLS_DEL] = "rx_tls_del",
	[NICSIM_RX_TLS_RESYNC_REQ_PKT] = "rx_tls_resync_req_pkt",
	[NICSIM_RX_TLS_RESYNC_REQ_START] = "rx_tls_resync_req_start",
	[NICSIM_RX_TLS_RESYNC_REQ_END] = "rx_tls_resync_req_end",
	[NICSIM_RX_TLS_RESYNC_REQ_SKIP] = "rx_tls_resync_req_skip",
	[NICSIM_RX_TLS_RESYNC_RES_OK] = "rx_tls_resync_res_ok",
	[NICSIM_RX_TLS_RESYNC_RES_SKIP] = "rx_tls_resync_res_skip",
	[NICSIM_RX_TLS_AUTH_FAILED] = "rx_tls_auth_failed",
	[NICSIM_RX_TLS_ERR] = "rx_tls_err",
};

static void get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "nicsim", sizeof(info->driver));
}

static int get_sset_count(struct net_device *dev, int set)
{
	return set == ETH_SS_STATS ? NICSIM_STATS : -EOPNOTSUPP;
}

static void get_strings(struct net_device *dev, u32 set, u8 *data)
{
	if (set == ETH_SS_STATS)
		memcpy(data, names, sizeof(names));
}

static void get_ethtool_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *data)
{
	struct nicsim *nic = netdev_priv(dev);
	int i;

	for (i = 0; i < NICSIM_STATS; i++)
		data[i] = atomic64_read(&nic->stats[i]);
}

static int get_link_ksettings(struct net_device *dev, struct ethtool_link_ksettings *settings)
{
	settings->base.speed = SPEED_25000;
	settings->base.duplex = DUPLEX_FULL;
	settings->base.port = PORT_OTHER;
	settings->base.autoneg = AUTONEG_DISABLE;
	return 0;
}

const struct ethtool_ops nicsim_ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_ethtool_stats,
	.get_link_ksettings = get_link_ksettings,
	.get_ts_info = ethtool_op_get_ts_info,
};
