// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The administration half of the netlink ABI over libnl: messages to structs,
 * errors to sentences.  No lock: a struct tlsport_nl belongs to one thread.
 */
#include "tlsport_nl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>

#include <linux/netlink.h>

#define NOT_LOADED    "the tlsport module is not loaded: run 'modprobe tlsport'"
#define NOT_PERMITTED "needs CAP_NET_ADMIN: run as root"

/* The kernel's of a setting that the loaded module does not have yet */
#define UNKNOWN "Unknown attribute type"
#define OLDER \
	"the tlsport module that is loaded is older than this program: load the one " \
	"that was installed with it"

typedef int (*message_fn)(struct nlmsghdr *msg, void *arg);

/* One request and its answers; what the callbacks of libnl share. */
struct exchange {
	struct tlsport_nl *nl;
	message_fn fn;
	void *arg;
	bool done;
	int result;
};

static const char *const reason_names[] = {
#define REASON_NAME(symbol, name, text) [TLSPORT_REASON_##symbol] = name,
	TLSPORT_REASONS(REASON_NAME)
#undef REASON_NAME
};

static const char *const reason_texts[] = {
#define REASON_TEXT(symbol, name, text) [TLSPORT_REASON_##symbol] = text,
	TLSPORT_REASONS(REASON_TEXT)
#undef REASON_TEXT
};

const char *tlsport_nl_reason_name(unsigned int reason)
{
	return reason < __TLSPORT_REASON_COUNT ? reason_names[reason] : "?";
}

const char *tlsport_nl_reason_text(unsigned int reason)
{
	return reason < __TLSPORT_REASON_COUNT ? reason_texts[reason] : "?";
}

static const char *const sw_names[] = {
#define SW_NAME(symbol, name, text) [TLSPORT_SW_##symbol] = name,
	TLSPORT_SW_REASONS(SW_NAME)
#undef SW_NAME
};

static const char *const sw_texts[] = {
#define SW_TEXT(symbol, name, text) [TLSPORT_SW_##symbol] = text,
	TLSPORT_SW_REASONS(SW_TEXT)
#undef SW_TEXT
};

const char *tlsport_nl_sw_name(unsigned int reason)
{
	return reason < __TLSPORT_SW_COUNT ? sw_names[reason] : "?";
}

const char *tlsport_nl_sw_text(unsigned int reason)
{
	return reason < __TLSPORT_SW_COUNT ? sw_texts[reason] : "?";
}

/* Minimal lengths.  Strings are without: get_string() ends them. */
static struct nla_policy port_policy[TLSPORT_A_PORT_MAX + 1] = {
	[TLSPORT_A_PORT_NUMBER] = { .type = NLA_U16 },
	[TLSPORT_A_PORT_MIN_VERSION] = { .type = NLA_U16 },
	[TLSPORT_A_PORT_MAX_VERSION] = { .type = NLA_U16 },
	[TLSPORT_A_PORT_TRUNCATION] = { .type = NLA_U8 },
	[TLSPORT_A_PORT_HANDSHAKE_TIMEOUT] = { .type = NLA_U32 },
	[TLSPORT_A_PORT_MAX_HANDSHAKES] = { .type = NLA_U32 },
	[TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE] = { .type = NLA_U32 },
	[TLSPORT_A_PORT_KEY_LIMIT] = { .type = NLA_U32 },
	[TLSPORT_A_PORT_OFFLOAD] = { .type = NLA_U8 },
	[TLSPORT_A_PORT_ZEROCOPY] = { .type = NLA_U8 },
	[TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE] = { .type = NLA_U32 },
	[TLSPORT_A_PORT_MAX_HANDSHAKE_RATE] = { .type = NLA_U32 },
	[TLSPORT_A_PORT_LISTENERS] = { .type = NLA_U32 },
	[TLSPORT_A_PORT_LISTENERS_SHUT] = { .type = NLA_U32 },
	[TLSPORT_A_PORT_HANDSHAKES] = { .type = NLA_U32 },
	[TLSPORT_A_PORT_OPEN] = { .type = NLA_U32 },
	[TLSPORT_A_PORT_STATS] = { .type = NLA_NESTED },
};

