/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A generation: one configuration with all its certificates and keys loaded.
 * Workers are forked with one and keep it for life.
 */
#ifndef _TLSPORTD_GENERATION_H
#define _TLSPORTD_GENERATION_H

#include "certificates.h"
#include "config.h"
#include "engine.h"
#include "text.h"
#include "ticket_store.h"

/**
 * struct served_port - a port and what its handshakes need
 * @context: NULL: there is no usable certificate, @error says why
 * @certificates: what it was made from, and those that are not usable
 * @clients: authorities of client certificates, where the port asks for them
 * @gone: tlsportctl has taken it out of the kernel since it was set: the parent leaves it so
 */
struct served_port {
	const struct port_config *config;
	struct engine_context *context;
	struct certificates certificates;
	struct client_ca clients;
	bool gone;
	char error[512];
};

/**
 * struct generation - see above
 * @number: 1, 2, ...
 * @run_dir: of the daemon
 * @ports: one for each of @config, in its order
 * @workers: how many have it; the parent frees it after the last
 */
struct generation {
	unsigned int number;
	const char *run_dir;
	struct config config;
	struct served_port *ports;
	unsigned int workers;
};

/**
 * generation_new() - read the configuration, and nothing that it names
 * @number: for the new generation
 * @errors: one line each
 *
 * Return: for generation_fill(), or NULL when memory ran out.
 */
struct generation *generation_new(unsigned int number, const char *config_dir, const char *run_dir,
				  struct text *errors);

/* Reads certificates and keys.  0, or -1: memory ran out */
int generation_fill(struct generation *generation, struct ticket_store *tickets,
		    struct text *errors);

/**
 * generation_load() - both
 *
 * With errors, too, there is a generation: a port whose configuration or
 * certificate is wrong has no context, and is kept shut.  A daemon that starts
 * has no better one; a running daemon stays with the one that it has.
 *
 * Return: NULL when memory ran out.
 */
struct generation *generation_load(unsigned int number, const char *config_dir, const char *run_dir,
				   struct ticket_store *tickets, struct text *errors);
void generation_free(struct generation *generation);

/**
 * generation_connect() - in a worker to be: it can have signatures made by tokens
 * @sockets: those that must stay open for it; room for one of each port
 *
 * Return: how many there are.  A token that is gone is logged: the other ports are served.
 */
size_t generation_connect(const struct generation *generation, int *sockets);

/* Is there a token that should serve, and does not, or has not what the last pass asked for? */
bool generation_wants_token(const struct generation *generation);

/*
 * Logs which certificates end soon, with those of their issuers and of clients' authorities, also
 * which revocation lists, and whose OCSP responses have: whoever should have renewed them may not
 * have noticed.
 */
void generation_tell_ends(const struct generation *generation);

/**
 * generation_renew() - the same configuration with the certificates of now
 * @number: for the new generation
 * @old: in force
 * @errors: of what is there now and cannot be served: the old one stays in its place
 *
 * Return: NULL when no port would be served with another certificate, or memory ran out.
 */
struct generation *generation_renew(unsigned int number, const struct generation *old,
				    struct ticket_store *tickets, struct text *errors);

/* Milliseconds: the longest handshake-timeout of its ports. */
int64_t generation_longest(const struct generation *generation);

/* NULL: not configured. */
const struct served_port *generation_port(const struct generation *generation, uint16_t port);

#endif /* _TLSPORTD_GENERATION_H */
