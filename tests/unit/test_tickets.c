// SPDX-License-Identifier: GPL-2.0-or-later
/* Ticket keys: rotation, sharing over fork, reading while they are written. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../userspace/tlsportd/tickets.h"

static void test_rotation_keeps_generations(void **state)
{
	struct ticket_keys *keys = ticket_keys_new();
	struct ticket_key made[TICKET_GENERATIONS + 2], found;

	(void)state;
	assert_non_null(keys);
	for (int i = 0; i < TICKET_GENERATIONS + 2; i++) {
		if (i)
			assert_int_equal(ticket_keys_rotate(keys), 0);
		assert_true(ticket_key_current(keys, &made[i]));
		for (int j = 0; j <= i; j++) {
			bool kept = ticket_key_find(keys, made[j].name, &found);

			assert_int_equal(kept, i - j < TICKET_GENERATIONS);
			if (kept)
				assert_memory_equal(&found, &made[j], sizeof(found));
			/* no key twice */
			if (j < i)
				assert_memory_not_equal(made[j].key, made[i].key, TICKET_KEY_LEN);
		}
	}
	ticket_keys_free(keys);
}

/* A ticket is good for its whole lifetime, whenever in an hour it was made. */
static void test_lifetime_is_covered(void **state)
{
	(void)state;
	assert_true((TICKET_GENERATIONS - 1) * TICKET_ROTATION >= TICKET_LIFETIME);
}

static void test_unknown_name(void **state)
{
	struct ticket_keys *keys = ticket_keys_new();
	const uint8_t zero[TICKET_NAME_LEN] = { 0 };
	struct ticket_key found;

	(void)state;
	/* a slot that is not in use yet has this name */
	assert_false(ticket_key_find(keys, zero, &found));
	ticket_keys_free(keys);
}

static void test_workers_see_rotation(void **state)
{
	struct ticket_keys *keys = ticket_keys_new();
	struct ticket_key before, now;
	int status, go[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(go), 0);
	ticket_key_current(keys, &before);
	pid = fork();
	if (!pid) {
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		_exit(!ticket_key_current(keys, &now) ||
		      !memcmp(now.name, before.name, TICKET_NAME_LEN) ||
		      !ticket_key_find(keys, before.name, &now));
	}
	ticket_keys_rotate(keys);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(go[0]);
	close(go[1]);
	ticket_keys_free(keys);
}

/* Never half of one key and half of another: name and key are bound here by a rule. */
static void test_reading_while_writing(void **state)
{
	struct ticket_keys *keys = ticket_keys_new();
	struct ticket_key first, second;
	unsigned int bad = 0, seen = 0;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		for (;;)
			ticket_keys_rotate(keys);
	}
	for (int i = 0; i < 300000; i++) {
		if (!ticket_key_current(keys, &first))
			continue;
		if (!ticket_key_find(keys, first.name, &second))
			continue; /* rotated away */
		seen++;
		bad += memcmp(&first, &second, sizeof(first)) != 0;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(bad, 0);
	assert_true(seen > 0);
	ticket_keys_free(keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rotation_keeps_generations),
		cmocka_unit_test(test_lifetime_is_covered),
		cmocka_unit_test(test_unknown_name),
		cmocka_unit_test(test_workers_see_rotation),
		cmocka_unit_test(test_reading_while_writing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
