// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How handshakes fail: exactly one right alert, or none where none belongs, and
 * the right reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/kdf.h>

#include "../../userspace/tlsportd/crypt.h"
#include "engine_client.h"
#include "hello_build.h"

#define NO_ALERT (-1)

static struct engine_context *context;
static struct flow flow;

static const uint8_t *last_out;
static size_t last_out_len, last_consumed;

static enum engine_status feed(struct engine *engine, const void *data, size_t len, bool eof)
{
	/* a copy of exact size, for ASan */
	uint8_t *copy = malloc(len ? len : 1);
	enum engine_status status;

	memcpy(copy, data, len);
	status = engine_feed(engine, copy, len, eof, &last_consumed, &last_out, &last_out_len);
	free(copy);
	return status;
}

/* The output is this plaintext alert and nothing else. */
static void check_alert(const char *name, int alert)
{
	if (alert == NO_ALERT) {
		if (last_out_len)
			fail_msg("%s: %zu bytes out, expected none", name, last_out_len);
	} else if (last_out_len != 7 || memcmp(last_out, "\x15\x03\x03\x00\x02\x02", 6) ||
		   last_out[6] != alert) {
		fail_msg("%s: %zu bytes out, alert %d, expected %d", name, last_out_len,
			 last_out_len == 7 ? last_out[6] : -1, alert);
	}
}

static void expect(const char *name, const void *data, size_t len, int alert,
		   enum tlsport_reason reason)
{
	struct engine *engine = engine_new(context);

	if (feed(engine, data, len, false) != ENGINE_FAILED)
		fail_msg("%s: did not fail", name);
	check_alert(name, alert);
	if (engine_reason(engine) != reason)
		fail_msg("%s: reason %d, expected %d", name, engine_reason(engine), reason);
	engine_free(engine);
}

#define REFUSED(name, bytes, alert) \
	expect(name, bytes, sizeof(bytes) - 1, ALERT_##alert, TLSPORT_REASON_HANDSHAKE_REFUSED)

static void test_first_bytes(void **state)
{
	struct engine *engine;

	(void)state;
	expect("HTTP", "GET / HTTP/1.0\r\n\r\n", 18, NO_ALERT, TLSPORT_REASON_NOT_TLS);
	expect("three bytes", "\r\n0", 3, NO_ALERT, TLSPORT_REASON_NOT_TLS);
	engine = engine_new(context);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(feed(engine, "00", 1, false), ENGINE_MORE);
		assert_int_equal(last_consumed, 1);
	}
	assert_int_equal(feed(engine, "\3", 1, false), ENGINE_FAILED);
	check_alert("three bytes that are no text", ALERT_UNEXPECTED_MESSAGE);
	engine_free(engine);
	engine = engine_new(context);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(feed(engine, "\x80\x2e\1\3" + i, 1, false), ENGINE_MORE);
		/* the kernel waits for no rest of what cannot be a record */
		assert_int_equal(last_consumed, 1);
	}
	assert_int_equal(feed(engine, "\1", 1, false), ENGINE_FAILED);
	check_alert("SSL 2.0, byte by byte", ALERT_PROTOCOL_VERSION);
	assert_int_equal(engine_reason(engine), TLSPORT_REASON_HANDSHAKE_REFUSED);
	engine_free(engine);
	engine = engine_new(context);
	assert_int_equal(feed(engine, "\x80\x2e", 2, true), ENGINE_FAILED);
	check_alert("two bytes and the end", NO_ALERT);
	assert_int_equal(engine_reason(engine), TLSPORT_REASON_PEER_CLOSED);
	engine_free(engine);
	expect("a high byte", "\x80\x2e\2", 3, ALERT_UNEXPECTED_MESSAGE, TLSPORT_REASON_NOT_TLS);
	/* of version 3.1: the byte that would say ClientHello */
	expect("a record of type 128", "\x80\x03\x01\x00\x14\x00", 6, ALERT_UNEXPECTED_MESSAGE,
	       TLSPORT_REASON_NOT_TLS);
	expect("a record of type 255", "\xff\x03\x01\x01", 4, ALERT_UNEXPECTED_MESSAGE,
	       TLSPORT_REASON_NOT_TLS);
	engine = engine_new(context);
	for (int i = 0; i < 4; i++)
		assert_int_equal(feed(engine, "\x98\3\1\0" + i, 1, false), ENGINE_MORE);
	assert_int_equal(feed(engine, "\x14", 1, false), ENGINE_FAILED);
	check_alert("a record of type 152, byte by byte", ALERT_UNEXPECTED_MESSAGE);
	engine_free(engine);
	expect("a record of type 48", "\x30\x03\x01", 3, ALERT_UNEXPECTED_MESSAGE,
	       TLSPORT_REASON_NOT_TLS);
	expect("zeros", "\0\0\0\0\0\0\0", 7, ALERT_UNEXPECTED_MESSAGE, TLSPORT_REASON_NOT_TLS);
	REFUSED("SSL 2.0", "\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", PROTOCOL_VERSION);
	REFUSED("SSL 2.0 of its own version", "\x80\x1f\x01\x00\x02\x00\x06\x00\x00\x00\x10",
		PROTOCOL_VERSION);
	REFUSED("record version", "\x16\x05\x00", PROTOCOL_VERSION);
	REFUSED("too long", "\x16\x03\x01\x40\x01", RECORD_OVERFLOW);
	REFUSED("far too long", "\x16\x03\x01\xff\xff", RECORD_OVERFLOW);
	REFUSED("empty", "\x16\x03\x01\x00\x00", UNEXPECTED_MESSAGE);
	REFUSED("change_cipher_spec", "\x14\x03\x03\x00\x01\x01", UNEXPECTED_MESSAGE);
	REFUSED("application data", "\x17\x03\x03\x00\x01\x01", UNEXPECTED_MESSAGE);
	expect("heartbeat", "\x18\x03\x03\x00\x03\x01\x00\x00", 8, ALERT_UNEXPECTED_MESSAGE,
	       TLSPORT_REASON_NOT_TLS);
	REFUSED("another message", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", UNEXPECTED_MESSAGE);
	/* a byte more than the longest that there can be */
	REFUSED("oversized message", "\x16\x03\x01\x00\x04\x01\x02\x01\x45", DECODE_ERROR);
	REFUSED("empty message", "\x16\x03\x01\x00\x04\x01\x00\x00\x00", DECODE_ERROR);
	REFUSED("interleaved", "\x16\x03\x01\x00\x04\x01\x00\x00\x50\x14\x03\x01\x00\x01\x01",
		UNEXPECTED_MESSAGE);
	REFUSED("interleaved alert",
		"\x16\x03\x01\x00\x04\x01\x00\x00\x50\x15\x03\x01\x00\x02\x01\x5a",
		UNEXPECTED_MESSAGE);
	REFUSED("interleaved empty", "\x16\x03\x01\x00\x04\x01\x00\x00\x50\x16\x03\x01\x00\x00",
		UNEXPECTED_MESSAGE);
}

