// SPDX-License-Identifier: GPL-2.0-or-later
/* Files of authorities and revocation lists: what is wrong with them is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <wolfssl/version.h>

#include "pki.h"

static char root[] = "/tmp/tlsport-client-ca-XXXXXX";
static char ca_file[64], crl_file[64];
static struct party one, other;

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fchmod(fileno(file), 0644);
	fputs(text, file);
	fclose(file);
}

static void refuse(const char *ca, const char *crl, const char *why)
{
	struct client_ca clients;
	char err[512];

	assert_int_equal(client_ca_read(ca, crl, &clients, err, sizeof(err)), -1);
	if (!strstr(err, why))
		fail_msg("'%s' does not hold '%s'", err, why);
	assert_null(clients.ca);
	assert_null(clients.crl);
}

/* @warning: "": none */
static void accept(const char *warning)
{
	struct client_ca clients;
	char err[512];

	if (client_ca_read(ca_file, NULL, &clients, err, sizeof(err)))
		fail_msg("%s", err);
	if (!strstr(err, warning) || (!*warning && *err))
		fail_msg("'%s' does not hold '%s'", err, warning);
	client_ca_free(&clients);
}

#define JUNK "-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n"

/* @more: text behind both; NULL: none */
static void bundle(const char *more, const struct party *first, const struct party *second)
{
	struct client_ca text = { 0 };
	char all[8192];

	pki_add_ca(&text, first);
	pki_add_ca(&text, second);
	snprintf(all, sizeof(all), "%s%s", text.ca, more ? more : "");
	put(ca_file, all);
	client_ca_free(&text);
}

static void test_good_files(void **state)
{
	struct client_ca text = { 0 }, clients, copy;
	char err[512];

	(void)state;
	pki_add_ca(&text, &one);
	pki_add_ca(&text, &other);
	pki_add_crl(&text, &one, NULL, 10);
	pki_add_crl(&text, &other, NULL, 10);
	put(ca_file, text.ca);
	put(crl_file, text.crl);
	assert_int_equal(client_ca_read(ca_file, NULL, &clients, err, sizeof(err)), 0);
	assert_string_equal(err, "");
	assert_null(clients.crl);
	assert_false(client_ca_same(&clients, &text));
	client_ca_free(&clients);
	assert_int_equal(client_ca_read(ca_file, crl_file, &clients, err, sizeof(err)), 0);
	assert_string_equal(err, "");
	assert_int_equal(client_ca_copy(&clients, &copy), 0);
	assert_true(client_ca_same(&clients, &text));
	assert_true(client_ca_same(&clients, &copy));
	client_ca_free(&clients);
	client_ca_free(&copy);
	client_ca_free(&text);
}

/* All of them at once, "" where there are none */
static const char *warnings(const struct client_ca *clients, time_t now)
{
	static char all[2048];
	char text[512];

	all[0] = '\0';
	for (size_t at = 0; client_ca_warning(clients, "CA", "CRL", now, &at, text, sizeof(text));)
		strcat(strcat(all, text), "\n");
	return all;
}

#define HOUR 3600L
#define DAY  (24 * HOUR)

/* The lists are of now, and the authorities longer than the lists. */
static void test_ends(void **state)
{
	const struct wish wish = { "lasts", "P-256", .ca = true, .to = 60 };
	struct party lasts = party_new(&wish, NULL);
	struct client_ca text = { 0 }, clients, copy;
	time_t now = time(NULL);
	char err[512];

	(void)state;
	pki_add_ca(&text, &lasts);
	pki_add_crl(&text, &lasts, NULL, 30);
	put(ca_file, text.ca);
	put(crl_file, text.crl);
	assert_int_equal(client_ca_read(ca_file, crl_file, &clients, err, sizeof(err)), 0);
	assert_string_equal(warnings(&clients, now), "");
	assert_string_equal(warnings(&clients, now + 29 * DAY - HOUR), "");
	assert_string_equal(
		warnings(&clients, now + 29 * DAY + 3 * HOUR / 2),
		"CRL: revocation list 1 ends in 22 hours: then no client certificate of its issuer is taken\n");
	assert_string_equal(
		warnings(&clients, now + 31 * DAY),
		"CRL: revocation list 1 has ended: no client certificate of its issuer is taken\n");
	assert_int_equal(client_ca_copy(&clients, &copy), 0);
	client_ca_free(&clients);
	assert_string_equal(
		warnings(&copy, now + 50 * DAY - HOUR),
		"CA: certificate 1 (lasts) in it expires in 10 days: then no client certificate that it signed is taken\n"
		"CRL: revocation list 1 has ended: no client certificate of its issuer is taken\n");
	copy.open = true;
	assert_string_equal(
		warnings(&copy, now + 61 * DAY),
		"CA: can be changed by others than its owner\n"
		"CA: certificate 1 (lasts) in it has expired: no client certificate that it signed is taken\n"
		"CRL: revocation list 1 has ended: no client certificate of its issuer is taken\n");
	assert_non_null(
		strstr(warnings(&copy, now - 100 * DAY),
		       "CA: certificate 1 (lasts) in it is not valid yet: no client certificate"));
	client_ca_free(&copy);
	client_ca_free(&text);
	party_free(&lasts);
}

/* A list that is replaced each day is not complained of for half of the time. */
static void test_short_lists(void **state)
{
	struct client_end end = { .is_crl = true, .which = "2", .since = 0, .until = DAY };
	const struct client_ca clients = { .ends = &end, .end_count = 1 };

	(void)state;
	assert_string_equal(warnings(&clients, 17 * HOUR), "");
	assert_string_equal(
		warnings(&clients, 19 * HOUR),
		"CRL: revocation list 2 ends in 5 hours: then no client certificate of its issuer is taken\n");
}

