/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who a client is, by the certificate that it has proven: in words for its
 * application, which has no library for certificates.
 */
#ifndef _TLSPORTD_CLIENT_IDENTITY_H
#define _TLSPORTD_CLIENT_IDENTITY_H

#include "client_chain.h"
#include "crypt.h"
#include "hello.h"

#define CLIENT_NAMES_MAX 64

/**
 * struct client_identity - of the client's own certificate
 * @subject: RFC 4514, "" when it has none or a very long one; what cannot be written
 *	in UTF-8 without control characters is there as "#" and hexadecimal DER
 * @common_name: "" when it has none that can be written so
 * @names: of subjectAltName, each with its kind: "DNS:…", "email:…", "URI:…", "IP:…";
 *	those that cannot be written so are left out
 * @sha256: of the certificate
 */
struct client_identity {
	char subject[1024];
	char common_name[256];
	char *names[CLIENT_NAMES_MAX];
	size_t name_count;
	uint8_t sha256[CRYPT_SHA256_LEN];
};

/* @chain: not empty.  0, or -1: it could not be read, or memory ran out, and nothing to free */
int client_identity_read(const struct client_chain *chain, struct client_identity *identity);
void client_identity_free(struct client_identity *identity);

#endif /* _TLSPORTD_CLIENT_IDENTITY_H */
