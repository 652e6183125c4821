// SPDX-License-Identifier: GPL-2.0-or-later
/* Netlink attributes without a message around them, see details.h. */
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include <linux/tlsport.h>
#include <linux/tlsport_sockopt.h>

#include "../common/der.h"
#include "details.h"

struct details {
	uint8_t *bytes;
	size_t len;
	bool bad;
};

static void put(struct details *details, uint16_t type, const void *data, size_t len)
{
	const struct nlattr attr = { .nla_len = NLA_HDRLEN + len, .nla_type = type };
	const size_t room = NLA_HDRLEN + NLA_ALIGN(len);

	if (details->bad || len > UINT16_MAX - NLA_HDRLEN ||
	    details->len + room > TLSPORT_DETAILS_MAX) {
		details->bad = true;
		return;
	}
	memset(details->bytes + details->len, 0, room);
	memcpy(details->bytes + details->len, &attr, sizeof(attr));
	memcpy(details->bytes + details->len + NLA_HDRLEN, data, len);
	details->len += room;
}

static void put_text(struct details *details, uint16_t type, const char *text)
{
	if (*text)
		put(details, type, text, strlen(text) + 1);
}

/* Those behind the client's own only as far as there is room. */
static void put_chain(struct details *details, const struct client_chain *chain)
{
	struct bytes behind = { chain->der + chain->own_len, chain->len - chain->own_len };
	struct der one;

	put(details, TLSPORT_A_DETAIL_CLIENT_CERT, chain->der, chain->own_len);
	while (!details->bad && der_next(&behind, &one) &&
	       NLA_HDRLEN + NLA_ALIGN(one.whole.len) <= TLSPORT_DETAILS_MAX - details->len)
		put(details, TLSPORT_A_DETAIL_CLIENT_CERT, one.whole.data, one.whole.len);
}

int details_build(const struct engine_result *result, const struct client_identity *client,
		  uint8_t **to, size_t *len)
{
	struct details details = { NULL, 0, false };

	*to = NULL;
	*len = 0;
	if (!client && !result->alpn.len)
		return 0;
	details.bytes = malloc(TLSPORT_DETAILS_MAX);
	if (!details.bytes)
		return -1;
	if (result->alpn.len)
		put(&details, TLSPORT_A_DETAIL_ALPN, result->alpn.data, result->alpn.len);
	if (client) {
		put_text(&details, TLSPORT_A_DETAIL_CLIENT_SUBJECT, client->subject);
		put_text(&details, TLSPORT_A_DETAIL_CLIENT_CN, client->common_name);
		for (size_t i = 0; i < client->name_count; i++)
			put_text(&details, TLSPORT_A_DETAIL_CLIENT_NAME, client->names[i]);
		put(&details, TLSPORT_A_DETAIL_CLIENT_SHA256, client->sha256,
		    sizeof(client->sha256));
		put_chain(&details, result->client);
	}
	if (details.bad) {
		free(details.bytes);
		return -1;
	}
	*to = details.bytes;
	*len = details.len;
	return 0;
}
