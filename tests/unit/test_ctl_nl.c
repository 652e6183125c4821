// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * userspace/netlink: messages to structs and back, and the kernel's sentences.
 */
#include "../../userspace/netlink/tlsport_nl.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>

#include <linux/netlink.h>

#define FAMILY 30

static struct nl_msg *new_message(uint8_t command)
{
	struct nl_msg *msg = nlmsg_alloc();

	assert_non_null(msg);
	assert_non_null(genlmsg_put(msg, 1, 1, FAMILY, 0, 0, command, TLSPORT_FAMILY_VERSION));
	return msg;
}

static void put_ended(struct nl_msg *msg, uint32_t reason, uint64_t count)
{
	struct nlattr *nest = nla_nest_start(msg, TLSPORT_A_STATS_ENDED);

	nla_put_u32(msg, TLSPORT_A_ENDED_REASON, reason);
	nla_put_u64(msg, TLSPORT_A_ENDED_COUNT, count);
	nla_nest_end(msg, nest);
}

static void put_sw(struct nl_msg *msg, uint32_t reason, uint64_t tx, uint64_t rx)
{
	struct nlattr *nest = nla_nest_start(msg, TLSPORT_A_STATS_SW);

	nla_put_u32(msg, TLSPORT_A_SW_REASON, reason);
	nla_put_u64(msg, TLSPORT_A_SW_TX, tx);
	nla_put_u64(msg, TLSPORT_A_SW_RX, rx);
	nla_nest_end(msg, nest);
}

static void port_is_parsed(void **state)
{
	struct nl_msg *msg = new_message(TLSPORT_CMD_PORT_GET);
	struct tlsport_nl_port port;
	struct nlattr *nest;

	(void)state;
	nla_put_u16(msg, TLSPORT_A_PORT_NUMBER, 443);
	nla_put_u16(msg, TLSPORT_A_PORT_MIN_VERSION, 0x0303);
	nla_put_u8(msg, TLSPORT_A_PORT_TRUNCATION, TLSPORT_TRUNCATION_TOLERATE);
	nla_put_u32(msg, TLSPORT_A_PORT_LISTENERS_SHUT, 2);
	nest = nla_nest_start(msg, TLSPORT_A_PORT_STATS);
	nla_put(msg, TLSPORT_A_STATS_PAD, 0, NULL);
	nla_put_u64(msg, TLSPORT_A_STATS_STARTED, 1ULL << 40);
	nla_put_u32(msg, TLSPORT_A_STATS_ATTACHED, 5);
	put_ended(msg, TLSPORT_REASON_NOT_TLS, 7);
	put_ended(msg, TLSPORT_REASON_SHED, 8);
	put_ended(msg, __TLSPORT_REASON_COUNT + 5, 9);
	put_sw(msg, TLSPORT_SW_NONE, 3, 2);
	put_sw(msg, TLSPORT_SW_TLS13, 0, 1ULL << 40);
	put_sw(msg, __TLSPORT_SW_COUNT + 5, 9, 9);
	nla_nest_end(msg, nest);
	/* A newer module's */
	nla_put_u32(msg, TLSPORT_A_PORT_MAX + 1, 1);

	assert_int_equal(tlsport_nl_port_parse(nlmsg_hdr(msg), &port), 0);
	assert_int_equal(port.number, 443);
	assert_int_equal(port.policy.min_version, 0x0303);
	assert_int_equal(port.policy.truncation, TLSPORT_TRUNCATION_TOLERATE);
	assert_int_equal(port.listeners_shut, 2);
	assert_int_equal(port.stats[TLSPORT_A_STATS_STARTED], 1ULL << 40);
	assert_int_equal(port.stats[TLSPORT_A_STATS_ATTACHED], 5);
	assert_int_equal(port.ended[TLSPORT_REASON_NOT_TLS], 7);
	assert_int_equal(port.ended[TLSPORT_REASON_SHED], 8);
	assert_int_equal(port.ended[TLSPORT_REASON_CLOSED], 0);
	assert_int_equal(port.tx_sw[TLSPORT_SW_NONE], 3);
	assert_int_equal(port.rx_sw[TLSPORT_SW_NONE], 2);
	assert_int_equal(port.rx_sw[TLSPORT_SW_TLS13], 1ULL << 40);
	nlmsg_free(msg);
}

static void port_without_number_is_refused(void **state)
{
	struct nl_msg *msg = new_message(TLSPORT_CMD_PORT_GET);
	struct tlsport_nl_port port;

	(void)state;
	nla_put_u32(msg, TLSPORT_A_PORT_OPEN, 1);
	assert_int_equal(tlsport_nl_port_parse(nlmsg_hdr(msg), &port), -EBADMSG);
	nlmsg_free(msg);
}

