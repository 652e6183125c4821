// SPDX-License-Identifier: GPL-2.0-or-later
/* The ways in which certificates are replaced, each of which must be an event. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../userspace/tlsportd/watch.h"

static char root[64], cert[128], key[128];

/* In the directory of the test. */
static void sh(const char *commands)
{
	char text[1024];

	snprintf(text, sizeof(text), "set -e; cd %s; %s", root, commands);
	assert_int_equal(system(text), 0);
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/test_watch.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	sh("rm -r $PWD");
	return 0;
}

static int watched(const char *cert_name, const char *key_name)
{
	struct port_config port = { .port = 443, .cert = cert, .key = key_name ? key : NULL };
	const struct config config = { .ports = &port, .count = 1 };
	int fd = watch_open();

	snprintf(cert, sizeof(cert), "%s/%s", root, cert_name);
	if (key_name)
		snprintf(key, sizeof(key), "%s/%s", root, key_name);
	assert_true(fd >= 0);
	assert_int_equal(watch_files(fd, &config), 0);
	assert_false(watch_happened(fd));
	return fd;
}

static void happens(int fd, const char *commands, bool wanted)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	sh(commands);
	assert_int_equal(poll(&poll_fd, 1, 0), wanted);
	assert_int_equal(watch_happened(fd), wanted);
}

static void test_files_replaced(void **state)
{
	int fd;

	(void)state;
	sh("mkdir a b c; echo 1 >a/cert; echo 1 >b/key");
	fd = watched("a/cert", "b/key");
	happens(fd, "cat a/cert b/key; echo >c/other", false);
	happens(fd, "echo 2 >a/cert", true);
	happens(fd, "echo 2 >b/key", true);
	happens(fd, "echo 3 >b/new; mv b/new b/key", true);
	happens(fd, "rm a/cert", true);
	close(fd);
}

/* live/cert -> ../archive/cert1, as certbot has it */
static void test_links_to_files(void **state)
{
	int fd;

	(void)state;
	sh("mkdir live archive; echo 1 >archive/cert1; ln -s ../archive/cert1 live/cert");
	fd = watched("live/cert", NULL);
	happens(fd, "echo 2 >archive/cert2", true);
	happens(fd, "ln -sf ../archive/cert2 live/cert", true);
	close(fd);
}

/* cert -> ..data/cert, ..data -> a directory of its own for each version, as Kubernetes has it */
static void test_links_to_directories(void **state)
{
	int fd;

	(void)state;
	sh("mkdir ..1 ..2; echo 1 >..1/cert; echo 2 >..2/cert; ln -s ..1 ..data; ln -s ..data/cert cert");
	fd = watched("cert", NULL);
	happens(fd, "ln -s ..2 ..tmp; mv -T ..tmp ..data", true);
	close(fd);
}

static void test_absolute_link(void **state)
{
	int fd;

	(void)state;
	sh("mkdir a b; echo 1 >b/cert; ln -s $PWD/b/cert a/cert");
	fd = watched("a/cert", NULL);
	happens(fd, "echo 2 >b/cert", true);
	close(fd);
}

static void test_what_is_not_there_yet(void **state)
{
	int fd;

	(void)state;
	fd = watched("a/b/cert", NULL);
	happens(fd, "mkdir a", true);
	close(fd);
	fd = watched("a/b/cert", NULL);
	happens(fd, "mkdir a/b", true);
	close(fd);
	fd = watched("a/b/cert", NULL);
	happens(fd, "echo >a/b/cert", true);
	close(fd);
}

static void test_directory(void **state)
{
	char dir[128];
	struct port_config port = { .port = 443, .cert_dir = dir };
	const struct config config = { .ports = &port, .count = 1 };
	int fd = watch_open();

	(void)state;
	snprintf(dir, sizeof(dir), "%s/certs", root);
	sh("mkdir -p certs/one archive; echo 1 >archive/1; ln -s $PWD/archive/1 certs/one/fullchain.pem; "
	   "echo 1 >certs/a.pem; ln -s ../archive/2 certs/b.pem");
	assert_int_equal(watch_files(fd, &config), 0);
	happens(fd, "cat certs/a.pem", false);
	happens(fd, "echo 2 >certs/a.pem", true);
	happens(fd, "echo 1 >certs/c.pem", true);
	happens(fd, "mkdir certs/two", true);
	happens(fd, "echo 2 >archive/1", true);
	happens(fd, "echo 1 >certs/one/privkey.pem", true);
	assert_int_equal(watch_files(fd, &config), 0);
	happens(fd, "echo 1 >certs/two/fullchain.pem", true);
	happens(fd, "mv certs old", true);
	happens(fd, "rm -r old", true);
	close(fd);
}

/* A directory in the place of another, of which only its own inode tells, and of one above. */
static void test_directories_replaced(void **state)
{
	int fd;

	(void)state;
	sh("mkdir -p a/site a/new b/site; echo 1 >a/site/cert; echo 2 >a/new/cert; echo 3 >b/site/cert");
	fd = watched("a/site/cert", NULL);
	happens(fd, "mv a/site a/old", true);
	close(fd);
	sh("mv a/old a/site");
	fd = watched("a/site/cert", NULL);
	happens(fd, "mv a/site a/old; mv a/new a/site", true);
	close(fd);
	fd = watched("a/site/cert", NULL);
	happens(fd, "mv a old; mv b a", true);
	close(fd);
}

/* Of a key in a token the file of the PIN. */
static void test_key_in_a_token(void **state)
{
	char uri[256];
	struct port_config port = { .port = 443, .cert = cert, .key = uri };
	const struct config config = { .ports = &port, .count = 1 };
	int fd = watch_open();

	(void)state;
	sh("mkdir -p site secret; echo 1 >site/cert");
	snprintf(cert, sizeof(cert), "%s/site/cert", root);
	snprintf(uri, sizeof(uri), "pkcs11:token=web?pin-source=file:%s/secret/pin", root);
	assert_int_equal(watch_files(fd, &config), 0);
	happens(fd, "echo 1234 >secret/pin", true);
	happens(fd, "echo 2 >site/cert", true);
	close(fd);
}

static void test_links_in_a_circle(void **state)
{
	(void)state;
	sh("ln -s a b; ln -s b a");
	close(watched("a", NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_files_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links_to_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links_to_directories, setup, teardown),
		cmocka_unit_test_setup_teardown(test_absolute_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_not_there_yet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_directories_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key_in_a_token, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links_in_a_circle, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
