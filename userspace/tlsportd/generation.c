// SPDX-License-Identifier: GPL-2.0-or-later
/* Configuration and certificates together, see generation.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/signer.h"
#include "../common/token_uri.h"
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

static bool asks_clients(const struct served_port *port)
{
	return port->config->client_auth != CLIENT_AUTH_NONE;
}

/* With the file's name: there may be many. */
static void name_refusal(struct certificate *certificate)
{
	char why[ENGINE_REFUSAL_LEN];

	if (!certificate->refusal[0])
		return;
	memcpy(why, certificate->refusal, sizeof(why));
	snprintf(certificate->refusal, sizeof(certificate->refusal), "%s: %s", certificate->cert,
		 why);
}

/* In place of what the engine says of it, which has no name in it */
static void note_error(struct served_port *port, const char *err)
{
	const struct certificates *certificates = &port->certificates;

	for (size_t i = certificates->count; i-- > 0;)
		if (certificates->list[i].refusal[0])
			err = certificates->list[i].refusal;
	if (!port->error[0])
		snprintf(port->error, sizeof(port->error), "%s", err);
}

/* With those that are usable; port->context stays NULL, with port->error, when none are. */
static void serve(struct served_port *port, struct ticket_store *tickets)
{
	struct certificates *certificates = &port->certificates;
	const struct port_config *config = port->config;
	char err[sizeof(port->error)] = "";
	struct engine_policy policy = {
		.port = config->port,
		.min_version = config->min_version,
		.max_version = port_config_max_version(config),
		.refuse_tls13 = config->offload == TLSPORT_OFFLOAD_REQUIRE,
		.client_order = config->client_order,
		.alpn = config->alpn,
		.strict_sni = config->strict_sni,
		.plaintext = config->plaintext,
		.tickets = config->resumption ? ticket_store_keys(tickets, config->ticket_keys) :
						NULL,
		.clients = {
			.ca = asks_clients(port) ? &port->clients : NULL,
			.required = config->client_auth == CLIENT_AUTH_REQUIRE,
			.depth = config->client_depth,
		},
	};
	struct engine_certificate *usable = calloc(certificates->count + 1, sizeof(*usable));
	size_t count = 0;

	for (size_t i = 0; usable && i < certificates->count; i++) {
		struct certificate *one = &certificates->list[i];

		if (one->usable)
			usable[count++] = (struct engine_certificate){ &one->files, &one->facts,
								       &one->names, &one->response,
								       one->refusal };
		else if (!port->error[0])
			snprintf(port->error, sizeof(port->error), "%s", one->error);
	}
	choose_suites(config, &policy);
	if (count && !choose_groups(config, &policy, port->error, sizeof(port->error)))
		port->context = engine_context_new(&policy, usable, count, err, sizeof(err));
	free(usable);
	for (size_t i = 0; i < certificates->count; i++)
		name_refusal(&certificates->list[i]);
	note_error(port, err);
}

static void tell_response(const struct served_port *port, const struct certificate *certificate)
{
	if (certificate->response_error[0])
		log_warning("port %u: %s: %s", port->config->port, certificate->cert,
			    certificate->response_error);
}

static void tell_warnings(const struct served_port *port, const struct certificate *certificate)
{
	for (unsigned int w = 0; w < certificate->facts.warning_count; w++)
		log_warning("port %u: %s: %s", port->config->port, certificate->cert,
			    certificate->facts.warnings[w]);
}

/* @key: that names what is wrong, "": the port */
static void tell_error(const struct served_port *port, const char *key, const char *error,
		       struct text *errors)
{
	text_add(errors, "%s:%u: port %u: %s\n", port->config->file,
		 port_config_line(port->config, key), port->config->port, error);
}

/* What is wrong stands in front: a file, or the key of the configuration. */
static bool is_of(const char *error, const char *name)
{
	size_t len = name ? strlen(name) : 0;

	return len && !strncmp(error, name, len) && error[len] == ':';
}

/* Of the error, which is one of the certificate's */
static const char *key_of(const struct served_port *port, const struct certificate *certificate,
			  const char *error)
{
	const struct port_config *config = port->config;

	if (is_of(error, config->passphrase))
		return "passphrase";
	if (!config->cert || strcmp(certificate->cert, config->cert))
		return "cert-dir";
	if (is_of(error, config->cert)) /* it may have the key, too */
		return "cert";
	return is_of(error, config->key) ? "key" : "cert";
}

static void tell_certificate(const struct served_port *port, const struct certificate *certificate,
			     const char *error, struct text *errors)
{
	tell_error(port, key_of(port, certificate, error), error, errors);
}

