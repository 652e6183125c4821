// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * status: module, helper, kTLS, and every counter of the enabled ports.
 */
#include "ctl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../common/tls.h"

/* Printed names of the counters and what they count. */
static const struct {
	int stat;
	const char *name;
	const char *what;
} counters[] = {
	{ TLSPORT_A_STATS_STARTED, "started", "connections taken" },
	{ TLSPORT_A_STATS_ATTACHED, "attached", "handshakes done" },
	{ TLSPORT_A_STATS_ATTACHED_TLS13, "attached_tls13", "of these TLS 1.3" },
	{ TLSPORT_A_STATS_RESUMED, "resumed", "of these by a session ticket" },
	{ TLSPORT_A_STATS_ACCEPTED, "accepted", "handed to the application" },
	{ TLSPORT_A_STATS_GUARD_SYN, "guard_syn",
	  "packets kept from a listener that is not served" },
	{ TLSPORT_A_STATS_GUARD_PAYLOAD, "guard_payload",
	  "plaintext segments stopped on the way out" },
	{ TLSPORT_A_STATS_UPCALLS, "upcalls", "messages to workers" },
	{ TLSPORT_A_STATS_UPCALL_RETRIES, "upcall_retries",
	  "upcalls that found no worker or a full socket" },
	{ TLSPORT_A_STATS_KEY_UPDATES, "key_updates", "KeyUpdate messages carried out" },
	{ TLSPORT_A_STATS_SENDFILE_COPIED, "sendfile_copied",
	  "calls that zerocopy left out, for the file may change" },
};

#define COUNTERS (sizeof(counters) / sizeof(counters[0]))

static json_t *ended_json(const struct tlsport_nl_port *port)
{
	json_t *ended = json_array();
	unsigned int reason;

	for (reason = 0; reason < __TLSPORT_REASON_COUNT; reason++)
		if (port->ended[reason])
			json_array_append_new(ended,
					      json_pack("{s:s, s:I, s:s}", "reason",
							tlsport_nl_reason_name(reason), "count",
							(json_int_t)port->ended[reason], "text",
							tlsport_nl_reason_text(reason)));
	return ended;
}

static const char *offload_text(uint8_t offload)
{
	switch (offload) {
	case TLSPORT_OFFLOAD_OFF:
		return "off";
	case TLSPORT_OFFLOAD_REQUIRE:
		return "require";
	default:
		return "auto";
	}
}

/* What becomes of clients of TLS 1.3, NULL: nothing special */
static const char *offload_tls13(const struct tlsport_nl_policy *policy)
{
	if (policy->offload != TLSPORT_OFFLOAD_REQUIRE)
		return NULL;
	return policy->max_version == 0x0303 ? "negotiate-1.2" : "refuse";
}

static json_t *crypt_json(const struct tlsport_nl_port *port)
{
	json_t *crypt = json_array();
	unsigned int why;

	for (why = 0; why < __TLSPORT_SW_COUNT; why++)
		if (port->tx_sw[why] || port->rx_sw[why])
			json_array_append_new(crypt, json_pack("{s:s, s:s?, s:I, s:I, s:s}", "mode",
							       why ? "sw" : "nic", "why",
							       why ? tlsport_nl_sw_name(why) : NULL,
							       "tx", (json_int_t)port->tx_sw[why],
							       "rx", (json_int_t)port->rx_sw[why],
							       "text", tlsport_nl_sw_text(why)));
	return crypt;
}

static json_t *port_json(const struct tlsport_nl_port *port, const json_t *daemon)
{
	const struct tlsport_nl_policy *policy = &port->policy;
	json_t *stats = json_object();
	struct port_state state;
	size_t i;

	for (i = 0; i < COUNTERS; i++)
		json_object_set_new(stats, counters[i].name,
				    json_integer(port->stats[counters[i].stat]));
	port_state(port, daemon, port->number, &state);
	return json_pack(
		"{s:i, s:s?, s:s, s:o, s:{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s?, s:b}, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:O?}",
		"port", (int)port->number, "service", service_name(port->number), "state",
		state.state, "why", output_string(state.why), "policy", "min_version",
		tls_version_name(policy->min_version), "max_version",
		tls_version_name(policy->max_version), "truncation",
		policy->truncation == TLSPORT_TRUNCATION_STRICT ? "strict" : "tolerate",
		"handshake_timeout_ms", (json_int_t)policy->handshake_timeout, "max_handshakes",
		(json_int_t)policy->max_handshakes, "max_handshakes_per_source",
		(json_int_t)policy->max_handshakes_per_source, "max_handshake_rate",
		(json_int_t)policy->max_handshake_rate, "max_handshake_rate_per_source",
		(json_int_t)policy->max_handshake_rate_per_source, "key_limit",
		(json_int_t)policy->key_limit, "offload", offload_text(policy->offload),
		"offload_tls13", offload_tls13(policy), "zerocopy", policy->zerocopy, "listeners",
		(json_int_t)port->listeners, "listeners_shut", (json_int_t)port->listeners_shut,
		"handshakes", (json_int_t)port->handshakes, "open", (json_int_t)port->open, "stats",
		stats, "ended", ended_json(port), "crypt", crypt_json(port), "certificate",
		daemon_port(daemon, port->number));
}

