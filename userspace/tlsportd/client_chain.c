// SPDX-License-Identifier: GPL-2.0-or-later
/* The Certificate message of a client, see client_chain.h. */
#include <stdlib.h>
#include <string.h>

#include "../common/tls.h"
#include "client_chain.h"
#include "../common/der.h"

/* RFC 8446 4.4.2: context, which only post-handshake authentication has, before the list */
static int skip_context(const uint8_t **at, size_t *len)
{
	if (!*len)
		return ALERT_DECODE_ERROR;
	if (**at)
		return ALERT_ILLEGAL_PARAMETER;
	++*at;
	--*len;
	return 0;
}

/* Each a type and a body with its length */
static bool are_extensions(const uint8_t *at, size_t len)
{
	size_t n;

	for (; len; at += n, len -= n) {
		if (len < 4)
			return false;
		n = 4 + get16(at + 2);
		if (n > len)
			return false;
	}
	return true;
}

/* Extensions of one certificate: none was asked for. */
static int skip_extensions(const uint8_t **at, size_t *len)
{
	size_t n;

	if (*len < 2)
		return ALERT_DECODE_ERROR;
	n = get16(*at);
	if (n > *len - 2 || !are_extensions(*at + 2, n))
		return ALERT_DECODE_ERROR;
	if (n)
		return ALERT_UNSUPPORTED_EXTENSION;
	*at += 2;
	*len -= 2;
	return 0;
}

static int take_certificate(const uint8_t **at, size_t *len, struct client_chain *chain)
{
	struct der value;
	size_t n;

	if (*len < 3)
		return ALERT_DECODE_ERROR;
	n = get24(*at);
	/* The library does not look at what is behind it. */
	if (n > *len - 3 || !der_only((struct bytes){ *at + 3, n }, &value))
		return ALERT_DECODE_ERROR;
	memcpy(chain->der + chain->len, *at + 3, n);
	chain->len += n;
	if (!chain->count++)
		chain->own_len = n;
	*at += 3 + n;
	*len -= 3 + n;
	return 0;
}

int client_chain_parse(uint16_t version, const uint8_t *body, size_t len,
		       struct client_chain *chain)
{
	int alert = version == TLS_1_3 ? skip_context(&body, &len) : 0;

	memset(chain, 0, sizeof(*chain));
	if (alert)
		return alert;
	if (len < 3 || get24(body) != len - 3)
		return ALERT_DECODE_ERROR;
	body += 3;
	len -= 3;
	if (!len)
		return 0;
	chain->der = malloc(len);
	if (!chain->der)
		return ALERT_INTERNAL_ERROR;
	while (len && !alert) {
		alert = take_certificate(&body, &len, chain);
		if (!alert && version == TLS_1_3)
			alert = skip_extensions(&body, &len);
	}
	if (alert)
		client_chain_free(chain);
	return alert;
}

/* serialNumber, signature, issuer, validity */
#define BEFORE_SUBJECT 4

bool client_chain_subject(const struct client_chain *chain, struct bytes *rest)
{
	struct bytes from = { chain->der, chain->own_len };
	struct der cert, body, value;

	if (!der_next(&from, &cert) || !der_next(&cert.body, &body))
		return false;
	*rest = body.body;
	if (der_next(&body.body, &value) && value.tag == DER_VERSION)
		*rest = body.body;
	for (int i = 0; i < BEFORE_SUBJECT; i++)
		if (!der_next(rest, &value))
			return false;
	return true;
}

static bool is_oid(const struct der *value, const void *oid, size_t len)
{
	return value->tag == DER_OID && value->body.len == len &&
	       !memcmp(value->body.data, oid, len);
}

/* RFC 5480 2.1.1 */
static uint16_t curve_of(const struct der *parameters)
{
	if (is_oid(parameters, "\x2a\x86\x48\xce\x3d\x03\x01\x07", 8))
		return GROUP_SECP256R1;
	if (is_oid(parameters, "\x2b\x81\x04\x00\x22", 5))
		return GROUP_SECP384R1;
	if (is_oid(parameters, "\x2b\x81\x04\x00\x23", 5))
		return GROUP_SECP521R1;
	return CLIENT_KEY_ECDSA;
}

uint16_t client_chain_key(const struct client_chain *chain)
{
	struct der subject, info, algorithm, type, parameters;
	struct bytes rest;

	if (!client_chain_subject(chain, &rest) || !der_next(&rest, &subject) ||
	    !der_next(&rest, &info) || !der_next(&info.body, &algorithm) ||
	    !der_next(&algorithm.body, &type))
		return CLIENT_KEY_UNREADABLE;
	/* RFC 3279 2.3 */
	if (is_oid(&type, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9))
		return CLIENT_KEY_RSA;
	/* RFC 4055 3.1 */
	if (is_oid(&type, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", 9))
		return der_next(&algorithm.body, &parameters) ? CLIENT_KEY_RSA_PSS_LIMITED :
								CLIENT_KEY_RSA_PSS;
	if (!is_oid(&type, "\x2a\x86\x48\xce\x3d\x02\x01", 7))
		return CLIENT_KEY_OTHER;
	return der_next(&algorithm.body, &parameters) ? curve_of(&parameters) : CLIENT_KEY_ECDSA;
}

void client_chain_free(struct client_chain *chain)
{
	free(chain->der);
	memset(chain, 0, sizeof(*chain));
}
