// SPDX-License-Identifier: GPL-2.0-or-later
/* The configuration: what is read, and that each error names its place. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/tlsport.h>

#include "../../userspace/tlsportd/config.h"

static char root[64], etc[96], run[96];
static struct config config;
static struct text errors;

static void put_file(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int load(void)
{
	return config_load(etc, run, &config, &errors);
}

/* One file, one error with these pieces; FILE stands for the file. */
static void complains_in(const char *name, const char *text, unsigned int line, const char *piece)
{
	char want[256];

	put_file(etc, name, text);
	assert_int_equal(load(), -1);
	assert_non_null(errors.chars);
	if (line)
		snprintf(want, sizeof(want), "%s/%s:%u: ", etc, name, line);
	else
		snprintf(want, sizeof(want), "%s/%s: ", etc, name);
	if (strncmp(errors.chars, want, strlen(want)))
		fail_msg("'%s' does not begin with '%s'", errors.chars, want);
	if (!strstr(errors.chars, piece))
		fail_msg("'%s' does not hold '%s'", errors.chars, piece);
	if (strchr(errors.chars, '\n') != errors.chars + errors.len - 1)
		fail_msg("more than one line: %s", errors.chars);
	config_free(&config);
	text_free(&errors);
	put_file(etc, name, "");
	snprintf(want, sizeof(want), "%s/%s", etc, name);
	unlink(want);
}

#define COMPLAINS(text, line, piece) complains_in("tlsport.conf", text, line, piece)
#define KEY(text, piece)	     COMPLAINS("[port 443]\ncert = /a\n" text "\n", 3, piece)

static void test_defaults(void **state)
{
	const struct port_config *port;

	(void)state;
	put_file(etc, "tlsport.conf", "# nothing but this\n\n[port 443]\ncert = /etc/ssl/a.pem\n");
	assert_int_equal(load(), 0);
	assert_int_equal(config.count, 1);
	port = config_find(&config, 443);
	assert_non_null(port);
	assert_null(config_find(&config, 444));
	assert_string_equal(port->cert, "/etc/ssl/a.pem");
	assert_null(port->key);
	assert_int_equal(port->line, 3);
	assert_int_equal(port->min_version, TLS_1_2);
	assert_int_equal(port->max_version, TLS_1_3);
	assert_int_equal(port->suite_count, TLS_SUITES);
	assert_int_equal(port->suites[0], 0x1302);
	assert_int_equal(port->group_count, TLS_GROUPS);
	assert_int_equal(port->groups[0], GROUP_X25519MLKEM768);
	assert_int_equal(port->groups[1], GROUP_X25519);
	assert_false(port->groups_chosen);
	assert_int_equal(port->alpn.len, 0);
	assert_int_equal(port->truncation, TLSPORT_TRUNCATION_STRICT);
	assert_int_equal(port->handshake_timeout, 10000);
	assert_int_equal(port->max_handshakes, 4096);
	assert_int_equal(port->max_handshakes_per_source, 1024);
	assert_int_equal(port->max_handshake_rate_per_source, 0);
	assert_int_equal(port->key_limit, 16777216);
	assert_true(port->resumption);
	assert_int_equal(port->offload, TLSPORT_OFFLOAD_AUTO);
	assert_int_equal(port_config_max_version(port), TLS_1_3);
	assert_false(port->zerocopy);
	assert_false(port->broken);
}