/* Of the whole file wolfSSL takes what it can, wherever that is. */
static void test_bundles(void **state)
{
	const struct wish ended = { "ended", "P-256", .ca = true, .from = -9, .to = -1 };
	const struct wish future = { "future", "P-256", .ca = true, .from = 5, .to = 9 };
	const struct wish plain = { "client", "P-256", .to = 10 };
	const struct wish rsa = { "short", "RSA1024", .ca = true, .to = 10 };
	struct party late = party_new(&ended, NULL), early = party_new(&future, NULL);
	struct party client = party_new(&plain, NULL), short_key = party_new(&rsa, NULL);

	(void)state;
	bundle(NULL, &one, &other);
	accept("");
	chmod(ca_file, 0664);
	accept("/ca.pem: can be changed by others than its owner");
	chmod(ca_file, 0644);
	bundle(NULL, &one, &client);
	refuse(ca_file, NULL, "certificate 2 (client) in it is not one of a certificate authority");
	bundle(JUNK, &one, &other);
	refuse(ca_file, NULL, "certificate 3 in it is broken");
	bundle("-----BEGIN CERTIFICATE-----\njunk\n", &one, &other);
	refuse(ca_file, NULL, "a certificate without an end");
	bundle("-----BEGIN TRUSTED CERTIFICATE-----\n-----END TRUSTED CERTIFICATE-----\n", &one,
	       &other);
	refuse(ca_file, NULL, "a certificate in it that is not \"BEGIN CERTIFICATE\"");
	if (LIBWOLFSSL_VERSION_HEX >= 0x05009002) { /* 5.5.4 takes them all */
		bundle(NULL, &one, &short_key);
		refuse(ca_file, NULL, "certificate 2 (short) in it has a key that is too short");
		bundle(NULL, &one, &late);
		accept("certificate 2 (ended) in it has expired: "
		       "no client certificate that it signed is taken");
		bundle(NULL, &late, &one);
		accept("certificate 1 (ended) in it has expired: ");
		bundle(NULL, &early, &one);
		accept("certificate 1 (future) in it is not valid yet: ");
		bundle(NULL, &late, &early);
		refuse(ca_file, NULL, "certificate 1 (ended) in it has expired: ");
		refuse(ca_file, NULL, "; ");
		refuse(ca_file, NULL, "certificate 2 (future) in it is not valid yet: ");
		bundle(JUNK, &late, &one);
		refuse(ca_file, NULL, "certificate 3 in it is broken");
	}
	party_free(&late);
	party_free(&early);
	party_free(&client);
	party_free(&short_key);
}

static void test_bad_files(void **state)
{
	const struct wish plain = { "client", "P-256", .to = 10 };
	const struct wish rsa = { "short", "RSA1024", .ca = true, .to = 10 };
	struct party client = party_new(&plain, NULL), short_key = party_new(&rsa, NULL);
	struct client_ca text = { 0 }, wrong = { 0 }, leaf = { 0 };
	char cut[8192];

	(void)state;
	refuse("/nowhere/ca.pem", NULL, "/nowhere/ca.pem: No such file or directory");
	put(ca_file, "junk\n");
	refuse(ca_file, NULL, "no certificate in it");
	put(ca_file, JUNK);
	refuse(ca_file, NULL, "certificate 1 in it is broken");
	/* whoever owns one that is none could sign for others */
	pki_add_ca(&leaf, &client);
	put(ca_file, leaf.ca);
	refuse(ca_file, NULL, "certificate 1 (client) in it is not one of a certificate authority");
	client_ca_free(&leaf);
	pki_add_ca(&leaf, &short_key);
	put(ca_file, leaf.ca);
	if (LIBWOLFSSL_VERSION_HEX >= 0x05009002) /* 5.5.4 does not look */
		refuse(ca_file, NULL, "certificate 1 (short) in it has a key that is too short");
	pki_add_ca(&text, &one);
	put(ca_file, text.ca);
	refuse(ca_file, "/nowhere/crl.pem", "/nowhere/crl.pem: No such file or directory");
	put(crl_file, text.ca);
	refuse(ca_file, crl_file, "no certificate revocation list in it");
	pki_add_crl(&wrong, &other, NULL, 10);
	put(crl_file, wrong.crl);
	refuse(ca_file, crl_file, "revocation list 1");
	pki_add_crl(&text, &one, NULL, 10);
	snprintf(cut, sizeof(cut), "%.*s", (int)text.crl_len - 20, text.crl);
	put(crl_file, cut);
	refuse(ca_file, crl_file, "without an end");
	client_ca_free(&text);
	client_ca_free(&wrong);
	client_ca_free(&leaf);
	party_free(&client);
	party_free(&short_key);
}

static int set_up(void **state)
{
	const struct wish first = { "one", "P-256", .ca = true, .to = 100 };
	const struct wish second = { "other", "RSA", .ca = true, .to = 100 };

	(void)state;
	if (!mkdtemp(root))
		return -1;
	snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", root);
	snprintf(crl_file, sizeof(crl_file), "%s/crl.pem", root);
	one = party_new(&first, NULL);
	other = party_new(&second, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	party_free(&one);
	party_free(&other);
	remove(ca_file);
	remove(crl_file);
	return rmdir(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_files),  cmocka_unit_test(test_ends),
		cmocka_unit_test(test_short_lists), cmocka_unit_test(test_bundles),
		cmocka_unit_test(test_bad_files),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