static void only_given_settings_are_sent(void **state)
{
	struct tlsport_nl_policy policy = {
		.given = 1U << TLSPORT_A_PORT_MAX_HANDSHAKES | 1U << TLSPORT_A_PORT_TRUNCATION,
		.max_handshakes = 17,
	};
	struct nlattr *attrs[TLSPORT_A_PORT_MAX + 1];
	struct nl_msg *msg = new_message(TLSPORT_CMD_PORT_SET);

	(void)state;
	assert_int_equal(tlsport_nl_policy_put(msg, 993, &policy), 0);
	assert_int_equal(genlmsg_parse(nlmsg_hdr(msg), 0, attrs, TLSPORT_A_PORT_MAX, NULL), 0);
	assert_int_equal(nla_get_u16(attrs[TLSPORT_A_PORT_NUMBER]), 993);
	assert_int_equal(nla_get_u32(attrs[TLSPORT_A_PORT_MAX_HANDSHAKES]), 17);
	assert_int_equal(nla_get_u8(attrs[TLSPORT_A_PORT_TRUNCATION]), 0);
	assert_null(attrs[TLSPORT_A_PORT_MIN_VERSION]);
	assert_null(attrs[TLSPORT_A_PORT_HANDSHAKE_TIMEOUT]);
	nlmsg_free(msg);
}

static void policy_survives_the_way_there_and_back(void **state)
{
	const struct tlsport_nl_policy policy = {
		TLSPORT_NL_POLICY_ALL,	 0x0304, 0x0304, 1,  5000, 6, 7, 8,
		TLSPORT_OFFLOAD_REQUIRE, 1,	 9,	 10,
	};
	struct nl_msg *msg = new_message(TLSPORT_CMD_PORT_SET);
	struct tlsport_nl_port port;

	(void)state;
	assert_int_equal(tlsport_nl_policy_put(msg, 1, &policy), 0);
	assert_int_equal(tlsport_nl_port_parse(nlmsg_hdr(msg), &port), 0);
	assert_int_equal(port.policy.given, policy.given);
	assert_int_equal(port.policy.min_version, policy.min_version);
	assert_int_equal(port.policy.max_version, policy.max_version);
	assert_int_equal(port.policy.truncation, policy.truncation);
	assert_int_equal(port.policy.handshake_timeout, policy.handshake_timeout);
	assert_int_equal(port.policy.max_handshakes, policy.max_handshakes);
	assert_int_equal(port.policy.max_handshakes_per_source, policy.max_handshakes_per_source);
	assert_int_equal(port.policy.key_limit, policy.key_limit);
	assert_int_equal(port.policy.offload, policy.offload);
	assert_int_equal(port.policy.zerocopy, policy.zerocopy);
	assert_int_equal(port.policy.max_handshake_rate_per_source,
			 policy.max_handshake_rate_per_source);
	assert_int_equal(port.policy.max_handshake_rate, policy.max_handshake_rate);
	nlmsg_free(msg);
}

static void listener_is_parsed(void **state)
{
	static const uint8_t addr[16] = { 0x20, 0x01, [15] = 1 };
	struct nl_msg *msg = new_message(TLSPORT_CMD_LISTENER_GET);
	struct tlsport_nl_listener listener;

	(void)state;
	nla_put_u16(msg, TLSPORT_A_LISTENER_PORT, 443);
	nla_put_u32(msg, TLSPORT_A_LISTENER_INODE, 4711);
	nla_put_u8(msg, TLSPORT_A_LISTENER_STATE, TLSPORT_LISTENER_SHUT);
	nla_put(msg, TLSPORT_A_LISTENER_ADDR, sizeof(addr), addr);
	assert_int_equal(tlsport_nl_listener_parse(nlmsg_hdr(msg), &listener), 0);
	assert_int_equal(listener.inode, 4711);
	assert_int_equal(listener.state, TLSPORT_LISTENER_SHUT);
	assert_int_equal(listener.addr.len, 16);
	assert_memory_equal(listener.addr.bytes, addr, sizeof(addr));
	nlmsg_free(msg);
}

static void conn_is_parsed(void **state)
{
	struct nl_msg *msg = new_message(TLSPORT_CMD_CONN_GET);
	struct tlsport_nl_conn conn;

	(void)state;
	nla_put_u64(msg, TLSPORT_A_CONN_ID, 1ULL << 33);
	nla_put_u16(msg, TLSPORT_A_CONN_PORT, 443);
	nla_put(msg, TLSPORT_A_CONN_PEER_ADDR, 4, "\xc0\x00\x02\x01");
	nla_put(msg, TLSPORT_A_CONN_LOCAL_ADDR, 5, "wrong");
	nla_put_flag(msg, TLSPORT_A_CONN_RESUMED);
	nla_put_string(msg, TLSPORT_A_CONN_SERVER_NAME, "example.org");
	/* Not terminated: the kernel's NLA_STRING may be so. */
	nla_put(msg, TLSPORT_A_CONN_DRIVER, 3, "gcm");
	nla_put_u8(msg, TLSPORT_A_CONN_TX_SW, TLSPORT_SW_DEVICE_DOWN);
	nla_put_string(msg, TLSPORT_A_CONN_DEVICE, "eth0");
	assert_int_equal(tlsport_nl_conn_parse(nlmsg_hdr(msg), &conn), 0);
	assert_int_equal(conn.id, 1ULL << 33);
	assert_int_equal(conn.peer.len, 4);
	assert_int_equal(conn.local.len, 0);
	assert_true(conn.resumed);
	assert_string_equal(conn.server_name, "example.org");
	assert_string_equal(conn.driver, "gcm");
	assert_int_equal(conn.tx_sw, TLSPORT_SW_DEVICE_DOWN);
	assert_int_equal(conn.rx_sw, TLSPORT_SW_NONE);
	assert_string_equal(conn.device, "eth0");
	nlmsg_free(msg);
}