/* plaintext = reject, alert, redirect */
static void test_plaintext(void **state)
{
	static const char request[] = "POST /a?b=c HTTP/1.1\r\nHost: x.example:80\r\n\r\n";
	static const char answer[] =
		"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://x.example:8443/a?b=c\r\n"
		"Content-Length: 0\r\nConnection: close\r\n\r\n";
	struct engine_policy policy = test_policy(8443);
	struct engine_context *kept = context;
	struct engine *engine;

	(void)state;
	policy.plaintext = PLAINTEXT_ALERT;
	context = test_context(&policy, TEST_P256);
	expect("alert", request, sizeof(request) - 1, ALERT_UNEXPECTED_MESSAGE,
	       TLSPORT_REASON_NOT_TLS);
	engine_context_free(context);
	policy.plaintext = PLAINTEXT_REDIRECT;
	context = test_context(&policy, TEST_P256);
	expect("other text", "EHLO x.example\r\n\r\n", 18, NO_ALERT, TLSPORT_REASON_NOT_TLS);
	expect("no text", "\0\0\0", 3, ALERT_UNEXPECTED_MESSAGE, TLSPORT_REASON_NOT_TLS);
	for (size_t half = 1; half < sizeof(request) - 1; half++) {
		engine = engine_new(context);
		assert_int_equal(feed(engine, request, half, false), ENGINE_MORE);
		/* or the kernel would show it again at once */
		assert_int_equal(last_consumed, half);
		assert_int_equal(last_out_len, 0);
		assert_int_equal(feed(engine, request + half, sizeof(request) - 1 - half, false),
				 ENGINE_FAILED);
		assert_int_equal(last_out_len, sizeof(answer) - 1);
		assert_memory_equal(last_out, answer, last_out_len);
		assert_int_equal(engine_reason(engine), TLSPORT_REASON_NOT_TLS);
		engine_free(engine);
		/* it ends before it is whole */
		engine = engine_new(context);
		assert_int_equal(feed(engine, request, half, true), ENGINE_FAILED);
		assert_int_equal(last_out_len, 0);
		engine_free(engine);
	}
	engine_context_free(context);
	context = kept;
}

static void test_peer_ends_it(void **state)
{
	struct engine *engine;

	(void)state;
	expect("fatal", "\x15\x03\x01\x00\x02\x02\x28", 7, NO_ALERT, TLSPORT_REASON_PEER_ALERT);
	expect("close_notify", "\x15\x03\x01\x00\x02\x01\x00", 7, NO_ALERT,
	       TLSPORT_REASON_PEER_CLOSED);
	REFUSED("empty alert", "\x15\x03\x01\x00\x00", DECODE_ERROR);
	REFUSED("long alert", "\x15\x03\x01\x00\x03\x02\x28\x00", DECODE_ERROR);
	REFUSED("alert level", "\x15\x03\x01\x00\x02\x03\x28", ILLEGAL_PARAMETER);
	engine = engine_new(context);
	assert_int_equal(feed(engine, "\x16\x03", 2, false), ENGINE_MORE);
	assert_int_equal(last_consumed, 0);
	assert_int_equal(feed(engine, "\x16\x03", 2, true), ENGINE_FAILED);
	assert_int_equal(last_out_len, 0);
	assert_int_equal(engine_reason(engine), TLSPORT_REASON_PEER_CLOSED);
	engine_free(engine);
}

static void test_too_many_warnings(void **state)
{
	struct engine *engine = engine_new(context);

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_int_equal(feed(engine, "\x15\x03\x01\x00\x02\x01\x5a", 7, false),
				 ENGINE_MORE);
	assert_int_equal(feed(engine, "\x15\x03\x01\x00\x02\x01\x5a", 7, false), ENGINE_FAILED);
	check_alert("warnings", ALERT_UNEXPECTED_MESSAGE);
	engine_free(engine);
}

static void test_port_without_certificate(void **state)
{
	uint8_t record[4096];
	struct test_hello hello;
	struct engine *engine = engine_new(NULL);

	(void)state;
	test_hello_init(&hello);
	assert_int_equal(feed(engine, record, test_hello_record(&hello, record), false),
			 ENGINE_FAILED);
	check_alert("no context", ALERT_INTERNAL_ERROR);
	assert_int_equal(engine_reason(engine), TLSPORT_REASON_NO_CONTEXT);
	engine_free(engine);
}

/* --- public values, TLS 1.3 --- */

static int judge_share(uint16_t group, const uint8_t *share, size_t len)
{
	struct test_extension *extension;
	struct engine *engine = engine_new(context);
	uint8_t record[4096];
	struct test_hello hello;
	enum engine_status status;

	test_hello_init(&hello);
	SET(&hello, AT_GROUPS, 0, 8, 0x11, 0xec, 0, 29, 0, 23, 0, 24);
	extension = &hello.extensions[AT_KEY_SHARE];
	put16(extension->body, 4 + len);
	put16(extension->body + 2, group);
	put16(extension->body + 4, len);
	memcpy(extension->body + 6, share, len);
	extension->len = 6 + len;
	status = feed(engine, record, test_hello_record(&hello, record), false);
	if (status == ENGINE_FAILED)
		check_alert("share", ALERT_ILLEGAL_PARAMETER);
	else
		assert_int_equal(last_out[0], TLS_HANDSHAKE);
	engine_free(engine);
	return status == ENGINE_FAILED ? -1 : 0;
}