static struct nla_policy ended_policy[TLSPORT_A_ENDED_MAX + 1] = {
	[TLSPORT_A_ENDED_REASON] = { .type = NLA_U32 },
};

static struct nla_policy sw_policy[TLSPORT_A_SW_MAX + 1] = {
	[TLSPORT_A_SW_REASON] = { .type = NLA_U32 },
};

static struct nla_policy listener_policy[TLSPORT_A_LISTENER_MAX + 1] = {
	[TLSPORT_A_LISTENER_PORT] = { .type = NLA_U16 },
	[TLSPORT_A_LISTENER_INODE] = { .type = NLA_U32 },
	[TLSPORT_A_LISTENER_UID] = { .type = NLA_U32 },
	[TLSPORT_A_LISTENER_STATE] = { .type = NLA_U8 },
	[TLSPORT_A_LISTENER_BACKLOG] = { .type = NLA_U32 },
	[TLSPORT_A_LISTENER_HANDSHAKES] = { .type = NLA_U32 },
	[TLSPORT_A_LISTENER_READY] = { .type = NLA_U32 },
};

static struct nla_policy conn_policy[TLSPORT_A_CONN_MAX + 1] = {
	[TLSPORT_A_CONN_ID] = { .type = NLA_U64 },
	[TLSPORT_A_CONN_PORT] = { .type = NLA_U16 },
	[TLSPORT_A_CONN_STATE] = { .type = NLA_U8 },
	[TLSPORT_A_CONN_PEER_PORT] = { .type = NLA_U16 },
	[TLSPORT_A_CONN_AGE] = { .type = NLA_U64 },
	[TLSPORT_A_CONN_VERSION] = { .type = NLA_U16 },
	[TLSPORT_A_CONN_SUITE] = { .type = NLA_U16 },
	[TLSPORT_A_CONN_RESUMED] = { .type = NLA_FLAG },
	[TLSPORT_A_CONN_TX_MODE] = { .type = NLA_U8 },
	[TLSPORT_A_CONN_RX_MODE] = { .type = NLA_U8 },
	[TLSPORT_A_CONN_TX_SW] = { .type = NLA_U8 },
	[TLSPORT_A_CONN_RX_SW] = { .type = NLA_U8 },
};

static uint8_t get_u8(struct nlattr *attr)
{
	return attr ? nla_get_u8(attr) : 0;
}

static uint16_t get_u16(struct nlattr *attr)
{
	return attr ? nla_get_u16(attr) : 0;
}

static uint32_t get_u32(struct nlattr *attr)
{
	return attr ? nla_get_u32(attr) : 0;
}

/* u64 or uint: the spec lets the kernel send four bytes. */
static uint64_t get_uint(struct nlattr *attr)
{
	if (!attr)
		return 0;
	if (nla_len(attr) == sizeof(uint32_t))
		return nla_get_u32(attr);
	return nla_len(attr) >= (int)sizeof(uint64_t) ? nla_get_u64(attr) : 0;
}

static struct tlsport_nl_addr get_addr(struct nlattr *attr)
{
	struct tlsport_nl_addr addr = { 0 };

	if (attr && (nla_len(attr) == 4 || nla_len(attr) == 16)) {
		addr.len = nla_len(attr);
		memcpy(addr.bytes, nla_data(attr), addr.len);
	}
	return addr;
}

static void get_string(struct nlattr *attr, char *text, size_t len)
{
	if (attr)
		nla_strlcpy(text, attr, len);
	else
		text[0] = '\0';
}

static int parse_ended(struct nlattr *attr, uint64_t *ended)
{
	struct nlattr *attrs[TLSPORT_A_ENDED_MAX + 1];
	uint32_t reason;

	if (nla_parse_nested(attrs, TLSPORT_A_ENDED_MAX, attr, ended_policy) < 0 ||
	    !attrs[TLSPORT_A_ENDED_REASON])
		return -EBADMSG;
	/* A newer module may know more reasons than we do. */
	reason = nla_get_u32(attrs[TLSPORT_A_ENDED_REASON]);
	if (reason < __TLSPORT_REASON_COUNT)
		ended[reason] = get_uint(attrs[TLSPORT_A_ENDED_COUNT]);
	return 0;
}

