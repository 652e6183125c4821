// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificate authorities of clients, see client_ca.h. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_ca.h"
#include "pem.h"

#define CERT_BEGIN "-----BEGIN CERTIFICATE-----"
#define CRL_BEGIN  "-----BEGIN X509 CRL-----"
#define CRL_END	   "-----END X509 CRL-----"

const char *client_ca_next_crl(const char **at, size_t *len)
{
	const char *from = strstr(*at, CRL_BEGIN), *to;

	if (!from) {
		*at += strlen(*at);
		return NULL;
	}
	to = strstr(from, CRL_END);
	if (!to)
		return NULL;
	*at = to + strlen(CRL_END);
	*len = *at - from;
	return from;
}

/* Of a list that wolfSSL does not take; -1: it is of no use, 0: it is a warning */
static int tell_crl(const char *file, unsigned int number, int error, char *err, size_t errlen)
{
	const bool ended = error == CRL_CERT_DATE_ERR || error == ASN_AFTER_DATE_E;
	const char *what = ended ? "has ended: no client certificate of its issuer is taken" :
			   error == ASN_CRL_NO_SIGNER_E ? "is of none of the authorities" :
			   error == ASN_CRL_CONFIRM_E	? "has a wrong signature" :
							  /* wolfSSL 5.5.4 says so of both */
				     error == ASN_PARSE_E ? "is broken, or has ended" :
							    "is not one";

	snprintf(err, errlen, "%s: revocation list %u %s", file, number, what);
	return ended ? 0 : -1;
}

static int check_crls(WOLFSSL_CTX *ctx, const struct client_ca *clients, const char *file,
		      char *err, size_t errlen)
{
	const char *at = clients->crl, *crl;
	unsigned int number = 0;
	size_t len;

	while ((crl = client_ca_next_crl(&at, &len))) {
		int ret = wolfSSL_CTX_LoadCRLBuffer(ctx, (const unsigned char *)crl, len,
						    WOLFSSL_FILETYPE_PEM);

		number++;
		if (ret != WOLFSSL_SUCCESS && tell_crl(file, number, ret, err, errlen))
			return -1;
	}
	if (number && !*at)
		return 0;
	snprintf(err, errlen, "%s: %s", file,
		 *at ? "a revocation list without an end" : "no certificate revocation list in it");
	return -1;
}

/* wolfSSL alone would take any certificate here, and what its owner signs. */
static int check_authorities(const struct client_ca *clients, const char *file, char *err,
			     size_t errlen)
{
	WOLFSSL_BIO *bio = wolfSSL_BIO_new_mem_buf(clients->ca, clients->ca_len);
	WOLFSSL_X509 *x509;
	unsigned int number = 0;
	bool is_ca = true;

	while (bio && is_ca && (x509 = wolfSSL_PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		number++;
		is_ca = wolfSSL_X509_get_isCA(x509);
		wolfSSL_X509_free(x509);
	}
	wolfSSL_BIO_free(bio);
	if (number && is_ca)
		return 0;
	if (number)
		snprintf(err, errlen,
			 "%s: certificate %u in it is not one of a certificate authority", file,
			 number);
	else
		snprintf(err, errlen, "%s: a certificate in it is broken", file);
	return -1;
}

/* As the handshakes will have it.  @err: "" before; and after a failure: out of memory */
static int check_in(WOLFSSL_CTX *ctx, const struct client_ca *clients, const char *ca,
		    const char *crl, char *err, size_t errlen)
{
	if (wolfSSL_CTX_SetMinRsaKey_Sz(ctx, CLIENT_RSA_MIN) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_SetMinEccKey_Sz(ctx, CLIENT_ECC_MIN) != WOLFSSL_SUCCESS)
		return -1;
	if (wolfSSL_CTX_load_verify_buffer(ctx, (const unsigned char *)clients->ca, clients->ca_len,
					   WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS) {
		snprintf(
			err, errlen,
			"%s: a certificate in it has expired, is broken, or has a key that is too short",
			ca);
		return -1;
	}
	if (!crl)
		return 0;
	if (wolfSSL_CTX_EnableCRL(ctx, WOLFSSL_CRL_CHECKALL) != WOLFSSL_SUCCESS)
		return -1;
	return check_crls(ctx, clients, crl, err, errlen);
}

static int check(const struct client_ca *clients, const char *ca, const char *crl, char *err,
		 size_t errlen)
{
	WOLFSSL_CTX *ctx;
	int ret;

	if (strlen(clients->ca) != clients->ca_len || !strstr(clients->ca, CERT_BEGIN)) {
		snprintf(err, errlen, "%s: no certificate in it", ca);
		return -1;
	}
	if (crl && strlen(clients->crl) != clients->crl_len) {
		snprintf(err, errlen, "%s: no certificate revocation list in it", crl);
		return -1;
	}
	if (check_authorities(clients, ca, err, errlen))
		return -1;
	ctx = wolfSSL_CTX_new(wolfTLS_server_method());
	ret = ctx ? check_in(ctx, clients, ca, crl, err, errlen) : -1;
	if (ret && !err[0])
		snprintf(err, errlen, "%s: out of memory", ca);
	wolfSSL_CTX_free(ctx);
	return ret;
}

int client_ca_read(const char *ca, const char *crl, struct client_ca *clients, char *err,
		   size_t errlen)
{
	memset(clients, 0, sizeof(*clients));
	err[0] = '\0';
	if (!pem_read(ca, &clients->ca, &clients->ca_len, NULL, err, errlen) &&
	    (!crl || !pem_read(crl, &clients->crl, &clients->crl_len, NULL, err, errlen)) &&
	    !check(clients, ca, crl, err, errlen))
		return 0;
	client_ca_free(clients);
	return -1;
}

void client_ca_free(struct client_ca *clients)
{
	free(clients->ca);
	free(clients->crl);
	memset(clients, 0, sizeof(*clients));
}

int client_ca_copy(const struct client_ca *from, struct client_ca *to)
{
	*to = *from;
	to->ca = from->ca ? strdup(from->ca) : NULL;
	to->crl = from->crl ? strdup(from->crl) : NULL;
	if ((to->ca || !from->ca) && (to->crl || !from->crl))
		return 0;
	client_ca_free(to);
	return -1;
}

static bool same(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && !a == !b && (!a || !memcmp(a, b, a_len));
}

bool client_ca_same(const struct client_ca *a, const struct client_ca *b)
{
	return same(a->ca, a->ca_len, b->ca, b->ca_len) &&
	       same(a->crl, a->crl_len, b->crl, b->crl_len);
}