static void test_public_values(void **state)
{
	static const char *const low_order[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"0000000000000000000000000000000000000000000000000000000000000080",
	};
	EVP_PKEY *pkeys[] = { EVP_EC_gen("P-256"), EVP_EC_gen("P-384") };
	const uint16_t groups[] = { GROUP_SECP256R1, GROUP_SECP384R1 };

	(void)state;
	for (size_t i = 0; i < sizeof(low_order) / sizeof(low_order[0]); i++) {
		uint8_t *share = OPENSSL_hexstr2buf(low_order[i], NULL);

		assert_int_equal(judge_share(GROUP_X25519, share, 32), -1);
		OPENSSL_free(share);
	}
	assert_int_equal(judge_share(GROUP_X25519,
				     (const uint8_t *)"\x09................................", 32),
			 0);
	for (int i = 0; i < 2; i++) {
		uint8_t *point;
		size_t len = EVP_PKEY_get1_encoded_public_key(pkeys[i], &point);

		assert_int_equal(judge_share(groups[i], point, len), 0);
		point[len - 1] ^= 1; /* off the curve */
		assert_int_equal(judge_share(groups[i], point, len), -1);
		point[len - 1] ^= 1;
		assert_int_equal(judge_share(groups[i], point, len - 1), -1);
		assert_int_equal(judge_share(groups[1 - i], point, len), -1);
		memset(point + 1, 0, len - 1);
		assert_int_equal(judge_share(groups[i], point, len), -1);
		memset(point + 1, 0xff, len - 1); /* above the prime */
		assert_int_equal(judge_share(groups[i], point, len), -1);
		OPENSSL_free(point);
		EVP_PKEY_free(pkeys[i]);
	}
}

/* FIPS 203, 7.2: numbers of the encapsulation key are below 3329. */
static void test_hybrid_values(void **state)
{
	uint8_t share[1216] = { 0 }, *x25519 = share + 1184;

	(void)state;
	x25519[0] = 9;
	memset(share + 1152, 0xff, 32); /* a seed */
	assert_int_equal(crypt_share_check(GROUP_X25519MLKEM768, share, sizeof(share)), 0);
	assert_int_equal(crypt_share_check(GROUP_X25519MLKEM768, share, sizeof(share) - 1), -1);
	assert_int_equal(crypt_share_check(GROUP_X25519MLKEM768, x25519, 32), -1);
	x25519[0] = 1;
	assert_int_equal(crypt_share_check(GROUP_X25519MLKEM768, share, sizeof(share)), -1);
	x25519[0] = 9;
	for (int i = 0; i < 1152; i += 3) {
		memcpy(share + i, "\x00\x0d\xd0", 3); /* 3328, 3328 */
		assert_int_equal(crypt_share_check(GROUP_X25519MLKEM768, share, sizeof(share)), 0);
		memcpy(share + i, "\x01\x0d\xd0", 3); /* 3329, 3328 */
		assert_int_equal(crypt_share_check(GROUP_X25519MLKEM768, share, sizeof(share)), -1);
		memcpy(share + i, "\x00\x1d\xd0", 3); /* 3328, 3329 */
		assert_int_equal(crypt_share_check(GROUP_X25519MLKEM768, share, sizeof(share)), -1);
		memset(share + i, 0, 3);
	}
}

/* The library refuses what is not canonical, also in the hybrid's second half. */
static void test_values_that_are_reduced(void **state)
{
	const bool hybrid = crypt_has_group(GROUP_X25519MLKEM768);
	struct engine_policy policy = test_policy(443);
	uint8_t share[1216] = { 0 }, *x25519 = share + 1184;
	struct engine_context *kept = context;

	(void)state;
	if (hybrid)
		policy.groups[policy.group_count++] = GROUP_X25519MLKEM768;
	context = test_context(&policy, TEST_P256);
	memset(x25519, 0xff, 32);
	for (int low = 0xed; low <= 0xff; low++) {
		const int wanted = low < 0xed + 2 ? -1 : 0; /* 0 and 1 */

		for (int high = 0x7f; high <= 0xff; high += 0x80) {
			x25519[0] = low;
			x25519[31] = high;
			assert_int_equal(judge_share(GROUP_X25519, x25519, 32), wanted);
			if (hybrid)
				assert_int_equal(judge_share(GROUP_X25519MLKEM768, share,
							     sizeof(share)),
						 wanted);
		}
	}
	engine_context_free(context);
	context = kept;
}

/* What only the library could choke on comes through the rewriting. */
static void test_odd_but_good_hellos(void **state)
{
	static uint8_t record[70000];
	struct test_hello hello;
	struct engine *engine;

	(void)state;
	for (int i = 0; i < 3; i++) {
		test_hello_init(&hello);
		hello.legacy_version = i == 0 ? 0x0301 : i == 1 ? 0x0304 : 0x0303;
		if (i == 2) {
			/* 500 signature algorithms, ours last */
			uint8_t *body = hello.extensions[AT_SCHEMES].body;

			put16(body, 1000);
			for (int n = 0; n < 500; n++)
				put16(body + 2 + 2 * n, n < 499 ? 0xfe00 + n : 0x0403);
			hello.extensions[AT_SCHEMES].len = 1002;
		}
		engine = engine_new(context);
		assert_int_equal(feed(engine, record, test_hello_record(&hello, record), false),
				 ENGINE_MORE);
		assert_int_equal(last_out[0], TLS_HANDSHAKE);
		assert_int_equal(last_out[5], TLS_SERVER_HELLO);
		engine_free(engine);
	}
}

/* In records of one byte, and cut anywhere. */
static void test_fragments_of_one_byte(void **state)
{
	uint8_t record[4096], piece[6] = { 0x16, 3, 1, 0, 1 };
	struct engine *engine = engine_new(context);
	struct test_hello hello;
	size_t len;

	(void)state;
	test_hello_init(&hello);
	len = test_hello_record(&hello, record);
	for (size_t i = 5; i < len; i++) {
		assert_int_equal(last_out_len && i > 5, 0);
		piece[5] = record[i];
		assert_int_equal(feed(engine, piece, 6, false), ENGINE_MORE);
		assert_int_equal(last_consumed, 6);
	}
	assert_true(last_out_len > 100);
	engine_free(engine);
}

static void test_second_message_in_the_record(void **state)
{
	uint8_t record[8192];
	struct test_hello hello;
	size_t len;

	(void)state;
	test_hello_init(&hello);
	len = test_hello_record(&hello, record);
	memcpy(record + len, "\x14\x00\x00\x00", 4);
	put16(record + 3, len - 5 + 4);
	expect("second message", record, len + 4, ALERT_UNEXPECTED_MESSAGE,
	       TLSPORT_REASON_HANDSHAKE_REFUSED);
}