static int parse_sw(struct nlattr *attr, struct tlsport_nl_port *port)
{
	struct nlattr *attrs[TLSPORT_A_SW_MAX + 1];
	uint32_t reason;

	if (nla_parse_nested(attrs, TLSPORT_A_SW_MAX, attr, sw_policy) < 0 ||
	    !attrs[TLSPORT_A_SW_REASON])
		return -EBADMSG;
	reason = nla_get_u32(attrs[TLSPORT_A_SW_REASON]);
	if (reason < __TLSPORT_SW_COUNT) {
		port->tx_sw[reason] = get_uint(attrs[TLSPORT_A_SW_TX]);
		port->rx_sw[reason] = get_uint(attrs[TLSPORT_A_SW_RX]);
	}
	return 0;
}

static int parse_stats(struct nlattr *nest, struct tlsport_nl_port *port)
{
	struct nlattr *attr;
	int rest, type, ret;

	nla_for_each_nested(attr, nest, rest) {
		type = nla_type(attr);
		if (type == TLSPORT_A_STATS_ENDED || type == TLSPORT_A_STATS_SW) {
			ret = type == TLSPORT_A_STATS_SW ? parse_sw(attr, port) :
							   parse_ended(attr, port->ended);
			if (ret)
				return ret;
		} else if (type > TLSPORT_A_STATS_PAD && type <= TLSPORT_A_STATS_MAX) {
			port->stats[type] = get_uint(attr);
		}
	}
	return 0;
}

int tlsport_nl_port_parse(struct nlmsghdr *msg, struct tlsport_nl_port *port)
{
	struct nlattr *attrs[TLSPORT_A_PORT_MAX + 1];

	memset(port, 0, sizeof(*port));
	if (genlmsg_parse(msg, 0, attrs, TLSPORT_A_PORT_MAX, port_policy) < 0 ||
	    !attrs[TLSPORT_A_PORT_NUMBER])
		return -EBADMSG;
	port->number = get_u16(attrs[TLSPORT_A_PORT_NUMBER]);
	port->policy.given = TLSPORT_NL_POLICY_ALL;
	port->policy.min_version = get_u16(attrs[TLSPORT_A_PORT_MIN_VERSION]);
	port->policy.max_version = get_u16(attrs[TLSPORT_A_PORT_MAX_VERSION]);
	port->policy.truncation = get_u8(attrs[TLSPORT_A_PORT_TRUNCATION]);
	port->policy.handshake_timeout = get_u32(attrs[TLSPORT_A_PORT_HANDSHAKE_TIMEOUT]);
	port->policy.max_handshakes = get_u32(attrs[TLSPORT_A_PORT_MAX_HANDSHAKES]);
	port->policy.max_handshakes_per_source =
		get_u32(attrs[TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE]);
	port->policy.key_limit = get_u32(attrs[TLSPORT_A_PORT_KEY_LIMIT]);
	port->policy.offload = get_u8(attrs[TLSPORT_A_PORT_OFFLOAD]);
	port->policy.zerocopy = get_u8(attrs[TLSPORT_A_PORT_ZEROCOPY]);
	port->policy.max_handshake_rate_per_source =
		get_u32(attrs[TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE]);
	port->policy.max_handshake_rate = get_u32(attrs[TLSPORT_A_PORT_MAX_HANDSHAKE_RATE]);
	port->listeners = get_u32(attrs[TLSPORT_A_PORT_LISTENERS]);
	port->listeners_shut = get_u32(attrs[TLSPORT_A_PORT_LISTENERS_SHUT]);
	port->handshakes = get_u32(attrs[TLSPORT_A_PORT_HANDSHAKES]);
	port->open = get_u32(attrs[TLSPORT_A_PORT_OPEN]);
	if (attrs[TLSPORT_A_PORT_STATS])
		return parse_stats(attrs[TLSPORT_A_PORT_STATS], port);
	return 0;
}

