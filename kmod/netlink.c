// SPDX-License-Identifier: GPL-2.0-only
/*
 * The genl family: requests are checked here, done elsewhere.  Keys go down
 * only: no command returns one, and the attributes that carried them are wiped.
 * Ranges are in Documentation/netlink/specs/tlsport.yaml.
 */
#include "tlsport.h"

static struct netlink_range_validation number_range = { .min = 1, .max = 65535 };
static struct netlink_range_validation timeout_range = { .min = 100, .max = 600000 };
static struct netlink_range_validation count_range = { .min = 1, .max = 1000000 };
static struct netlink_range_validation rate_range = { .max = 1000000 };
static struct netlink_range_validation limit_range = { .min = 1, .max = TLSPORT_KEY_LIMIT };
static struct netlink_range_validation consumed_range = { .max = TLSPORT_DATA_MAX };
static struct netlink_range_validation version_range = {
	.min = TLS_1_2_VERSION,
	.max = TLS_1_3_VERSION,
};

static const struct nla_policy port_policy[] = {
	[TLSPORT_A_PORT_NUMBER] = NLA_POLICY_FULL_RANGE(NLA_U16, &number_range),
	[TLSPORT_A_PORT_MIN_VERSION] = NLA_POLICY_FULL_RANGE(NLA_U16, &version_range),
	[TLSPORT_A_PORT_MAX_VERSION] = NLA_POLICY_FULL_RANGE(NLA_U16, &version_range),
	[TLSPORT_A_PORT_TRUNCATION] = NLA_POLICY_MAX(NLA_U8, TLSPORT_TRUNCATION_TOLERATE),
	[TLSPORT_A_PORT_HANDSHAKE_TIMEOUT] = NLA_POLICY_FULL_RANGE(NLA_U32, &timeout_range),
	[TLSPORT_A_PORT_MAX_HANDSHAKES] = NLA_POLICY_FULL_RANGE(NLA_U32, &count_range),
	[TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE] = NLA_POLICY_FULL_RANGE(NLA_U32, &count_range),
	[TLSPORT_A_PORT_KEY_LIMIT] = NLA_POLICY_FULL_RANGE(NLA_U32, &limit_range),
	[TLSPORT_A_PORT_OFFLOAD] = NLA_POLICY_MAX(NLA_U8, TLSPORT_OFFLOAD_REQUIRE),
	[TLSPORT_A_PORT_ZEROCOPY] = NLA_POLICY_MAX(NLA_U8, 1),
	[TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &rate_range),
	[TLSPORT_A_PORT_MAX_HANDSHAKE_RATE] = NLA_POLICY_FULL_RANGE(NLA_U32, &rate_range),
};

static const struct nla_policy conn_policy[] = {
	[TLSPORT_A_CONN_PORT] = NLA_POLICY_FULL_RANGE(NLA_U16, &number_range),
};

static const struct nla_policy worker_policy[] = {
	[TLSPORT_A_WORKER_SCRATCH] = { .type = NLA_U64 },
	[TLSPORT_A_WORKER_DRAIN] = { .type = NLA_FLAG },
};

static const struct nla_policy hs_policy[] = {
	[TLSPORT_A_HS_ID] = { .type = NLA_U64 },
	[TLSPORT_A_HS_DATA] = { .type = NLA_BINARY, .len = TLSPORT_DATA_MAX },
	[TLSPORT_A_HS_CONSUMED] = NLA_POLICY_FULL_RANGE(NLA_U32, &consumed_range),
	[TLSPORT_A_HS_TX] = NLA_POLICY_RANGE(NLA_BINARY, sizeof(struct tls_crypto_info), 128),
	[TLSPORT_A_HS_RX] = NLA_POLICY_RANGE(NLA_BINARY, sizeof(struct tls_crypto_info), 128),
	[TLSPORT_A_HS_TX_SECRET] = NLA_POLICY_RANGE(NLA_BINARY, 32, TLSPORT_SECRET_MAX),
	[TLSPORT_A_HS_RX_SECRET] = NLA_POLICY_RANGE(NLA_BINARY, 32, TLSPORT_SECRET_MAX),
	[TLSPORT_A_HS_SUITE] = { .type = NLA_U16 },
	[TLSPORT_A_HS_RESUMED] = { .type = NLA_FLAG },
	[TLSPORT_A_HS_SERVER_NAME] = { .type = NLA_NUL_STRING, .len = TLSPORT_SERVER_NAME_MAX },
	[TLSPORT_A_HS_REASON] = NLA_POLICY_RANGE(NLA_U32, 1, __TLSPORT_REASON_COUNT - 1),
	[TLSPORT_A_HS_DETAILS] = { .type = NLA_BINARY, .len = TLSPORT_DETAILS_MAX },
	[TLSPORT_A_HS_PREAMBLE] = NLA_POLICY_RANGE(NLA_BINARY, 1, TLSPORT_PREAMBLE_MAX),
};

static int need_number(struct genl_info *info, u16 *number)
{
	if (!info->attrs[TLSPORT_A_PORT_NUMBER]) {
		NL_SET_ERR_MSG(info->extack, "the port number is missing");
		return -EINVAL;
	}
	*number = nla_get_u16(info->attrs[TLSPORT_A_PORT_NUMBER]);
	return 0;
}

static int port_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	u16 number;

	return need_number(info, &number) ?:
		       tlsport_port_set(genl_info_net(info), number, info->attrs, info->extack);
}

static int port_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	u16 number;
	int err;

	err = need_number(info, &number);
	if (err)
		return err;
	err = tlsport_port_del(genl_info_net(info), number);
	if (err)
		NL_SET_ERR_MSG(info->extack, "the port is not enabled");
	return err;
}