/* --- the second flight of TLS 1.3, sealed by us with the client's keys --- */

/* of the client that is at it */
static union engine_crypto_info client_info;

struct second {
	struct client *client;
	struct engine *engine;
	uint8_t finished[256]; /* the client's true one, opened */
	int finished_len;
};

static void to_client(struct client *client)
{
	if (last_out_len)
		BIO_write(client->in, last_out, last_out_len);
}

/* Up to the client's second flight, which is not delivered. */
static void begin_second(struct second *second, int version)
{
	uint8_t buffer[16384], type;
	const uint8_t *at = buffer;
	int n;

	memset(second, 0, sizeof(*second));
	second->client = client_new(version, version);
	second->engine = engine_new(context);
	SSL_do_handshake(second->client->ssl);
	n = BIO_read(second->client->out, buffer, sizeof(buffer));
	assert_int_equal(feed(second->engine, buffer, n, false), ENGINE_MORE);
	to_client(second->client);
	SSL_do_handshake(second->client->ssl);
	if (version != TLS1_3_VERSION)
		return;
	n = BIO_read(second->client->out, buffer, sizeof(buffer));
	if (at[0] == TLS_CHANGE_CIPHER_SPEC) {
		at += 6;
		n -= 6;
	}
	client_info = second->client->handshake_keys;
	second->finished_len = test_open_record(&client_info, at, n, second->finished, &type);
	assert_int_equal(second->finished_len, 4 + 48);
	assert_int_equal(type, TLS_HANDSHAKE);
}

static void end_second(struct second *second)
{
	engine_free(second->engine);
	client_free(second->client);
	ERR_clear_error();
}

/* The client can read the alert, and it is this one. */
static void check_client_alert(const char *name, struct client *client, int alert)
{
	unsigned long error;
	char byte;

	to_client(client);
	ERR_clear_error();
	SSL_read(client->ssl, &byte, 1);
	error = ERR_peek_last_error();
	if (ERR_GET_REASON(error) != SSL_AD_REASON_OFFSET + alert)
		fail_msg("%s: the client reads alert %d, expected %d", name,
			 ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET, alert);
}

/* What goes out may not depend on how the client's bytes came: the flight, then the alert. */
static void behind_hello(const char *name, int version, const char *bad, size_t len, int alert)
{
	struct client *client = client_new(version, version);
	struct engine *engine = engine_new(context);
	uint8_t flight[8192];
	int n;

	SSL_do_handshake(client->ssl);
	n = BIO_read(client->out, flight, sizeof(flight));
	memcpy(flight + n, bad, len);
	if (feed(engine, flight, n + len, false) != ENGINE_FAILED)
		fail_msg("%s: did not fail", name);
	if (alert == NO_ALERT) {
		check_alert(name, NO_ALERT);
	} else {
		assert_true(last_out_len > 100); /* the flight is in front */
		check_client_alert(name, client, alert);
	}
	engine_free(engine);
	client_free(client);
	ERR_clear_error();
}

static void test_bad_record_right_behind_the_hello(void **state)
{
	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		behind_hello("unprotected", version, "\x16\x03\x03\x00\x01\x00", 6,
			     ALERT_UNEXPECTED_MESSAGE);
		behind_hello("garbage", version, "\x99", 1, ALERT_UNEXPECTED_MESSAGE);
		behind_hello("alert", version, "\x15\x03\x03\x00\x02\x02\x2a", 7, NO_ALERT);
	}
}

/* Behind HelloRetryRequest a record may be longer, but not one of the handshake. */
static void test_long_record_behind_a_retry(void **state)
{
	static uint8_t record[20000];
	struct engine *engine = engine_new(context);
	struct test_hello hello;
	size_t len;

	(void)state;
	test_hello_init(&hello);
	SET(&hello, AT_KEY_SHARE, 0, 0);
	len = test_hello_record(&hello, record);
	assert_int_equal(feed(engine, record, len, false), ENGINE_MORE);
	memcpy(record, "\x16\x03\x03\x40\x01\x01\x00\x50", 8);
	assert_int_equal(feed(engine, record, 5 + 16385, false), ENGINE_FAILED);
	check_alert("long record", ALERT_RECORD_OVERFLOW);
	engine_free(engine);
}

/* A ClientHello, and then records of early data, all alike: how many are skipped? */
static unsigned int skipped(bool retry, bool offered, size_t len)
{
	static uint8_t record[4096];
	struct engine *engine = engine_new(context);
	struct test_hello hello;
	unsigned int count = 0;

	test_hello_init(&hello);
	if (retry)
		SET(&hello, AT_KEY_SHARE, 0, 0);
	if (offered)
		test_hello_add(&hello, 42, "", 0);
	assert_int_equal(feed(engine, record, test_hello_record(&hello, record), false),
			 ENGINE_MORE);
	memset(record, 0, sizeof(record));
	memcpy(record, "\x17\x03\x03", 3);
	put16(record + 3, len);
	while (count < 20000 && feed(engine, record, 5 + len, false) == ENGINE_MORE)
		count++;
	if (retry)
		check_alert("early data", ALERT_UNEXPECTED_MESSAGE);
	engine_free(engine);
	return count;
}

/* RFC 8446 4.2.10: as much as there could be, and if it was offered. */
static void test_early_data_has_an_end(void **state)
{
	(void)state;
	for (int retry = 0; retry < 2; retry++) {
		for (size_t len = 0; len < 20; len++) {
			assert_int_equal(skipped(retry, false, len), 0);
			assert_int_equal(skipped(retry, true, len),
					 (16384 + 1024) / (len < 17 ? 17 : len));
		}
		assert_int_equal(skipped(retry, true, 1000), 17);
	}
}

static void second_flight(const char *name, const uint8_t *record, size_t len, int alert,
			  struct second *second)
{
	if (feed(second->engine, record, len, false) != ENGINE_FAILED)
		fail_msg("%s: did not fail", name);
	if (alert == NO_ALERT) {
		check_alert(name, NO_ALERT);
		return;
	}
	/* one record, protected */
	assert_int_equal(last_out_len, 5 + 2 + 1 + 16);
	assert_int_equal(last_out[0], TLS_APPLICATION_DATA);
	check_client_alert(name, second->client, alert);
}

