// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The library is shown another ClientHello than the client sent; the transcript
 * must be that of the client's bytes.  A TLS 1.3 client of bytes and HKDF proves
 * it with hellos that no ordinary client sends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/sha.h>

#include "engine_client.h"
#include "hello_build.h"

#define HASH SHA256_DIGEST_LENGTH

static struct engine_context *context;

struct transcript {
	uint8_t bytes[200000];
	size_t len;
};

static struct transcript transcript;

static void add(const void *data, size_t len)
{
	assert_true(transcript.len + len <= sizeof(transcript.bytes));
	memcpy(transcript.bytes + transcript.len, data, len);
	transcript.len += len;
}

static void hash(uint8_t to[HASH])
{
	SHA256(transcript.bytes, transcript.len, to);
}

static void extract(const uint8_t *salt, const uint8_t *key, size_t len, uint8_t to[HASH])
{
	HMAC(EVP_sha256(), salt, HASH, key, len, to, NULL);
}

static void expand(const uint8_t *secret, const char *label, const uint8_t *context_bytes,
		   size_t context_len, uint8_t *to, size_t len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	uint8_t info[128];
	size_t n = 0;

	info[n++] = 0;
	info[n++] = len;
	info[n++] = 6 + strlen(label);
	memcpy(info + n, "tls13 ", 6);
	memcpy(info + n + 6, label, strlen(label));
	n += 6 + strlen(label);
	info[n++] = context_len;
	if (context_len)
		memcpy(info + n, context_bytes, context_len);
	n += context_len;
	assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
	EVP_PKEY_CTX_set_hkdf_mode(ctx, EVP_PKEY_HKDEF_MODE_EXPAND_ONLY);
	EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256());
	EVP_PKEY_CTX_set1_hkdf_key(ctx, secret, HASH);
	EVP_PKEY_CTX_add1_hkdf_info(ctx, info, n);
	assert_int_equal(EVP_PKEY_derive(ctx, to, &len), 1);
	EVP_PKEY_CTX_free(ctx);
}

static void keys_of(const uint8_t *secret, union engine_crypto_info *info)
{
	uint8_t iv[12];

	memset(info, 0, sizeof(*info));
	info->info.version = TLS_1_3_VERSION;
	info->info.cipher_type = TLS_CIPHER_AES_GCM_128;
	expand(secret, "key", NULL, 0, info->gcm128.key, 16);
	expand(secret, "iv", NULL, 0, iv, 12);
	memcpy(info->gcm128.salt, iv, 4);
	memcpy(info->gcm128.iv, iv + 4, 8);
}

static void finished(const uint8_t *secret, uint8_t to[HASH])
{
	uint8_t key[HASH], digest[HASH];

	expand(secret, "finished", NULL, 0, key, HASH);
	hash(digest);
	HMAC(EVP_sha256(), key, HASH, digest, HASH, to, NULL);
}

/* The server's X25519 share; the ServerHello is checked on the way. */
static const uint8_t *server_share(const uint8_t *message, const struct test_hello *hello)
{
	const uint8_t *at = message + 4 + 2 + 32, *end;

	assert_int_equal(message[0], TLS_SERVER_HELLO);
	assert_int_equal(*at, hello->session_id_len);
	assert_memory_equal(at + 1, hello->session_id, hello->session_id_len);
	at += 1 + *at;
	assert_int_equal(get16(at), 0x1301);
	at += 3;
	end = at + 2 + get16(at);
	for (at += 2; at < end; at += 4 + get16(at + 2))
		if (get16(at) == 51)
			return at + 4 + 4;
	return NULL;
}

static const uint8_t *out;
static size_t out_len;

static enum engine_status feed(struct engine *engine, const uint8_t *data, size_t len)
{
	size_t consumed;
	enum engine_status status =
		engine_feed(engine, data, len, false, &consumed, &out, &out_len);

	assert_int_equal(consumed, len);
	return status;
}

