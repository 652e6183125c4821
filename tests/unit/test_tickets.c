// SPDX-License-Identifier: GPL-2.0-or-later
/* Ticket keys: rotation, sharing over fork, reading while they are written. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../userspace/tlsportd/ticket_file.h"
#include "../../userspace/tlsportd/ticket_store.h"

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

/* --- files of keys, and the store --- */

static char root[64];

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/test_tickets.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static const char *at(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

/* 48 bytes of the same letter in base64: "AAAA" is three bytes of zeros. */
static void put_keys(const char *name, const char *letters, const char *more)
{
	FILE *file = fopen(at(name), "w");

	assert_non_null(file);
	fchmod(fileno(file), 0600);
	for (; *letters; letters++) {
		for (int i = 0; i < 64; i++)
			fputc(*letters, file);
		fputc('\n', file);
	}
	fputs(more, file);
	fclose(file);
}

static struct ticket_key key_of(char letter)
{
	uint8_t bits = letter - 'A';
	struct ticket_key key;

	for (size_t i = 0; i < sizeof(key); i += 3) {
		((uint8_t *)&key)[i] = bits << 2 | bits >> 4;
		((uint8_t *)&key)[i + 1] = bits << 4 | bits >> 2;
		((uint8_t *)&key)[i + 2] = bits << 6 | bits;
	}
	return key;
}

static void reads(const char *name, const char *letters)
{
	struct ticket_key list[TICKET_KEYS_MAX], want;
	char err[256] = "";

	assert_int_equal(ticket_file_read(at(name), list, err, sizeof(err)), strlen(letters));
	for (size_t i = 0; letters[i]; i++) {
		want = key_of(letters[i]);
		assert_memory_equal(&list[i], &want, sizeof(want));
	}
}

static void does_not_read(const char *name, const char *piece)
{
	struct ticket_key list[TICKET_KEYS_MAX];
	char err[256] = "";

	assert_int_equal(ticket_file_read(at(name), list, err, sizeof(err)), 0);
	if (strncmp(err, at(name), strlen(at(name))) || !strstr(err, piece))
		fail_msg("'%s' does not begin with the file or does not hold '%s'", err, piece);
}

/* What is said of a file that is good: NULL: nothing */
static void judges(const char *name, const char *file, mode_t mode, const char *piece)
{
	struct ticket_key list[TICKET_KEYS_MAX];
	char err[256] = "junk";

	chmod(at(file), mode);
	assert_int_not_equal(ticket_file_read(at(name), list, err, sizeof(err)), 0);
	if (!piece)
		assert_string_equal(err, "");
	else if (strncmp(err, at(file), strlen(at(file))) || !strstr(err, piece))
		fail_msg("'%s' does not begin with the file or does not hold '%s'", err, piece);
}

/* Who has them opens what was sent under them. */
static void test_files_that_others_can_read(void **state)
{
	(void)state;
	put_keys("one", "A", "");
	judges("one", "one", 0644, ": is readable by everyone");
	judges("one", "one", 0660, ": can be changed by others than its owner");
	judges("one", "one", 0640, NULL);
	judges("one", "one", 0600, NULL);
	mkdir(at("dir"), 0700);
	put_keys("dir/1", "A", "");
	put_keys("dir/2", "B", "");
	judges("dir", "dir/2", 0600, NULL);
	judges("dir", "dir/2", 0644, ": is readable by everyone");
}

static void test_files(void **state)
{
	(void)state;
	put_keys("one", "A", "");
	reads("one", "A");
	put_keys("some", "ABC", "\n# a comment\n  \n");
	reads("some", "ABC");
	put_keys("many", "ABCDEFGHIJKLMNOPQR", "");
	reads("many", "CDEFGHIJKLMNOPQR");
	mkdir(at("dir"), 0700);
	put_keys("dir/2", "C", "");
	put_keys("dir/1", "AB", "");
	put_keys("dir/.3", "D", "");
	reads("dir", "ABC");
	put_keys("empty", "", "# nothing\n");
	does_not_read("empty", "no key in it (make one with: openssl rand -base64 48)");
	does_not_read("missing", "No such file or directory");
	put_keys("short", "A", "c2VjcmV0\n");
	does_not_read("short", ":2: not 48 bytes in base64");
	put_keys("junk", "AB", "no:base64\n");
	does_not_read("junk", ":3: not 48 bytes in base64");
	put_keys("dir/4", "", "junk\n");
	does_not_read("dir", "/4:1: not 48 bytes");
}

static bool seals_with(const struct ticket_keys *keys, char letter)
{
	struct ticket_key want = key_of(letter), have;

	return ticket_key_current(keys, &have) && !memcmp(&have, &want, sizeof(have));
}

static bool opens(const struct ticket_keys *keys, char letter)
{
	struct ticket_key key = key_of(letter);

	return ticket_key_find(keys, key.name, &key);
}

/* The user of one file */
static bool uses(const void *who, const char *path)
{
	return !strcmp(who, path);
}

/* What nobody uses is no error any more, and its keys are gone. */
static void test_files_that_are_not_used(void **state)
{
	char err[256], kept[128], other[128];
	struct text errors = { NULL, 0 };
	struct ticket_store store;

	(void)state;
	assert_int_equal(ticket_store_open(&store, root, 3600), 0);
	snprintf(kept, sizeof(kept), "%s", at("kept"));
	snprintf(other, sizeof(other), "%s", at("other"));
	put_keys("kept", "A", "");
	assert_int_equal(ticket_store_add(&store, other, err, sizeof(err)), -1);
	assert_int_equal(ticket_store_add(&store, kept, err, sizeof(err)), 0);
	assert_int_equal(ticket_store_add(&store, at("third"), err, sizeof(err)), -1);
	ticket_store_refresh(&store, uses, kept, &errors);
	assert_int_equal(errors.len, 0);
	ticket_store_refresh(&store, uses, other, &errors);
	assert_non_null(strstr(errors.chars, "/other: No such file or directory"));
	text_free(&errors);
	ticket_store_forget(&store, uses, kept);
	assert_true(seals_with(ticket_store_keys(&store, kept), 'A'));
	assert_ptr_equal(ticket_store_keys(&store, other), store.own);
	assert_ptr_equal(ticket_store_keys(&store, at("third")), store.own);
	ticket_store_refresh(&store, uses, other, &errors);
	assert_int_equal(errors.len, 0);
	ticket_store_close(&store);
}

/* Of three the last is one that other machines may not have yet. */
static void test_files_of_a_fleet(void **state)
{
	struct text errors = { NULL, 0 };
	const struct ticket_keys *keys;
	struct ticket_store store;
	char err[256], path[128];

	(void)state;
	assert_int_equal(ticket_store_open(&store, root, 3600), 0);
	snprintf(path, sizeof(path), "%s", at("keys"));
	assert_ptr_equal(ticket_store_keys(&store, NULL), store.own);
	assert_int_equal(ticket_store_add(&store, path, err, sizeof(err)), -1);
	keys = ticket_store_keys(&store, path);
	assert_ptr_not_equal(keys, store.own);
	assert_int_equal(ticket_store_facts(&store, path).count, 0);
	assert_int_equal(ticket_store_facts(&store, path).since, 0);
	assert_int_equal(ticket_store_facts(&store, NULL).count, 1);
	assert_int_equal(ticket_store_facts(&store, NULL).since, store.made);
	put_keys("keys", "A", "");
	assert_int_equal(ticket_store_add(&store, path, err, sizeof(err)), 0);
	assert_ptr_equal(ticket_store_keys(&store, path), keys);
	assert_true(seals_with(keys, 'A'));
	put_keys("keys", "AB", "");
	ticket_store_refresh(&store, uses, path, &errors);
	assert_true(seals_with(keys, 'B'));
	put_keys("keys", "ABC", "");
	ticket_store_refresh(&store, uses, path, &errors);
	assert_true(seals_with(keys, 'B') && opens(keys, 'A') && opens(keys, 'C'));
	put_keys("keys", "BCD", "");
	ticket_store_refresh(&store, uses, path, &errors);
	assert_true(seals_with(keys, 'C') && opens(keys, 'B') && opens(keys, 'D'));
	assert_false(opens(keys, 'A'));
	assert_int_equal(errors.len, 0);
	assert_int_equal(ticket_store_facts(&store, path).count, 3);
	assert_in_range(ticket_store_facts(&store, path).since, time(NULL) - 60, time(NULL));
	put_keys("keys", "", "junk\n");
	ticket_store_refresh(&store, uses, path, &errors);
	assert_non_null(strstr(errors.chars, "; the ticket keys in force stay\n"));
	assert_true(seals_with(keys, 'C'));
	text_free(&errors);
	ticket_store_close(&store);
}

static struct ticket_key current(const struct ticket_store *store)
{
	struct ticket_key key;

	assert_true(ticket_key_current(store->own, &key));
	return key;
}

static void saved_before(int seconds)
{
	struct timeval times[2];

	gettimeofday(&times[0], NULL);
	times[0].tv_sec -= seconds;
	times[1] = times[0];
	assert_int_equal(utimes(at("ticket-keys"), times), 0);
}

static struct ticket_key after_restart(struct ticket_store *store, int seconds)
{
	ticket_store_close(store);
	saved_before(seconds);
	assert_int_equal(ticket_store_open(store, root, 3600), 0);
	return current(store);
}

static void test_own_keys_outlive_a_restart(void **state)
{
	struct ticket_key first, second, now;
	struct ticket_store store;
	struct stat st;

	(void)state;
	assert_int_equal(ticket_store_open(&store, root, 3600), 0);
	assert_int_equal(stat(at("ticket-keys"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	first = current(&store);
	now = after_restart(&store, 3500);
	assert_memory_equal(&now, &first, sizeof(now));
	assert_in_range(ticket_store_rotate(&store), 90 * 1000, 100 * 1000);
	second = after_restart(&store, 3700); /* its time was over meanwhile */
	assert_memory_not_equal(&second, &first, sizeof(second));
	assert_true(ticket_key_find(store.own, first.name, &now));
	assert_in_range(ticket_store_rotate(&store), 3590 * 1000, 3600 * 1000);
	now = after_restart(&store, 10);
	assert_memory_equal(&now, &second, sizeof(now));
	assert_true(ticket_key_find(store.own, first.name, &now));
	now = after_restart(&store, 3 * 3600);
	assert_false(ticket_key_find(store.own, second.name, &now));
	now = after_restart(&store, 10); /* the new one was kept */
	second = current(&store);
	put_keys("ticket-keys", "", "junk\n");
	now = after_restart(&store, 10);
	assert_memory_not_equal(&now, &second, sizeof(now));
	now = after_restart(&store, -10); /* from another time: what it says is worth nothing */
	assert_false(ticket_key_find(store.own, second.name, &now));
	ticket_store_close(&store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rotation_keeps_generations),
		cmocka_unit_test(test_lifetime_is_covered),
		cmocka_unit_test(test_unknown_name),
		cmocka_unit_test(test_workers_see_rotation),
		cmocka_unit_test(test_reading_while_writing),
		cmocka_unit_test_setup_teardown(test_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files_that_others_can_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files_of_a_fleet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files_that_are_not_used, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_keys_outlive_a_restart, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
