/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ClientHellos made to measure for tests. */
#ifndef _TESTS_HELLO_BUILD_H
#define _TESTS_HELLO_BUILD_H

#include "../../userspace/common/tls.h"

struct test_extension {
	int type; /* -1: not sent */
	uint8_t body[2048];
	size_t len;
};

#define TEST_EXTENSIONS 24

struct test_hello {
	uint16_t legacy_version;
	uint8_t session_id[40];
	size_t session_id_len;
	uint8_t suites[256];
	size_t suites_len;
	uint8_t compression[8];
	size_t compression_len;
	struct test_extension extensions[TEST_EXTENSIONS];
	size_t count;
	bool no_extensions; /* not even their length */
};

/* A good one, TLS 1.3 and 1.2, X25519 share; extensions in this order: */
enum {
	AT_SERVER_NAME,
	AT_GROUPS,
	AT_SCHEMES,
	AT_VERSIONS,
	AT_PSK_MODES,
	AT_KEY_SHARE,
	AT_EMS,
	AT_COUNT,
};
void test_hello_init(struct test_hello *hello);

/* A further extension; returns it. */
struct test_extension *test_hello_add(struct test_hello *hello, int type, const void *body,
				      size_t len);
void test_extension_set(struct test_extension *extension, const void *body, size_t len);

#define SET(hello, at, ...) \
	do { \
		const uint8_t body_[] = { __VA_ARGS__ }; \
		test_extension_set(&(hello)->extensions[at], body_, sizeof(body_)); \
	} while (0)
#define ADD(hello, type, ...) \
	do { \
		const uint8_t body_[] = { __VA_ARGS__ }; \
		test_hello_add(hello, type, body_, sizeof(body_)); \
	} while (0)
#define SUITES(hello, ...) \
	do { \
		const uint8_t body_[] = { __VA_ARGS__ }; \
		memcpy((hello)->suites, body_, sizeof(body_)); \
		(hello)->suites_len = sizeof(body_); \
	} while (0)
#define COMPRESSION(hello, ...) \
	do { \
		const uint8_t body_[] = { __VA_ARGS__ }; \
		memcpy((hello)->compression, body_, sizeof(body_)); \
		(hello)->compression_len = sizeof(body_); \
	} while (0)
#define DROP(hello, at) ((hello)->extensions[at].type = -1)

/* The handshake message; returns its length. */
size_t test_hello_message(const struct test_hello *hello, uint8_t *to);
/* The record with it. */
size_t test_hello_record(const struct test_hello *hello, uint8_t *to);

#endif /* _TESTS_HELLO_BUILD_H */