static void tell_refusals(const struct served_port *port, struct text *errors)
{
	const struct certificates *certificates = &port->certificates;

	for (size_t i = 0; i < certificates->count; i++)
		if (certificates->list[i].refusal[0])
			tell_certificate(port, &certificates->list[i],
					 certificates->list[i].refusal, errors);
}

/* 0 or -1: without its authorities a port that asks for certificates cannot be served. */
static int load_clients(struct served_port *port, struct text *errors)
{
	const struct port_config *config = port->config;
	char err[sizeof(port->error)];

	if (!asks_clients(port))
		return 0;
	if (client_ca_read(config->client_ca, config->client_crl, &port->clients, err,
			   sizeof(err))) {
		memcpy(port->error, err, sizeof(port->error));
		tell_error(port, is_of(err, config->client_ca) ? "client-ca" : "client-crl", err,
			   errors);
		return -1;
	}
	if (err[0])
		log_warning("port %u: %s", config->port, err);
	return 0;
}

/* Without them it is served all the same, if there is no better generation. */
static void add_ticket_keys(const struct served_port *port, struct ticket_store *tickets,
			    struct text *errors)
{
	char err[512] = "";

	if (!port->config->ticket_keys)
		return;
	if (ticket_store_add(tickets, port->config->ticket_keys, err, sizeof(err)))
		tell_error(port, "ticket-keys", err, errors);
	else if (err[0])
		log_warning("port %u: %s", port->config->port, err);
}

static void load_port(struct served_port *port, const char *run_dir, struct ticket_store *tickets,
		      struct text *errors)
{
	struct certificates *certificates = &port->certificates;
	char err[512] = "";
	size_t before;

	if (port_config_note(port->config, err, sizeof(err)))
		log_notice("port %u: %s", port->config->port, err);
	add_ticket_keys(port, tickets, errors);
	err[0] = '\0';
	before = errors->len;

	if (certificates_find(port->config, run_dir, certificates, err, sizeof(err))) {
		memcpy(port->error, err, sizeof(port->error));
		tell_error(port, "cert-dir", err, errors);
		return;
	}
	if (err[0])
		tell_error(port, "cert-dir", err, errors);
	for (size_t i = 0; i < certificates->count; i++) {
		certificate_load(&certificates->list[i]);
		tell_warnings(port, &certificates->list[i]);
		tell_response(port, &certificates->list[i]);
		if (!certificates->list[i].usable)
			tell_certificate(port, &certificates->list[i], certificates->list[i].error,
					 errors);
	}
	if (load_clients(port, errors))
		return;
	serve(port, tickets);
	tell_refusals(port, errors);
	if (port->error[0] && errors->len == before)
		tell_error(port, is_of(port->error, "groups") ? "groups" : "", port->error, errors);
}

/* All at once: each may take its time. */
static void start_signers(const struct config *config)
{
	for (size_t i = 0; i < config->count; i++)
		if (!config->ports[i].broken && token_uri_is(config->ports[i].key))
			signer_begin(config->ports[i].key, config->ports[i].passphrase);
}

struct generation *generation_new(unsigned int number, const char *config_dir, const char *run_dir,
				  struct text *errors)
{
	struct generation *generation = calloc(1, sizeof(*generation));

	if (!generation) {
		text_add(errors, "out of memory\n");
		return NULL;
	}
	generation->number = number;
	generation->run_dir = run_dir;
	config_load(config_dir, run_dir, &generation->config, errors);
	return generation;
}

int generation_fill(struct generation *generation, struct ticket_store *tickets,
		    struct text *errors)
{
	const struct config *config = &generation->config;

	generation->ports = calloc(config->count ? config->count : 1, sizeof(*generation->ports));
	if (!generation->ports) {
		text_add(errors, "out of memory\n");
		return -1;
	}
	start_signers(config);
	for (size_t i = 0; i < config->count; i++) {
		struct served_port *port = &generation->ports[i];

		port->config = &config->ports[i];
		if (port->config->broken) {
			snprintf(port->error, sizeof(port->error),
				 "wrong configuration, see the log");
			continue; /* that it is wrong is among the errors */
		}
		load_port(port, generation->run_dir, tickets, errors);
	}
	return 0;
}

struct generation *generation_load(unsigned int number, const char *config_dir, const char *run_dir,
				   struct ticket_store *tickets, struct text *errors)
{
	struct generation *generation = generation_new(number, config_dir, run_dir, errors);

	if (generation && generation_fill(generation, tickets, errors)) {
		generation_free(generation);
		return NULL;
	}
	return generation;
}

static void tell_stale(const struct served_port *port, const char *error, bool stays,
		       struct text *errors)
{
	text_add(errors, "port %u: %s%s\n", port->config->port, error,
		 stays ? "; the certificate in force stays" : "");
}

