/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an application may ask of its connection: attributes of linux/tlsport_sockopt.h. */
#ifndef _TLSPORTD_DETAILS_H
#define _TLSPORTD_DETAILS_H

#include "client_identity.h"
#include "engine.h"

/**
 * details_build() - of a finished handshake
 * @client: NULL: the client has no certificate
 * @to: to be freed; NULL: there is nothing to tell
 *
 * Return: 0, or -1: they do not fit, or memory ran out.
 */
int details_build(const struct engine_result *result, const struct client_identity *client,
		  uint8_t **to, size_t *len);

#endif /* _TLSPORTD_DETAILS_H */