static void test_every_key(void **state)
{
	static const struct in6_addr mapped = {
		.s6_addr = { [10] = 0xff, [11] = 0xff, [12] = 198, [13] = 51, [14] = 100, [15] = 7 }
	};
	const struct port_config *port;

	(void)state;
	put_file(etc, "tlsport.conf",
		 "[port 8443]\n"
		 "cert = /a b/c.pem ; the certificate\n"
		 "key=/k.pem\n"
		 "min-version = 1.3\n"
		 "max-version = 1.3\n"
		 "ciphers = TLS_AES_128_GCM_SHA256:ECDHE-RSA-CHACHA20-POLY1305\n"
		 "groups = p-384:X25519\n"
		 "cert-dir = /etc/certs\n"
		 "address = 192.0.2.1, ::ffff:198.51.100.7,2001:DB8::1\n"
		 "passphrase = /p\n"
		 "strict-sni = on\n"
		 "ocsp = fetch\n"
		 "prefer-server-ciphers = off\n"
		 "profile = modern\n"
		 "alpn = h2:http/1.1\n"
		 "plaintext = redirect\n"
		 "truncation = tolerate\n"
		 "handshake-timeout = 2.5\n"
		 "max-handshakes = 10\n"
		 "max-handshakes-per-source = 1000000\n"
		 "max-handshake-rate = 30\n"
		 "max-handshake-rate-per-source = 20\n"
		 "key-limit = 1000\n"
		 "resumption = off\n"
		 "client-auth = request\n"
		 "client-ca = /ca.pem\n"
		 "client-crl = /crl.pem\n"
		 "client-depth = 2\n"
		 "offload = off\n"
		 "zerocopy = off\n"
		 "[port 8444]\n" /* what does not go with these */
		 "cert = /c\n"
		 "resumption = on\n"
		 "ticket-keys = /keys\n"
		 "offload = require\n"
		 "offload-tls13 = refuse\n"
		 "zerocopy = on\n");
	assert_int_equal(load(), 0);
	port = config_find(&config, 8443);
	assert_string_equal(port->cert, "/a b/c.pem");
	assert_string_equal(port->key, "/k.pem");
	assert_int_equal(port->min_version, TLS_1_3);
	assert_int_equal(port->suite_count, 2);
	assert_int_equal(port->suites[0], 0x1301);
	assert_int_equal(port->suites[1], 0xcca8);
	assert_int_equal(port->group_count, 2);
	assert_true(port->groups_chosen);
	assert_string_equal(port->cert_dir, "/etc/certs");
	assert_string_equal(port->passphrase, "/p");
	assert_int_equal(port->address_count, 3);
	assert_true(port_config_at(port, &mapped));
	assert_memory_equal(&port->addresses[2], "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	assert_false(port_config_at(port, &in6addr_loopback));
	assert_true(port->strict_sni);
	assert_int_equal(port->ocsp, OCSP_FETCH);
	assert_true(port->client_order);
	assert_int_equal(port->profile, PROFILE_MODERN);
	assert_int_equal(port->groups[0], GROUP_SECP384R1);
	assert_int_equal(port->alpn.len, 12);
	assert_memory_equal(port->alpn.list, "\2h2\10http/1.1", 12);
	assert_int_equal(port->plaintext, PLAINTEXT_REDIRECT);
	assert_int_equal(port->truncation, TLSPORT_TRUNCATION_TOLERATE);
	assert_int_equal(port->handshake_timeout, 2500);
	assert_int_equal(port->max_handshakes, 10);
	assert_int_equal(port->max_handshakes_per_source, 1000000);
	assert_int_equal(port->max_handshake_rate_per_source, 20);
	assert_int_equal(port->key_limit, 1000);
	assert_false(port->resumption);
	assert_int_equal(port->client_auth, CLIENT_AUTH_REQUEST);
	assert_string_equal(port->client_ca, "/ca.pem");
	assert_string_equal(port->client_crl, "/crl.pem");
	assert_int_equal(port->client_depth, 2);
	assert_int_equal(port->offload, TLSPORT_OFFLOAD_OFF);
	assert_false(port->zerocopy);
	port = config_find(&config, 8444);
	assert_true(port->resumption);
	assert_string_equal(port->ticket_keys, "/keys");
	assert_int_equal(port->offload, TLSPORT_OFFLOAD_REQUIRE);
	assert_true(port->offload_refuse_tls13);
	assert_true(port->zerocopy);
}

/* The kernel offloads TLS 1.2 only. */
static void test_offload_takes_tls13_away(void **state)
{
	(void)state;
	put_file(etc, "tlsport.conf",
		 "[port 1]\ncert = /a\noffload = require\n"
		 "[port 2]\ncert = /a\noffload = require\noffload-tls13 = refuse\n"
		 "[port 3]\ncert = /a\noffload = require\noffload-tls13 = negotiate-1.2\n");
	assert_int_equal(load(), 0);
	assert_int_equal(port_config_max_version(config_find(&config, 1)), TLS_1_2);
	assert_int_equal(port_config_max_version(config_find(&config, 2)), TLS_1_3);
	assert_int_equal(port_config_max_version(config_find(&config, 3)), TLS_1_2);
}

/* A profile fills in what no key says. */
static void test_profiles(void **state)
{
	const struct port_config *port;

	(void)state;
	put_file(etc, "tlsport.conf",
		 "[port 1]\ncert = /a\nprofile = intermediate\n"
		 "[port 2]\ncert = /a\nprofile = modern\n"
		 "[port 3]\nprofile = fips\ncert = /a\n"
		 "[port 4]\nmin-version = 1.2\nprofile = modern\ncert = /a\n"
		 "[port 5]\nciphers = TLS_CHACHA20_POLY1305_SHA256\nprofile = fips\ncert = /a\n"
		 "groups = X25519\n[port 6]\ncert = /a\nprofile = strict\n");
	assert_int_equal(load(), 0);
	port = config_find(&config, 1);
	assert_int_equal(port->min_version, TLS_1_2);
	assert_int_equal(port->suite_count, TLS_SUITES);
	assert_int_equal(port->group_count, TLS_GROUPS);
	assert_int_equal(config_find(&config, 2)->min_version, TLS_1_3);
	assert_int_equal(config_find(&config, 6)->min_version, TLS_1_3);
	port = config_find(&config, 3);
	assert_int_equal(port->min_version, TLS_1_2);
	assert_int_equal(port->suite_count, TLS_SUITES - 3);
	for (size_t i = 0; i < port->suite_count; i++)
		assert_int_not_equal(tls_suite_by_id(port->suites[i])->aead,
				     AEAD_CHACHA20_POLY1305);
	assert_int_equal(port->group_count, 2);
	assert_int_equal(port->groups[0], GROUP_SECP256R1);
	assert_int_equal(port->groups[1], GROUP_SECP384R1);
	assert_int_equal(config_find(&config, 4)->min_version, TLS_1_2);
	port = config_find(&config, 5);
	assert_int_equal(port->suite_count, 1);
	assert_int_equal(port->suites[0], 0x1303);
	assert_int_equal(port->group_count, 1);
	assert_int_equal(port->groups[0], GROUP_X25519);
}

/* A client that speaks both versions must not get the one that has no suite. */
static void test_versions_without_a_suite(void **state)
{
	const struct port_config *port;
	char note[PORT_CONFIG_ERROR_LEN];

	(void)state;
	put_file(
		etc, "tlsport.conf",
		"[port 1]\ncert = /a\nciphers = ECDHE-RSA-AES128-GCM-SHA256\n"
		"[port 2]\ncert = /a\nciphers = TLS_AES_128_GCM_SHA256\n"
		"[port 3]\ncert = /a\nciphers = TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256\n"
		"[port 4]\ncert = /a\nmin-version = 1.3\nciphers = TLS_AES_128_GCM_SHA256\n"
		"[port 5]\ncert = /a\ngroups = X25519MLKEM768\n"
		"[port 6]\ncert = /a\ngroups = X25519MLKEM768:P-256\n");
	assert_int_equal(load(), 0);
	port = config_find(&config, 1);
	assert_int_equal(port->min_version, TLS_1_2);
	assert_int_equal(port->max_version, TLS_1_2);
	assert_int_equal(port_config_policy(port).max_version, TLS_1_2);
	assert_true(port_config_note(port, note, sizeof(note)));
	assert_string_equal(note, "TLS 1.3 is not spoken: ciphers has no suite of it");
	port = config_find(&config, 2);
	assert_int_equal(port->min_version, TLS_1_3);
	assert_int_equal(port->max_version, TLS_1_3);
	assert_true(port_config_note(port, note, sizeof(note)));
	assert_string_equal(note, "TLS 1.2 is not spoken: ciphers has no suite of it");
	port = config_find(&config, 3);
	assert_int_equal(port->min_version, TLS_1_2);
	assert_int_equal(port->max_version, TLS_1_3);
	assert_false(port_config_note(port, note, sizeof(note)));
	assert_false(port_config_note(config_find(&config, 4), note, sizeof(note)));
	port = config_find(&config, 5);
	assert_int_equal(port->min_version, TLS_1_3);
	assert_true(port_config_note(port, note, sizeof(note)));
	assert_string_equal(note, "TLS 1.2 is not spoken: groups has no group of it");
	assert_int_equal(config_find(&config, 6)->min_version, TLS_1_2);
	config_free(&config);
#define CONTRADICTS(keys, piece) COMPLAINS("[port 443]\ncert = /a\n" keys "\n", 3, piece)
	CONTRADICTS("ciphers = ECDHE-RSA-AES128-GCM-SHA256\nmin-version = 1.3",
		    "port 443: ciphers has no suite of TLS 1.3, which min-version asks for");
	CONTRADICTS("ciphers = ECDHE-RSA-AES128-GCM-SHA256\nmax-version = 1.3",
		    "ciphers has no suite of TLS 1.3, which max-version asks for");
	CONTRADICTS("ciphers = ECDHE-RSA-AES128-GCM-SHA256\nprofile = modern",
		    "ciphers has no suite of TLS 1.3, which the profile asks for");
	CONTRADICTS("ciphers = TLS_AES_128_GCM_SHA256\nmin-version = 1.2",
		    "ciphers has no suite of TLS 1.2, which min-version asks for");
	CONTRADICTS("ciphers = TLS_AES_128_GCM_SHA256\nmax-version = 1.2",
		    "ciphers has no suite of TLS 1.2, which max-version asks for");
	CONTRADICTS("offload = require\nciphers = TLS_AES_128_GCM_SHA256",
		    "offload = require leaves no TLS version with ciphers of TLS 1.3 alone");
	CONTRADICTS("offload = require\ngroups = X25519MLKEM768",
		    "offload = require leaves no TLS version with groups of TLS 1.3 alone");
	CONTRADICTS("groups = X25519MLKEM768\nmax-version = 1.2",
		    "groups has no group of TLS 1.2, which max-version asks for");
}

/* 192.0.2.0/24 and 2001:db8::/32 are of documentation alone. */
static void test_addresses_of_others(void **state)
{
	char text[PORT_CONFIG_ERROR_LEN];

	(void)state;
	put_file(etc, "tlsport.conf",
		 "[port 1]\ncert = /a\n[port 2]\ncert = /a\naddress = 127.0.0.1, 127.9.9.9\n"
		 "[port 3]\ncert = /a\naddress = 127.0.0.1, 192.0.2.7, 192.0.2.8\n"
		 "[port 4]\ncert = /a\naddress = 2001:db8::9\n");
	assert_int_equal(load(), 0);
	assert_false(port_config_absent(config_find(&config, 1), text, sizeof(text)));
	assert_false(port_config_absent(config_find(&config, 2), text, sizeof(text)));
	assert_true(port_config_absent(config_find(&config, 3), text, sizeof(text)));
	assert_string_equal(text, "192.0.2.7, 192.0.2.8");
	/* unless it has no IPv6 at all */
	if (port_config_absent(config_find(&config, 4), text, sizeof(text)))
		assert_string_equal(text, "2001:db8::9");
}

/* What the kernel is told. */
static void test_policy(void **state)
{
	struct tlsport_nl_policy policy;

	(void)state;
	put_file(
		etc, "tlsport.conf",
		"[port 1]\ncert = /a\nmin-version = 1.3\ntruncation = tolerate\nhandshake-timeout = 5\n"
		"max-handshakes = 6\nmax-handshakes-per-source = 7\nkey-limit = 8\n"
		"offload = off\nmax-handshake-rate-per-source = 9\nmax-handshake-rate = 10\n"
		"[port 2]\ncert = /a\noffload = require\nmax-handshake-rate-per-source = off\n"
		"zerocopy = on\n");
	assert_int_equal(load(), 0);
	policy = port_config_policy(config_find(&config, 1));
	assert_int_equal(policy.given, TLSPORT_NL_POLICY_ALL);
	assert_int_equal(policy.min_version, TLS_1_3);
	assert_int_equal(policy.max_version, TLS_1_3);
	assert_int_equal(policy.truncation, TLSPORT_TRUNCATION_TOLERATE);
	assert_int_equal(policy.handshake_timeout, 5000);
	assert_int_equal(policy.max_handshakes, 6);
	assert_int_equal(policy.max_handshakes_per_source, 7);
	assert_int_equal(policy.max_handshake_rate_per_source, 9);
	assert_int_equal(policy.max_handshake_rate, 10);
	assert_int_equal(policy.key_limit, 8);
	assert_int_equal(policy.offload, TLSPORT_OFFLOAD_OFF);
	assert_int_equal(policy.zerocopy, 0);
	policy = port_config_policy(config_find(&config, 2));
	assert_int_equal(policy.offload, TLSPORT_OFFLOAD_REQUIRE);
	assert_int_equal(policy.zerocopy, 1);
	assert_int_equal(policy.max_handshake_rate_per_source, 0);
	assert_int_equal(policy.max_handshake_rate, 0);
	assert_int_equal(policy.max_version, TLS_1_2);
}

static void test_times(void **state)
{
	static const struct {
		const char *text;
		unsigned int ms;
	} times[] = {
		{ "10", 10000 },    { "0.1", 100 },   { "100ms", 100 },
		{ "600s", 600000 }, { "1.5s", 1500 }, { "250MS", 250 },
	};
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		snprintf(text, sizeof(text), "[port 1]\ncert = /a\nhandshake-timeout = %s\n",
			 times[i].text);
		put_file(etc, "tlsport.conf", text);
		assert_int_equal(load(), 0);
		assert_int_equal(config.ports[0].handshake_timeout, times[i].ms);
		config_free(&config);
	}
}

