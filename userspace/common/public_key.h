/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The public key of a certificate, to verify what a token signs. */
#ifndef _TLSPORT_PUBLIC_KEY_H
#define _TLSPORT_PUBLIC_KEY_H

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <stdbool.h>

#include "token.h"

struct public_key;

/* NULL: it is neither ECDSA nor RSA, or cannot be read */
struct public_key *public_key_new(WOLFSSL_X509 *x509);
void public_key_free(struct public_key *key);

/* Is it a key of the type that signs in this way? */
bool public_key_can(const struct public_key *key, enum token_how how);

/* Has its private key signed this?  See token_sign() */
bool public_key_verify(struct public_key *key, enum token_how how, const uint8_t *data, size_t len,
		       const uint8_t *signature, size_t signature_len);

#endif /* _TLSPORT_PUBLIC_KEY_H */
