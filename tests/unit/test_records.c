// SPDX-License-Identifier: GPL-2.0-or-later
/* Record headers, reassembly of messages, and the table of handshakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../userspace/tlsportd/handshakes.h"
#include "../../userspace/tlsportd/records.h"

static enum record_status next(const char *bytes, size_t len, int *alert)
{
	struct record record;

	return record_next((const uint8_t *)bytes, len, 100, &record, alert);
}

static void test_headers(void **state)
{
	int alert = 0;

	(void)state;
	assert_int_equal(next("", 0, &alert), RECORD_PARTIAL);
	assert_int_equal(next("\x16", 1, &alert), RECORD_PARTIAL);
	assert_int_equal(next("\x16\x03\x09\x00", 4, &alert), RECORD_PARTIAL);
	assert_int_equal(next("\x16\x03\x09\x00\x02.", 6, &alert), RECORD_PARTIAL);
	assert_int_equal(next("\x16\x03\x09\x00\x02..", 7, &alert), RECORD_WHOLE);
	assert_int_equal(next("\x16\x03\x09\x00\x00", 5, &alert), RECORD_WHOLE);
	assert_int_equal(next("\x13", 1, &alert), RECORD_BAD);
	assert_int_equal(alert, ALERT_UNEXPECTED_MESSAGE);
	assert_int_equal(next("\x18", 1, &alert), RECORD_BAD);
	assert_int_equal(next("\x16\x02", 2, &alert), RECORD_BAD);
	assert_int_equal(alert, ALERT_PROTOCOL_VERSION);
	assert_int_equal(next("\x16\x03\x01\x00\x65", 5, &alert), RECORD_BAD);
	assert_int_equal(alert, ALERT_RECORD_OVERFLOW);
}

static void test_message_from_fragments(void **state)
{
	const uint8_t whole[10] = { 1, 0, 0, 6, 1, 2, 3, 4, 5, 6 };

	(void)state;
	for (size_t first = 1; first <= sizeof(whole); first++) {
		for (size_t second = 1; second <= sizeof(whole); second++) {
			struct message message = { 0 };

			for (size_t at = 0, n; at < sizeof(whole); at += n) {
				n = at ? second : first;
				if (n > sizeof(whole) - at)
					n = sizeof(whole) - at;
				assert_false(message_whole(&message));
				assert_int_equal(message_add(&message, 1, 100, whole + at, n), 0);
				assert_true(message_begun(&message));
			}
			assert_true(message_whole(&message));
			assert_memory_equal(message.bytes, whole, sizeof(whole));
			message_free(&message);
		}
	}
}

static void test_message_limits(void **state)
{
	struct message message = { 0 };

	(void)state;
	assert_int_equal(message_add(&message, 1, 100, (const uint8_t *)"", 0),
			 ALERT_UNEXPECTED_MESSAGE);
	assert_int_equal(message_add(&message, 1, 100, (const uint8_t *)"\2", 1),
			 ALERT_UNEXPECTED_MESSAGE);
	assert_int_equal(message_add(&message, 1, 100, (const uint8_t *)"\1\0\0\x61", 4),
			 ALERT_DECODE_ERROR);
	message_free(&message);
	assert_int_equal(message_add(&message, 1, 100, (const uint8_t *)"\1\0\0\1..", 6),
			 ALERT_UNEXPECTED_MESSAGE);
	message_free(&message);
}

static void test_handshake_table(void **state)
{
	struct handshakes all = { 0 };
	struct handshake *h;

	(void)state;
	assert_null(handshakes_find(&all, 1));
	for (uint64_t id = 1; id <= 5000; id++)
		assert_non_null(handshakes_add(&all, id << 20, engine_new(NULL), id));
	assert_int_equal(all.count, 5000);
	for (uint64_t id = 1; id <= 5000; id++) {
		h = handshakes_find(&all, id << 20);
		assert_non_null(h);
		assert_int_equal(h->id, id << 20);
	}
	assert_null(handshakes_find(&all, 1));
	/* the chains stay short whatever the ids have in common */
	for (size_t i = 0; i < all.bucket_count; i++) {
		unsigned int length = 0;

		for (h = all.buckets[i]; h; h = h->next)
			length++;
		assert_true(length < 16);
	}
	/* the oldest go first; one that was touched is not among them */
	handshakes_touch(&all, handshakes_find(&all, 1 << 20), 6000);
	assert_int_equal(handshakes_expire(&all, 1001), 999);
	assert_non_null(handshakes_find(&all, 1 << 20));
	assert_null(handshakes_find(&all, 2 << 20));
	assert_non_null(handshakes_find(&all, (uint64_t)1001 << 20));
	handshakes_end(&all, handshakes_find(&all, (uint64_t)3000 << 20));
	assert_null(handshakes_find(&all, (uint64_t)3000 << 20));
	assert_int_equal(all.count, 4000);
	handshakes_free(&all);
	assert_int_equal(all.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_message_from_fragments),
		cmocka_unit_test(test_message_limits),
		cmocka_unit_test(test_handshake_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
