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
	uint8_t bytes[300000];
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

/* Which PSK a ServerHello has selected; -1: none */
static int selected_psk(const uint8_t *message)
{
	const uint8_t *at = message + 4 + 2 + 32, *end;

	at += 1 + *at + 2 + 1;
	end = at + 2 + get16(at);
	for (at += 2; at < end; at += 4 + get16(at + 2))
		if (get16(at) == 41)
			return get16(at + 4);
	return -1;
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

/* What the client has sent already, and comes with the next record. */
static struct {
	uint8_t bytes[280000];
	size_t len;
} held;
static size_t sent_len;

static enum engine_status feed(struct engine *engine, const uint8_t *data, size_t len)
{
	enum engine_status status;
	size_t consumed;

	memcpy(held.bytes + held.len, data, len);
	len += held.len;
	held.len = 0;
	sent_len = len;
	status = engine_feed(engine, held.bytes, len, false, &consumed, &out, &out_len);
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

/*
 * What pre_shared_key, the last extension, offers.
 *
 * @psk: NULL: no PSK
 * @binders: in it, all of HASH bytes
 * @bound: the one that is right; -1: none
 * @selected: by the server; -1: none
 */
static struct offer {
	const uint8_t *psk;
	int binders;
	int bound;
	int selected;
} offer;

/* Behind what is in the transcript; binders end the message and are not in what they are of. */
static void bind_psk(const struct test_hello *hello, uint8_t *message)
{
	const size_t tail = 2 + offer.binders * (1 + HASH);
	const size_t len = test_hello_message(hello, message) - tail;
	uint8_t zero[HASH] = { 0 }, empty[HASH], key[HASH];

	SHA256((const uint8_t *)"", 0, empty);
	extract(zero, offer.psk, HASH, key);
	expand(key, "res binder", empty, HASH, key, HASH);
	add(message, len);
	if (offer.bound >= 0)
		finished(key, message + len + 2 + offer.bound * (1 + HASH) + 1);
	add(message + len, tail);
}

static enum engine_status send_bound(struct engine *engine, const struct test_hello *hello)
{
	static uint8_t message[8192], record[8192];

	bind_psk(hello, message);
	return feed(engine, record, records_of(message, 4 + get24(message + 1), record));
}

static bool enlarge;

/* Lists of suites and of extensions as long as can be. */
static size_t enlarged(uint8_t *message, size_t len)
{
	uint8_t *suites = message + 4 + 2 + 32 + 1 + message[4 + 2 + 32], *extensions;
	size_t more = 0xfffe - get16(suites);

	memmove(suites + 2 + more, suites + 2, message + len - suites - 2);
	for (size_t i = 0; i < more; i += 2)
		put16(suites + 2 + i, 0x5000 + i % 256);
	put16(suites, 0xfffe);
	len += more;
	extensions = suites + 2 + 0xfffe + 2;
	more = 0xffff - get16(extensions);
	put16(message + len, 21);
	put16(message + len + 2, more - 4);
	memset(message + len + 4, 0, more - 4);
	put16(extensions, 0xffff);
	len += more;
	put24(message + 1, len - 4);
	return len;
}

static enum engine_status send_hello(struct engine *engine, const struct test_hello *hello)
{
	static uint8_t message[140000], records[140100];
	size_t len;

	if (offer.psk)
		return send_bound(engine, hello);
	len = test_hello_message(hello, message);
	if (enlarge)
		len = enlarged(message, len);
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

/* Of an X25519 share; 2^255 - 19 is the prime. */
static enum form {
	FORM_OWN,
	FORM_TOP_BIT, /* which does not count */
	FORM_ABOVE,   /* the prime and 9 */
	FORM_TOP_BIT_ABOVE,
} form;

#define FORMS 4

/*
 * Above the prime there are 19 values: 9, the base point, among them.  Its secret is 5 times
 * the order of the group less 1, which X25519 takes as it is: what is shared with others is
 * their own public value.
 */
static void write_share(EVP_PKEY *pkey, uint8_t share[32])
{
	size_t len = 32;

	EVP_PKEY_get_raw_public_key(pkey, share, &len);
	if (form >= FORM_ABOVE) {
		memset(share, 0xff, 31);
		share[0] = 0xed + 9;
		share[31] = 0x7f;
	}
	if (form == FORM_TOP_BIT || form == FORM_TOP_BIT_ABOVE)
		share[31] |= 0x80;
}

static void share_secret(EVP_PKEY *pkey, const uint8_t server[32], uint8_t shared[32])
{
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, server, 32);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
	size_t len = 32;

	EVP_PKEY_derive_init(ctx);
	EVP_PKEY_derive_set_peer(ctx, peer);
	assert_int_equal(EVP_PKEY_derive(ctx, shared, &len), 1);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(peer);
	if (form >= FORM_ABOVE)
		memcpy(shared, server, 32);
}

enum retry {
	RETRY_NONE,
	RETRY,
	RETRY_AT_ONCE, /* the second ClientHello comes with the first: the client knows the answer */
};

static void complete(const struct test_hello *hello, enum retry retry)
{
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	uint8_t secret[HASH] = { 0 }, zero[HASH] = { 0 }, empty[HASH], digest[HASH];
	uint8_t shared[32], client[HASH], server[HASH], verify[HASH], content[20000], type;
	struct engine *engine = engine_new(context);
	union engine_crypto_info rx, tx;
	struct engine_result result;
	struct test_hello own = *hello;
	uint8_t record[256], message[4 + HASH] = { TLS_FINISHED, 0, 0, HASH };
	size_t at, skip = 0;
	bool done = false;
	int len;

	transcript.len = 0;
	if (!offer.psk)
		offer.selected = -1;
	if (retry) {
		SET(&own, AT_KEY_SHARE, 0, 0);
		assert_int_equal(send_hello(engine, &own), ENGINE_MORE);
		take_retry();
		own.extensions[AT_KEY_SHARE] = hello->extensions[AT_KEY_SHARE];
	}
	if (retry == RETRY_AT_ONCE) {
		engine_free(engine);
		engine = engine_new(context);
		held.len = sent_len; /* they lie there yet */
		skip = out_len;
	}
	write_share(pkey, own.extensions[AT_KEY_SHARE].body + 6);
	if (send_hello(engine, &own) != ENGINE_MORE)
		fail_msg("%s", engine_reason_text(engine));
	out += skip;
	out_len -= skip;

	/* ServerHello; its secret */
	assert_int_equal(out[0], TLS_HANDSHAKE);
	add(out + 5, get16(out + 3));
	share_secret(pkey, server_share(out + 5, &own), shared);
	SHA256((const uint8_t *)"", 0, empty);
	assert_int_equal(selected_psk(out + 5), offer.selected);
	extract(zero, offer.selected >= 0 ? offer.psk : zero, HASH, secret);
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
		if (len <= 0)
			fail_msg("PSK %d of %d, retry %d: the flight cannot be read", offer.bound,
				 offer.binders, retry);
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
}

static void all_ways(const struct test_hello *hello)
{
	complete(hello, RETRY_NONE);
	complete(hello, RETRY);
	complete(hello, RETRY_AT_ONCE);
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
	all_ways(&hello);
}

static void test_any_legacy_version(void **state)
{
	const uint16_t versions[] = { 0x0301, 0x0302, 0x0304, 0x0400, 0xffff };
	struct test_hello hello;

	(void)state;
	for (int i = 0; i < 5; i++) {
		init(&hello);
		hello.legacy_version = versions[i];
		all_ways(&hello);
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
		all_ways(&hello);
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
	all_ways(&hello);
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
	complete(&hello, RETRY_NONE);
}

/* RFC 7748 5: what is not canonical is another form of the same value. */
static void test_forms_of_the_share(void **state)
{
	struct test_hello hello;

	(void)state;
	init(&hello);
	for (form = FORM_OWN; form < FORMS; form++)
		all_ways(&hello);
	form = FORM_OWN;
}

/* --- TLS 1.2: the share is of ClientKeyExchange --- */

static void prf(const uint8_t *secret, size_t secret_len, const char *label, const uint8_t *seed,
		size_t seed_len, uint8_t *to, size_t len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_TLS1_PRF, NULL);

	assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
	EVP_PKEY_CTX_set_tls1_prf_md(ctx, EVP_sha256());
	EVP_PKEY_CTX_set1_tls1_prf_secret(ctx, secret, secret_len);
	EVP_PKEY_CTX_add1_tls1_prf_seed(ctx, (const uint8_t *)label, strlen(label));
	EVP_PKEY_CTX_add1_tls1_prf_seed(ctx, seed, seed_len);
	assert_int_equal(EVP_PKEY_derive(ctx, to, &len), 1);
	EVP_PKEY_CTX_free(ctx);
}

/* The server's flight goes into the transcript; its random and its X25519 share come out. */
static void take_flight12(uint8_t random[32], uint8_t share[32])
{
	bool seen = false;

	for (size_t at = 0; at < out_len; at += 5 + get16(out + at + 3)) {
		const uint8_t *message = out + at + 5, *end = message + get16(out + at + 3);

		assert_int_equal(out[at], TLS_HANDSHAKE);
		add(message, end - message);
		for (; message < end; message += 4 + get24(message + 1)) {
			if (message[0] == TLS_SERVER_HELLO)
				memcpy(random, message + 6, 32);
			if (message[0] != 12) /* ServerKeyExchange: a curve, X25519, a share */
				continue;
			assert_memory_equal(message + 4, "\3\0\35\40", 4);
			memcpy(share, message + 8, 32);
			seen = true;
		}
	}
	assert_true(seen);
}

static void master_of(const uint8_t shared[32], const uint8_t *server_random, bool extended,
		      uint8_t master[48])
{
	uint8_t seed[64];

	memset(seed, 0xaa, 32); /* of test_hello_message() */
	memcpy(seed + 32, server_random, 32);
	if (extended)
		hash(seed);
	prf(shared, 32, extended ? "extended master secret" : "master secret", seed,
	    extended ? HASH : 64, master, 48);
}

static void keys12_of(const uint8_t master[48], const uint8_t *server_random,
		      union engine_crypto_info *info)
{
	uint8_t seed[64], block[2 * 16 + 2 * 4];

	memcpy(seed, server_random, 32);
	memset(seed + 32, 0xaa, 32);
	prf(master, 48, "key expansion", seed, sizeof(seed), block, sizeof(block));
	memset(info, 0, sizeof(*info));
	info->info.version = TLS_1_2_VERSION;
	info->info.cipher_type = TLS_CIPHER_AES_GCM_128;
	memcpy(info->gcm128.key, block, 16);
	memcpy(info->gcm128.salt, block + 32, 4);
}

static void complete12(const struct test_hello *hello, bool extended)
{
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	uint8_t random[32], server[32], shared[32], master[48], digest[HASH];
	uint8_t exchange[4 + 1 + 32] = { TLS_CLIENT_KEY_EXCHANGE, 0, 0, 33, 32 };
	uint8_t message[4 + 12] = { TLS_FINISHED, 0, 0, 12 }, flight[256];
	struct engine *engine = engine_new(context);
	struct engine_result result;
	union engine_crypto_info tx;
	size_t len;

	transcript.len = 0;
	assert_int_equal(send_hello(engine, hello), ENGINE_MORE);
	take_flight12(random, server);
	write_share(pkey, exchange + 5);
	share_secret(pkey, server, shared);
	add(exchange, sizeof(exchange));
	master_of(shared, random, extended, master);
	keys12_of(master, random, &tx);
	hash(digest);
	prf(master, sizeof(master), "client finished", digest, HASH, message + 4, 12);
	len = records_of(exchange, sizeof(exchange), flight);
	memcpy(flight + len, "\x14\x03\x03\x00\x01\x01", 6);
	len += 6;
	len += test_seal_record(&tx, TLS_HANDSHAKE, message, sizeof(message), flight + len);
	if (feed(engine, flight, len) != ENGINE_DONE)
		fail_msg("form %d: %s", form, engine_reason_text(engine));
	assert_int_equal(engine_result(engine, &result), 0);
	engine_free(engine);
	EVP_PKEY_free(pkey);
}

static void test_forms_of_the_share_in_tls12(void **state)
{
	struct test_hello hello;

	(void)state;
	for (int extended = 0; extended < 2; extended++) {
		init(&hello);
		SUITES(&hello, 0xc0, 0x2b);
		SET(&hello, AT_VERSIONS, 2, 3, 3);
		if (!extended)
			DROP(&hello, AT_EMS);
		for (form = FORM_OWN; form < FORMS; form++)
			complete12(&hello, extended);
	}
	form = FORM_OWN;
}

/* 128 KiB: nine records */
static void test_largest_hello(void **state)
{
	struct test_hello hello;

	(void)state;
	init(&hello);
	hello.session_id_len = 32;
	enlarge = true;
	all_ways(&hello);
	enlarge = false;
}

/* --- a session, and no signature_algorithms: RFC 8446 9.2 --- */

/* The client's next hello, as far as the session is concerned. */
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
	test_hello_add(to, 41, psk, identities + sizeof(binders));
}

/* A port with tickets, and a client that has one of it. */
static struct client *with_session(struct engine_policy *policy, struct engine_context **port)
{
	struct client *client = client_new(TLS1_3_VERSION, TLS1_3_VERSION);
	static struct flow flow;
	char byte;

	*policy = test_policy(443);
	policy->tickets = ticket_keys_new();
	*port = test_context(policy, TEST_P256);
	SSL_set_ciphersuites(client->ssl, "TLS_AES_128_GCM_SHA256");
	assert_int_equal(flow_run(&flow, *port, client), ENGINE_DONE);
	SSL_read(client->ssl, &byte, 1);
	flow_end(&flow);
	return client;
}

static void take_offer(struct client *client, struct test_hello *hello)
{
	static uint8_t psk[HASH];

	client_again(client, client->session);
	SSL_SESSION_get_master_key(client->session, psk, sizeof(psk));
	take_hello(client, hello);
	offer = (struct offer){ psk, 1, 0, 0 };
}

static void end_session(struct client *client, struct engine_policy *policy,
			struct engine_context *port)
{
	offer.psk = NULL;
	client_free(client);
	engine_context_free(port);
	ticket_keys_free((struct ticket_keys *)policy->tickets);
}

static void test_session_without_signature_algorithms(void **state)
{
	static const uint8_t missing[] = { TLS_ALERT, 3, 3, 0, 2, 2, ALERT_MISSING_EXTENSION };
	struct engine_policy policy;
	struct engine_context *port;
	struct client *client = with_session(&policy, &port);

	(void)state;
	for (int i = 0; i < 4; i++) {
		const bool known = i % 2, retry = i / 2;
		struct engine *engine = engine_new(port);
		struct test_hello hello, first;

		take_offer(client, &hello);
		DROP(&hello, AT_SCHEMES);
		if (!known) /* in the ticket's name */
			hello.extensions[hello.count - 1].body[4] ^= 1;
		transcript.len = 0;
		first = hello;
		if (retry)
			SET(&first, AT_KEY_SHARE, 0, 0);
		if (retry && known) {
			assert_int_equal(send_bound(engine, &first), ENGINE_MORE);
			assert_int_equal(selected_psk(out + 5), -1);
			take_retry();
			first = hello;
		}
		if (send_bound(engine, &first) != (known ? ENGINE_MORE : ENGINE_FAILED))
			fail_msg("known %d, retry %d: %s", known, retry,
				 engine_reason_text(engine));
		if (known) {
			assert_int_equal(selected_psk(out + 5), 0);
		} else {
			assert_int_equal(out_len, sizeof(missing));
			assert_memory_equal(out, missing, sizeof(missing));
		}
		engine_free(engine);
	}
	end_session(client, &policy, port);
}

/*
 * PSKs of the client: "o": its session; "f": none of ours; "F": likewise, and longer than
 * ours are; "l": the session's ticket and a byte more.
 */
static void offer_psks(struct test_hello *hello, const char *psks, int selected)
{
	struct test_extension *extension = &hello->extensions[hello->count - 1];
	const size_t entry_len = get16(extension->body), id_len = entry_len - 2 - 4;
	uint8_t body[2048] = { 0 }, *at = body + 2;
	const uint8_t *id = extension->body + 4;

	offer.binders = strlen(psks);
	offer.bound = strchr(psks, 'o') ? (int)strcspn(psks, "o") : -1;
	offer.selected = selected;
	for (const char *c = psks; *c; c++) {
		const size_t len = *c == 'o' ? id_len :
				   *c == 'l' ? id_len + 1 :
				   *c == 'F' ? 500 :
					       20;

		put16(at, len);
		memset(at + 2, *c, len);
		if (*c == 'o' || *c == 'l')
			memcpy(at + 2, id, id_len);
		memcpy(at + 2 + len, id + id_len, 4);
		at += 2 + len + 4;
	}
	put16(body, at - body - 2);
	put16(at, offer.binders * (1 + HASH));
	at += 2;
	for (int i = 0; i < offer.binders; i++, at += 1 + HASH)
		*at = HASH;
	test_extension_set(extension, body, at - body);
}

static void test_several_psks(void **state)
{
	static const struct {
		const char *psks;
		int selected;
	} offers[] = {
		{ "o", 0 },   { "f", -1 },  { "F", -1 },     { "l", -1 }, { "fo", 1 },
		{ "of", 0 },  { "Fo", 1 },  { "oF", 0 },     { "oo", 0 }, { "foo", 1 },
		{ "lfo", 2 }, { "Ff", -1 }, { "fffffo", 5 }, { "ol", 0 },
	};
	struct engine_context *kept = context;
	struct engine_policy policy;
	struct client *client = with_session(&policy, &context);

	(void)state;
	for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
		for (int session_id = 0; session_id < 2; session_id++) {
			struct test_hello hello;

			take_offer(client, &hello);
			/* of a length that the library does not take */
			hello.session_id_len = session_id ? 5 : 32;
			offer_psks(&hello, offers[i].psks, offers[i].selected);
			all_ways(&hello);
		}
	}
	end_session(client, &policy, context);
	context = kept;
}