int tlsport_nl_listener_parse(struct nlmsghdr *msg, struct tlsport_nl_listener *listener)
{
	struct nlattr *attrs[TLSPORT_A_LISTENER_MAX + 1];

	memset(listener, 0, sizeof(*listener));
	if (genlmsg_parse(msg, 0, attrs, TLSPORT_A_LISTENER_MAX, listener_policy) < 0 ||
	    !attrs[TLSPORT_A_LISTENER_PORT])
		return -EBADMSG;
	listener->port = get_u16(attrs[TLSPORT_A_LISTENER_PORT]);
	listener->inode = get_u32(attrs[TLSPORT_A_LISTENER_INODE]);
	listener->uid = get_u32(attrs[TLSPORT_A_LISTENER_UID]);
	listener->state = get_u8(attrs[TLSPORT_A_LISTENER_STATE]);
	listener->addr = get_addr(attrs[TLSPORT_A_LISTENER_ADDR]);
	listener->backlog = get_u32(attrs[TLSPORT_A_LISTENER_BACKLOG]);
	listener->handshakes = get_u32(attrs[TLSPORT_A_LISTENER_HANDSHAKES]);
	listener->ready = get_u32(attrs[TLSPORT_A_LISTENER_READY]);
	return 0;
}

int tlsport_nl_conn_parse(struct nlmsghdr *msg, struct tlsport_nl_conn *conn)
{
	struct nlattr *attrs[TLSPORT_A_CONN_MAX + 1];

	memset(conn, 0, sizeof(*conn));
	if (genlmsg_parse(msg, 0, attrs, TLSPORT_A_CONN_MAX, conn_policy) < 0 ||
	    !attrs[TLSPORT_A_CONN_ID])
		return -EBADMSG;
	conn->id = get_uint(attrs[TLSPORT_A_CONN_ID]);
	conn->port = get_u16(attrs[TLSPORT_A_CONN_PORT]);
	conn->state = get_u8(attrs[TLSPORT_A_CONN_STATE]);
	conn->local = get_addr(attrs[TLSPORT_A_CONN_LOCAL_ADDR]);
	conn->peer = get_addr(attrs[TLSPORT_A_CONN_PEER_ADDR]);
	conn->peer_port = get_u16(attrs[TLSPORT_A_CONN_PEER_PORT]);
	conn->age = get_uint(attrs[TLSPORT_A_CONN_AGE]);
	conn->version = get_u16(attrs[TLSPORT_A_CONN_VERSION]);
	conn->suite = get_u16(attrs[TLSPORT_A_CONN_SUITE]);
	conn->resumed = attrs[TLSPORT_A_CONN_RESUMED];
	conn->tx_mode = get_u8(attrs[TLSPORT_A_CONN_TX_MODE]);
	conn->rx_mode = get_u8(attrs[TLSPORT_A_CONN_RX_MODE]);
	conn->tx_sw = get_u8(attrs[TLSPORT_A_CONN_TX_SW]);
	conn->rx_sw = get_u8(attrs[TLSPORT_A_CONN_RX_SW]);
	get_string(attrs[TLSPORT_A_CONN_SERVER_NAME], conn->server_name, sizeof(conn->server_name));
	get_string(attrs[TLSPORT_A_CONN_DRIVER], conn->driver, sizeof(conn->driver));
	get_string(attrs[TLSPORT_A_CONN_DEVICE], conn->device, sizeof(conn->device));
	return 0;
}

static bool given(const struct tlsport_nl_policy *policy, int attr)
{
	return policy->given & 1U << attr;
}