static long long number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static const char *string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "?";
}

static void print_helper(const json_t *daemon)
{
	json_t *worker;
	size_t i;

	if (!daemon) {
		output_line("helper   not running: all ports are shut (systemctl start %s)",
			    netns_unit());
		return;
	}
	if (daemon_silent(daemon)) {
		output_line("helper   unknown: %s", daemon_silent(daemon));
		return;
	}
	output_line("helper   tlsportd %s (pid %lld), wolfSSL %s", string(daemon, "version"),
		    number(daemon, "pid"), string(daemon, "wolfssl"));
	json_array_foreach(json_object_get(daemon, "workers"), i, worker)
		output_line(
			"worker   pid %lld, generation %lld, %s: of %lld handshakes %lld done, %lld failed",
			number(worker, "pid"), number(worker, "generation"),
			string(worker, "state"), number(worker, "begun"), number(worker, "done"),
			number(worker, "failed"));
}

static void print_system(const json_t *result)
{
	json_t *stats = json_object_get(result, "tls_stat"), *value;
	char text[CTL_ERROR_LEN];
	const char *name;

	output_cell(json_object_get(result, "module"), text, sizeof(text));
	output_line("module   loaded, version %s", text);
	print_helper(json_is_null(json_object_get(result, "helper")) ?
			     NULL :
			     json_object_get(result, "helper"));
	output_cell(json_object_get(result, "gcm_driver"), text, sizeof(text));
	output_line("kTLS     gcm(aes) by %s", text);
	json_object_foreach(stats, name, value)
		if (json_integer_value(value))
			output_line("         %-24s %lld", name,
				    (long long)json_integer_value(value));
}

/* "  what a b c", nothing of nothing */
static void print_list(const char *what, const json_t *list)
{
	char line[CTL_ERROR_LEN * 2];
	size_t used = 0, i;
	const json_t *name;

	json_array_foreach(list, i, name) {
		if (used < sizeof(line))
			used += snprintf(line + used, sizeof(line) - used, " %s",
					 json_string_value(name));
	}
	if (used >= sizeof(line))
		strcpy(line + sizeof(line) - sizeof(" ..."), " ...");
	if (used)
		output_line("  %s%s", what, line);
}

static void print_ocsp(const json_t *ocsp)
{
	const json_t *until = json_object_get(ocsp, "until"),
		     *error = json_object_get(ocsp, "error");
	char text[CTL_ERROR_LEN];

	if (json_is_integer(until)) {
		output_time(until, text, sizeof(text));
		output_line("  OCSP response stapled, valid until %s", text);
	}
	if (json_is_string(error))
		output_line("  %s", json_string_value(error));
}

static void print_lines(const char *what, const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line)
		output_line("  %s: %s", what, json_string_value(line));
}

static void print_certificate(const json_t *certificate)
{
	char until[CTL_ERROR_LEN];

	if (json_is_false(json_object_get(certificate, "usable"))) {
		output_line("  not served: %s", string(certificate, "error"));
		return;
	}
	output_time(json_object_get(certificate, "not_after"), until, sizeof(until));
	output_line("  certificate %s%s, %s, serial %s, until %s",
		    json_is_true(json_object_get(certificate, "self_signed")) ? "SELF-SIGNED " : "",
		    string(certificate, "subject"), string(certificate, "key_type"),
		    string(certificate, "serial"), until);
	output_line("  from %s", string(certificate, "cert"));
	print_list("for", json_object_get(certificate, "names"));
	print_ocsp(json_object_get(certificate, "ocsp"));
	print_lines("warning", json_object_get(certificate, "warnings"));
}

