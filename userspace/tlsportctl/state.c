// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is a port served, and if not, why?  From what the kernel and tlsportd say.
 */
#include "ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void set_state(struct port_state *state, const char *word, const char *why)
{
	state->state = word;
	snprintf(state->why, sizeof(state->why), "%s", why);
}

void port_state(const struct tlsport_nl_port *kernel, const json_t *daemon, uint16_t number,
		struct port_state *state)
{
	const json_t *entry = daemon_port(daemon, number);
	const char *error = json_string_value(json_object_get(entry, "error"));

	if (!kernel) {
		set_state(state, "plaintext", "configured, not registered in the kernel");
	} else if (!daemon) {
		set_state(state, "shut", "tlsportd is not running");
	} else if (daemon_silent(daemon)) {
		set_state(state, "unknown", daemon_silent(daemon));
	} else if (!entry) {
		set_state(state, "shut", "tlsportd does not know it: tlsportctl reload");
	} else if (!json_is_true(json_object_get(entry, "usable"))) {
		set_state(state, "shut", error && *error ? error : "no usable certificate");
	} else if (kernel->listeners_shut && !kernel->listeners) {
		set_state(state, "shut", "the listening program must be restarted");
	} else if (kernel->listeners_shut) {
		snprintf(state->why, sizeof(state->why), "%u listening socket%s kept shut",
			 kernel->listeners_shut, kernel->listeners_shut == 1 ? " is" : "s are");
		state->state = "served";
	} else if (!kernel->listeners) {
		set_state(state, "idle", "nothing listens");
	} else {
		set_state(state, "served", "");
	}
}

static int add_port(const struct tlsport_nl_port *port, void *arg)
{
	struct port_list *list = arg;
	struct tlsport_nl_port *ports;

	ports = realloc(list->ports, (list->count + 1) * sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	list->ports = ports;
	list->ports[list->count++] = *port;
	return 0;
}

static int compare_ports(const void *left, const void *right)
{
	const struct tlsport_nl_port *a = left, *b = right;

	return a->number - b->number;
}

int port_list_get(struct tlsport_nl *nl, struct port_list *list)
{
	int ret;

	memset(list, 0, sizeof(*list));
	ret = tlsport_nl_ops->ports(nl, add_port, list);
	if (ret) {
		free(list->ports);
		memset(list, 0, sizeof(*list));
		return ret;
	}
	if (list->count)
		qsort(list->ports, list->count, sizeof(*list->ports), compare_ports);
	return 0;
}

const struct tlsport_nl_port *port_list_find(const struct port_list *list, uint16_t number)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (list->ports[i].number == number)
			return &list->ports[i];
	return NULL;
}
