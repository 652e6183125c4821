// SPDX-License-Identifier: GPL-2.0-or-later
/* A client that speaks HTTP to a port of TLS: what it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../userspace/tlsportd/plain_http.h"

static enum plain_http ask(const void *data, size_t len, uint16_t port, char *answer)
{
	uint8_t *copy = malloc(len ? len : 1); /* of exact size, for ASan */
	enum plain_http result;
	size_t answer_len = 0;

	memcpy(copy, data, len);
	result = plain_http_redirect(copy, len, port, answer, &answer_len);
	answer[answer_len] = '\0';
	free(copy);
	return result;
}

static void leads(const char *request, uint16_t port, const char *status, const char *location)
{
	char answer[PLAIN_HTTP_ANSWER_MAX + 1], want[PLAIN_HTTP_ANSWER_MAX + 1];

	if (ask(request, strlen(request), port, answer) != PLAIN_HTTP_ANSWER)
		fail_msg("no answer to %s", request);
	snprintf(want, sizeof(want),
		 "HTTP/1.1 %s\r\nLocation: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		 status, location);
	assert_string_equal(answer, want);
}

#define MOVED	  "301 Moved Permanently"
#define PERMANENT "308 Permanent Redirect"

static void test_requests(void **state)
{
	(void)state;
	leads("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 443, MOVED, "https://a.example/");
	leads("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 8443, MOVED, "https://a.example:8443/");
	leads("GET /b?c=d&e=%20 HTTP/1.0\r\nX: y\r\nhOsT:\ta.example:8080 \r\n\r\n", 443, MOVED,
	      "https://a.example/b?c=d&e=%20");
	leads("HEAD / HTTP/1.1\nHost: a.example\n\n", 443, MOVED, "https://a.example/");
	leads("PUT /b HTTP/1.1\r\nHost: a.example\r\n\r\nbody", 443, PERMANENT,
	      "https://a.example/b");
	leads("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", 443, PERMANENT,
	      "https://a.example/");
	leads("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 8443, MOVED, "https://[::1]:8443/");
	leads("GET http://b.example:80/c HTTP/1.1\r\nHost: a.example\r\n\r\n", 443, MOVED,
	      "https://b.example/c");
	leads("GET http://b.example HTTP/1.1\r\nHost: a.example\r\n\r\n", 443, MOVED,
	      "https://b.example/");
}

static void test_what_is_none(void **state)
{
	static const char *const texts[] = {
		"get / HTTP/1.1\r\nHost: a\r\n\r\n",
		" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
		"GET /\r\nHost: a\r\n\r\n",
		"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /\"> HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET //evil\\ HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET https://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"220 mail.example ESMTP\r\n\r\n",
		"SSH-2.0-x\r\n\r\n",
		"\r\n\r\n",
		"ABCDEFGHIJKLMNOPQ",
	};
	char answer[PLAIN_HTTP_ANSWER_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (ask(texts[i], strlen(texts[i]), 443, answer) != PLAIN_HTTP_NOT)
			fail_msg("'%s' got '%s'", texts[i], answer);
}

static void test_piece_by_piece(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
	char answer[PLAIN_HTTP_ANSWER_MAX + 1];
	char *longest = malloc(PLAIN_HTTP_MAX + 64);

	(void)state;
	for (size_t len = 1; len < sizeof(request) - 1; len++)
		assert_int_equal(ask(request, len, 443, answer), PLAIN_HTTP_MORE);
	/* as long as it may be, and longer */
	memset(longest, 'x', PLAIN_HTTP_MAX + 64);
	memcpy(longest, "GET /", 5);
	assert_int_equal(ask(longest, PLAIN_HTTP_MAX - 1, 443, answer), PLAIN_HTTP_MORE);
	assert_int_equal(ask(longest, PLAIN_HTTP_MAX, 443, answer), PLAIN_HTTP_NOT);
	memcpy(longest + PLAIN_HTTP_MAX - 26, " HTTP/1.1\r\nHost: a.b\r\n\r\n\r\n", 26);
	assert_int_equal(ask(longest, PLAIN_HTTP_MAX, 65535, answer), PLAIN_HTTP_ANSWER);
	free(longest);
}

static void test_noise(void **state)
{
	static const char bytes[] = "GET HTTP/1.1:\r\n \0hosta*[]\xff";
	char answer[PLAIN_HTTP_ANSWER_MAX + 1], noise[64];

	(void)state;
	srand(1);
	for (int i = 0; i < 100000; i++) {
		size_t len = rand() % sizeof(noise);

		for (size_t n = 0; n < len; n++)
			noise[n] = n < 4 && rand() % 4 ? "GET "[n] :
							 bytes[rand() % (sizeof(bytes) - 1)];
		ask(noise, len, 443, answer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_piece_by_piece),
		cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