int tlsport_nl_policy_put(struct nl_msg *msg, uint16_t number,
			  const struct tlsport_nl_policy *policy)
{
	int ret = nla_put_u16(msg, TLSPORT_A_PORT_NUMBER, number);

	if (!ret && given(policy, TLSPORT_A_PORT_MIN_VERSION))
		ret = nla_put_u16(msg, TLSPORT_A_PORT_MIN_VERSION, policy->min_version);
	if (!ret && given(policy, TLSPORT_A_PORT_MAX_VERSION))
		ret = nla_put_u16(msg, TLSPORT_A_PORT_MAX_VERSION, policy->max_version);
	if (!ret && given(policy, TLSPORT_A_PORT_TRUNCATION))
		ret = nla_put_u8(msg, TLSPORT_A_PORT_TRUNCATION, policy->truncation);
	if (!ret && given(policy, TLSPORT_A_PORT_HANDSHAKE_TIMEOUT))
		ret = nla_put_u32(msg, TLSPORT_A_PORT_HANDSHAKE_TIMEOUT, policy->handshake_timeout);
	if (!ret && given(policy, TLSPORT_A_PORT_MAX_HANDSHAKES))
		ret = nla_put_u32(msg, TLSPORT_A_PORT_MAX_HANDSHAKES, policy->max_handshakes);
	if (!ret && given(policy, TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE))
		ret = nla_put_u32(msg, TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE,
				  policy->max_handshakes_per_source);
	if (!ret && given(policy, TLSPORT_A_PORT_KEY_LIMIT))
		ret = nla_put_u32(msg, TLSPORT_A_PORT_KEY_LIMIT, policy->key_limit);
	if (!ret && given(policy, TLSPORT_A_PORT_OFFLOAD))
		ret = nla_put_u8(msg, TLSPORT_A_PORT_OFFLOAD, policy->offload);
	if (!ret && given(policy, TLSPORT_A_PORT_ZEROCOPY))
		ret = nla_put_u8(msg, TLSPORT_A_PORT_ZEROCOPY, policy->zerocopy);
	if (!ret && given(policy, TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE))
		ret = nla_put_u32(msg, TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE,
				  policy->max_handshake_rate_per_source);
	if (!ret && given(policy, TLSPORT_A_PORT_MAX_HANDSHAKE_RATE))
		ret = nla_put_u32(msg, TLSPORT_A_PORT_MAX_HANDSHAKE_RATE,
				  policy->max_handshake_rate);
	return ret ? -EMSGSIZE : 0;
}

/*
 * libnl 3.7 does not read the extended acknowledgement.  The attributes follow
 * the errno in NLMSG_DONE, and in NLMSG_ERROR the struct nlmsgerr and, unless
 * it was capped, the rest of the request.
 */
bool tlsport_nl_error_text(const struct nlmsghdr *msg, char *text, size_t len)
{
	size_t offset = sizeof(int), total = nlmsg_datalen(msg);
	const struct nlmsgerr *error = nlmsg_data(msg);
	const struct nlattr *attr;

	if (!(msg->nlmsg_flags & NLM_F_ACK_TLVS))
		return false;
	if (msg->nlmsg_type == NLMSG_ERROR) {
		if (total < sizeof(*error))
			return false;
		offset = sizeof(*error);
		if (!(msg->nlmsg_flags & NLM_F_CAPPED)) {
			if (error->msg.nlmsg_len < sizeof(error->msg))
				return false;
			offset += error->msg.nlmsg_len - sizeof(error->msg);
		}
	}
	offset = NLMSG_ALIGN(offset);
	if (offset >= total)
		return false;
	attr = nla_find((const struct nlattr *)((const char *)error + offset), total - offset,
			NLMSGERR_ATTR_MSG);
	if (!attr || nla_len(attr) < 1)
		return false;
	nla_strlcpy(text, attr, len);
	if (!strcmp(text, UNKNOWN))
		snprintf(text, len, "%s", OLDER);
	return text[0] != '\0';
}

static void describe(struct exchange *ex, const struct nlmsghdr *msg, int error)
{
	struct tlsport_nl *nl = ex->nl;

	ex->result = error;
	ex->done = true;
	if (tlsport_nl_error_text(msg, nl->error, sizeof(nl->error)))
		return;
	if (error == -EPERM || error == -EACCES)
		snprintf(nl->error, sizeof(nl->error), "%s", NOT_PERMITTED);
	else
		snprintf(nl->error, sizeof(nl->error), "the kernel refused: %s", strerror(-error));
}

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct exchange *ex = arg;

	if (ex->fn && !ex->result) {
		ex->result = ex->fn(nlmsg_hdr(msg), ex->arg);
		if (ex->result == -EBADMSG)
			snprintf(ex->nl->error, sizeof(ex->nl->error),
				 "the tlsport module sent a message that is not understood");
	}
	return NL_OK;
}