/* An error message as the kernel builds it, with @sentence. */
static struct nl_msg *new_error(bool capped, uint16_t flags, const char *sentence)
{
	struct nlmsgerr error = { .error = -EINVAL, .msg = { .nlmsg_len = NLMSG_HDRLEN + 8 } };
	struct nl_msg *msg = nlmsg_alloc();

	assert_non_null(nlmsg_put(msg, 1, 1, NLMSG_ERROR, 0, flags));
	assert_int_equal(nlmsg_append(msg, &error, sizeof(error), NLMSG_ALIGNTO), 0);
	if (!capped)
		assert_int_equal(nlmsg_append(msg, "request!", 8, NLMSG_ALIGNTO), 0);
	nla_put_u32(msg, NLMSGERR_ATTR_OFFS, 4);
	nla_put_string(msg, NLMSGERR_ATTR_MSG, sentence);
	return msg;
}

static void sentence_of_an_error_is_found(void **state)
{
	struct nl_msg *msg;
	char text[64];

	(void)state;
	msg = new_error(true, NLM_F_CAPPED | NLM_F_ACK_TLVS, "capped");
	assert_true(tlsport_nl_error_text(nlmsg_hdr(msg), text, sizeof(text)));
	assert_string_equal(text, "capped");
	nlmsg_free(msg);

	msg = new_error(false, NLM_F_ACK_TLVS, "with the request");
	assert_true(tlsport_nl_error_text(nlmsg_hdr(msg), text, sizeof(text)));
	assert_string_equal(text, "with the request");
	nlmsg_free(msg);

	msg = new_error(true, NLM_F_CAPPED | NLM_F_ACK_TLVS, "Unknown attribute type");
	assert_true(tlsport_nl_error_text(nlmsg_hdr(msg), text, sizeof(text)));
	assert_non_null(strstr(text, "older than this program"));
	nlmsg_free(msg);

	msg = new_error(false, 0, "not announced");
	assert_false(tlsport_nl_error_text(nlmsg_hdr(msg), text, sizeof(text)));
	nlmsg_free(msg);
}

static void lying_length_of_an_error_is_survived(void **state)
{
	struct nl_msg *msg = new_error(false, NLM_F_ACK_TLVS, "text");
	struct nlmsgerr *error = nlmsg_data(nlmsg_hdr(msg));
	char text[64];

	(void)state;
	error->msg.nlmsg_len = 1 << 20;
	assert_false(tlsport_nl_error_text(nlmsg_hdr(msg), text, sizeof(text)));
	error->msg.nlmsg_len = 3;
	assert_false(tlsport_nl_error_text(nlmsg_hdr(msg), text, sizeof(text)));
	nlmsg_free(msg);
}

static void reasons_have_names_and_texts(void **state)
{
	unsigned int reason;

	(void)state;
	for (reason = 0; reason < __TLSPORT_REASON_COUNT; reason++) {
		assert_non_null(tlsport_nl_reason_name(reason));
		assert_non_null(tlsport_nl_reason_text(reason));
	}
	assert_string_equal(tlsport_nl_reason_name(TLSPORT_REASON_PEER_RESET), "peer_reset");
	assert_string_equal(tlsport_nl_reason_text(__TLSPORT_REASON_COUNT), "?");
}

/* Needs generic netlink, and no module: the family is not there. */
static void missing_family_is_a_sentence(void **state)
{
	struct tlsport_nl nl;

	(void)state;
	if (tlsport_nl_ops->open(&nl) == 0) {
		tlsport_nl_ops->close(&nl);
		skip();
	}
	assert_string_equal(nl.error, "the tlsport module is not loaded: run 'modprobe tlsport'");
	tlsport_nl_ops->close(&nl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(port_is_parsed),
		cmocka_unit_test(port_without_number_is_refused),
		cmocka_unit_test(only_given_settings_are_sent),
		cmocka_unit_test(policy_survives_the_way_there_and_back),
		cmocka_unit_test(listener_is_parsed),
		cmocka_unit_test(conn_is_parsed),
		cmocka_unit_test(sentence_of_an_error_is_found),
		cmocka_unit_test(lying_length_of_an_error_is_survived),
		cmocka_unit_test(reasons_have_names_and_texts),
		cmocka_unit_test(missing_family_is_a_sentence),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("tlsport_nl", tests, NULL, NULL);
}
