/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is the key in a token that of a certificate? */
#ifndef _TLSPORT_TOKEN_CHECK_H
#define _TLSPORT_TOKEN_CHECK_H

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "signer.h"

/**
 * token_check() - verifies what the token signed when @signer began, with the certificate
 * @cert: name for messages
 * @key: likewise
 *
 * Public keys in a token, where there are any, prove nothing of the private one.
 *
 * The token is not asked.
 *
 * Return: 0, or -1 with @err filled in.
 */
int token_check(struct signer *signer, WOLFSSL_X509 *x509, const char *cert, const char *key,
		char *err, size_t errlen);

#endif /* _TLSPORT_TOKEN_CHECK_H */
