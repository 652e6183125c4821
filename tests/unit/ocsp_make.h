/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests: an authority of OpenSSL's, what it issues, and its OCSP responses. */
#ifndef _TESTS_OCSP_MAKE_H
#define _TESTS_OCSP_MAKE_H

#include <openssl/ocsp.h>
#include <openssl/x509.h>

#include "../../userspace/tlsportd/ocsp.h"
#include "engine_client.h"

struct test_ca {
	EVP_PKEY *key;
	X509 *cert;
};

void test_ca_new(struct test_ca *ca, const char *name);
void test_ca_free(struct test_ca *ca);

/* Its certificate and the authority's as PEM, checked; must_staple: RFC 7633; @url: of a responder, or NULL */
X509 *test_ca_issue(const struct test_ca *ca, enum test_key key, bool must_staple, const char *url,
		    struct cert_files *files, struct cert_facts *facts);

enum test_signer {
	BY_ISSUER,
	BY_DELEGATE, /* whom the issuer made one for OCSP */
	BY_SERVER,   /* whom it made another certificate */
	BY_STRANGER, /* of the same name, with another key */
};

/**
 * struct test_response - how to make a response
 * @status: V_OCSP_CERTSTATUS_...
 * @since: seconds from now
 * @until: likewise; 0: it does not say
 */
struct test_response {
	const struct test_ca *ca;
	X509 *cert;
	int status;
	long since;
	long until;
	enum test_signer by;
};

/* Its length. */
size_t test_response_make(const struct test_response *how, uint8_t der[OCSP_RESPONSE_MAX]);

/* A good one, for a week. */
size_t test_response_good(const struct test_ca *ca, X509 *cert, uint8_t der[OCSP_RESPONSE_MAX]);

#endif /* _TESTS_OCSP_MAKE_H */