static void content(const char *name, uint8_t type, const uint8_t *text, size_t len, int alert)
{
	static uint8_t record[20000];
	struct second second;

	begin_second(&second, TLS1_3_VERSION);
	if (!text)
		text = second.finished;
	second_flight(name, record, test_seal_record(&client_info, type, text, len, record), alert,
		      &second);
	end_second(&second);
}

static void test_protected_content(void **state)
{
	static uint8_t text[17000];

	(void)state;
	content("application data", TLS_APPLICATION_DATA, text, 10, ALERT_UNEXPECTED_MESSAGE);
	content("no content type", 0, text, 10, ALERT_UNEXPECTED_MESSAGE);
	content("change_cipher_spec", TLS_CHANGE_CIPHER_SPEC, (const uint8_t *)"\1", 1,
		ALERT_UNEXPECTED_MESSAGE);
	content("empty handshake", TLS_HANDSHAKE, text, 0, ALERT_UNEXPECTED_MESSAGE);
	content("2^14 + 1", TLS_APPLICATION_DATA, text, 16385, ALERT_RECORD_OVERFLOW);
	memcpy(text, "\2\x2a\x15", 3); /* an alert and its type; padding */
	content("2^14 + 1 with padding", 0, text, 16384, NO_ALERT);
	content("2^14 + 2 with padding", 0, text, 16385, ALERT_RECORD_OVERFLOW);
	memset(text, 0, 3);
	text[0] = TLS_ALERT;
	content("padding and no alert", 0, text, 31, ALERT_UNEXPECTED_MESSAGE);
	text[0] = 0;
	content("fatal alert", TLS_ALERT, (const uint8_t *)"\2\x2a", 2, NO_ALERT);
	content("close_notify", TLS_ALERT, (const uint8_t *)"\1\0", 2, NO_ALERT);
	content("unknown warning", TLS_ALERT, (const uint8_t *)"\1\x29", 2, NO_ALERT);
	content("alert without content", TLS_ALERT, text, 0, ALERT_UNEXPECTED_MESSAGE);
	content("short alert", TLS_ALERT, (const uint8_t *)"\2", 1, ALERT_DECODE_ERROR);
	memcpy(text, "\x18\x00\x00\x01\x00", 5);
	content("KeyUpdate", TLS_HANDSHAKE, text, 5, ALERT_UNEXPECTED_MESSAGE);
	memcpy(text, "\x0b\x00\x00\x04\x00\x00\x00\x00", 8);
	content("Certificate", TLS_HANDSHAKE, text, 8, ALERT_UNEXPECTED_MESSAGE);
	memcpy(text, "\x14\x00\x00\x30", 4);
	content("wrong Finished", TLS_HANDSHAKE, text, 52, ALERT_DECRYPT_ERROR);
	memcpy(text, "\x14\x00\x00\x20", 4);
	content("short Finished", TLS_HANDSHAKE, text, 36, ALERT_DECODE_ERROR);
	memcpy(text, "\x14\x00\x00\x31", 4);
	content("long Finished", TLS_HANDSHAKE, text, 53, ALERT_DECODE_ERROR);
}

static void test_something_behind_finished_in_its_record(void **state)
{
	uint8_t record[512];
	struct second second;

	(void)state;
	begin_second(&second, TLS1_3_VERSION);
	memcpy(second.finished + 52, "\x18\x00\x00\x01\x00", 5);
	second_flight("KeyUpdate behind Finished", record,
		      test_seal_record(&client_info, TLS_HANDSHAKE, second.finished, 57, record),
		      ALERT_UNEXPECTED_MESSAGE, &second);
	end_second(&second);
}

static void test_broken_seal(void **state)
{
	uint8_t record[512];
	struct second second;
	int len;

	(void)state;
	begin_second(&second, TLS1_3_VERSION);
	len = test_seal_record(&client_info, TLS_HANDSHAKE, second.finished, 52, record);
	record[20] ^= 1;
	second_flight("broken", record, len, ALERT_BAD_RECORD_MAC, &second);
	end_second(&second);
	begin_second(&second, TLS1_3_VERSION);
	second_flight("too short", (const uint8_t *)"\x17\x03\x03\x00\x05.....", 10,
		      ALERT_BAD_RECORD_MAC, &second);
	end_second(&second);
	begin_second(&second, TLS1_3_VERSION);
	second_flight("empty", (const uint8_t *)"\x17\x03\x03\x00\x00", 5, ALERT_BAD_RECORD_MAC,
		      &second);
	end_second(&second);
	begin_second(&second, TLS1_3_VERSION);
	second_flight("too long", (const uint8_t *)"\x17\x03\x03\x41\x01", 5, ALERT_RECORD_OVERFLOW,
		      &second);
	end_second(&second);
}

static void test_unprotected_second_flight(void **state)
{
	struct second second;

	(void)state;
	begin_second(&second, TLS1_3_VERSION);
	second_flight("handshake", (const uint8_t *)"\x16\x03\x03\x00\x04\x14\x00\x00\x00", 9,
		      ALERT_UNEXPECTED_MESSAGE, &second);
	end_second(&second);
	begin_second(&second, TLS1_3_VERSION);
	second_flight("change_cipher_spec", (const uint8_t *)"\x14\x03\x03\x00\x01\x02", 6,
		      ALERT_UNEXPECTED_MESSAGE, &second);
	end_second(&second);
	begin_second(&second, TLS1_3_VERSION);
	second_flight("long change_cipher_spec", (const uint8_t *)"\x14\x03\x03\x00\x02\x01\x01", 7,
		      ALERT_UNEXPECTED_MESSAGE, &second);
	end_second(&second);
	begin_second(&second, TLS1_3_VERSION);
	second_flight("alert", (const uint8_t *)"\x15\x03\x03\x00\x02\x02\x30", 7, NO_ALERT,
		      &second);
	assert_int_equal(engine_reason(second.engine), TLSPORT_REASON_PEER_ALERT);
	end_second(&second);
}

static void test_endless_change_cipher_spec(void **state)
{
	struct second second;

	(void)state;
	begin_second(&second, TLS1_3_VERSION);
	for (int i = 0; i < 8; i++)
		assert_int_equal(feed(second.engine, "\x14\x03\x03\x00\x01\x01", 6, false),
				 ENGINE_MORE);
	second_flight("endless", (const uint8_t *)"\x14\x03\x03\x00\x01\x01", 6,
		      ALERT_UNEXPECTED_MESSAGE, &second);
	end_second(&second);
}

