/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is said between a process that signs and those who ask it (signer.h).  Sockets
 * are of packets: one is a request, or an answer.
 *
 * To who started it, over SIGNER_CONTROL_FD: that one sends a struct signer_challenge,
 * and gets a SIGNER_PROOF for each way to sign that the key has, then SIGNER_GOOD; or
 * SIGNER_FAILED.  Before the login there are SIGNER_WAITS and SIGNER_GOES_ON: it waits for its
 * turn, and has it.  After that it sends sockets, one for each that asks, and may get
 * SIGNER_REJECTED, once: one of those says that a signature is wrong.
 */
#ifndef _TLSPORT_SIGNER_WIRE_H
#define _TLSPORT_SIGNER_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "token.h"

#define SIGNER_CONTROL_FD 3
/* A DigestInfo of SHA-512 has 83 bytes. */
#define SIGNER_REQUEST_MAX 128
/* A digest of SHA-512 */
#define SIGNER_CHALLENGE_LEN 64
/* Exit status: a call of the module did not come back. */
#define SIGNER_EXIT_HUNG 3

/* In place of a way to sign: the last signature is wrong, and the end */
#define SIGNER_REJECT UINT32_MAX

struct signer_challenge {
	uint8_t bytes[SIGNER_CHALLENGE_LEN];
};

struct signer_request {
	uint32_t number;
	uint32_t how; /* enum token_how */
	uint32_t len;
	uint8_t data[SIGNER_REQUEST_MAX];
};

/* Is it what a handshake has signed?  Nothing else is. */
bool signer_request_is_proper(const struct signer_request *request);

enum signer_status {
	SIGNER_GOOD,
	SIGNER_FAILED,
	SIGNER_PROOF, /* @number: in signer_proof_kinds */
	SIGNER_WAITS,
	SIGNER_GOES_ON,
	SIGNER_REJECTED,
};

/* What there is in @data is a signature or, with the 0 behind it, why there is none. */
struct signer_answer {
	uint32_t number;
	uint32_t status;
	uint32_t len;
	uint8_t data[TOKEN_SIGNATURE_MAX];
};

#endif /* _TLSPORT_SIGNER_WIRE_H */
