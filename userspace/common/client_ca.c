// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificate authorities of clients, see client_ca.h. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/asn.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "asn_time.h"
#include "cert_check.h"
#include "client_ca.h"
#include "crl.h"
#include "pem.h"
#include "printable.h"
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

/* "3 (name)" */
static void describe(WOLFSSL_X509 *x509, unsigned int number, char *text, size_t len)
{
	const char *name = x509 ? wolfSSL_X509_get_subjectCN(x509) : NULL;

	snprintf(text, len, name && *name ? "%u (%s)" : "%u", number, name);
	make_printable(text);
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

/* NULL: out of memory */
static struct client_end *add_end(struct client_ca *clients)
{
	struct client_end *ends;

	ends = realloc(clients->ends, (clients->end_count + 1) * sizeof(*ends));
	if (!ends)
		return NULL;
	clients->ends = ends;
	return memset(&ends[clients->end_count++], 0, sizeof(*ends));
}

/* 0 or -1: out of memory */
static int note_certificate(struct client_ca *clients, const char *pem, size_t len,
			    unsigned int number)
{
	WOLFSSL_X509 *x509 = wolfSSL_X509_load_certificate_buffer((const unsigned char *)pem, len,
								  WOLFSSL_FILETYPE_PEM);
	struct client_end *end = x509 ? add_end(clients) : NULL;
	int ret = x509 && !end ? -1 : 0;

	if (end) {
		describe(x509, number, end->which, sizeof(end->which));
		if (asn_time_x509(wolfSSL_X509_notBefore(x509), &end->since) ||
		    asn_time_x509(wolfSSL_X509_notAfter(x509), &end->until))
			clients->end_count--;
	}
	wolfSSL_X509_free(x509);
	return ret;
}

static int note_crl(struct client_ca *clients, const char *pem, size_t len, unsigned int number)
{
	struct client_end *end = add_end(clients);

	if (!end)
		return -1;
	end->is_crl = true;
	snprintf(end->which, sizeof(end->which), "%u", number);
	if (crl_dates(pem, len, &end->since, &end->until))
		clients->end_count--;
	return 0;
}

/* Of files that were checked.  0 or -1: out of memory */
static int note_ends(struct client_ca *clients)
{
	const char *at = clients->ca, *pem;
	unsigned int number = 0;
	int ret = 0;
	size_t len;

	while (!ret && (pem = next_block(&at, CERT_BEGIN, CERT_END, &len)))
		ret = note_certificate(clients, pem, len, ++number);
	at = clients->crl;
	number = 0;
	while (!ret && at && (pem = client_ca_next_crl(&at, &len)))
		ret = note_crl(clients, pem, len, ++number);
	return ret;
}

/* Lists are replaced often, some of them each day: in time for whoever looks once a day. */
static time_t soon(const struct client_end *end)
{
	const time_t day = 24 * 3600, quarter = (end->until - end->since) / 4;

	return !end->is_crl ? CERT_EXPIRY_WARNING : quarter < day ? quarter : day;
}

/* "certificate 3 (name) in it", as client_ca_read() has it, and what follows from its end */
static const char *name_end(const struct client_end *end, char *what, size_t len)
{
	if (end->is_crl) {
		snprintf(what, len, "revocation list %s", end->which);
		return "no client certificate of its issuer is taken";
	}
	snprintf(what, len, "certificate %s in it", end->which);
	return "no client certificate that it signed is taken";
}

static void tell_end(const struct client_end *end, const char *file, time_t now, char *text,
		     size_t len)
{
	long hours = (end->until - now) / 3600;
	char what[sizeof(end->which) + 32];
	const char *then = name_end(end, what, sizeof(what));

	if (now >= end->until)
		snprintf(text, len, "%s: %s has %s: %s", file, what,
			 end->is_crl ? "ended" : "expired", then);
	else if (now < end->since)
		snprintf(text, len, "%s: %s is not valid yet: %s", file, what, then);
	else
		snprintf(text, len, "%s: %s %s in %ld %s: then %s", file, what,
			 end->is_crl ? "ends" : "expires", hours >= 48 ? hours / 24 : hours,
			 hours >= 48 ? "days" : "hours", then);
}

#define OPEN_TEXT "%s: can be changed by others than its owner"

/* @at: 0 is the file, from 1 on they are the ends. */
bool client_ca_warning(const struct client_ca *clients, const char *ca, const char *crl, time_t now,
		       size_t *at, char *text, size_t len)
{
	if (!*at && ++*at && clients->open) {
		snprintf(text, len, OPEN_TEXT, ca);
		return true;
	}
	while (*at <= clients->end_count) {
		const struct client_end *end = &clients->ends[(*at)++ - 1];

		if (now >= end->since && end->until - now >= soon(end))
			continue;
		tell_end(end, end->is_crl ? crl : ca, now, text, len);
		return true;
	}
	return false;
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
	clients->open = mode & 0022;
	if (clients->open) /* and they get in */
		warn(err, errlen, OPEN_TEXT, ca);
	if (!note_ends(clients))
		return 0;
	client_ca_free(clients);
	return refuse(err, errlen, "%s: out of memory", ca);
}

void client_ca_free(struct client_ca *clients)
{
	free(clients->ca);
	free(clients->crl);
	free(clients->ends);
	memset(clients, 0, sizeof(*clients));
}

int client_ca_copy(const struct client_ca *from, struct client_ca *to)
{
	*to = *from;
	to->ca = from->ca ? strdup(from->ca) : NULL;
	to->crl = from->crl ? strdup(from->crl) : NULL;
	to->ends = calloc(from->end_count + 1, sizeof(*to->ends));
	if (to->ends && from->end_count)
		memcpy(to->ends, from->ends, from->end_count * sizeof(*to->ends));
	if ((to->ca || !from->ca) && (to->crl || !from->crl) && to->ends)
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
