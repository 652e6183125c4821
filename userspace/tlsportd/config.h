/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration files.
 *
 * DIR/tlsport.conf (need not be there), DIR/ports.d/NAME.conf and
 * RUN_DIR/ports.d/NAME.conf; a file of the run directory hides one of the same
 * name.  Sections are "[port N]"; in ports.d/N.conf, with N a port number, the
 * section line may be left out.
 */
#ifndef _TLSPORTD_CONFIG_H
#define _TLSPORTD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"
#include "tls.h"

/**
 * struct port_config - one port as configured
 * @file: where it was found
 * @line: of its section, 1 when there is no section line
 * @broken: something in its section is wrong: it can only be kept shut
 * @given: bit of each key that was given
 * @max_version: as given; see config_max_version()
 * @handshake_timeout: milliseconds
 */
struct port_config {
	uint16_t port;
	char *file;
	unsigned int line;
	bool broken;
	uint32_t given;
	char *cert;
	char *key; /* NULL: in the certificate's file */
	uint16_t min_version;
	uint16_t max_version;
	uint16_t suites[TLS_SUITES];
	size_t suite_count;
	uint16_t groups[TLS_GROUPS];
	size_t group_count;
	struct tls_alpn alpn;
	bool groups_chosen; /* by the administrator; else all that the library has */
	uint8_t truncation; /* enum tlsport_truncation */
	uint32_t handshake_timeout;
	uint32_t max_handshakes;
	uint32_t max_handshakes_per_source;
	uint32_t key_limit;
	bool resumption;
	uint8_t offload;	   /* enum tlsport_offload */
	bool offload_refuse_tls13; /* else TLS 1.2 is negotiated, where offload is required */
	bool zerocopy;
};

struct config {
	struct port_config *ports; /* by port number */
	size_t count;
};

/**
 * config_load() - read all files
 * @run_dir: NULL: none
 * @errors: one line "FILE:LINE: what is wrong, what is allowed" each
 *
 * Certificates are not looked at.  With errors @config has every port whose
 * number could be read, so that it can be kept from speaking plaintext.
 *
 * Return: 0, or -1 when there were errors; @config is to be freed either way.
 */
int config_load(const char *config_dir, const char *run_dir, struct config *config,
		struct text *errors);
void config_free(struct config *config);

/* A copy of its own; 0 or -1: out of memory, and @copy is empty. */
int config_copy(const struct config *config, struct config *copy);

/* As groups = has it; NULL: none of ours. */
const char *config_group_name(uint16_t group);

/* The highest TLS version that is spoken: offload = require may take TLS 1.3 away. */
uint16_t config_max_version(const struct port_config *port);

const struct port_config *config_find(const struct config *config, uint16_t port);

#endif /* _TLSPORTD_CONFIG_H */
