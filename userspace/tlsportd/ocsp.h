/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OCSP responses (RFC 6960): is one fit to be stapled, and how is one had?
 * ocsp_wolfssl.c implements it, for tlsportd's parent and for the process of
 * ocsp_fetch.h that speaks to the responder.
 */
#ifndef _TLSPORTD_OCSP_H
#define _TLSPORTD_OCSP_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* They have one or two KiB. */
#define OCSP_RESPONSE_MAX 8192

/**
 * struct ocsp_response - one that was checked
 * @der: as it is sent
 * @len: 0: there is none
 * @since: thisUpdate
 * @until: nextUpdate: not sent from then on
 */
struct ocsp_response {
	uint8_t *der;
	size_t len;
	time_t since;
	time_t until;
};

/**
 * ocsp_check() - may it be stapled now?
 * @chain: PEM of the certificate and its issuers
 * @response: gets a copy when it may; has to be empty before
 * @err: what is wrong with it
 *
 * It has to be for the certificate, say that it is good, be signed by the issuer in
 * the chain or by whom that entitled to, and be of now.
 *
 * Return: 0 or -1.
 */
int ocsp_check(const char *chain, const uint8_t *der, size_t len, struct ocsp_response *response,
	       char *err, size_t errlen);

/**
 * ocsp_ask() - ask a responder, and check what it answers
 * @url: of HTTP
 *
 * Takes as long as the responder does, and parses what it sends.
 *
 * Return: as ocsp_check().
 */
int ocsp_ask(const char *chain, const char *url, struct ocsp_response *response, char *err,
	     size_t errlen);

void ocsp_response_free(struct ocsp_response *response);

#endif /* _TLSPORTD_OCSP_H */