static void test_long_lines(void **state)
{
	char text[2048] = "[port 443]\ncert = /", longer[600];
	const struct port_config *port;

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	strcat(text, longer);
	strcat(text, " ; with a long comment that would not fit into a line of inih either\n# ");
	strcat(text, longer);
	strcat(text, "\nciphers = ");
	for (int i = 0; i < TLS_SUITES; i++) {
		strcat(text, i ? ":" : "");
		strcat(text, tls_suites[i].name);
	}
	strcat(text, "\n");
	put_file(etc, "tlsport.conf", text);
	if (load())
		fail_msg("%s", errors.chars);
	port = config_find(&config, 443);
	assert_int_equal(strlen(port->cert), sizeof(longer));
	assert_string_equal(port->cert + 1, longer);
	assert_int_equal(port->suite_count, TLS_SUITES);
}

/* Cut, the rest of it would be a line of its own, and those behind it have other numbers. */
static void test_too_long_lines(void **state)
{
	static char text[20000], longer[6000];
	const struct port_config *port;

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	snprintf(text, sizeof(text), "cert = /%.4087s\n# %s\nalpn = h2 ; %s\n", longer, longer,
		 longer);
	put_file(etc, "ports.d/443.conf", text);
	if (load())
		fail_msg("%s", errors.chars);
	port = config_find(&config, 443);
	assert_int_equal(strlen(port->cert), 4088);
	assert_int_equal(port->alpn.len, 3);
	config_free(&config);
	/* one byte more */
	snprintf(text, sizeof(text), "key = /%.4089s\ncert = /c\nfoo = 1\n", longer);
	put_file(etc, "ports.d/443.conf", text);
	assert_int_equal(load(), -1);
	assert_non_null(strstr(errors.chars, "443.conf:1: the line is longer than 4095 bytes\n"));
	assert_non_null(strstr(errors.chars, "443.conf:3: unknown key 'foo'"));
	port = config_find(&config, 443);
	assert_string_equal(port->cert, "/c");
	assert_true(port->broken);
	config_free(&config);
	text_free(&errors);
	/* without another mistake the port is not served either */
	snprintf(text, sizeof(text), "key = /%s\ncert = /c\n", longer);
	put_file(etc, "ports.d/443.conf", text);
	assert_int_equal(load(), -1);
	assert_true(config_find(&config, 443)->broken);
}

