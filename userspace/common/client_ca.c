// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificate authorities of clients, see client_ca.h. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/asn.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_ca.h"
#include "pem.h"
#include "refuse.h"

#define CERT_BEGIN "-----BEGIN CERTIFICATE-----"
#define CERT_END   "-----END CERTIFICATE-----"
#define CRL_BEGIN  "-----BEGIN X509 CRL-----"
#define CRL_END	   "-----END X509 CRL-----"

static void warn(char *err, size_t errlen, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Behind those that are there. */
static void warn(char *err, size_t errlen, const char *fmt, ...)
{
	size_t len = strlen(err);
	va_list args;

	if (len)
		len += snprintf(err + len, errlen - len, "; ");
	if (len >= errlen)
		return;
	va_start(args, fmt);
	vsnprintf(err + len, errlen - len, fmt, args);
	va_end(args);
}

/* As client_ca_next_crl() has it. */
static const char *next_block(const char **at, const char *begin, const char *end, size_t *len)
{
	const char *from = strstr(*at, begin), *to;

	if (!from) {
		*at += strlen(*at);
		return NULL;
	}
	to = strstr(from, end);
	if (!to)
		return NULL;
	*at = to + strlen(end);
	*len = *at - from;
	return from;
}

const char *client_ca_next_crl(const char **at, size_t *len)
{
	return next_block(at, CRL_BEGIN, CRL_END, len);
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

	if (!ended)
		return refuse(err, errlen, "%s: revocation list %u %s", file, number, what);
	warn(err, errlen, "%s: revocation list %u %s", file, number, what);
	return 0;
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

/* "3 (name)"; it is printed: no terminal controls out of a certificate */
static void describe(WOLFSSL_X509 *x509, unsigned int number, char *text, size_t len)
{
	const char *name = x509 ? wolfSSL_X509_get_subjectCN(x509) : NULL;

	snprintf(text, len, name && *name ? "%u (%s)" : "%u", number, name);
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

/* Into @ctx.  NULL, or what is wrong with it; *@ends: just that it is not valid now */
static const char *load_authority(WOLFSSL_CTX *ctx, WOLFSSL_X509 *x509, const char *pem, size_t len,
				  bool *ends)
{
	int ret;

	*ends = false;
	if (!x509)
		return "is broken";
	/* wolfSSL alone would take any certificate here, and what its owner signs. */
	if (!wolfSSL_X509_get_isCA(x509))
		return "is not one of a certificate authority";
	ret = wolfSSL_CTX_load_verify_buffer(ctx, (const unsigned char *)pem, len,
					     WOLFSSL_FILETYPE_PEM);
	*ends = ret == ASN_AFTER_DATE_E || ret == ASN_BEFORE_DATE_E;
	return ret == WOLFSSL_SUCCESS			      ? NULL :
	       ret == ASN_AFTER_DATE_E			      ? "has expired" :
	       ret == ASN_BEFORE_DATE_E			      ? "is not valid yet" :
	       ret == RSA_KEY_SIZE_E || ret == ECC_KEY_SIZE_E ? "has a key that is too short" :
								"is of no use";
}

/*
 * One by one: of a whole file wolfSSL takes what it can, and does not say what it left out.  That
 * one has ended is a warning while there are others.
 */
static int load_authorities(WOLFSSL_CTX *ctx, const struct client_ca *clients, const char *file,
			    char *err, size_t errlen)
{
	const char *at = clients->ca, *pem, *why = NULL;
	unsigned int number = 0, good = 0;
	WOLFSSL_X509 *x509;
	char which[128];
	bool ends;
	size_t len;

	while ((pem = next_block(&at, CERT_BEGIN, CERT_END, &len))) {
		x509 = wolfSSL_X509_load_certificate_buffer((const unsigned char *)pem, len,
							    WOLFSSL_FILETYPE_PEM);
		why = load_authority(ctx, x509, pem, len, &ends);
		describe(x509, ++number, which, sizeof(which));
		wolfSSL_X509_free(x509);
		if (why && !ends)
			return refuse(err, errlen, "%s: certificate %s in it %s", file, which, why);
		if (why)
			warn(err, errlen,
			     "%s: certificate %s in it %s: no client certificate that it signed is taken",
			     file, which, why);
		good += !why;
	}
	if (*at)
		return refuse(err, errlen, "%s: a certificate without an end", file);
	return good ? 0 : -1;
}

/* As the handshakes will have it. */
static int check_in(WOLFSSL_CTX *ctx, const struct client_ca *clients, const char *ca,
		    const char *crl, char *err, size_t errlen)
{
	if (wolfSSL_CTX_SetMinRsaKey_Sz(ctx, CLIENT_RSA_MIN) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_SetMinEccKey_Sz(ctx, CLIENT_ECC_MIN) != WOLFSSL_SUCCESS)
		return refuse(err, errlen, "%s: out of memory", ca);
	if (load_authorities(ctx, clients, ca, err, errlen))
		return -1;
	if (!crl)
		return 0;
	if (wolfSSL_CTX_EnableCRL(ctx, WOLFSSL_CRL_CHECKALL) != WOLFSSL_SUCCESS)
		return refuse(err, errlen, "%s: out of memory", ca);
	return check_crls(ctx, clients, crl, err, errlen);
}

static int check(const struct client_ca *clients, const char *ca, const char *crl, char *err,
		 size_t errlen)
{
	WOLFSSL_CTX *ctx;
	int ret;

	if (strlen(clients->ca) != clients->ca_len || !strstr(clients->ca, CERT_BEGIN))
		return refuse(err, errlen, "%s: no certificate in it", ca);
	/* Some versions of wolfSSL take these, some do not: others than we look at. */
	if (strstr(clients->ca, "-----BEGIN TRUSTED CERTIFICATE-----") ||
	    strstr(clients->ca, "-----BEGIN X509 CERTIFICATE-----"))
		return refuse(err, errlen,
			      "%s: a certificate in it that is not \"BEGIN CERTIFICATE\"", ca);
	if (crl && strlen(clients->crl) != clients->crl_len)
		return refuse(err, errlen, "%s: no certificate revocation list in it", crl);
	ctx = wolfSSL_CTX_new(wolfTLS_server_method());
	if (!ctx)
		return refuse(err, errlen, "%s: out of memory", ca);
	ret = check_in(ctx, clients, ca, crl, err, errlen);
	wolfSSL_CTX_free(ctx);
	return ret;
}

int client_ca_read(const char *ca, const char *crl, struct client_ca *clients, char *err,
		   size_t errlen)
{
	unsigned int mode;

	memset(clients, 0, sizeof(*clients));
	err[0] = '\0';
	if (pem_read(ca, &clients->ca, &clients->ca_len, &mode, err, errlen) ||
	    (crl && pem_read(crl, &clients->crl, &clients->crl_len, NULL, err, errlen)) ||
	    check(clients, ca, crl, err, errlen)) {
		client_ca_free(clients);
		return -1;
	}
	if (mode & 0022) /* and they get in */
		warn(err, errlen, "%s: can be changed by others than its owner", ca);
	return 0;
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
