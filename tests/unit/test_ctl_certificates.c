// SPDX-License-Identifier: GPL-2.0-or-later
/* tlsportctl enable --self-signed with certificates that are really made and checked. */
#include "ctl_mock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../../userspace/common/cert_check.h"

static const char *at(const char *name)
{
	static char paths[2][CTL_PATH_LEN];
	static unsigned int n;
	char *path = paths[n++ % 2];

	snprintf(path, CTL_PATH_LEN, "%s/etc/self-signed/%s", mock.root, name);
	return path;
}

static void expect(const char *line, int status, const char *out, const char *piece_of_err)
{
	mock_run(line);
	if (mock.status != status || strcmp(mock.out, out) || !strstr(mock.err, piece_of_err) ||
	    (!*piece_of_err && *mock.err))
		fail_msg("%s: %d, '%s', '%s'", line, mock.status, mock.out, mock.err);
}

static void enable_takes_what_it_made(void **state)
{
	struct cert_facts facts;
	char err[512], *dropin, want[512];
	struct stat st;

	(void)state;
	mock_daemon_start("ok", "{}");
	expect("enable 443 --self-signed --name a.example,192.0.2.1", 0,
	       "port 443 (https) speaks TLS\n", "");
	assert_string_equal(mock.steps, "port_set 443 dropin=staged\nreload dropin=permanent\n");
	if (cert_check(at("443.crt"), at("443.key"), NULL, &facts, err, sizeof(err)))
		fail_msg("%s", err);
	assert_string_equal(facts.subject, "a.example");
	assert_true(facts.self_signed);
	assert_int_equal(stat(at("443.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	dropin = mock_read("etc/ports.d/443.conf");
	snprintf(want, sizeof(want), "cert = %s\nkey = %s\n", at("443.crt"), at("443.key"));
	assert_non_null(dropin);
	assert_non_null(strstr(dropin, want));
	free(dropin);
	/* another one: that in force stays until it is taken, and both go with the port */
	expect("enable 443 --self-signed --name b.example", 0, "port 443 (https) speaks TLS\n", "");
	if (cert_check(at("443-1.crt"), at("443-1.key"), NULL, &facts, err, sizeof(err)))
		fail_msg("%s", err);
	assert_string_equal(facts.subject, "b.example");
	assert_int_equal(mock_run("disable 443"), 0);
	assert_false(mock_exists("etc/self-signed/443.key"));
	assert_false(mock_exists("etc/self-signed/443-1.key"));
	assert_false(mock_exists("etc/self-signed/443-1.crt"));
}

static void what_is_of_no_use_does_not_stay(void **state)
{
	(void)state;
	mock_daemon_start("ok", "{}");
	expect("enable 444 --self-signed --name a --profile strict", 1, "",
	       "self-signed/444.crt: self-signed: nobody vouches for it (profile strict)\n");
	expect("enable 444 --self-signed --name b_c!", 1, "",
	       "b_c!: not the name of a host, nor an address");
	assert_null(mock_port(444));
	assert_false(mock_exists("etc/self-signed/444.crt"));
	assert_false(mock_exists("etc/self-signed/444.key"));
}

/* What the check says of files that are there reaches who asked. */
static void key_is_not_named(void **state)
{
	char line[CTL_PATH_LEN + 32];

	(void)state;
	mock_daemon_start("ok", "{}");
	expect("enable 443 --self-signed --name a", 0, "port 443 (https) speaks TLS\n", "");
	snprintf(line, sizeof(line), "enable 444 --cert %s", at("443.crt"));
	expect(line, 1, "",
	       "443.crt: no private key in it (PEM \"BEGIN PRIVATE KEY\"): name the file");
	assert_null(mock_port(444));
}

#define PROMISE(test) cmocka_unit_test_setup_teardown(test, mock_setup, mock_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROMISE(enable_takes_what_it_made),
		PROMISE(what_is_of_no_use_does_not_stay),
		PROMISE(key_is_not_named),
	};

	return cmocka_run_group_tests_name("tlsportctl and certificates", tests, NULL, NULL);
}