static void test_a_line_is_lost_alone(void **state)
{
	static char text[20000], longer[6000];

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	snprintf(text, sizeof(text), "[port 443]\ncert = /c\nciphers = %s[port 444]", longer);
	COMPLAINS(text, 3, "the line is longer than 4095 bytes");
}

static void test_lists_go_on(void **state)
{
	(void)state;
	put_file(etc, "tlsport.conf",
		 "[port 443]\ncert = /a\nciphers = TLS_AES_128_GCM_SHA256:\n"
		 "    TLS_AES_256_GCM_SHA384\n\tTLS_CHACHA20_POLY1305_SHA256\ngroups = X25519\n");
	if (load())
		fail_msg("%s", errors.chars);
	assert_int_equal(config.ports[0].suite_count, 3);
	assert_int_equal(config.ports[0].group_count, 1);
}

/* What follows it is of its port, never of the one before. */
static void test_indented_sections(void **state)
{
	(void)state;
	put_file(etc, "tlsport.conf",
		 " [port 1]\n[port 2]\n\t [port 3]\ncert = /three\n  [port 4]\n  cert = /four\n");
	assert_int_equal(load(), -1);
	assert_int_equal(config.count, 4);
	assert_null(config_find(&config, 1)->cert);
	assert_null(config_find(&config, 2)->cert);
	assert_string_equal(config_find(&config, 3)->cert, "/three");
	assert_string_equal(config_find(&config, 4)->cert, "/four");
	assert_false(config_find(&config, 4)->broken);
	config_free(&config);
	text_free(&errors);
	put_file(etc, "tlsport.conf", "");
	/* behind a list, which goes on in indented lines */
	put_file(etc, "ports.d/a.conf",
		 " [port 443]\ncert = /a\nalpn = h2:\n http/1.1\n [port 8443]\ncert = /b\n");
	if (load())
		fail_msg("%s", errors.chars);
	assert_int_equal(config_find(&config, 443)->alpn.len, 12);
	assert_string_equal(config_find(&config, 443)->cert, "/a");
	assert_string_equal(config_find(&config, 8443)->cert, "/b");
	config_free(&config);
	put_file(etc, "ports.d/a.conf", "\xef\xbb\xbf[port 443]\ncert = /a\n");
	if (load())
		fail_msg("%s", errors.chars);
	assert_string_equal(config_find(&config, 443)->cert, "/a");
}