static void print_certificates(const json_t *port)
{
	const json_t *all = json_object_get(port, "certificates"), *one;
	size_t i;

	json_array_foreach(all, i, one)
		print_certificate(one);
	print_lines("warning", json_object_get(port, "client_warnings"));
	print_lines("NOT RENEWED", json_object_get(port, "renewal_errors"));
}

static void print_clients(const json_t *settings)
{
	const char *crl = json_string_value(json_object_get(settings, "client_crl"));

	output_line("  client certificates: %s, of %s, depth %lld%s%s",
		    string(settings, "client_auth"), string(settings, "client_ca"),
		    number(settings, "client_depth"), crl ? ", revocation by " : "",
		    crl ? crl : "");
}

/* With their age in hours and minutes: they are rotated, or should be. */
static void print_tickets(const json_t *settings)
{
	const char *file = json_string_value(json_object_get(settings, "ticket_keys"));
	const json_t *tickets = json_object_get(settings, "tickets");
	const json_t *since = json_object_get(tickets, "since");
	long long minutes = (time(NULL) - json_integer_value(since)) / 60;

	if (!json_is_object(tickets))
		return;
	if (minutes < 0)
		minutes = 0;
	if (!json_is_integer(since))
		output_line("  ticket keys: none from %s", file ? file : "tlsportd");
	else if (file)
		output_line("  ticket keys: %lld from %s, unchanged for %lld h %lld min",
			    number(tickets, "count"), file, minutes / 60, minutes % 60);
	else
		output_line("  ticket keys: %lld, the newest made %lld h %lld min ago",
			    number(tickets, "count"), minutes / 60, minutes % 60);
}

static void print_settings(const json_t *settings)
{
	if (!json_is_object(settings))
		return;
	output_line("  profile %s, resumption %s, ocsp %s, plaintext %s%s",
		    string(settings, "profile"),
		    json_is_true(json_object_get(settings, "resumption")) ? "on" : "off",
		    string(settings, "ocsp"), string(settings, "plaintext"),
		    json_is_true(json_object_get(settings, "strict_sni")) ? ", strict-sni on" : "");
	print_list("addresses", json_object_get(settings, "addresses"));
	print_list("ciphers", json_object_get(settings, "ciphers"));
	if (json_is_false(json_object_get(settings, "prefer_server_ciphers")))
		output_line("  prefer-server-ciphers off");
	print_list("groups", json_object_get(settings, "groups"));
	print_list("alpn", json_object_get(settings, "alpn"));
	print_tickets(settings);
	if (json_is_string(json_object_get(settings, "client_ca")))
		print_clients(settings);
	if (!strcmp(string(settings, "proxy_protocol"), "v2"))
		output_line("  proxy-protocol v2");
}

static void print_offload(const json_t *port)
{
	const json_t *policy = json_object_get(port, "policy"), *tls13, *row;
	char why[CTL_ERROR_LEN];
	size_t i;

	tls13 = json_object_get(policy, "offload_tls13");
	output_line("  offload %s, zerocopy %s%s", string(policy, "offload"),
		    json_is_true(json_object_get(policy, "zerocopy")) ? "on" : "off",
		    !json_is_string(tls13) ? "" :
		    strcmp(json_string_value(tls13), "refuse") ?
					     ": clients of TLS 1.3 get TLS 1.2" :
					     ": clients that speak TLS 1.3 are refused");
	json_array_foreach(json_object_get(port, "crypt"), i, row) {
		output_cell(json_object_get(row, "why"), why, sizeof(why));
		output_line("  %-3s %-17s %9lld sending, %lld receiving: %s", string(row, "mode"),
			    why, number(row, "tx"), number(row, "rx"), string(row, "text"));
	}
}