/* A handshake message in records. */
static size_t records_of(const uint8_t *message, size_t len, uint8_t *to)
{
	uint8_t *start = to;

	while (len) {
		size_t n = len < 16384 ? len : 16384;

		to[0] = TLS_HANDSHAKE;
		put16(to + 1, 0x0301);
		put16(to + 3, n);
		memcpy(to + 5, message, n);
		message += n;
		to += 5 + n;
		len -= n;
	}
	return to - start;
}

static enum engine_status send_hello(struct engine *engine, const struct test_hello *hello)
{
	static uint8_t message[70000], records[70100];
	size_t len = test_hello_message(hello, message);

	add(message, len);
	return feed(engine, records, records_of(message, len, records));
}

/* HelloRetryRequest: the first ClientHello is a hash in the transcript. */
static void take_retry(void)
{
	uint8_t digest[HASH];

	hash(digest);
	transcript.len = 0;
	add("\xfe\x00\x00\x20", 4);
	add(digest, HASH);
	add(out + 5, get16(out + 3));
}

static void complete(const struct test_hello *hello, bool retry)
{
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), *peer;
	uint8_t secret[HASH] = { 0 }, zero[HASH] = { 0 }, empty[HASH], digest[HASH];
	uint8_t shared[32], client[HASH], server[HASH], verify[HASH], content[20000], type;
	struct engine *engine = engine_new(context);
	union engine_crypto_info rx, tx;
	struct engine_result result;
	struct test_hello own = *hello;
	uint8_t record[256], message[4 + HASH] = { TLS_FINISHED, 0, 0, HASH };
	size_t at, shared_len = sizeof(shared), share_len = 32;
	bool done = false;
	EVP_PKEY_CTX *ctx;
	int len;

	transcript.len = 0;
	if (retry) {
		SET(&own, AT_KEY_SHARE, 0, 0);
		assert_int_equal(send_hello(engine, &own), ENGINE_MORE);
		take_retry();
		own.extensions[AT_KEY_SHARE] = hello->extensions[AT_KEY_SHARE];
	}
	EVP_PKEY_get_raw_public_key(pkey, own.extensions[AT_KEY_SHARE].body + 6, &share_len);
	if (send_hello(engine, &own) != ENGINE_MORE)
		fail_msg("%s", engine_reason_text(engine));

	/* ServerHello; its secret */
	assert_int_equal(out[0], TLS_HANDSHAKE);
	add(out + 5, get16(out + 3));
	peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, server_share(out + 5, &own), 32);
	ctx = EVP_PKEY_CTX_new(pkey, NULL);
	EVP_PKEY_derive_init(ctx);
	EVP_PKEY_derive_set_peer(ctx, peer);
	assert_int_equal(EVP_PKEY_derive(ctx, shared, &shared_len), 1);
	EVP_PKEY_CTX_free(ctx);
	SHA256((const uint8_t *)"", 0, empty);
	extract(zero, zero, HASH, secret);
	expand(secret, "derived", empty, HASH, secret, HASH);
	extract(secret, shared, 32, secret);
	hash(digest);
	expand(secret, "c hs traffic", digest, HASH, client, HASH);
	expand(secret, "s hs traffic", digest, HASH, server, HASH);
	keys_of(client, &tx);
	keys_of(server, &rx);

	/* the server's flight up to a Finished that fits our transcript */
	for (at = 5 + get16(out + 3); at < out_len; at += 5 + get16(out + at + 3)) {
		if (out[at] == TLS_CHANGE_CIPHER_SPEC)
			continue;
		len = test_open_record(&rx, out + at, 5 + get16(out + at + 3), content, &type);
		assert_true(len > 0);
		assert_int_equal(type, TLS_HANDSHAKE);
		rx.gcm128.rec_seq[7]++;
		if (content[0] == TLS_FINISHED) {
			finished(server, verify);
			assert_memory_equal(content + 4, verify, HASH);
			done = true;
		}
		add(content, len);
	}
	assert_true(done);

	/* ours */
	finished(client, message + 4);
	len = test_seal_record(&tx, TLS_HANDSHAKE, message, sizeof(message), record);
	assert_int_equal(feed(engine, record, len), ENGINE_DONE);
	assert_int_equal(engine_result(engine, &result), 0);
	engine_free(engine);
	EVP_PKEY_free(pkey);
	EVP_PKEY_free(peer);
}

