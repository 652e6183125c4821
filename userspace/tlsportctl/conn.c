// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * conns: the connections on enabled ports.
 */
#include "ctl.h"

#include <string.h>
#include <arpa/inet.h>

#include "../common/tls.h"

static const char *const state_names[] = {
	[TLSPORT_CONN_HELLO] = "hello",	    [TLSPORT_CONN_HANDSHAKE] = "handshake",
	[TLSPORT_CONN_READY] = "ready",	    [TLSPORT_CONN_OPEN] = "open",
	[TLSPORT_CONN_CLOSING] = "closing", [TLSPORT_CONN_DEAD] = "dead",
};

static const char *const mode_names[] = {
	[TLSPORT_MODE_NONE] = NULL,
	[TLSPORT_MODE_SW] = "sw",
	[TLSPORT_MODE_NIC] = "nic",
};

static const char *state_name(uint8_t state)
{
	return state < sizeof(state_names) / sizeof(state_names[0]) ? state_names[state] : "?";
}

static const char *mode_name(uint8_t mode)
{
	return mode < sizeof(mode_names) / sizeof(mode_names[0]) ? mode_names[mode] : "?";
}

/* "192.0.2.1:443", "[2001:db8::1]:443"; IPv4 on an IPv6 socket as IPv4 */
static void format_endpoint(const struct tlsport_nl_addr *addr, uint16_t port, char *text,
			    size_t len)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char host[INET6_ADDRSTRLEN] = "?";

	if (addr->len == 16 && memcmp(addr->bytes, mapped, sizeof(mapped))) {
		inet_ntop(AF_INET6, addr->bytes, host, sizeof(host));
		snprintf(text, len, "[%s]:%u", host, port);
		return;
	}
	if (addr->len)
		inet_ntop(AF_INET, addr->bytes + (addr->len == 16 ? 12 : 0), host, sizeof(host));
	snprintf(text, len, "%s:%u", host, port);
}

static void suite_text(uint16_t suite, char *text, size_t len)
{
	const struct tls_suite *known = tls_suite_by_id(suite);

	if (known)
		snprintf(text, len, "%s", known->name);
	else
		snprintf(text, len, "0x%04x", suite);
}

/* The peer chose it: only printable ASCII reaches a terminal, or JSON. */
static void clean_name(const char *name, char *text, size_t len)
{
	size_t i;

	for (i = 0; name[i] && i + 1 < len; i++)
		text[i] = name[i] > 0x20 && name[i] < 0x7f ? name[i] : '?';
	text[i] = '\0';
}

/* Why it is software; NULL: it is not, or there are no keys yet. */
static const char *sw_name(uint8_t mode, uint8_t sw)
{
	return mode == TLSPORT_MODE_SW && sw ? tlsport_nl_sw_name(sw) : NULL;
}

static int add_conn(const struct tlsport_nl_conn *conn, void *arg)
{
	char server_name[TLSPORT_NL_NAME_LEN], driver[TLSPORT_NL_DRIVER_LEN];
	char local[64], peer[64], suite[64], device[TLSPORT_NL_DEVICE_LEN];
	json_t *rows = arg;

	format_endpoint(&conn->local, conn->port, local, sizeof(local));
	format_endpoint(&conn->peer, conn->peer_port, peer, sizeof(peer));
	suite_text(conn->suite, suite, sizeof(suite));
	clean_name(conn->server_name, server_name, sizeof(server_name));
	clean_name(conn->driver, driver, sizeof(driver));
	clean_name(conn->device, device, sizeof(device));
	json_array_append_new(
		rows,
		json_pack(
			"{s:I, s:i, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:b, s:s?, s:I}",
			"id", (json_int_t)conn->id, "port", (int)conn->port, "state",
			state_name(conn->state), "peer", peer, "local", local, "version",
			tls_version_name(conn->version), "suite", conn->version ? suite : NULL,
			"tx", mode_name(conn->tx_mode), "tx_why",
			sw_name(conn->tx_mode, conn->tx_sw), "rx", mode_name(conn->rx_mode),
			"rx_why", sw_name(conn->rx_mode, conn->rx_sw), "device",
			device[0] ? device : NULL, "driver", driver[0] ? driver : NULL, "resumed",
			conn->resumed, "server_name", server_name[0] ? server_name : NULL, "age_ms",
			(json_int_t)conn->age));
	return 0;
}

static void format_age(const json_t *value, char *text, size_t len)
{
	json_int_t ms = json_integer_value(value), s = ms / 1000;

	if (ms < 10000)
		snprintf(text, len, "%lld.%llds", (long long)s, (long long)(ms % 1000 / 100));
	else if (s < 3600)
		snprintf(text, len, "%lldm%02llds", (long long)(s / 60), (long long)(s % 60));
	else
		snprintf(text, len, "%lldh%02lldm", (long long)(s / 3600),
			 (long long)(s / 60 % 60));
}

static const struct column columns[] = {
	{ "id", "ID", NULL },
	{ "state", "STATE", NULL },
	{ "peer", "PEER", NULL },
	{ "local", "LOCAL", NULL },
	{ "version", "TLS", NULL },
	{ "suite", "SUITE", NULL },
	{ "tx", "TX", NULL },
	{ "tx_why", "WHY", NULL },
	{ "rx", "RX", NULL },
	{ "rx_why", "WHY", NULL },
	{ "device", "DEVICE", NULL },
	{ "driver", "DRIVER", NULL },
	{ "resumed", "RESUMED", NULL },
	{ "server_name", "NAME", NULL },
	{ "age_ms", "AGE", format_age },
};

int conns_command(int argc, char *argv[])
{
	static const struct args_option none[] = { { .name = NULL } };
	uint16_t port = 0;
	struct tlsport_nl nl;
	struct args args;
	json_t *rows;
	int ret;

	ret = args_parse(argc, argv, none, 1, &args);
	if (!ret && args.nwords)
		ret = args_port(args.words[0], &port);
	if (ret)
		return ret;
	if (tlsport_nl_ops->open(&nl))
		return fail("%s", nl.error);
	rows = json_array();
	if (tlsport_nl_ops->conns(&nl, port, add_conn, rows)) {
		json_decref(rows);
		ret = fail("%s", nl.error);
	} else {
		output_table(columns, sizeof(columns) / sizeof(columns[0]), rows);
		output_json(json_pack("{s:o}", "connections", rows));
	}
	tlsport_nl_ops->close(&nl);
	return ret;
}
