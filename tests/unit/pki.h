/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests: certificate authorities, what they issue and what they revoke, by OpenSSL. */
#ifndef _TESTS_PKI_H
#define _TESTS_PKI_H

#include <stdbool.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "../../userspace/common/client_ca.h"

struct party {
	X509 *x509;
	EVP_PKEY *key;
};

/**
 * struct wish - a certificate that is wanted
 * @algorithm: "P-256", "P-384", "P-521", "RSA", "RSA1024", "ED25519", "RSA-PSS[-SHA256]"
 * @usage: extendedKeyUsage, NULL: none
 * @from: days from now
 * @to: likewise
 * @crl: where its revocation list is, as OpenSSL's configuration has it, NULL: nowhere
 * @basic: basicConstraints as OpenSSL's configuration has it, NULL: as @ca says
 * @allowed: nameConstraints, likewise, NULL: none
 * @strange: has a critical extension that nobody knows
 * @names: subjectAltName as OpenSSL's configuration has it, NULL: none
 */
struct wish {
	const char *name;
	const char *algorithm;
	bool ca;
	const char *usage;
	int from;
	int to;
	const char *names;
	const char *crl;
	const char *basic;
	const char *allowed;
	bool strange;
};

/* @issuer NULL: by itself */
struct party party_new(const struct wish *wish, const struct party *issuer);
void party_free(struct party *party);

/* Behind what is in @ca. */
void pki_add_ca(struct client_ca *ca, const struct party *party);
/* Likewise a list of @issuer's, for @to days, with @revoked in it, which may be NULL. */
void pki_add_crl(struct client_ca *ca, const struct party *issuer, const struct party *revoked,
		 int to);

#endif /* _TESTS_PKI_H */
