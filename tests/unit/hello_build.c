// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "hello_build.h"

void test_extension_set(struct test_extension *extension, const void *body, size_t len)
{
	if (len)
		memcpy(extension->body, body, len);
	extension->len = len;
}

struct test_extension *test_hello_add(struct test_hello *hello, int type, const void *body,
				      size_t len)
{
	struct test_extension *extension = &hello->extensions[hello->count++];

	extension->type = type;
	test_extension_set(extension, body, len);
	return extension;
}

void test_hello_init(struct test_hello *hello)
{
	static const uint8_t share[32] = { 9 }; /* the base point: a valid value */

	memset(hello, 0, sizeof(*hello));
	hello->legacy_version = TLS_1_2;
	hello->session_id_len = 32;
	SUITES(hello, 0x13, 0x02, 0x13, 0x01, 0x13, 0x03, 0xc0, 0x2c, 0xc0, 0x30, 0x00, 0xff);
	COMPRESSION(hello, 0);
	ADD(hello, 0, 0, 7, 0, 0, 4, 'a', '.', 'b', 'c');
	ADD(hello, 10, 0, 6, 0, 29, 0, 23, 0, 24);
	ADD(hello, 13, 0, 6, 4, 3, 8, 4, 4, 1);
	ADD(hello, 43, 4, 3, 4, 3, 3);
	ADD(hello, 45, 1, 1);
	ADD(hello, 51, 0, 36, 0, 29, 0, 32);
	memcpy(hello->extensions[AT_KEY_SHARE].body + 6, share, 32);
	hello->extensions[AT_KEY_SHARE].len = 38;
	test_hello_add(hello, 23, "", 0);
}

size_t test_hello_message(const struct test_hello *hello, uint8_t *to)
{
	uint8_t *at = to + 4, *extensions;

	put16(at, hello->legacy_version);
	memset(at + 2, 0xaa, 32);
	at += 34;
	*at++ = hello->session_id_len;
	memcpy(at, hello->session_id, hello->session_id_len);
	at += hello->session_id_len;
	put16(at, hello->suites_len);
	memcpy(at + 2, hello->suites, hello->suites_len);
	at += 2 + hello->suites_len;
	*at++ = hello->compression_len;
	memcpy(at, hello->compression, hello->compression_len);
	at += hello->compression_len;
	if (!hello->no_extensions) {
		extensions = at;
		at += 2;
		for (size_t i = 0; i < hello->count; i++) {
			const struct test_extension *extension = &hello->extensions[i];

			if (extension->type < 0)
				continue;
			put16(at, extension->type);
			put16(at + 2, extension->len);
			memcpy(at + 4, extension->body, extension->len);
			at += 4 + extension->len;
		}
		put16(extensions, at - extensions - 2);
	}
	to[0] = TLS_CLIENT_HELLO;
	put24(to + 1, at - to - 4);
	return at - to;
}

size_t test_hello_record(const struct test_hello *hello, uint8_t *to)
{
	size_t len = test_hello_message(hello, to + 5);

	to[0] = TLS_HANDSHAKE;
	put16(to + 1, 0x0301);
	put16(to + 3, len);
	return 5 + len;
}
