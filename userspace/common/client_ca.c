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
	const char *what = error == CRL_CERT_DATE_ERR || error == ASN_AFTER_DATE_E ?
				   "has ended: no client certificate of its issuer is taken" :
			   error == ASN_CRL_NO_SIGNER_E ? "is of none of the authorities" :
			   error == ASN_CRL_CONFIRM_E	? "has a wrong signature" :
							  /* wolfSSL 5.5.4 says so of both */
				     error == ASN_PARSE_E ? "is broken, or has ended" :
							    "is not one";

	snprintf(err, errlen, "%s: revocation list %u %s", file, number, what);
	return error == CRL_CERT_DATE_ERR || error == ASN_AFTER_DATE_E ? 0 : -1;
}

static int check_crls(WOLFSSL_CERT_MANAGER *cm, const struct client_ca *clients, const char *file,
		      char *err, size_t errlen)
{
	const char *at = clients->crl, *crl;
	unsigned int number = 0;
	size_t len;

	while ((crl = client_ca_next_crl(&at, &len))) {
		int ret = wolfSSL_CertManagerLoadCRLBuffer(cm, (const unsigned char *)crl, len,
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

static int check(const struct client_ca *clients, const char *ca, const char *crl, char *err,
		 size_t errlen)
{
	WOLFSSL_CERT_MANAGER *cm = wolfSSL_CertManagerNew();
	int ret = -1;

	if (!cm)
		snprintf(err, errlen, "%s: out of memory", ca);
	else if (!strstr(clients->ca, CERT_BEGIN))
		snprintf(err, errlen, "%s: no certificate in it", ca);
	else if (wolfSSL_CertManagerLoadCABuffer(cm, (const unsigned char *)clients->ca,
						 clients->ca_len,
						 WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
		snprintf(
			err, errlen,
			"%s: a certificate in it is not one of a certificate authority, has expired, or is broken",
			ca);
	else if (crl && wolfSSL_CertManagerEnableCRL(cm, WOLFSSL_CRL_CHECKALL) != WOLFSSL_SUCCESS)
		snprintf(err, errlen, "%s: out of memory", crl);
	else
		ret = crl ? check_crls(cm, clients, crl, err, errlen) : 0;
	wolfSSL_CertManagerFree(cm);
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
