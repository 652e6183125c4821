/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TLS server handshake as a function from bytes to bytes.  No sockets, no
 * threads: one handshake is fed at a time in a process.  Time is asked only for
 * what ends: tickets and OCSP responses.
 */
#ifndef _TLSPORTD_ENGINE_H
#define _TLSPORTD_ENGINE_H

#include <linux/tls.h>
#include <linux/tlsport.h>

#include "../common/cert_check.h"
#include "../common/client_ca.h"
#include "../common/port_config.h"
#include "client_chain.h"
#include "hello.h"
#include "ocsp.h"
#include "tickets.h"

/**
 * struct engine_clients - what a port asks of its clients' certificates
 * @ca: who may have signed them; need not outlive engine_context_new()
 * @required: a client without one is refused
 * @depth: certificates that may stand behind its own
 */
struct engine_clients {
	const struct client_ca *ca;
	bool required;
	unsigned int depth;
};

/**
 * struct engine_policy - what one port asks, as configured
 * @refuse_tls13: who would get TLS 1.3 is refused: no offload
 * @suites: in order of preference; those that do not fit a key are skipped with it
 * @client_order: of suites, the client's order of preference counts
 * @strict_sni: clients that ask for no name that a certificate has are refused
 * @tickets: keys of session tickets; NULL: no resumption
 * @clients: with an authority: clients are asked for a certificate, and there is no
 *	resumption, which would go past it
 */
struct engine_policy {
	uint16_t port;
	uint16_t min_version;
	uint16_t max_version;
	bool refuse_tls13;
	uint16_t suites[TLS_SUITES];
	size_t suite_count;
	bool client_order;
	uint16_t groups[TLS_GROUPS];
	size_t group_count;
	struct tls_alpn alpn;
	bool strict_sni;
	enum port_plaintext plaintext;
	const struct ticket_keys *tickets;
	struct engine_clients clients;
};

enum engine_status {
	ENGINE_MORE,   /* send the output, feed what comes */
	ENGINE_DONE,   /* send the output, take the result */
	ENGINE_FAILED, /* send the output, an alert if any */
};

union engine_crypto_info {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 gcm128;
	struct tls12_crypto_info_aes_gcm_256 gcm256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
};

/**
 * struct engine_result - what a finished handshake hands over
 * @info_len: bytes of @tx and @rx
 * @secret_len: bytes of the secrets, 0 for TLS 1.2
 * @server_name: what the client asked for, "" for none
 * @alpn: the protocol that was chosen; absent: none; the context's
 * @client: certificates that it has proven; the engine's
 *
 * Holds keys: wipe it.
 */
struct engine_result {
	uint16_t version;
	uint16_t suite;
	bool resumed;
	union engine_crypto_info tx;
	union engine_crypto_info rx;
	size_t info_len;
	uint8_t tx_secret[TLS_SECRET_MAX];
	uint8_t rx_secret[TLS_SECRET_MAX];
	size_t secret_len;
	char server_name[256];
	struct bytes alpn;
	const struct client_chain *client;
};

#define ENGINE_REFUSAL_LEN 256

/**
 * struct engine_certificate - one that the handshakes of a port can choose
 * @names: of the hosts that it is for, as the check found them
 * @response: to be stapled, checked; NULL or empty: none
 * @refusal: gets why it cannot be served, "" before; ENGINE_REFUSAL_LEN bytes, NULL: nobody asks
 */
struct engine_certificate {
	const struct cert_files *files;
	const struct cert_facts *facts;
	const struct cert_names *names;
	const struct ocsp_response *response;
	char *refusal;
};

struct engine_context;
struct engine;

/* Of the library, for people. */
const char *engine_library(void);
/* Can it send OCSP responses? */
bool engine_staples(void);

/**
 * engine_context_new() - all that the handshakes of one port share
 * @certificates: already checked, one at least; the first is for clients that ask
 *	for no name or another.  Their names and responses have to outlive the context, the rest is not kept.
 * @err: "" before; filled in also when some of the certificates cannot be served: why the first cannot
 *
 * Return: NULL when none can be.
 */
struct engine_context *engine_context_new(const struct engine_policy *policy,
					  const struct engine_certificate *certificates,
					  size_t count, char *err, size_t errlen);
void engine_context_free(struct engine_context *context);

/**
 * engine_new() - a handshake that waits for its ClientHello
 * @context: must outlive it; NULL: the port has no usable certificate, the
 *	handshake ends with internal_error
 *
 * Return: NULL when memory ran out.
 */
struct engine *engine_new(const struct engine_context *context);

/**
 * engine_feed() - go on with a handshake
 * @data: what is at the head of the receive queue; as in TLSPORT_A_HS_DATA
 * @eof: the peer will send no more
 * @consumed: bytes of @data that are used up; the rest is to be shown again,
 *	or, after ENGINE_DONE, belongs to the record layer
 * @out: bytes to send, valid until the next call
 */
enum engine_status engine_feed(struct engine *engine, const uint8_t *data, size_t len, bool eof,
			       size_t *consumed, const uint8_t **out, size_t *out_len);

/* After ENGINE_FAILED. */
enum tlsport_reason engine_reason(const struct engine *engine);

/* After ENGINE_FAILED: for the log, never NULL. */
const char *engine_reason_text(const struct engine *engine);

/* After ENGINE_DONE, once: 0, or -1 when the keys cannot be had. */
int engine_result(struct engine *engine, struct engine_result *result);

void engine_free(struct engine *engine);

#endif /* _TLSPORTD_ENGINE_H */
