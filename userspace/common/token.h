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

/* What a signature that failed says */
enum token_fault {
	TOKEN_REFUSES, /* of the request, and not of the token */
	TOKEN_FAILS,   /* something: another session may do better */
	TOKEN_FULL,    /* there can be no more sessions: those that there are may do */
	TOKEN_LOST,    /* it is not there any more, as far as this process is concerned */
};

/**
 * token_open() - load the module, find the token, log in
 * @uri: of the key
 * @pin_file: its first line is the PIN; NULL: none is asked for
 * @run_dir: where it is written down which PINs were tried, see pin_record.h
 * @on_wait: called with true before others are waited for, and with false after that
 * @err: on failure one line that begins with the URI
 *
 * The PIN is given once, and wiped.
 *
 * Return: NULL on failure.
 */
struct token *token_open(const char *uri, const char *pin_file, const char *run_dir,
			 void (*on_wait)(bool waits), char *err, size_t errlen);

/**
 * token_session() - find the key, for signatures that one thread at a time asks for
 * @err: as above
 *
 * Return: NULL on failure, with @fault and @err filled in.
 */
struct token_session *token_session(struct token *token, enum token_fault *fault, char *err,
				    size_t errlen);

/* Is it a key of this type? */
bool token_can(const struct token_session *session, enum token_how how);

/**
 * token_sign() - sign with the key of the session
 * @data: of a digest as much as the curve has room for is signed (FIPS 186-4 6.4)
 * @to: room for TOKEN_SIGNATURE_MAX
 *
 * The first signature of a token is to be of a digest that no curve is shorter than.
 *
 * Return: length, or -1 with @fault and @err filled in.
 */
int token_sign(struct token_session *session, enum token_how how, const uint8_t *data, size_t len,
	       uint8_t *to, enum token_fault *fault, char *err, size_t errlen);

void token_session_end(struct token_session *session);
void token_close(struct token *token);

#endif /* _TLSPORT_TOKEN_H */