static int on_finish(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *hdr = nlmsg_hdr(msg);
	struct exchange *ex = arg;
	int error = 0;

	if (nlmsg_datalen(hdr) >= (int)sizeof(error))
		memcpy(&error, nlmsg_data(hdr), sizeof(error));
	if (error < 0 && !ex->result)
		describe(ex, hdr, error);
	ex->done = true;
	return NL_STOP;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	struct exchange *ex = arg;

	(void)msg;
	ex->done = true;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	(void)from;
	describe(arg, (struct nlmsghdr *)((char *)error - NLMSG_HDRLEN), error->error);
	return NL_STOP;
}

/* A dump that changed while it ran is still an answer: a moment passes anyway. */
static int on_interrupted(struct nl_msg *msg, void *arg)
{
	(void)msg;
	(void)arg;
	return NL_OK;
}

static int fail(struct tlsport_nl *nl, int error, const char *what)
{
	snprintf(nl->error, sizeof(nl->error), "%s: %s", what, strerror(-error));
	return error;
}

/*
 * libnl's own error numbers say less than errno; after the callbacks took care
 * of what the kernel answers, only these can be told apart.
 */
static int from_libnl(int error)
{
	switch (-error) {
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_AGAIN:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

static struct nl_msg *new_request(struct tlsport_nl *nl, uint8_t command, int flags)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (msg && !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, nl->family, 0,
				NLM_F_REQUEST | flags, command, TLSPORT_FAMILY_VERSION)) {
		nlmsg_free(msg);
		msg = NULL;
	}
	if (!msg)
		fail(nl, -ENOMEM, "netlink message");
	return msg;
}

/* Sends @msg, frees it, calls @fn for each answer, waits for the last one. */
static int talk(struct tlsport_nl *nl, struct nl_msg *msg, message_fn fn, void *arg)
{
	struct exchange ex = { .nl = nl, .fn = fn, .arg = arg };
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int ret;

	if (!cb) {
		nlmsg_free(msg);
		return fail(nl, -ENOMEM, "netlink");
	}
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &ex);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, &ex);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, &ex);
	nl_cb_set(cb, NL_CB_DUMP_INTR, NL_CB_CUSTOM, on_interrupted, &ex);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, &ex);

	ret = nl_send_auto(nl->sk, msg);
	nlmsg_free(msg);
	if (ret < 0) {
		ret = fail(nl, from_libnl(ret), "netlink send");
		goto out;
	}
	while (!ex.done) {
		ret = nl_recvmsgs(nl->sk, cb);
		if (ret < 0 && !ex.done) {
			ret = fail(nl, from_libnl(ret), "netlink receive");
			goto out;
		}
	}
	ret = ex.result;
out:
	nl_cb_put(cb);
	return ret;
}

static void nl_close_socket(struct tlsport_nl *nl)
{
	if (nl->sk)
		nl_socket_free(nl->sk);
	nl->sk = NULL;
}

