/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that signs with a key in a token.
 *
 * The module of a token is somebody else's code, opens files, talks to a daemon or
 * over the network, and its login counts for one process: nothing that a worker's
 * sandbox could allow.  So there is one process for each key, outside of the sandbox,
 * which is asked over sockets: one to whoever started it, which ends it, and one to
 * each process that has signatures made.
 */
#ifndef _TLSPORT_SIGNER_H
#define _TLSPORT_SIGNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "token.h"

/* A token that takes longer to be there, or to sign, counts as gone. */
#define SIGNER_START_MS 8000
#define SIGNER_SIGN_MS	3000

struct signer;

/**
 * signer_get() - the process for this key, started if there is none
 * @uri: token_uri_parse() takes it
 * @passphrase: file of the PIN, where the URI names none; NULL: none
 * @err: on failure one line
 *
 * A PIN that the token refused is not tried again before the file that it is in
 * changes: tokens lock.  Only for processes of one thread, and not in a worker.
 *
 * Return: to be given back with signer_put(), or NULL.
 */
struct signer *signer_get(const char *uri, const char *passphrase, char *err, size_t errlen);

/* Once more the same. */
struct signer *signer_hold(struct signer *signer);

/* NULL is nothing.  After the last the process ends, when nobody asks it any more. */
void signer_put(struct signer *signer);

/**
 * signer_connect() - from now on this process can have signatures made
 *
 * Return: the socket, which is @signer's, or -1 with errno: the process is gone.
 */
int signer_connect(struct signer *signer);
void signer_disconnect(struct signer *signer);

/**
 * signer_sign() - see token_sign()
 * @to: room for TOKEN_SIGNATURE_MAX
 *
 * Waits for the token, no longer than SIGNER_SIGN_MS; after that it fails at once until
 * the token has answered.
 *
 * Return: length, or -1 with @err filled in.
 */
int signer_sign(struct signer *signer, enum token_how how, const uint8_t *data, size_t len,
		uint8_t *to, char *err, size_t errlen);

/* Is it one of ours that ended, unasked?  Then its key's URI, which lives on with it; else NULL */
const char *signer_ended(pid_t pid);

/* Has it not ended? */
bool signer_lives(const struct signer *signer);

#endif /* _TLSPORT_SIGNER_H */
