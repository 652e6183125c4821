// SPDX-License-Identifier: GPL-2.0-or-later
/* Configuration and certificates together, see generation.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypt.h"
#include "generation.h"
#include "log.h"

/* Of those that nobody has asked for, the ones that the library has. */
static int choose_groups(const struct port_config *config, struct engine_policy *policy, char *err,
			 size_t errlen)
{
	for (size_t i = 0; i < config->group_count; i++) {
		uint16_t group = config->groups[i];

		if (crypt_has_group(group)) {
			policy->groups[policy->group_count++] = group;
		} else if (config->groups_chosen) {
			snprintf(err, errlen, "groups: wolfSSL %s has no %s", engine_library(),
				 config_group_name(group));
			return -1;
		}
	}
	return 0;
}

/* The kernel offloads AES-GCM only: where offload is required nothing else is negotiated. */
static void choose_suites(const struct port_config *config, struct engine_policy *policy)
{
	const struct tls_suite *suite;

	for (size_t i = 0; i < config->suite_count; i++) {
		suite = tls_suite_by_id(config->suites[i]);
		if (config->offload == TLSPORT_OFFLOAD_REQUIRE && suite &&
		    suite->aead == AEAD_CHACHA20_POLY1305)
			continue;
		policy->suites[policy->suite_count++] = config->suites[i];
	}
}

static void load_port(struct served_port *port, const struct ticket_keys *tickets)
{
	const struct port_config *config = port->config;
	struct engine_policy policy = {
		.port = config->port,
		.min_version = config->min_version,
		.max_version = config_max_version(config),
		.refuse_tls13 = config->offload == TLSPORT_OFFLOAD_REQUIRE,
		.alpn = config->alpn,
		.tickets = config->resumption ? tickets : NULL,
	};
	struct cert_files files;

	choose_suites(config, &policy);
	if (choose_groups(config, &policy, port->error, sizeof(port->error)))
		return;
	if (cert_files_read(config->cert, config->key, &files, port->error, sizeof(port->error)))
		return;
	if (!cert_files_check(&files, config->cert, config->key, &port->facts, port->error,
			      sizeof(port->error)))
		port->context = engine_context_new(&policy, &files, &port->facts, port->error,
						   sizeof(port->error));
	cert_files_free(&files);
}

static int load_ports(struct generation *generation, const struct ticket_keys *tickets,
		      struct text *errors)
{
	const struct config *config = &generation->config;

	generation->ports = calloc(config->count ? config->count : 1, sizeof(*generation->ports));
	if (!generation->ports) {
		text_add(errors, "out of memory\n");
		return -1;
	}
	for (size_t i = 0; i < config->count; i++) {
		struct served_port *port = &generation->ports[i];

		port->config = &config->ports[i];
		if (port->config->broken) {
			snprintf(port->error, sizeof(port->error),
				 "wrong configuration, see the log");
			continue; /* that it is wrong is among the errors */
		}
		load_port(port, tickets);
		for (unsigned int w = 0; w < port->facts.warning_count; w++)
			log_warning("port %u: %s: %s", port->config->port, port->config->cert,
				    port->facts.warnings[w]);
		if (!port->context)
			text_add(errors, "%s:%u: port %u: %s\n", port->config->file,
				 port->config->line, port->config->port, port->error);
	}
	return 0;
}

struct generation *generation_load(unsigned int number, const char *config_dir, const char *run_dir,
				   const struct ticket_keys *tickets, struct text *errors)
{
	struct generation *generation = calloc(1, sizeof(*generation));

	if (!generation) {
		text_add(errors, "out of memory\n");
		return NULL;
	}
	generation->number = number;
	config_load(config_dir, run_dir, &generation->config, errors);
	if (load_ports(generation, tickets, errors)) {
		generation_free(generation);
		return NULL;
	}
	return generation;
}

void generation_free(struct generation *generation)
{
	if (!generation)
		return;
	for (size_t i = 0; generation->ports && i < generation->config.count; i++)
		engine_context_free(generation->ports[i].context);
	free(generation->ports);
	config_free(&generation->config);
	free(generation);
}

const struct served_port *generation_port(const struct generation *generation, uint16_t port)
{
	const struct port_config *config = config_find(&generation->config, port);

	return config ? &generation->ports[config - generation->config.ports] : NULL;
}
