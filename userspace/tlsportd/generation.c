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
				 port_group_name(group));
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

/* The files are the port's from here on, whether they can be served or not. */
static void serve_files(struct served_port *port, struct cert_files *files,
			const struct ticket_keys *tickets)
{
	const struct port_config *config = port->config;
	struct engine_policy policy = {
		.port = config->port,
		.min_version = config->min_version,
		.max_version = port_config_max_version(config),
		.refuse_tls13 = config->offload == TLSPORT_OFFLOAD_REQUIRE,
		.client_order = config->client_order,
		.alpn = config->alpn,
		.tickets = config->resumption ? tickets : NULL,
	};

	cert_files_free(&port->files);
	port->files = *files;
	choose_suites(config, &policy);
	if (choose_groups(config, &policy, port->error, sizeof(port->error)))
		return;
	if (!cert_files_check(files, config->cert, config->key, &port->facts, port->error,
			      sizeof(port->error)))
		port->context = engine_context_new(&policy, files, &port->facts, port->error,
						   sizeof(port->error));
}

static void load_port(struct served_port *port, const struct ticket_keys *tickets)
{
	struct cert_files files;

	if (!cert_files_read(port->config->cert, port->config->key, &files, port->error,
			     sizeof(port->error)))
		serve_files(port, &files, tickets);
}

static void tell_warnings(const struct served_port *port)
{
	for (unsigned int w = 0; w < port->facts.warning_count; w++)
		log_warning("port %u: %s: %s", port->config->port, port->config->cert,
			    port->facts.warnings[w]);
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
		tell_warnings(port);
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

static bool same_files(const struct cert_files *a, const struct cert_files *b)
{
	return a->cert_len == b->cert_len && a->key_len == b->key_len && a->cert && b->cert &&
	       !memcmp(a->cert, b->cert, a->cert_len) && !memcmp(a->key, b->key, a->key_len);
}

static int copy_files(const struct cert_files *from, struct cert_files *to)
{
	*to = *from;
	to->cert = malloc(from->cert_len + 1);
	to->key = malloc(from->key_len + 1);
	if (!to->cert || !to->key) {
		free(to->cert);
		free(to->key);
		memset(to, 0, sizeof(*to));
		return -1;
	}
	memcpy(to->cert, from->cert, from->cert_len + 1); /* with the 0 behind the text */
	memcpy(to->key, from->key, from->key_len + 1);
	return 0;
}

/* true: @port is served with another certificate than @old, or at last with one. */
static bool renew_port(struct served_port *port, const struct served_port *old,
		       const struct ticket_keys *tickets, struct text *errors)
{
	struct cert_files files;
	bool same;

	if (port->config->broken) {
		memcpy(port->error, old->error, sizeof(port->error));
		return false;
	}
	load_port(port, tickets);
	same = same_files(&port->files, &old->files);
	if (port->context) {
		if (!same)
			tell_warnings(port);
		return !same;
	}
	if (!same)
		text_add(errors, "port %u: %s%s\n", port->config->port, port->error,
			 old->context ? "; the certificate in force stays" : "");
	if (old->context && !copy_files(&old->files, &files))
		serve_files(port, &files, tickets);
	return false;
}

struct generation *generation_renew(unsigned int number, const struct generation *old,
				    const struct ticket_keys *tickets, struct text *errors)
{
	struct generation *generation = calloc(1, sizeof(*generation));
	bool changed = false, whole;

	if (!generation)
		return NULL;
	generation->number = number;
	if (!config_copy(&old->config, &generation->config))
		generation->ports = calloc(old->config.count ? old->config.count : 1,
					   sizeof(*generation->ports));
	whole = generation->ports;
	for (size_t i = 0; whole && i < old->config.count; i++) {
		struct served_port *port = &generation->ports[i];

		port->config = &generation->config.ports[i];
		changed |= renew_port(port, &old->ports[i], tickets, errors);
		whole = port->context || !old->ports[i].context; /* memory was short */
	}
	if (!whole)
		text_add(errors, "out of memory\n");
	if (changed && whole)
		return generation;
	generation_free(generation);
	return NULL;
}

void generation_free(struct generation *generation)
{
	if (!generation)
		return;
	for (size_t i = 0; generation->ports && i < generation->config.count; i++) {
		engine_context_free(generation->ports[i].context);
		cert_files_free(&generation->ports[i].files);
	}
	free(generation->ports);
	config_free(&generation->config);
	free(generation);
}

const struct served_port *generation_port(const struct generation *generation, uint16_t port)
{
	const struct port_config *config = config_find(&generation->config, port);

	return config ? &generation->ports[config - generation->config.ports] : NULL;
}
