// SPDX-License-Identifier: GPL-2.0-or-later
/* A directory of certificates: which files are taken, and with which key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../userspace/common/cert_dir.h"

static char root[64];

static void put(const char *name)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
}

static void put_dir(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

/* "CERT KEY\n" of each, below the root; "-": in the certificate's file */
static void lists(const char *want)
{
	char have[2048] = "", err[256] = "";
	struct cert_dir dir;

	if (cert_dir_list(root, &dir, err, sizeof(err)))
		fail_msg("%s", err);
	for (size_t i = 0; i < dir.count; i++) {
		const char *key = dir.pairs[i].key;

		strcat(have, dir.pairs[i].cert + strlen(root) + 1);
		strcat(have, " ");
		strcat(have, key ? key + strlen(root) + 1 : "-");
		strcat(have, "\n");
	}
	assert_string_equal(have, want);
	cert_dir_free(&dir);
}

static void refuses(const char *path, const char *piece)
{
	struct cert_dir dir;
	char err[256] = "";

	assert_int_equal(cert_dir_list(path, &dir, err, sizeof(err)), -1);
	if (strncmp(err, path, strlen(path)) || !strstr(err, piece))
		fail_msg("'%s' does not begin with '%s' or does not hold '%s'", err, path, piece);
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/test_cert_dir.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static void test_files(void **state)
{
	(void)state;
	put("b.pem");
	put("c.crt");
	put("c.key");
	put("c.issuer.crt");
	put("a.example.org.pem");
	put("a.example.org-key.pem");
	put("d.pem");
	put("d.key");
	put("d-key.pem");
	put(".hidden.pem");
	put("e.pem.bak");
	put("README");
	put(".pem");
	lists("a.example.org.pem a.example.org-key.pem\n"
	      "b.pem -\n"
	      "c.crt c.key\n"
	      "d.pem d.key\n");
}

/* As certbot's live/ has it; other directories are not searched. */
static void test_directories(void **state)
{
	char target[256], link[256];

	(void)state;
	put_dir("archive");
	put("archive/cert1.pem");
	put("README");
	put_dir("one.example");
	put("one.example/fullchain.pem");
	put("one.example/privkey.pem");
	put("one.example/cert.pem");
	snprintf(target, sizeof(target), "%s/one.example", root);
	snprintf(link, sizeof(link), "%s/two.example", root);
	assert_int_equal(symlink(target, link), 0);
	put_dir("three.pem");
	lists("one.example/fullchain.pem one.example/privkey.pem\n"
	      "two.example/fullchain.pem two.example/privkey.pem\n");
}

/* What they stand for is missing, which is said of them, and not that there is none. */
static void test_links_that_lead_nowhere(void **state)
{
	static const char *const names[] = { "a.key", "b.pem", "c/fullchain.pem", "e.key" };
	char link[256];

	(void)state;
	put("a.crt");
	put("e.crt");
	put("e-key.pem");
	put_dir("c");
	put_dir("d");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(link, sizeof(link), "%s/%s", root, names[i]);
		assert_int_equal(symlink("/nowhere/file.pem", link), 0);
	}
	snprintf(link, sizeof(link), "%s/d/fullchain.pem", root);
	assert_int_equal(symlink(root, link), 0); /* to a directory */
	lists("a.crt a.key\n"
	      "b.pem -\n"
	      "c/fullchain.pem c/privkey.pem\n"
	      "e.crt e-key.pem\n");
}

static void test_nothing(void **state)
{
	char missing[96];

	(void)state;
	refuses(root, "no certificate in it");
	put("only-key.pem");
	put("only.key");
	refuses(root, "no certificate in it");
	snprintf(missing, sizeof(missing), "%s/missing", root);
	refuses(missing, "No such file or directory");
	snprintf(missing, sizeof(missing), "%s/only.key", root);
	refuses(missing, "Not a directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_directories, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links_that_lead_nowhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