/*
 * A ticket that looks like ours and does not open: a full handshake.  Its binder may be
 * as long as any other message.
 */
static void test_broken_psk(void **state)
{
	struct engine_context *kept = context;
	struct engine_policy policy;
	struct client *client = with_session(&policy, &context);

	(void)state;
	for (int binder = HASH; binder <= 64; binder++) {
		struct test_hello hello;
		struct test_extension *extension;
		size_t binders;

		take_offer(client, &hello);
		extension = &hello.extensions[hello.count - 1];
		binders = 2 + get16(extension->body);
		extension->body[4 + 100] ^= 1; /* in what is sealed */
		put16(extension->body + binders, 1 + binder);
		extension->body[binders + 2] = binder;
		memset(extension->body + binders + 3, 0x5a, binder);
		extension->len = binders + 3 + binder;
		offer.psk = NULL;
		all_ways(&hello);
	}
	end_session(client, &policy, context);
	context = kept;
}

/* RFC 8446 4.1.2: what does not fit the suite may go after HelloRetryRequest. */
static void test_psk_goes_after_retry(void **state)
{
	struct engine_context *kept = context;
	struct engine_policy policy;
	struct client *client = with_session(&policy, &context);
	struct test_hello hello;
	struct engine *engine;

	(void)state;
	for (int fits = 0; fits < 2; fits++) {
		take_offer(client, &hello);
		SUITES(&hello, 0x13, fits ? 0x01 : 0x02);
		SET(&hello, AT_KEY_SHARE, 0, 0);
		engine = engine_new(context);
		transcript.len = 0;
		assert_int_equal(send_bound(engine, &hello), ENGINE_MORE);
		take_retry();
		hello.count--;
		test_hello_init(&hello);
		SUITES(&hello, 0x13, fits ? 0x01 : 0x02);
		SET(&hello, AT_SERVER_NAME, 0, 15, 0, 0, 12, 't', 'e', 's', 't', '.', 'e', 'x', 'a',
		    'm', 'p', 'l', 'e');
		offer.psk = NULL;
		assert_int_equal(send_hello(engine, &hello), fits ? ENGINE_FAILED : ENGINE_MORE);
		if (fits)
			assert_int_equal(out[6], ALERT_ILLEGAL_PARAMETER);
		engine_free(engine);
	}
	end_session(client, &policy, context);
	context = kept;
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
		cmocka_unit_test(test_forms_of_the_share),
		cmocka_unit_test(test_forms_of_the_share_in_tls12),
		cmocka_unit_test(test_largest_hello),
		cmocka_unit_test(test_session_without_signature_algorithms),
		cmocka_unit_test(test_several_psks),
		cmocka_unit_test(test_broken_psk),
		cmocka_unit_test(test_psk_goes_after_retry),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