static void both_ways(const struct test_hello *hello)
{
	complete(hello, false);
	complete(hello, true);
}

static void init(struct test_hello *hello)
{
	test_hello_init(hello);
	SUITES(hello, 0x13, 0x01);
}

static void test_ordinary_hello(void **state)
{
	struct test_hello hello;

	(void)state;
	init(&hello);
	both_ways(&hello);
}

static void test_any_legacy_version(void **state)
{
	const uint16_t versions[] = { 0x0301, 0x0302, 0x0304, 0x0400, 0xffff };
	struct test_hello hello;

	(void)state;
	for (int i = 0; i < 5; i++) {
		init(&hello);
		hello.legacy_version = versions[i];
		both_ways(&hello);
	}
}

static void test_any_session_id(void **state)
{
	struct test_hello hello;

	(void)state;
	for (int len = 0; len <= 32; len++) {
		init(&hello);
		hello.session_id_len = len;
		memset(hello.session_id, 0x5a, len);
		both_ways(&hello);
	}
}

static void test_many_signature_algorithms(void **state)
{
	struct test_hello hello;
	uint8_t *body;

	(void)state;
	init(&hello);
	body = hello.extensions[AT_SCHEMES].body;
	put16(body, 2000);
	for (int n = 0; n < 1000; n++)
		put16(body + 2 + 2 * n, n < 999 ? 0xf000 + n : 0x0403);
	hello.extensions[AT_SCHEMES].len = 2002;
	both_ways(&hello);
}

static void test_other_shares_before_ours(void **state)
{
	struct test_extension *share;
	struct test_hello hello;

	(void)state;
	init(&hello);
	SET(&hello, AT_GROUPS, 0, 4, 0x1a, 0x1a, 0, 29);
	share = &hello.extensions[AT_KEY_SHARE];
	/* behind ours: complete() writes it at its usual place */
	memcpy(share->body + 38, "\x1a\x1a\x00\x01\x00", 5);
	share->len += 5;
	put16(share->body, 36 + 5);
	complete(&hello, false);
}

/* 64 KiB: four records */
static void test_largest_hello(void **state)
{
	static struct test_hello hello;

	(void)state;
	init(&hello);
	for (int i = 0; hello.count < TEST_EXTENSIONS; i++)
		test_hello_add(&hello, 0x5000 + i, hello.extensions[0].body, 2000);
	both_ways(&hello);
}

/* --- a session, and no signature_algorithms: RFC 8446 9.2 --- */

/* Behind what is in the transcript; binders end the message and are not in what they are of. */
static void bind_psk(const struct test_hello *hello, const uint8_t *psk, uint8_t *message)
{
	const size_t len = test_hello_message(hello, message) - 2 - 1 - HASH;
	uint8_t zero[HASH] = { 0 }, empty[HASH], key[HASH];

	SHA256((const uint8_t *)"", 0, empty);
	extract(zero, psk, HASH, key);
	expand(key, "res binder", empty, HASH, key, HASH);
	add(message, len);
	finished(key, message + len + 2 + 1);
	add(message + len, 2 + 1 + HASH);
}

static enum engine_status send_bound(struct engine *engine, const struct test_hello *hello,
				     const uint8_t *psk)
{
	uint8_t message[4096], record[4096];

	bind_psk(hello, psk, message);
	return feed(engine, record, records_of(message, 4 + get24(message + 1), record));
}