static void test_drop_ins(void **state)
{
	(void)state;
	put_file(etc, "tlsport.conf", "[port 1]\ncert = /one\n");
	put_file(etc, "ports.d/2.conf", "cert = /two\n");
	put_file(etc, "ports.d/web.conf", "[port 3]\ncert = /three\n[port 4]\ncert = /four\n");
	put_file(etc, "ports.d/5.conf", "cert = /hidden\n");
	put_file(run, "ports.d/5.conf", "cert = /five\n");
	put_file(run, "ports.d/.6.conf", "cert = /no\n");
	put_file(run, "ports.d/6.conf.tmp", "cert = /no\n");
	if (load())
		fail_msg("%s", errors.chars);
	assert_int_equal(config.count, 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(config.ports[i].port, i + 1);
	assert_string_equal(config.ports[1].cert, "/two");
	assert_string_equal(config.ports[3].cert, "/four");
	assert_string_equal(config.ports[4].cert, "/five");
}

static void test_nothing_is_a_configuration(void **state)
{
	(void)state;
	assert_int_equal(config_load("/nonexistent", NULL, &config, &errors), 0);
	assert_int_equal(config.count, 0);
	/* but for who named the directory, and has it checked */
	config_check_dir(CONFIG_DIR, &errors);
	config_check_dir(etc, &errors);
	assert_int_equal(errors.len, 0);
	config_check_dir("/nonexistent", &errors);
	assert_string_equal(errors.chars, "/nonexistent: No such file or directory\n");
}

/* Given to inih in pieces */
#define LONG \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

static void test_sections(void **state)
{
	(void)state;
	COMPLAINS("[prt 1]\n", 1, "unknown section [prt 1]; allowed is [port N]");
	COMPLAINS("[port 0]\n", 1, "unknown section [port 0]");
	COMPLAINS("[port 65536]\n", 1, "from 1 to 65535");
	COMPLAINS("[port 1x]\n", 1, "unknown section");
	COMPLAINS("[port 443\ncert = /a\n", 1, "not a section [port N]");
	COMPLAINS("cert = /a\n", 1, "outside a section");
	COMPLAINS("[port 443]\nkey = /k\ncert-dir = /d\n", 2, "port 443: key without cert");
	COMPLAINS("[port 443]\n", 1, "port 443: no certificate: add");
	COMPLAINS("[port 443]\ncert = /a\n[port 444]\ncert = /b\n[port 443]\ncert = /c\n", 5,
		  "port 443 is configured already, at ");
	COMPLAINS("[port 443]\ncert = /a\nfoo\n", 3, "not \"key = value\"");
	COMPLAINS("[port 443]\ncert = /" LONG LONG LONG "\nfoo\n", 3, "not \"key = value\"");
	complains_in("ports.d/web.conf", "cert = /a\n", 1, "outside a section");
	put_file(etc, "ports.d/443.conf", "cert = /a\n");
	complains_in("ports.d/x.conf", "[port 443]\ncert = /a\n", 1, "configured already");
}

static void test_key_in_a_token(void **state)
{
	const struct port_config *port;

	(void)state;
	put_file(etc, "tlsport.conf",
		 "[port 8443]\ncert = /c.pem\n"
		 "key = pkcs11:token=web;object=a%20b?pin-source=file:/p ; the key\n");
	assert_int_equal(load(), 0);
	port = config_find(&config, 8443);
	assert_string_equal(port->key, "pkcs11:token=web;object=a%20b?pin-source=file:/p");
}

static void test_keys(void **state)
{
	(void)state;
	KEY("certificate = /a", "unknown key 'certificate'; allowed are cert, key, passphrase");
	KEY("cert = /b", "cert is given twice");
	KEY("key = k.pem", "'k.pem' is not an absolute file name");
	KEY("key = pkcs11:token=web?pin-value=1234",
	    "key: its pin-value can be read by whoever reads the configuration");
	KEY("key = pkcs11:token=w b", "is written as %20");
	KEY("min-version = 1.1", "'1.1' is not 1.2 or 1.3");
	KEY("max-version = TLSv1.3", "'TLSv1.3' is not 1.2 or 1.3");
	KEY("ciphers = AES128-SHA", "'AES128-SHA' is not one of TLS_AES_256_GCM_SHA384");
	KEY("ciphers = ", "'' is not one of");
	KEY("ciphers = TLS_AES_128_GCM_SHA256:TLS_AES_128_GCM_SHA256", "is there twice");
	KEY("groups = X448",
	    "'X448' is not one of X25519MLKEM768, X25519, P-256, P-384, with ':' between them");
	KEY("groups = P-256:secp256r1", "is there twice");
	KEY("alpn = h2,http/1.1", "'h2,http/1.1' is not a name of a protocol");
	KEY("alpn = h2::imap", "'' is not a name of a protocol");
	KEY("cert-dir = d", "'d' is not an absolute file name");
	KEY("address = localhost",
	    "'localhost' is not the IP address of a machine, such as 192.0.2.1 or 2001:db8::1");
	KEY("address = 0.0.0.0", "'0.0.0.0' is not the IP address of a machine");
	KEY("address = ::", "'::' is not the IP address of a machine");
	KEY("address = ff02::1", "'ff02::1' is not the IP address of a machine");
	KEY("address = 224.0.0.1", "'224.0.0.1' is not the IP address of a machine");
	KEY("address = 192.0.2.1,", "'' is not the IP address of a machine");
	KEY("address = 192.0.2.1 192.0.2.2/24",
	    "'192.0.2.2/24' is not the IP address of a machine");
	KEY("address = 192.0.2.1, ::ffff:192.0.2.1", "::ffff:192.0.2.1 is there twice");
	KEY("address = 10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6,10.0.0.7,10.0.0.8,10.0.0.9,"
	    "10.0.0.10,10.0.0.11,10.0.0.12,10.0.0.13,10.0.0.14,10.0.0.15,10.0.0.16,10.0.0.17",
	    "these are more than 16 addresses");
	KEY("strict-sni = yes", "'yes' is not on or off");
	KEY("ocsp = on", "'on' is not off, file or fetch");
	KEY("profile = old", "'old' is not intermediate, modern, fips or strict");
	KEY("prefer-server-ciphers = no", "'no' is not on or off");
	KEY("plaintext = welcome", "'welcome' is not reject, alert or redirect");
	KEY("truncation = maybe", "'maybe' is not strict or tolerate");
	KEY("resumption = yes", "'yes' is not on or off");
	KEY("handshake-timeout = 0", "not a time from 0.1 to 600 seconds");
	KEY("handshake-timeout = 601", "not a time");
	KEY("handshake-timeout = 10m", "not a time");
	KEY("handshake-timeout = nan", "not a time");
	KEY("handshake-timeout = -5", "not a time");
	KEY("max-handshakes = 0", "not a number from 1 to 1000000");
	KEY("max-handshakes = 1000001", "not a number");
	KEY("max-handshakes = ten", "not a number");
	KEY("max-handshakes-per-source = 1.5", "not a number");
	KEY("max-handshake-rate = 0", "'0' is not a number from 1 to 1000000, or off");
	KEY("max-handshake-rate-per-source = 0", "'0' is not a number from 1 to 1000000, or off");
	KEY("max-handshake-rate-per-source = on", "not a number from 1 to 1000000, or off");
	KEY("zerocopy = yes", "'yes' is not on or off");
	KEY("offload = on", "'on' is not auto, off or require");
	KEY("offload-tls13 = 1.2", "'1.2' is not negotiate-1.2 or refuse");
	KEY("offload-min-bytes = 1", "unknown key 'offload-min-bytes'");
	KEY("key-limit = 16777217", "not a number from 1 to 16777216");
	KEY("  min-version = 1.3", "an indented line goes on the one before");
	COMPLAINS("[port 443]\ncert = /a\nmin-version = 1.3\nmax-version = 1.2\n", 3,
		  "min-version is above max-version");
	COMPLAINS("[port 443]\ncert = /a\nmax-version = 1.2\nprofile = modern\n", 3,
		  "max-version is below TLS 1.3, which the profile asks for");
	KEY("client-auth = on", "'on' is not none, request or require");
	KEY("client-depth = 9", "not a number from 1 to 8");
	COMPLAINS(
		"[port 443]\ncert = /a\nclient-auth = require\n", 3,
		"client-auth needs client-ca, the file of the certificate authorities of clients");
	COMPLAINS("[port 443]\ncert = /a\nclient-ca = /ca\n", 3,
		  "client-ca does nothing without client-auth = request or require");
	COMPLAINS("[port 443]\ncert = /a\nclient-auth = none\nclient-crl = /crl\n", 4,
		  "client-crl does nothing without client-auth");
	COMPLAINS(
		"[port 443]\ncert = /a\nclient-auth = request\nclient-ca = /ca\nresumption = on\n",
		5, "resumption = on does not go with client-auth");
	COMPLAINS("[port 443]\ncert = /a\nticket-keys = /t\nresumption = off\n", 3,
		  "ticket-keys does nothing with resumption = off");
	COMPLAINS(
		"[port 443]\ncert = /a\nclient-auth = request\nclient-ca = /ca\nticket-keys = /t\n",
		5, "ticket-keys does nothing with client-auth: there is no resumption");
	COMPLAINS("[port 443]\ncert = /a\noffload-tls13 = negotiate-1.2\n", 3,
		  "offload-tls13 does nothing without offload = require");
	COMPLAINS(
		"[port 443]\ncert = /a\noffload = require\nmax-version = 1.2\noffload-tls13 = refuse\n",
		5, "offload-tls13 does nothing with max-version = 1.2");
	COMPLAINS("[port 443]\ncert = /a\nzerocopy = on\noffload = off\n", 3,
		  "zerocopy = on does nothing with offload = off");
	COMPLAINS("[port 443]\ncert = /a\nmin-version = 1.3\noffload = require\n", 4,
		  "offload = require leaves no TLS version with min-version 1.3");
}

static void test_all_errors_at_once(void **state)
{
	unsigned int lines = 0;

	(void)state;
	put_file(etc, "tlsport.conf",
		 "[port 1]\nfoo = 1\nbar = 2\n[port 2]\ncert = x\n[x]\ny = z\n");
	assert_int_equal(load(), -1);
	for (const char *at = errors.chars; (at = strchr(at, '\n')); at++)
		lines++;
	/* foo, bar, cert, [x]; port 1 without a certificate */
	assert_int_equal(lines, 5);
}

/* A typing error must not leave a port in plaintext at boot. */
static void test_broken_ports_are_known(void **state)
{
	(void)state;
	put_file(etc, "tlsport.conf",
		 "[port 1]\ncert = /a\n[port 2]\ncert = /b\nmin-version = 9\n");
	put_file(etc, "ports.d/3.conf", "what is this\n");
	put_file(etc, "ports.d/4.conf", "");
	assert_int_equal(load(), -1);
	assert_int_equal(config.count, 4);
	assert_false(config_find(&config, 1)->broken);
	assert_true(config_find(&config, 2)->broken);
	assert_true(config_find(&config, 3)->broken);
	assert_true(config_find(&config, 4)->broken);
}

/* With two mistakes, too: one that the kernel refused would be all that is served. */
static void test_broken_ports_can_be_kept_shut(void **state)
{
	static const char *const versions[] = { "min-version = 1.3\nmax-version = 1.2",
						"profile = modern\nmax-version = 1.2",
						"min-version = 1.3\noffload = require" };
	static const char *const others[] = { "client-ca = /ca", "zerocopy = what", "foo = bar",
					      "ticket-keys = /t\nresumption = off" };
	char text[256];

	(void)state;
	for (size_t v = 0; v < 3; v++) {
		for (size_t o = 0; o < 4; o++) {
			struct tlsport_nl_policy policy;

			snprintf(text, sizeof(text), "[port 1]\ncert = /a\n%s\n%s\n", others[o],
				 versions[v]);
			put_file(etc, "tlsport.conf", text);
			assert_int_equal(load(), -1);
			assert_true(config.ports[0].broken);
			policy = port_config_policy(&config.ports[0]);
			if (policy.min_version > policy.max_version)
				fail_msg("%s", text);
			config_free(&config);
			text_free(&errors);
		}
	}
}

static void test_garbage(void **state)
{
	static char garbage[20000];

	(void)state;
	srand(3);
	for (int i = 0; i < 2000; i++) {
		size_t len = rand() % (i % 10 ? 300 : sizeof(garbage));

		for (size_t n = 0; n < len; n++)
			garbage[n] = rand() % 3 ? "[port 443]\ncert=/a: ;#\t"[rand() % 23] :
						  rand() % 255 + 1;
		garbage[len] = '\0';
		put_file(etc, i % 2 ? "tlsport.conf" : "ports.d/443.conf", garbage);
		load();
		config_free(&config);
		text_free(&errors);
	}
}

/* @name in ports.d cannot be read: that is said, and its port kept shut. */
static void keeps_shut(const char *dir, const char *name, const char *why)
{
	char want[256];

	assert_int_equal(load(), -1);
	snprintf(want, sizeof(want), "%s/ports.d/%s: %s\n", dir, name, why);
	if (strncmp(errors.chars, want, strlen(want)))
		fail_msg("'%s' does not begin with '%s'", errors.chars, want);
	assert_int_equal(config.count, 1);
	assert_int_equal(config.ports[0].port, 443);
	assert_true(config.ports[0].broken);
	config_free(&config);
	text_free(&errors);
}

/* A fifo would keep tlsportd waiting for a writer. */
static void test_only_files_are_read(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/ports.d/443.conf", etc);
	assert_int_equal(mkdir(path, 0755), 0);
	keeps_shut(etc, "443.conf", "not a regular file");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0644), 0);
	alarm(10);
	keeps_shut(etc, "443.conf", "not a regular file");
	/* nor does one that hides another */
	unlink(path);
	put_file(etc, "ports.d/443.conf", "cert = /a\n");
	snprintf(path, sizeof(path), "%s/ports.d/443.conf", run);
	assert_int_equal(mkfifo(path, 0644), 0);
	keeps_shut(run, "443.conf", "not a regular file");
	alarm(0);
}