static void next_sequence(void)
{
	client_info.gcm256.rec_seq[7]++;
}

static void test_finished_in_pieces_with_padding(void **state)
{
	uint8_t record[2048], text[1024];
	struct engine_result result;
	struct second second;
	int len;

	(void)state;
	begin_second(&second, TLS1_3_VERSION);
	/* an ignorable change_cipher_spec, then user_canceled, of any level, then the pieces */
	assert_int_equal(feed(second.engine, "\x14\x03\x03\x00\x01\x01", 6, false), ENGINE_MORE);
	for (int level = 1; level <= 3; level++) {
		const uint8_t alert[] = { level, ALERT_USER_CANCELED };

		len = test_seal_record(&client_info, TLS_ALERT, alert, sizeof(alert), record);
		next_sequence();
		assert_int_equal(feed(second.engine, record, len, false), ENGINE_MORE);
	}
	len = test_seal_record(&client_info, TLS_HANDSHAKE, second.finished, 10, record);
	next_sequence();
	assert_int_equal(feed(second.engine, record, len, false), ENGINE_MORE);
	memset(text, 0, sizeof(text));
	memcpy(text, second.finished + 10, 42);
	text[42] = TLS_HANDSHAKE; /* then 900 bytes of padding, type last */
	len = test_seal_record(&client_info, 0, text, 900, record);
	assert_int_equal(feed(second.engine, record, len, false), ENGINE_DONE);
	assert_int_equal(engine_result(second.engine, &result), 0);
	end_second(&second);
	/* between the pieces nothing else may come */
	begin_second(&second, TLS1_3_VERSION);
	len = test_seal_record(&client_info, TLS_HANDSHAKE, second.finished, 10, record);
	assert_int_equal(feed(second.engine, record, len, false), ENGINE_MORE);
	second_flight("change_cipher_spec between", (const uint8_t *)"\x14\x03\x03\x00\x01\x01", 6,
		      ALERT_UNEXPECTED_MESSAGE, &second);
	end_second(&second);
}

/* --- the second flight of TLS 1.2 --- */

static size_t second12(struct second *second, uint8_t *flight, size_t room)
{
	begin_second(second, TLS1_2_VERSION);
	return BIO_read(second->client->out, flight, room);
}

/* The client's keys of TLS 1.2, AES-256-GCM: RFC 5246 6.3. */
static void take_client_keys12(struct client *client)
{
	static const char label[] = "key expansion";
	uint8_t master[48], randoms[64], block[32 + 32 + 4 + 4];
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_TLS1_PRF, NULL);
	size_t len = sizeof(block);

	SSL_SESSION_get_master_key(SSL_get_session(client->ssl), master, sizeof(master));
	SSL_get_server_random(client->ssl, randoms, 32);
	SSL_get_client_random(client->ssl, randoms + 32, 32);
	assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
	EVP_PKEY_CTX_set_tls1_prf_md(ctx, EVP_sha384());
	EVP_PKEY_CTX_set1_tls1_prf_secret(ctx, master, sizeof(master));
	EVP_PKEY_CTX_add1_tls1_prf_seed(ctx, (const uint8_t *)label, sizeof(label) - 1);
	EVP_PKEY_CTX_add1_tls1_prf_seed(ctx, randoms, sizeof(randoms));
	assert_int_equal(EVP_PKEY_derive(ctx, block, &len), 1);
	EVP_PKEY_CTX_free(ctx);
	memset(&client_info, 0, sizeof(client_info));
	client_info.info.version = TLS_1_2_VERSION;
	client_info.info.cipher_type = TLS_CIPHER_AES_GCM_256;
	memcpy(client_info.gcm256.key, block, 32);
	memcpy(client_info.gcm256.salt, block + 64, 4);
}

/* In pieces of so many bytes, the last one in a record of its own, or not at all. */
static void finished_in_pieces(int version, int size, bool last)
{
	uint8_t flight[2048], record[512], type;
	struct engine_result result;
	struct second second;
	int len, left, n, at;

	begin_second(&second, version);
	if (version == TLS1_2_VERSION) {
		len = BIO_read(second.client->out, flight, sizeof(flight));
		/* ClientKeyExchange, change_cipher_spec, Finished */
		at = 5 + get16(flight + 3);
		at += 5 + get16(flight + at + 3);
		assert_int_equal(feed(second.engine, flight, at, false), ENGINE_MORE);
		take_client_keys12(second.client);
		second.finished_len = test_open_record(&client_info, flight + at, len - at,
						       second.finished, &type);
		assert_int_equal(second.finished_len, 4 + 12);
	}
	left = second.finished_len - !last;
	for (at = 0; at < left; at += n) {
		n = left - at < size ? left - at : size;
		len = test_seal_record(&client_info, TLS_HANDSHAKE, second.finished + at, n,
				       record);
		next_sequence();
		if (feed(second.engine, record, len, false) !=
		    (last && at + n == left ? ENGINE_DONE : ENGINE_MORE))
			fail_msg("%d bytes at %d: %s", n, at, engine_reason_text(second.engine));
	}
	if (last) {
		assert_int_equal(engine_result(second.engine, &result), 0);
		/* all of them count */
		n = (second.finished_len + size - 1) / size;
		assert_int_equal(result.rx.gcm256.rec_seq[7], version == TLS1_2_VERSION ? n : 0);
	}
	end_second(&second);
}

/* RFC 5246 6.2.1, RFC 8446 5.1: a message may be split anywhere. */
static void test_finished_in_pieces(void **state)
{
	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
		for (int size = 1; size <= 52; size++)
			for (int last = 0; last < 2; last++)
				finished_in_pieces(version, size, last);
}

static void refuse12(const char *name, struct second *second, const uint8_t *flight, size_t len,
		     int alert)
{
	if (feed(second->engine, flight, len, false) != ENGINE_FAILED)
		fail_msg("%s: did not fail", name);
	check_alert(name, alert);
	end_second(second);
}