static void print_port(const json_t *port)
{
	const json_t *policy = json_object_get(port, "policy");
	const char *service = json_string_value(json_object_get(port, "service"));
	const char *why = string(port, "why");
	json_t *ended;
	size_t i;

	output_line("%s", "");
	output_line("port %lld%s%s%s: %s%s%s", number(port, "port"), service ? " (" : "",
		    service ? service : "", service ? ")" : "", string(port, "state"),
		    *why ? ": " : "", why);
	print_certificates(json_object_get(port, "certificate"));
	print_settings(json_object_get(json_object_get(port, "certificate"), "settings"));
	output_line(
		"  TLS %s to %s, truncation %s, handshakes at most %lld, %lld a source, %g s each, %lld records a key",
		string(policy, "min_version"), string(policy, "max_version"),
		string(policy, "truncation"), number(policy, "max_handshakes"),
		number(policy, "max_handshakes_per_source"),
		number(policy, "handshake_timeout_ms") / 1000.0, number(policy, "key_limit"));
	if (number(policy, "max_handshake_rate"))
		output_line("  handshakes that may begin in a second: %lld",
			    number(policy, "max_handshake_rate"));
	if (number(policy, "max_handshake_rate_per_source"))
		output_line("  handshakes that a source may begin in a second: %lld",
			    number(policy, "max_handshake_rate_per_source"));
	print_offload(port);
	output_line("  now: %lld listening, %lld kept shut, %lld handshakes, %lld connections",
		    number(port, "listeners"), number(port, "listeners_shut"),
		    number(port, "handshakes"), number(port, "open"));
	for (i = 0; i < COUNTERS; i++)
		output_line("  %-18s %10lld  %s", counters[i].name,
			    number(json_object_get(port, "stats"), counters[i].name),
			    counters[i].what);
	json_array_foreach(json_object_get(port, "ended"), i, ended)
		output_line("  ended %-18s %4lld  because %s", string(ended, "reason"),
			    number(ended, "count"), string(ended, "text"));
}

static void print_status(const json_t *result)
{
	json_t *port;
	size_t i;

	print_system(result);
	json_array_foreach(json_object_get(result, "ports"), i, port)
		print_port(port);
}

static bool may_be_encrypted_by_nic(const struct port_list *list, uint16_t only)
{
	const struct tlsport_nl_port *port = list->ports;

	for (size_t i = 0; i < list->count; i++, port++)
		if ((!only || port->number == only) && port->open &&
		    (port->tx_sw[TLSPORT_SW_NONE] || port->rx_sw[TLSPORT_SW_NONE]))
			return true;
	return false;
}

static int ignore_conn(const struct tlsport_nl_conn *conn, void *arg)
{
	(void)conn;
	(void)arg;
	return 0;
}

/* Of a connection that an interface left the kernel knows when it looks at it: for a dump of them. */
static int get_ports(struct tlsport_nl *nl, uint16_t only, struct port_list *list)
{
	if (port_list_get(nl, list))
		return -1;
	if (!may_be_encrypted_by_nic(list, only))
		return 0;
	free(list->ports);
	if (tlsport_nl_ops->conns(nl, only, ignore_conn, NULL))
		return -1;
	return port_list_get(nl, list);
}

static int show_status(struct tlsport_nl *nl, uint16_t only)
{
	struct port_list list;
	json_t *ports, *result, *daemon;
	size_t i;

	if (get_ports(nl, only, &list))
		return fail("%s", nl->error);
	if (only && !port_list_find(&list, only)) {
		free(list.ports);
		return fail("port %u is not enabled", only);
	}
	daemon = daemon_status();
	ports = json_array();
	for (i = 0; i < list.count; i++)
		if (!only || list.ports[i].number == only)
			json_array_append_new(ports, port_json(&list.ports[i], daemon));
	for (i = 0; i < list.count; i++)
		if ((!only || list.ports[i].number == only) && list.ports[i].listeners_shut)
			(void)listener_warn(nl, list.ports[i].number);
	result = json_pack("{s:o, s:o?, s:o, s:o, s:o}", "module", system_module_version(),
			   "helper", daemon, "gcm_driver", system_gcm_driver(), "tls_stat",
			   system_tls_stat(), "ports", ports);
	if (!ctl.json)
		print_status(result);
	output_json(result);
	free(list.ports);
	return CTL_DONE;
}

int status_command(int argc, char *argv[])
{
	static const struct args_option none[] = { { .name = NULL } };
	uint16_t port = 0;
	struct tlsport_nl nl;
	struct args args;
	int ret;

	ret = args_parse(argc, argv, none, 1, &args);
	if (!ret && args.nwords)
		ret = args_port(args.words[0], &port);
	if (ret)
		return ret;
	if (tlsport_nl_ops->open(&nl))
		return fail("%s", nl.error);
	ret = show_status(&nl, port);
	tlsport_nl_ops->close(&nl);
	return ret;
}
