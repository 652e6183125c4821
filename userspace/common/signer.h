/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that signs with a key in a token.
 *
 * The module of a token is somebody else's code, opens files, talks to a daemon or
 * over the network, and its login counts for one process: nothing that a worker's
 * sandbox could allow.  So there is one process for each key, outside of the sandbox
 * and executed anew, which is asked over sockets: one to whoever started it, which ends
 * it, and one to each process that has signatures made.
 *
 * Tokens are slow, or hang.  Nothing here waits for one longer than it was told to: a
 * process is started, and is looked at again when it has said something.
 */
#ifndef _TLSPORT_SIGNER_H
#define _TLSPORT_SIGNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "token.h"

/*
 * A token that takes longer to be there, or to sign, counts as gone.  A process that has to
 * wait for the logins of others has the time anew when its turn has come.
 */
#define SIGNER_START_MS 8000
#define SIGNER_SIGN_MS	1000
/* After a signature that took too long none is asked for. */
#define SIGNER_REST_MS 5000
/* Signatures that are slower than this are waited for one part of the time in five. */
#define SIGNER_QUICK_MS 10
#define SIGNER_SHARE	5
/* A failure is not tried again sooner, but by somebody who waits for it. */
#define SIGNER_AGAIN_MS 30000
/* No call of the module has come back for so long, or this one has not: it hangs. */
#define SIGNER_HANG_MS 10000
#define SIGNER_CALL_MS 60000

/* Ways to sign that clients can ask for */
#define SIGNER_PROOFS 7

struct signer_proof_kind {
	enum token_how how;
	size_t len; /* of the digest; that of TOKEN_RSA_PKCS1 is of SHA-256 */
};

extern const struct signer_proof_kind signer_proof_kinds[SIGNER_PROOFS];

/**
 * struct signer_proof - a signature that the token made when the process began
 * @len: 0: the key has no such signatures
 */
struct signer_proof {
	size_t len;
	uint8_t signature[TOKEN_SIGNATURE_MAX];
};

struct signer;

/* Where it is written down which PINs were tried, see pin_record.h; before all others */
void signer_run_dir(const char *run_dir);

/**
 * signer_pass() - certificates are about to be read
 * @patience_ms: how long all of signer_get() together may wait, until the next pass;
 *	0: what failed a short while ago is not tried again either
 *
 * Where there are no passes each may wait for SIGNER_START_MS.
 */
void signer_pass(int patience_ms);

/* It will be asked for: several start at the same time. */
void signer_begin(const char *uri, const char *passphrase);

/**
 * signer_get() - the process for this key, started if there is none
 * @uri: token_uri_parse() takes it
 * @passphrase: file of the PIN, where the URI names none; NULL: none
 * @err: on failure one line
 *
 * Only for processes of one thread, and not in a worker.
 *
 * Return: to be given back with signer_put(), or NULL: it failed, or has not begun yet.
 */
struct signer *signer_get(const char *uri, const char *passphrase, char *err, size_t errlen);

/* Once more the same. */
struct signer *signer_hold(struct signer *signer);

/*
 * NULL is nothing.  After the last the process ends, when nobody asks it any more; one that was
 * asked for in this pass some time later.
 */
void signer_put(struct signer *signer);

/* To be polled: readable when a process that was started has something to say.  Or -1 */
int signer_events(void);

/**
 * signer_attend() - hear what they say, end those that are too slow
 * @next: ms until it is to be called again at the latest, -1: no time
 *
 * Of those that have ended, or signed wrongly, another is to be started: at once, and if that
 * has been the case a short while ago after a minute.
 *
 * Return: whether one that was not waited for has begun or failed, or is to be started:
 * signer_get() has news.
 */
bool signer_attend(int64_t *next);

/* Was there a key in this pass that could not be had, or did not fit and may do so later? */
bool signer_missed(void);

/* What of signer_proof_kinds[number] it has signed of these bytes; never NULL */
const struct signer_proof *signer_proof(const struct signer *signer, size_t number);
const uint8_t *signer_challenge(const struct signer *signer);

/**
 * signer_doubt() - the key is not the one that it should be
 *
 * There may be another one of its name by now.  If the process is not of a moment ago, or
 * somebody waits and it is not of this pass, another is started, which later calls of
 * signer_get() return.
 */
void signer_doubt(struct signer *signer);

/* Is another started, and is there time to wait for it? */
bool signer_is_replaced(const struct signer *signer);

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
 * Waits for the token, no longer than SIGNER_SIGN_MS; if that was not enough it fails at
 * once for SIGNER_REST_MS, and until the token has answered.  It does so as well where a
 * slow token, of several, would take more of this process's time than its share.
 *
 * Return: length, or -1 with @err filled in.  The signature was not verified.
 */
int signer_sign(struct signer *signer, enum token_how how, const uint8_t *data, size_t len,
		uint8_t *to, char *err, size_t errlen);

/**
 * signer_reject() - its signature is wrong
 *
 * It is not asked by this process any more; whoever started it hears of it, and starts another.
 */
void signer_reject(struct signer *signer);

/**
 * signer_ended() - a child of ours did
 *
 * Return: is it one that had begun, unasked?  Then its key's URI, which lives on with it; else NULL
 */
const char *signer_ended(pid_t pid);

/* Of its key */
const char *signer_uri(const struct signer *signer);

/* Has it neither ended nor signed wrongly? */
bool signer_lives(const struct signer *signer);

#endif /* _TLSPORT_SIGNER_H */
