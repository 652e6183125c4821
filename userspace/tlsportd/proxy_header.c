// SPDX-License-Identifier: GPL-2.0-or-later
/* PROXY protocol version 2 (HAProxy's proxy-protocol.txt, 2.2), see proxy_header.h. */
#include <string.h>

#include "proxy_header.h"

#define SIGNATURE     "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_LEN 12
#define HEADER_LEN    (SIGNATURE_LEN + 4)
#define VERSION_PROXY 0x21
#define TCP_OVER_IPV4 0x11
#define TCP_OVER_IPV6 0x21

enum {
	TYPE_ALPN = 0x01,
	TYPE_AUTHORITY = 0x02,
	TYPE_SSL = 0x20,
	SSL_VERSION = 0x21,
	SSL_CN = 0x22,
	SSL_CIPHER = 0x23,
};

enum {
	CLIENT_SSL = 0x01,
	CLIENT_CERT_CONN = 0x02,
	CLIENT_CERT_SESS = 0x04,
};

/* There is room for all that can come: names are 255 bytes at most. */
static uint8_t *put_tlv(uint8_t *at, uint8_t type, const void *data, size_t len)
{
	at[0] = type;
	put16(at + 1, len);
	memcpy(at + 3, data, len);
	return at + 3 + len;
}

static uint8_t *put_text(uint8_t *at, uint8_t type, const char *text)
{
	return *text ? put_tlv(at, type, text, strlen(text)) : at;
}

static bool is_mapped(const uint8_t *address)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return !memcmp(address, prefix, sizeof(prefix));
}

static uint8_t *put_addresses(uint8_t *at, const struct proxy_addresses *addresses, uint8_t *family)
{
	const uint8_t *local = addresses->local, *peer = addresses->peer;
	size_t len = addresses->family_len;

	if (len == 16 && is_mapped(local) && is_mapped(peer)) {
		local += 12;
		peer += 12;
		len = 4;
	}
	*family = len == 4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6;
	memcpy(at, peer, len);
	memcpy(at + len, local, len);
	put16(at + 2 * len, addresses->peer_port);
	put16(at + 2 * len + 2, addresses->local_port);
	return at + 2 * len + 4;
}

static uint8_t *put_ssl(uint8_t *at, const struct engine_result *result,
			const struct client_identity *client)
{
	uint8_t *from = at;

	at += 3;
	/* one that has none was not asked for one, or did not have to have one: that is no failure */
	*at++ = CLIENT_SSL | (client ? CLIENT_CERT_CONN | CLIENT_CERT_SESS : 0);
	memset(at, 0, 4);
	at += 4;
	at = put_text(at, SSL_VERSION, result->version == TLS_1_3 ? "TLSv1.3" : "TLSv1.2");
	if (client)
		at = put_text(at, SSL_CN, client->common_name);
	at = put_text(at, SSL_CIPHER, tls_suite_by_id(result->suite)->openssl);
	from[0] = TYPE_SSL;
	put16(from + 1, at - from - 3);
	return at;
}

size_t proxy_header(const struct proxy_addresses *addresses, const struct engine_result *result,
		    const struct client_identity *client, uint8_t *to)
{
	uint8_t *at = to + HEADER_LEN;

	memcpy(to, SIGNATURE, SIGNATURE_LEN);
	to[SIGNATURE_LEN] = VERSION_PROXY;
	at = put_addresses(at, addresses, &to[SIGNATURE_LEN + 1]);
	if (result->alpn.len)
		at = put_tlv(at, TYPE_ALPN, result->alpn.data, result->alpn.len);
	at = put_text(at, TYPE_AUTHORITY, result->server_name);
	at = put_ssl(at, result, client);
	put16(to + SIGNATURE_LEN + 2, at - to - HEADER_LEN);
	return at - to;
}
