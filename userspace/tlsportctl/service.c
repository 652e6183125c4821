// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The well-known ports of protocols that speak TLS from the first byte (IANA
 * registry).  Ours first: /etc/services differs from system to system.
 */
#include "ctl.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <arpa/inet.h>

const struct service services[] = {
	{ "https", 443, "web" },
	{ "smtps", 465, "mail submission" },
	{ "submissions", 465, NULL },
	{ "nntps", 563, "news" },
	{ "ldaps", 636, "directory" },
	{ "domain-s", 853, "DNS" },
	{ "ftps-data", 989, "file transfer, data" },
	{ "ftps", 990, "file transfer, control" },
	{ "telnets", 992, "terminal" },
	{ "imaps", 993, "mailbox" },
	{ "pop3s", 995, "mailbox" },
	{ "radsec", 2083, "RADIUS" },
	{ "sips", 5061, "telephony" },
	{ "sip-tls", 5061, NULL },
	{ "xmpps-client", 5223, "messaging" },
	{ "xmpps", 5223, NULL },
	{ "amqps", 5671, "message queue" },
	{ "syslog-tls", 6514, "logs" },
	{ "ircs-u", 6697, "chat" },
	{ "ircs", 6697, NULL },
	{ "secure-mqtt", 8883, "message queue" },
	{ "mqtts", 8883, NULL },
	{ NULL, 0, NULL },
};

uint16_t service_port(const char *name)
{
	const struct service *service;
	struct servent *entry;

	for (service = services; service->name; service++)
		if (!strcasecmp(service->name, name))
			return service->port;
	entry = getservbyname(name, "tcp");
	return entry ? ntohs(entry->s_port) : 0;
}

const char *service_name(uint16_t port)
{
	const struct service *service;
	struct servent *entry;

	for (service = services; service->name; service++)
		if (service->port == port)
			return service->name;
	entry = getservbyport(htons(port), "tcp");
	return entry ? entry->s_name : NULL;
}

static void other_names(const struct service *first, char *text, size_t len)
{
	const struct service *service;
	size_t used = 0;

	text[0] = '\0';
	for (service = first + 1; service->name && !service->what && used < len; service++)
		used += snprintf(text + used, len - used, "%s%s", used ? ", " : "", service->name);
}

/* Works without the module and without rights: then it only names the ports. */
int services_command(int argc, char *argv[])
{
	static const struct args_option none[] = { { .name = NULL } };
	static const struct column columns[] = {
		{ "port", "PORT", NULL },  { "service", "SERVICE", NULL },
		{ "also", "ALSO", NULL },  { "protocol", "PROTOCOL", NULL },
		{ "state", "HERE", NULL },
	};
	struct port_list list = { 0 };
	const struct service *service;
	const struct tlsport_nl_port *port;
	json_t *result, *rows, *daemon = NULL;
	struct port_state state;
	struct tlsport_nl nl;
	struct args args;
	char also[128];
	bool known;
	int ret;

	ret = args_parse(argc, argv, none, 0, &args);
	if (ret)
		return ret;
	known = !tlsport_nl_ops->open(&nl);
	if (known) {
		known = !port_list_get(&nl, &list);
		tlsport_nl_ops->close(&nl);
		daemon = daemon_status();
	}
	rows = json_array();
	for (service = services; service->name; service++) {
		if (!service->what)
			continue;
		other_names(service, also, sizeof(also));
		port = port_list_find(&list, service->port);
		if (port)
			port_state(port, daemon, service->port, &state);
		json_array_append_new(rows,
				      json_pack("{s:i, s:s, s:s, s:s, s:s?}", "port",
						(int)service->port, "service", service->name,
						"also", also, "protocol", service->what, "state",
						!known ? NULL :
						port   ? state.state :
							 "not enabled"));
	}
	output_table(columns, sizeof(columns) / sizeof(columns[0]), rows);
	result = json_pack("{s:o}", "services", rows);
	output_json(result);
	json_decref(daemon);
	free(list.ports);
	return CTL_DONE;
}