/* What is meant by it is not known, but that the port is not to speak plaintext is. */
static void test_links_that_lead_nowhere(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/ports.d/443.conf", etc);
	assert_int_equal(symlink("gone", path), 0);
	keeps_shut(etc, "443.conf", "a link that leads nowhere");
	put_file(etc, "ports.d/gone", "cert = /a\n");
	assert_int_equal(load(), 0);
	assert_string_equal(config_find(&config, 443)->cert, "/a");
	config_free(&config);
	/* hides that one all the same */
	snprintf(path, sizeof(path), "%s/ports.d/443.conf", run);
	assert_int_equal(symlink("gone", path), 0);
	keeps_shut(run, "443.conf", "a link that leads nowhere");
	unlink(path);
	snprintf(path, sizeof(path), "%s/tlsport.conf", etc);
	assert_int_equal(symlink("gone", path), 0);
	assert_int_equal(load(), -1);
	assert_non_null(strstr(errors.chars, "/tlsport.conf: a link that leads nowhere\n"));
	config_free(&config);
	text_free(&errors);
	unlink(path);
	snprintf(path, sizeof(path), "%s/ports.d", run);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("gone", path), 0);
	assert_int_equal(load(), -1);
	assert_non_null(strstr(errors.chars, "/run/ports.d: a link that leads nowhere\n"));
}

