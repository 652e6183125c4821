/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header of the PROXY protocol, version 2, which an application reads at the
 * head of its stream if its port is so configured: addresses, and what TLS knows.
 */
#ifndef _TLSPORTD_PROXY_HEADER_H
#define _TLSPORTD_PROXY_HEADER_H

#include "client_identity.h"
#include "engine.h"

#define PROXY_HEADER_MAX 2048

/**
 * struct proxy_addresses - of a connection, in network order
 * @family_len: of each address: 4 or 16
 */
struct proxy_addresses {
	const uint8_t *local;
	const uint8_t *peer;
	size_t family_len;
	uint16_t local_port;
	uint16_t peer_port;
};

/**
 * proxy_header() - the header of a finished handshake
 * @client: NULL: the client has no certificate
 * @to: room for PROXY_HEADER_MAX
 *
 * Return: its length.
 */
size_t proxy_header(const struct proxy_addresses *addresses, const struct engine_result *result,
		    const struct client_identity *client, uint8_t *to);

#endif /* _TLSPORTD_PROXY_HEADER_H */