static void test_second_flight_of_tls12(void **state)
{
	uint8_t flight[1024];
	struct second second;
	size_t len, key, ccs;

	(void)state;
	len = second12(&second, flight, sizeof(flight));
	key = 5 + get16(flight + 3);
	ccs = key + 6;
	assert_int_equal(flight[key], TLS_CHANGE_CIPHER_SPEC);
	flight[len - 1] ^= 1;
	refuse12("broken Finished", &second, flight, len, ALERT_BAD_RECORD_MAC);

	second12(&second, flight, sizeof(flight));
	refuse12("change_cipher_spec first", &second, flight + key, 6, ALERT_UNEXPECTED_MESSAGE);

	second12(&second, flight, sizeof(flight));
	memmove(flight + key, flight + ccs, len - ccs);
	refuse12("no change_cipher_spec", &second, flight, len - 6, ALERT_UNEXPECTED_MESSAGE);

	second12(&second, flight, sizeof(flight));
	flight[ccs - 1] = 2;
	refuse12("wrong change_cipher_spec", &second, flight, len, ALERT_DECODE_ERROR);

	second12(&second, flight, sizeof(flight));
	memmove(flight + ccs + 6, flight + ccs, len - ccs);
	memcpy(flight + ccs, flight + key, 6);
	refuse12("two change_cipher_specs", &second, flight, len + 6, ALERT_UNEXPECTED_MESSAGE);

	second12(&second, flight, sizeof(flight));
	flight[ccs] = TLS_APPLICATION_DATA;
	refuse12("application data", &second, flight, len, ALERT_BAD_RECORD_MAC);

	second12(&second, flight, sizeof(flight));
	flight[9]++; /* length of the public value */
	refuse12("length of the value", &second, flight, len, ALERT_DECODE_ERROR);

	second12(&second, flight, sizeof(flight));
	memset(flight + 10, 0, 32);
	refuse12("zero value", &second, flight, len, ALERT_ILLEGAL_PARAMETER);

	second12(&second, flight, sizeof(flight));
	refuse12("fatal alert", &second, (const uint8_t *)"\x15\x03\x03\x00\x02\x02\x2a", 7,
		 NO_ALERT);

	/* another value: other keys, so the Finished cannot be opened */
	second12(&second, flight, sizeof(flight));
	flight[12] ^= 1;
	refuse12("another value", &second, flight, len, ALERT_BAD_RECORD_MAC);

	len = second12(&second, flight, sizeof(flight));
	assert_int_equal(feed(second.engine, flight, len, true), ENGINE_DONE);
	end_second(&second);
}

/* In a resumed handshake our Finished is out: the alert must be protected. */
static void test_alert_of_resumed_tls12_is_protected(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct ticket_keys *keys = ticket_keys_new();
	struct engine_context *with_tickets;
	struct client *client;
	struct engine *engine;
	uint8_t buffer[2048];
	int n;

	(void)state;
	policy.tickets = keys;
	for (int suite = 0; suite < TLS_SUITES; suite++) {
		if (tls_suites[suite].version != TLS_1_2 || tls_suites[suite].auth != AUTH_ECDSA)
			continue;
		policy.suites[0] = tls_suites[suite].id;
		policy.suite_count = 1;
		with_tickets = test_context(&policy, TEST_P256);
		client = client_new(TLS1_2_VERSION, TLS1_2_VERSION);
		assert_int_equal(flow_run(&flow, with_tickets, client), ENGINE_DONE);
		flow_end(&flow);
		client_again(client, client->session);
		engine = engine_new(with_tickets);
		SSL_do_handshake(client->ssl);
		n = BIO_read(client->out, buffer, sizeof(buffer));
		assert_int_equal(feed(engine, buffer, n, false), ENGINE_MORE);
		to_client(client);
		assert_int_equal(SSL_do_handshake(client->ssl), 1);
		assert_int_equal(SSL_session_reused(client->ssl), 1);
		n = BIO_read(client->out, buffer, sizeof(buffer));
		buffer[n - 1] ^= 1;
		assert_int_equal(feed(engine, buffer, n, false), ENGINE_FAILED);
		assert_true(last_out_len > 7);
		check_client_alert("resumed", client, ALERT_BAD_RECORD_MAC);
		engine_free(engine);
		client_free(client);
		engine_context_free(with_tickets);
	}
	ticket_keys_free(keys);
}

/* --- TLS 1.2: a session resumes whatever a full handshake would lack --- */

/* Offers the client's session. */
static void offer_session(struct client *client, const uint8_t *ticket, size_t len,
			  struct test_hello *hello)
{
	const uint16_t suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(client->ssl));

	test_hello_init(hello);
	SUITES(hello, suite >> 8, suite & 0xff);
	SET(hello, AT_VERSIONS, 2, 3, 3);
	SET(hello, AT_SERVER_NAME, 0, 15, 0, 0, 12, 't', 'e', 's', 't', '.', 'e', 'x', 'a', 'm',
	    'p', 'l', 'e');
	test_hello_add(hello, 35, ticket, len);
}

static void no_change(struct test_hello *hello)
{
	(void)hello;
}
static void no_schemes(struct test_hello *hello)
{
	DROP(hello, AT_SCHEMES);
}
static void sha1_alone(struct test_hello *hello)
{
	SET(hello, AT_SCHEMES, 0, 2, 2, 3);
}
static void groups_without_the_curve(struct test_hello *hello)
{
	SET(hello, AT_GROUPS, 0, 2, 0, 29);
}
static void unknown_groups(struct test_hello *hello)
{
	SET(hello, AT_GROUPS, 0, 2, 1, 0);
}
static void compressed_alone(struct test_hello *hello)
{
	ADD(hello, 11, 1, 1);
}

static const struct {
	const char *name;
	void (*change)(struct test_hello *hello);
	int alert; /* of a full handshake */
} lacking[] = {
	{ "nothing", no_change, 0 },
	{ "no signature_algorithms", no_schemes, ALERT_HANDSHAKE_FAILURE },
	{ "SHA-1 alone", sha1_alone, ALERT_HANDSHAKE_FAILURE },
	{ "groups without the curve", groups_without_the_curve, ALERT_HANDSHAKE_FAILURE },
	{ "unknown groups", unknown_groups, ALERT_HANDSHAKE_FAILURE },
	{ "compressed points alone", compressed_alone, ALERT_ILLEGAL_PARAMETER },
};

/* change_cipher_spec is in the server's first flight. */
static bool is_resumed(void)
{
	size_t at = 0;

	assert_int_equal(last_out[0], TLS_HANDSHAKE);
	assert_int_equal(last_out[5], TLS_SERVER_HELLO);
	for (; at < last_out_len; at += 5 + get16(last_out + at + 3))
		if (last_out[at] == TLS_CHANGE_CIPHER_SPEC)
			return true;
	return false;
}