static int worker_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *nla = info->attrs[TLSPORT_A_WORKER_SCRATCH];
	void __user *scratch = NULL;
	int err;

	if (nla) {
		scratch = u64_to_user_ptr(nla_get_u64(nla));
		if (!scratch || offset_in_page(scratch) ||
		    !access_ok(scratch, TLSPORT_SCRATCH_LEN)) {
			NL_SET_ERR_MSG(info->extack, "that is no page of the caller's");
			return -EFAULT;
		}
	}
	err = tlsport_worker_set(genl_info_net(info), info->snd_portid, scratch,
				 nla_get_flag(info->attrs[TLSPORT_A_WORKER_DRAIN]));
	if (err == -EINVAL)
		NL_SET_ERR_MSG(info->extack, "a new worker needs a scratch page");
	return err;
}

static void wipe(struct genl_info *info)
{
	int i;

	for (i = TLSPORT_A_HS_TX; i <= TLSPORT_A_HS_RX_SECRET; i++)
		if (info->attrs[i])
			memzero_explicit(nla_data(info->attrs[i]), nla_len(info->attrs[i]));
}

static int answer_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr **a = info->attrs;
	struct net *net = genl_info_net(info);
	struct tlsport_conn *conn;
	int err = -EINVAL;

	if (!a[TLSPORT_A_HS_ID]) {
		NL_SET_ERR_MSG(info->extack, "the connection's id is missing");
		goto out;
	}
	if (!a[TLSPORT_A_HS_TX] != !a[TLSPORT_A_HS_RX]) {
		NL_SET_ERR_MSG(info->extack, "keys come for TX and RX together");
		goto out;
	}
	if (!tlsport_worker_scratch(net, info->snd_portid)) {
		NL_SET_ERR_MSG(info->extack, "only a registered worker answers");
		err = -EPERM;
		goto out;
	}
	conn = tlsport_conn_get(net, nla_get_u64(a[TLSPORT_A_HS_ID]));
	err = -ESTALE;
	if (conn) {
		err = info->genlhdr->cmd == TLSPORT_CMD_FAIL ? tlsport_conn_fail(conn, info) :
							       tlsport_conn_continue(conn, info);
		tlsport_conn_put(conn);
	}
	tlsport_upcall_kick(tlsport_pernet(net), false);
out:
	wipe(info);
	return err;
}

#define OP_POLICY(set, last) .policy = set##_policy, .maxattr = last

static const struct genl_ops netlink_ops[] = {
	{
		.cmd = TLSPORT_CMD_PORT_SET,
		.doit = port_set_doit,
		.flags = GENL_UNS_ADMIN_PERM,
		OP_POLICY(port, TLSPORT_A_PORT_MAX_HANDSHAKE_RATE),
	},
	{
		.cmd = TLSPORT_CMD_PORT_DEL,
		.doit = port_del_doit,
		.flags = GENL_UNS_ADMIN_PERM,
		OP_POLICY(port, TLSPORT_A_PORT_NUMBER),
	},
	{
		.cmd = TLSPORT_CMD_PORT_GET,
		.doit = tlsport_port_doit,
		.dumpit = tlsport_port_dumpit,
		.flags = GENL_UNS_ADMIN_PERM,
		OP_POLICY(port, TLSPORT_A_PORT_NUMBER),
	},
	{
		.cmd = TLSPORT_CMD_LISTENER_GET,
		.dumpit = tlsport_listener_dumpit,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = TLSPORT_CMD_CONN_GET,
		.start = tlsport_conn_dump_start,
		.dumpit = tlsport_conn_dumpit,
		.done = tlsport_conn_dump_done,
		.flags = GENL_UNS_ADMIN_PERM,
		OP_POLICY(conn, TLSPORT_A_CONN_PORT),
	},
	{
		.cmd = TLSPORT_CMD_WORKER_SET,
		.doit = worker_set_doit,
		.flags = GENL_UNS_ADMIN_PERM,
		OP_POLICY(worker, TLSPORT_A_WORKER_DRAIN),
	},
	{
		.cmd = TLSPORT_CMD_CONTINUE,
		.doit = answer_doit,
		.flags = GENL_UNS_ADMIN_PERM,
		OP_POLICY(hs, TLSPORT_A_HS_PREAMBLE),
	},
	{
		.cmd = TLSPORT_CMD_FAIL,
		.doit = answer_doit,
		.flags = GENL_UNS_ADMIN_PERM,
		OP_POLICY(hs, TLSPORT_A_HS_PREAMBLE),
	},
};

struct genl_family tlsport_genl_family __ro_after_init = {
	.name = TLSPORT_FAMILY_NAME,
	.version = TLSPORT_FAMILY_VERSION,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = netlink_ops,
	.n_ops = ARRAY_SIZE(netlink_ops),
	.resv_start_op = TLSPORT_CMD_UNSPEC + 1,
};

/* Process context: a netlink socket was released, perhaps a worker's. */
static int on_release(struct notifier_block *nb, unsigned long event, void *data)
{
	struct netlink_notify *n = data;

	if (event == NETLINK_URELEASE && n->protocol == NETLINK_GENERIC &&
	    tlsport_worker_release(n->net, n->portid))
		tlsport_conn_worker_died(n->net, n->portid);
	return NOTIFY_DONE;
}

static struct notifier_block on_release_nb = { .notifier_call = on_release };

int tlsport_netlink_init(void)
{
	int err = genl_register_family(&tlsport_genl_family);

	if (err)
		return err;
	err = netlink_register_notifier(&on_release_nb);
	if (err)
		genl_unregister_family(&tlsport_genl_family);
	return err;
}

void tlsport_netlink_exit(void)
{
	netlink_unregister_notifier(&on_release_nb);
	genl_unregister_family(&tlsport_genl_family);
}