/* true: it is another than @old, which may be NULL, or usable at last. */
static bool renew_certificate(const struct served_port *port, struct certificate *certificate,
			      const struct certificate *old, struct text *errors)
{
	bool same, in_force = old && old->usable;

	certificate_load(certificate);
	/* a file that is gone is meant so; one that is older may be a replay */
	if (in_force && (certificate->response_bad || certificate->response.len) &&
	    certificate_keep_response(certificate, old))
		text_add(errors, "out of memory\n");
	if (!old || strcmp(certificate->response_error, old->response_error))
		tell_response(port, certificate);
	same = old && certificate_same(certificate, old);
	if (certificate->usable) {
		if (!same)
			tell_warnings(port, certificate);
		return !same || !in_force;
	}
	if (!same)
		tell_stale(port, certificate->error, in_force, errors);
	if (in_force && certificate_keep(certificate, old))
		text_add(errors, "out of memory\n");
	return false;
}

/* true: they are others than @old's; those stay where the new ones are of no use. */
static bool renew_clients(struct served_port *port, const struct served_port *old,
			  struct text *errors)
{
	const struct port_config *config = port->config;
	char err[sizeof(port->error)];

	if (!asks_clients(port))
		return false;
	if (client_ca_read(config->client_ca, config->client_crl, &port->clients, err,
			   sizeof(err))) {
		text_add(errors, "port %u: %s%s\n", config->port, err,
			 old->clients.ca ? "; what is in force stays" : "");
		if (client_ca_copy(&old->clients, &port->clients))
			text_add(errors, "out of memory\n");
		return false;
	}
	if (client_ca_same(&port->clients, &old->clients))
		return false;
	if (err[0])
		log_warning("port %u: %s", config->port, err);
	return true;
}

/* 0 or -1: out of memory */
static int keep_certificates(struct served_port *port, const struct served_port *old)
{
	certificates_free(&port->certificates);
	memcpy(port->error, old->error, sizeof(port->error));
	return certificates_copy(&old->certificates, &port->certificates);
}

/* The directory beside cert is not there, or empty: hardly what is meant, and no name is lost for it. */
static void keep_directory(struct served_port *port, const struct served_port *old, const char *err,
			   struct text *errors)
{
	size_t count = port->certificates.count;

	if (certificates_keep_others(&old->certificates, &port->certificates))
		text_add(errors, "out of memory\n");
	tell_stale(port, err, port->certificates.count > count, errors);
}

static void serve_clients(struct served_port *port, struct ticket_store *tickets)
{
	if (port->clients.ca || !asks_clients(port))
		serve(port, tickets);
}

/* As it was, with nothing of what was found now. */
static void keep_port(struct served_port *port, const struct served_port *old,
		      struct ticket_store *tickets)
{
	client_ca_free(&port->clients);
	if (!keep_certificates(port, old) && !client_ca_copy(&old->clients, &port->clients))
		serve_clients(port, tickets);
}

/* All that is new and does not go with the port's settings, or what else is wrong */
static void tell_unserved(const struct served_port *port, bool stays, struct text *errors)
{
	const struct certificates *certificates = &port->certificates;
	const size_t before = errors->len;

	for (size_t i = 0; i < certificates->count; i++)
		if (certificates->list[i].refusal[0])
			tell_stale(port, certificates->list[i].refusal, stays, errors);
	if (port->error[0] && errors->len == before)
		tell_stale(port, port->error, stays, errors);
}

/* true: @port is served with other certificates than @old, or at last with one. */
static bool renew_port(struct served_port *port, const struct served_port *old, const char *run_dir,
		       struct ticket_store *tickets, struct text *errors)
{
	struct certificates *certificates = &port->certificates;
	char err[sizeof(port->error)] = "";
	bool changed = false;

	if (port->config->broken) {
		memcpy(port->error, old->error, sizeof(port->error));
		return false;
	}
	if (certificates_find(port->config, run_dir, certificates, err, sizeof(err))) {
		tell_stale(port, err, old->context, errors);
		/* who is revoked does not depend on it */
		if (keep_certificates(port, old))
			return false;
		changed = renew_clients(port, old, errors);
		serve_clients(port, tickets);
		return changed && port->context;
	}
	for (size_t i = 0; i < certificates->count; i++) {
		struct certificate *one = &certificates->list[i];

		changed |= renew_certificate(
			port, one, certificates_of_file(&old->certificates, one->cert), errors);
	}
	if (err[0])
		keep_directory(port, old, err, errors);
	changed |= certificates_usable(certificates) != certificates_usable(&old->certificates);
	changed |= renew_clients(port, old, errors);
	serve_clients(port, tickets);
	if (changed)
		tell_unserved(port, !port->context && old->context, errors);
	if (port->context)
		return changed;
	keep_port(port, old, tickets);
	return false;
}