static void offer_lacking(struct client *client, const uint8_t *ticket, size_t len, size_t i,
			  bool known)
{
	struct engine *engine = engine_new(context);
	struct test_hello hello;
	enum engine_status status;
	uint8_t record[4096];

	offer_session(client, ticket, len, &hello);
	lacking[i].change(&hello);
	status = feed(engine, record, test_hello_record(&hello, record), false);
	if (known || !lacking[i].alert) {
		if (status != ENGINE_MORE)
			fail_msg("%s: %s", lacking[i].name, engine_reason_text(engine));
		assert_int_equal(is_resumed(), known);
	} else {
		assert_int_equal(status, ENGINE_FAILED);
		check_alert(lacking[i].name, lacking[i].alert);
	}
	engine_free(engine);
}

/* RFC 5246 7.4.1.4.1, RFC 8422 5.1 */
static void test_what_a_session_does_without(void **state)
{
	struct client *client = client_new(TLS1_2_VERSION, TLS1_2_VERSION);
	struct engine_policy policy = test_policy(443);
	struct ticket_keys *keys = ticket_keys_new();
	struct engine_context *kept = context;
	const unsigned char *ticket;
	uint8_t broken[1024];
	size_t len;

	(void)state;
	policy.tickets = keys;
	context = test_context(&policy, TEST_P256);
	assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
	flow_end(&flow);
	SSL_SESSION_get0_ticket(client->session, &ticket, &len);
	assert_in_range(len, 100, sizeof(broken));
	memcpy(broken, ticket, len);
	broken[len / 2] ^= 1;
	for (size_t i = 0; i < sizeof(lacking) / sizeof(lacking[0]); i++) {
		offer_lacking(client, ticket, len, i, true);
		/* looks like one of ours, then not */
		offer_lacking(client, broken, len, i, false);
		offer_lacking(client, ticket, len - 1, i, false);
		offer_lacking(client, ticket, 0, i, false);
	}
	engine_context_free(context);
	policy.tickets = NULL;
	context = test_context(&policy, TEST_P256);
	for (size_t i = 0; i < sizeof(lacking) / sizeof(lacking[0]); i++)
		offer_lacking(client, ticket, len, i, false);
	engine_context_free(context);
	client_free(client);
	ticket_keys_free(keys);
	context = kept;
}

/* --- anything at all --- */

/* The output of a failed handshake: nothing, or one record with an alert. */
static void check_output(const struct engine *engine)
{
	(void)engine;
	if (!last_out_len)
		return;
	assert_true(last_out_len >= 7);
	assert_int_equal(5u + get16(last_out + 3), last_out_len);
	assert_true(last_out[0] == TLS_ALERT ||
		    (last_out[0] == TLS_APPLICATION_DATA && last_out_len == 24));
}

static void mutate(uint8_t *data, size_t len)
{
	for (int n = rand() % 3; n >= 0; n--) {
		size_t at = rand() % 4 ? rand() % len : rand() % (len < 16 ? len : 16);

		data[at] = rand() % 2 ? rand() : data[at] ^ 1 << rand() % 8;
	}
}

static void test_mutated_flights(void **state)
{
	const int rounds = getenv("TEST_ENGINE_ROUNDS") ? atoi(getenv("TEST_ENGINE_ROUNDS")) : 300;
	unsigned int failed = 0;
	uint8_t buffer[16384];

	(void)state;
	srand(2);
	for (int i = 0; i < rounds; i++) {
		struct client *client = client_new(TLS1_2_VERSION + i % 2, TLS1_2_VERSION + i % 2);
		struct engine *engine = engine_new(context);
		enum engine_status status = ENGINE_MORE;
		int which = rand() % 2;

		for (int flight = 0; flight < 2 && status == ENGINE_MORE; flight++) {
			int n;

			SSL_do_handshake(client->ssl);
			n = BIO_read(client->out, buffer, sizeof(buffer));
			if (n <= 0)
				break;
			if (flight == which)
				mutate(buffer, n);
			status = feed(engine, buffer, n, true);
			if (status == ENGINE_FAILED)
				check_output(engine);
			to_client(client);
		}
		failed += status == ENGINE_FAILED;
		engine_free(engine);
		client_free(client);
		ERR_clear_error();
	}
	assert_true(failed > (unsigned int)rounds / 2);
}

static void test_tls13_where_offload_is_required(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct engine_context *usual = context;
	struct test_hello hello;
	uint8_t record[4096];

	(void)state;
	policy.refuse_tls13 = true;
	context = test_context(&policy, TEST_P256);
	test_hello_init(&hello);
	expect("TLS 1.3", record, test_hello_record(&hello, record), ALERT_PROTOCOL_VERSION,
	       TLSPORT_REASON_OFFLOAD_REQUIRED);
	engine_context_free(context);
	context = usual;
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
		cmocka_unit_test(test_first_bytes),
		cmocka_unit_test(test_plaintext),
		cmocka_unit_test(test_peer_ends_it),
		cmocka_unit_test(test_too_many_warnings),
		cmocka_unit_test(test_port_without_certificate),
		cmocka_unit_test(test_public_values),
		cmocka_unit_test(test_hybrid_values),
		cmocka_unit_test(test_values_that_are_reduced),
		cmocka_unit_test(test_odd_but_good_hellos),
		cmocka_unit_test(test_fragments_of_one_byte),
		cmocka_unit_test(test_second_message_in_the_record),
		cmocka_unit_test(test_bad_record_right_behind_the_hello),
		cmocka_unit_test(test_long_record_behind_a_retry),
		cmocka_unit_test(test_early_data_has_an_end),
		cmocka_unit_test(test_protected_content),
		cmocka_unit_test(test_something_behind_finished_in_its_record),
		cmocka_unit_test(test_broken_seal),
		cmocka_unit_test(test_unprotected_second_flight),
		cmocka_unit_test(test_endless_change_cipher_spec),
		cmocka_unit_test(test_finished_in_pieces_with_padding),
		cmocka_unit_test(test_finished_in_pieces),
		cmocka_unit_test(test_second_flight_of_tls12),
		cmocka_unit_test(test_alert_of_resumed_tls12_is_protected),
		cmocka_unit_test(test_what_a_session_does_without),
		cmocka_unit_test(test_mutated_flights),
		cmocka_unit_test(test_tls13_where_offload_is_required),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
