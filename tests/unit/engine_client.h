/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of the engine: an OpenSSL client in the same process, connected by
 * buffers, certificates made on the spot, and records under the engine's keys by
 * OpenSSL's EVP, so that nothing of the code under test judges itself.
 */
#ifndef _TESTS_ENGINE_CLIENT_H
#define _TESTS_ENGINE_CLIENT_H

#include <openssl/ssl.h>

#include "../../userspace/tlsportd/engine.h"

enum test_key {
	TEST_P256,
	TEST_P384,
	TEST_RSA,
};

/* PEM of a self-signed certificate and its key; from a cache, never freed. */
void test_files(enum test_key key, struct cert_files *files, struct cert_facts *facts);

/* Likewise, for these names: a subjectAltName of X509V3_EXT_conf(), or NULL; each call makes another. */
void test_files_named(enum test_key key, const char *common_name, const char *names,
		      struct cert_files *files, struct cert_facts *facts);

/* Like a configured port: everything allowed. */
struct engine_policy test_policy(uint16_t port);

/* Asserts that it works. */
struct engine_context *test_context(const struct engine_policy *policy, enum test_key key);

/**
 * struct client - of a test
 * @handshake_keys: what it protects its handshake messages with: TLS 1.3, AES-256-GCM
 */
struct client {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in;	      /* to the client */
	BIO *out;	      /* from the client */
	SSL_SESSION *session; /* last one that it was given */
	unsigned int sessions;
	union engine_crypto_info handshake_keys;
};

struct client *client_new(int min_version, int max_version);
/* A further connection of the same client, with this session or none. */
void client_again(struct client *client, SSL_SESSION *session);
void client_free(struct client *client);

/**
 * struct flow - one handshake between client and engine
 * @chunk: feed the engine after every so many bytes; 0: all at once
 * @data: the client's application data is sent with its last flight
 * @pending: bytes of the client that the engine did not consume
 */
struct flow {
	struct engine *engine;
	size_t chunk;
	const char *data;
	uint8_t pending[256 * 1024];
	size_t pending_len;
	uint8_t sent[64 * 1024]; /* by the engine, in all */
	size_t sent_len;
	enum engine_status status;
	struct engine_result result;
};

/* Runs until it is decided; the result is taken when it succeeded. */
enum engine_status flow_run(struct flow *flow, const struct engine_context *context,
			    struct client *client);
void flow_end(struct flow *flow);

/* Opens the record at @record with @info; returns the length of the content. */
int test_open_record(const union engine_crypto_info *info, const uint8_t *record, size_t len,
		     uint8_t *to, uint8_t *type);
/* Seals one, returns the record's length. */
int test_seal_record(const union engine_crypto_info *info, uint8_t type, const void *text,
		     size_t len, uint8_t *to);

#endif /* _TESTS_ENGINE_CLIENT_H */