static int setup(void **state)
{
	char path[128];

	(void)state;
	strcpy(root, "/tmp/test_config.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(etc, sizeof(etc), "%s/etc", root);
	snprintf(run, sizeof(run), "%s/run", root);
	mkdir(etc, 0755);
	mkdir(run, 0755);
	snprintf(path, sizeof(path), "%s/ports.d", etc);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/ports.d", run);
	mkdir(path, 0755);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	config_free(&config);
	text_free(&errors);
	snprintf(command, sizeof(command), "rm -r '%s'", root);
	return system(command);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_defaults),
		TEST(test_every_key),
		TEST(test_offload_takes_tls13_away),
		TEST(test_profiles),
		TEST(test_versions_without_a_suite),
		TEST(test_addresses_of_others),
		TEST(test_policy),
		TEST(test_times),
		TEST(test_long_lines),
		TEST(test_too_long_lines),
		TEST(test_a_line_is_lost_alone),
		TEST(test_lists_go_on),
		TEST(test_indented_sections),
		TEST(test_drop_ins),
		TEST(test_nothing_is_a_configuration),
		TEST(test_sections),
		TEST(test_keys),
		TEST(test_key_in_a_token),
		TEST(test_all_errors_at_once),
		TEST(test_broken_ports_are_known),
		TEST(test_broken_ports_can_be_kept_shut),
		TEST(test_garbage),
		TEST(test_only_files_are_read),
		TEST(test_links_that_lead_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