/* The client's next hello, but without signature_algorithms. */
static void take_hello(struct client *client, struct test_hello *to)
{
	static const uint8_t binders[2 + 1 + HASH] = { 0, 1 + HASH, HASH };
	uint8_t bytes[4096], psk[2048];
	struct hello hello;
	size_t identities;
	int n;

	SSL_do_handshake(client->ssl);
	n = BIO_read(client->out, bytes, sizeof(bytes));
	assert_int_equal(hello_parse(bytes + 5, n - 5, &hello), 0);
	identities = hello.psk.len - hello.binders_len;
	memcpy(psk, hello.psk.data, identities);
	memcpy(psk + identities, binders, sizeof(binders));
	init(to);
	SET(to, AT_SERVER_NAME, 0, 15, 0, 0, 12, 't', 'e', 's', 't', '.', 'e', 'x', 'a', 'm', 'p',
	    'l', 'e');
	DROP(to, AT_SCHEMES);
	test_hello_add(to, 41, psk, identities + sizeof(binders));
}

static bool has_psk(const uint8_t *record)
{
	const uint8_t *at = record + 5 + 4 + 2 + 32, *end = record + 5 + get16(record + 3);

	for (at += 1 + *at + 2 + 1 + 2; at < end; at += 4 + get16(at + 2))
		if (get16(at) == 41)
			return true;
	return false;
}

static void test_session_without_signature_algorithms(void **state)
{
	static const uint8_t missing[] = { TLS_ALERT, 3, 3, 0, 2, 2, ALERT_MISSING_EXTENSION };
	struct engine_policy policy = test_policy(443);
	struct client *client = client_new(TLS1_3_VERSION, TLS1_3_VERSION);
	struct ticket_keys *tickets = ticket_keys_new();
	struct engine_context *port;
	static struct flow flow;
	uint8_t psk[HASH];
	char byte;

	(void)state;
	policy.tickets = tickets;
	port = test_context(&policy, TEST_P256);
	SSL_set_ciphersuites(client->ssl, "TLS_AES_128_GCM_SHA256");
	assert_int_equal(flow_run(&flow, port, client), ENGINE_DONE);
	SSL_read(client->ssl, &byte, 1);
	flow_end(&flow);
	for (int i = 0; i < 4; i++) {
		const bool known = i % 2, retry = i / 2;
		struct engine *engine = engine_new(port);
		struct test_hello hello, first;

		client_again(client, client->session);
		SSL_SESSION_get_master_key(client->session, psk, sizeof(psk));
		take_hello(client, &hello);
		if (!known) /* in the ticket's name */
			hello.extensions[hello.count - 1].body[4] ^= 1;
		transcript.len = 0;
		if (retry) {
			first = hello;
			SET(&first, AT_KEY_SHARE, 0, 0);
			assert_int_equal(send_bound(engine, &first, psk), ENGINE_MORE);
			assert_false(has_psk(out));
			take_retry();
		}
		if (send_bound(engine, &hello, psk) != (known ? ENGINE_MORE : ENGINE_FAILED))
			fail_msg("known %d, retry %d: %s", known, retry,
				 engine_reason_text(engine));
		if (known) {
			assert_true(has_psk(out));
		} else {
			assert_int_equal(out_len, sizeof(missing));
			assert_memory_equal(out, missing, sizeof(missing));
		}
		engine_free(engine);
	}
	client_free(client);
	engine_context_free(port);
	ticket_keys_free(tickets);
}

static int setup(void **state)
{
	const struct engine_policy policy = test_policy(443);

	(void)state;
	context = test_context(&policy, TEST_P256);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	engine_context_free(context);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ordinary_hello),
		cmocka_unit_test(test_any_legacy_version),
		cmocka_unit_test(test_any_session_id),
		cmocka_unit_test(test_many_signature_algorithms),
		cmocka_unit_test(test_other_shares_before_ours),
		cmocka_unit_test(test_largest_hello),
		cmocka_unit_test(test_session_without_signature_algorithms),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