static int nl_open(struct tlsport_nl *nl)
{
	const int on = 1;
	int ret;

	memset(nl, 0, sizeof(*nl));
	nl->sk = nl_socket_alloc();
	if (!nl->sk)
		return fail(nl, -ENOMEM, "netlink socket");
	ret = genl_connect(nl->sk);
	if (ret < 0) {
		ret = fail(nl, from_libnl(ret), "netlink socket");
		goto err;
	}
	/* Without them errors are numbers instead of sentences, no more. */
	(void)setsockopt(nl_socket_get_fd(nl->sk), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(nl_socket_get_fd(nl->sk), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	nl->family = genl_ctrl_resolve(nl->sk, TLSPORT_FAMILY_NAME);
	if (nl->family < 0) {
		snprintf(nl->error, sizeof(nl->error), "%s", NOT_LOADED);
		ret = -ENOENT;
		goto err;
	}
	return 0;
err:
	nl_close_socket(nl);
	return ret;
}

static int nl_port_set(struct tlsport_nl *nl, uint16_t number,
		       const struct tlsport_nl_policy *policy)
{
	struct nl_msg *msg = new_request(nl, TLSPORT_CMD_PORT_SET, NLM_F_ACK);

	if (!msg)
		return -ENOMEM;
	if (tlsport_nl_policy_put(msg, number, policy)) {
		nlmsg_free(msg);
		return fail(nl, -EMSGSIZE, "netlink message");
	}
	return talk(nl, msg, NULL, NULL);
}

static int nl_port_del(struct tlsport_nl *nl, uint16_t number)
{
	struct nl_msg *msg = new_request(nl, TLSPORT_CMD_PORT_DEL, NLM_F_ACK);

	if (!msg)
		return -ENOMEM;
	nla_put_u16(msg, TLSPORT_A_PORT_NUMBER, number);
	return talk(nl, msg, NULL, NULL);
}

static int store_port(struct nlmsghdr *msg, void *arg)
{
	return tlsport_nl_port_parse(msg, arg);
}

static int nl_port_get(struct tlsport_nl *nl, uint16_t number, struct tlsport_nl_port *port)
{
	struct nl_msg *msg = new_request(nl, TLSPORT_CMD_PORT_GET, NLM_F_ACK);
	int ret;

	if (!msg)
		return -ENOMEM;
	memset(port, 0, sizeof(*port));
	nla_put_u16(msg, TLSPORT_A_PORT_NUMBER, number);
	ret = talk(nl, msg, store_port, port);
	if (!ret && port->number != number)
		ret = fail(nl, -EBADMSG, "the tlsport module did not answer");
	return ret;
}

/* A callback of the user and its argument, through the untyped one of talk(). */
struct port_call {
	tlsport_nl_port_fn fn;
	void *arg;
};

struct listener_call {
	tlsport_nl_listener_fn fn;
	void *arg;
};

struct conn_call {
	tlsport_nl_conn_fn fn;
	void *arg;
};

static int call_port(struct nlmsghdr *msg, void *arg)
{
	const struct port_call *call = arg;
	struct tlsport_nl_port port;
	int ret = tlsport_nl_port_parse(msg, &port);

	return ret ? ret : call->fn(&port, call->arg);
}

static int call_listener(struct nlmsghdr *msg, void *arg)
{
	const struct listener_call *call = arg;
	struct tlsport_nl_listener listener;
	int ret = tlsport_nl_listener_parse(msg, &listener);

	return ret ? ret : call->fn(&listener, call->arg);
}

static int call_conn(struct nlmsghdr *msg, void *arg)
{
	const struct conn_call *call = arg;
	struct tlsport_nl_conn conn;
	int ret = tlsport_nl_conn_parse(msg, &conn);

	return ret ? ret : call->fn(&conn, call->arg);
}

static int nl_ports(struct tlsport_nl *nl, tlsport_nl_port_fn fn, void *arg)
{
	struct nl_msg *msg = new_request(nl, TLSPORT_CMD_PORT_GET, NLM_F_DUMP);
	struct port_call call = { .fn = fn, .arg = arg };

	return msg ? talk(nl, msg, call_port, &call) : -ENOMEM;
}

static int nl_listeners(struct tlsport_nl *nl, tlsport_nl_listener_fn fn, void *arg)
{
	struct nl_msg *msg = new_request(nl, TLSPORT_CMD_LISTENER_GET, NLM_F_DUMP);
	struct listener_call call = { .fn = fn, .arg = arg };

	return msg ? talk(nl, msg, call_listener, &call) : -ENOMEM;
}

static int nl_conns(struct tlsport_nl *nl, uint16_t number, tlsport_nl_conn_fn fn, void *arg)
{
	struct nl_msg *msg = new_request(nl, TLSPORT_CMD_CONN_GET, NLM_F_DUMP);
	struct conn_call call = { .fn = fn, .arg = arg };

	if (!msg)
		return -ENOMEM;
	if (number)
		nla_put_u16(msg, TLSPORT_A_CONN_PORT, number);
	return talk(nl, msg, call_conn, &call);
}

static const struct tlsport_nl_ops libnl_ops = {
	.open = nl_open,
	.close = nl_close_socket,
	.port_set = nl_port_set,
	.port_del = nl_port_del,
	.port_get = nl_port_get,
	.ports = nl_ports,
	.listeners = nl_listeners,
	.conns = nl_conns,
};

const struct tlsport_nl_ops *tlsport_nl_ops = &libnl_ops;