struct generation *generation_renew(unsigned int number, const struct generation *old,
				    struct ticket_store *tickets, struct text *errors)
{
	struct generation *generation = calloc(1, sizeof(*generation));
	bool changed = false, whole;

	if (!generation)
		return NULL;
	generation->number = number;
	generation->run_dir = old->run_dir;
	if (!config_copy(&old->config, &generation->config))
		generation->ports = calloc(old->config.count ? old->config.count : 1,
					   sizeof(*generation->ports));
	whole = generation->ports;
	start_signers(&generation->config);
	for (size_t i = 0; whole && i < old->config.count; i++) {
		struct served_port *port = &generation->ports[i];

		port->config = &generation->config.ports[i];
		changed |= renew_port(port, &old->ports[i], generation->run_dir, tickets, errors);
		whole = port->context || !old->ports[i].context; /* memory was short */
	}
	if (!whole)
		text_add(errors, "out of memory\n");
	if (changed && whole)
		return generation;
	generation_free(generation);
	return NULL;
}

size_t generation_connect(const struct generation *generation, int *sockets)
{
	size_t count = 0;

	for (size_t i = 0; i < generation->config.count; i++) {
		const struct certificates *all = &generation->ports[i].certificates;

		/* Of a directory all keys are files. */
		for (size_t j = 0; j < all->count; j++) {
			const struct cert_files *files = &all->list[j].files;
			int fd;

			if (!all->list[j].usable || !files->signer)
				continue;
			fd = signer_connect(files->signer);
			if (fd >= 0)
				sockets[count++] = fd;
			else
				log_error(
					"port %u: %s: the process that signs with it cannot be asked: %s",
					generation->config.ports[i].port, files->key,
					strerror(errno));
		}
	}
	return count;
}

static bool has_token(const struct certificates *all)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct certificate *one = &all->list[i];

		if (one->usable && one->files.signer && signer_lives(one->files.signer))
			return true;
	}
	return false;
}

/* Not by the certificates that a port has: one of no use may have been left out. */
bool generation_wants_token(const struct generation *generation)
{
	for (size_t i = 0; i < generation->config.count; i++) {
		const struct served_port *port = &generation->ports[i];

		if (!port->config->broken && token_uri_is(port->config->key) &&
		    !has_token(&port->certificates))
			return true;
	}
	return signer_missed();
}

static void tell_ends(uint16_t port, const struct certificate *certificate, time_t now)
{
	char text[CERT_WARNING_LEN];

	if (cert_ends(&certificate->facts, now, text, sizeof(text)))
		log_error("port %u: %s: %s: renew it", port, certificate->cert, text);
	if (certificate->response.len && certificate->response.until <= now)
		log_error("port %u: %s: its OCSP response has expired: none is stapled", port,
			  certificate->cert);
}

static void tell_clients(const struct served_port *port, time_t now)
{
	const struct port_config *config = port->config;
	char text[512];

	for (size_t at = 0; client_ca_warning(&port->clients, config->client_ca, config->client_crl,
					      now, &at, text, sizeof(text));)
		log_error("port %u: %s", config->port, text);
}

void generation_tell_ends(const struct generation *generation)
{
	time_t now = time(NULL);

	for (size_t i = 0; i < generation->config.count; i++) {
		const struct certificates *all = &generation->ports[i].certificates;

		for (size_t j = 0; j < all->count; j++)
			if (all->list[j].usable)
				tell_ends(generation->config.ports[i].port, &all->list[j], now);
		if (generation->ports[i].context)
			tell_clients(&generation->ports[i], now);
	}
}

void generation_free(struct generation *generation)
{
	if (!generation)
		return;
	for (size_t i = 0; generation->ports && i < generation->config.count; i++) {
		engine_context_free(generation->ports[i].context);
		certificates_free(&generation->ports[i].certificates);
		client_ca_free(&generation->ports[i].clients);
	}
	free(generation->ports);
	config_free(&generation->config);
	free(generation);
}

int64_t generation_longest(const struct generation *generation)
{
	uint32_t longest = 0;

	for (size_t i = 0; i < generation->config.count; i++)
		if (generation->config.ports[i].handshake_timeout > longest)
			longest = generation->config.ports[i].handshake_timeout;
	return longest;
}

const struct served_port *generation_port(const struct generation *generation, uint16_t port)
{
	const struct port_config *config = config_find(&generation->config, port);

	return config ? &generation->ports[config - generation->config.ports] : NULL;
}
