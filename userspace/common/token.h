/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A token (PKCS#11), logged in to, and signatures by a private key in it.
 *
 * It loads a module of whoever made the token into the process: only the signing
 * process does (signer.h).
 */
#ifndef _TLSPORT_TOKEN_H
#define _TLSPORT_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RSA of 8192 bits */
#define TOKEN_SIGNATURE_MAX 1024

enum token_how {
	TOKEN_ECDSA,	 /* a digest; the signature is r and s, of the same length */
	TOKEN_RSA_PKCS1, /* a DigestInfo */
	TOKEN_RSA_PSS,	 /* a digest of SHA-256, 384 or 512: its length says which */
};

struct token;
struct token_session;

/**
 * token_open() - load the module, find the token, log in
 * @uri: of the key
 * @pin_file: its first line is the PIN; NULL: none is asked for
 * @refused: the token refused the PIN, or it must not be tried: tokens lock after a few
 * @err: on failure one line that begins with the URI
 *
 * The PIN is given once, and wiped.
 *
 * Return: NULL on failure.
 */
struct token *token_open(const char *uri, const char *pin_file, bool *refused, char *err,
			 size_t errlen);

/**
 * token_session() - find the key, for signatures that one thread asks for
 * @err: as above
 *
 * Return: NULL on failure.
 */
struct token_session *token_session(struct token *token, char *err, size_t errlen);

/**
 * token_sign() - sign with the key of the session
 * @to: room for TOKEN_SIGNATURE_MAX
 * @lost: the token is not there any more, as far as this process is concerned
 *
 * Return: length, or -1 with @err filled in.
 */
int token_sign(struct token_session *session, enum token_how how, const uint8_t *data, size_t len,
	       uint8_t *to, bool *lost, char *err, size_t errlen);

void token_session_end(struct token_session *session);
void token_close(struct token *token);

#endif /* _TLSPORT_TOKEN_H */
