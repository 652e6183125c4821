/* SPDX-License-Identifier: MIT */
/*
 * libtlsport: what a program may ask about the TLS of a connection that accept()
 * gave it.  Programs that do not ask need none of it.
 *
 *	struct tlsport *tls = tlsport_info(fd);
 *
 *	if (tls && tls->client)
 *		printf("%s is here\n", tls->client->subject);
 *	tlsport_free(tls);
 *
 * Link with -ltlsport.  No privilege is needed, and no key can be had.
 */
#ifndef _TLSPORT_LIB_H
#define _TLSPORT_LIB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct tlsport_certificate - DER
 */
struct tlsport_certificate {
	const uint8_t *der;
	size_t len;
};

/**
 * struct tlsport_client - by the certificate that it has proven
 * @subject: as RFC 4514 writes it: "CN=…,O=…"; "" when the certificate has none
 * @common_name: likewise
 * @names: of subjectAltName: "DNS:…", "email:…", "URI:…", "IP:…"
 * @name_count: of @names
 * @sha256: of the certificate
 * @chain: the certificate, and what the client sent behind it, which it has not proven
 * @chain_len: of @chain
 */
struct tlsport_client {
	const char *subject;
	const char *common_name;
	const char *const *names;
	size_t name_count;
	uint8_t sha256[32];
	const struct tlsport_certificate *chain;
	size_t chain_len;
};

/**
 * struct tlsport - a connection
 * @id: as in "tlsportctl conns"
 * @version: 0x0303 for TLS 1.2, 0x0304 for TLS 1.3
 * @suite: IANA number of the cipher suite
 * @resumed: not 0: by a session ticket
 * @tx_nic: not 0: a network interface encrypts
 * @rx_nic: not 0: a network interface decrypts
 * @server_name: the host name that the client asked for; "" for none
 * @alpn: the protocol that was negotiated; "" for none
 * @client: NULL: it has shown no certificate
 */
struct tlsport {
	uint64_t id;
	uint16_t version;
	uint16_t suite;
	int resumed;
	int tx_nic;
	int rx_nic;
	const char *server_name;
	const char *alpn;
	const struct tlsport_client *client;
};

/**
 * tlsport_info() - ask
 * @fd: a connection
 *
 * Return: to be freed with tlsport_free(), which frees all that it points to; NULL
 * with errno: ENOPROTOOPT: it is no connection of a TLS port; ENOTSOCK, EBADF; ENOMEM.
 */
struct tlsport *tlsport_info(int fd);

/* NULL is allowed. */
void tlsport_free(struct tlsport *tlsport);

#ifdef __cplusplus
}
#endif

#endif /* _TLSPORT_LIB_H */
