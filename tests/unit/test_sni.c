// SPDX-License-Identifier: GPL-2.0-or-later
/* Several certificates on a port: which one a client gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_client.h"
#include "../../userspace/tlsportd/sni.h"

/* --- the table --- */

static const struct {
	const char *name;
	unsigned int certificate;
} table_names[] = {
	{ "www.example.org", 4 }, { "example.org", 3 },	    { "*.example.org", 2 },
	{ "*.a.example.org", 1 }, { "www.example.org", 0 }, { "localhost", 5 },
};

static const struct {
	const char *host;
	int first; /* -1: none */
	size_t count;
} table_cases[] = {
	{ "www.example.org", 0, 2 },
	{ "WWW.Example.ORG", 0, 2 },
	{ "example.org", 3, 1 },
	{ "mail.example.org", 2, 1 },
	{ "a.example.org", 2, 1 },
	{ "b.a.example.org", 1, 1 },
	{ "c.b.a.example.org", -1, 0 }, /* one label alone */
	{ "localhost", 5, 1 },
	{ "*.example.org", -1, 0 }, /* no name of a host */
	{ "xexample.org", -1, 0 },
	{ ".example.org", -1, 0 },
	{ "org", -1, 0 },
	{ ".", -1, 0 },
	{ "", -1, 0 },
};

static struct bytes bytes_of(const char *text)
{
	return (struct bytes){ (const uint8_t *)text, strlen(text) };
}

static void test_table(void **state)
{
	struct sni_table table = { NULL, 0 };
	const struct sni_name *found;
	char longest[300];
	size_t count;

	(void)state;
	assert_null(sni_find(&table, bytes_of("example.org"), &count));
	for (size_t i = 0; i < sizeof(table_names) / sizeof(table_names[0]); i++)
		assert_int_equal(sni_add(&table, table_names[i].name, table_names[i].certificate),
				 0);
	sni_sort(&table);
	for (size_t i = 0; i < sizeof(table_cases) / sizeof(table_cases[0]); i++) {
		found = sni_find(&table, bytes_of(table_cases[i].host), &count);
		if ((found ? (int)found->certificate : -1) != table_cases[i].first ||
		    count != table_cases[i].count)
			fail_msg("'%s' gives %d, and %zu of them", table_cases[i].host,
				 found ? (int)found->certificate : -1, count);
	}
	memset(longest, 'x', sizeof(longest));
	assert_null(sni_find(&table, (struct bytes){ (uint8_t *)longest, 256 }, &count));
	sni_free(&table);
}

/* --- a port --- */

struct given {
	enum test_key key;
	const char *common_name;
	const char *names;
};

static struct cert_files files[8];
static struct cert_facts facts[8];
static struct cert_names names[8];
static struct flow flow;

static struct engine_context *port_of(const struct given *given, size_t count, bool strict,
				      const struct ticket_keys *tickets)
{
	struct engine_policy policy = test_policy(443);
	struct engine_certificate certificates[8];
	struct engine_context *context;
	char err[256] = "";

	policy.strict_sni = strict;
	policy.tickets = tickets;
	for (size_t i = 0; i < count; i++) {
		test_files_named(given[i].key, given[i].common_name, given[i].names, &files[i],
				 &facts[i]);
		assert_int_equal(cert_files_names(&files[i], &names[i]), 0);
		certificates[i] =
			(struct engine_certificate){ &files[i], &facts[i], &names[i], NULL, NULL };
	}
	context = engine_context_new(&policy, certificates, count, err, sizeof(err));
	if (!context)
		fail_msg("%s", err);
	return context;
}

static void port_end(struct engine_context *context, size_t count)
{
	engine_context_free(context);
	for (size_t i = 0; i < count; i++) {
		cert_files_free(&files[i]);
		cert_names_free(&names[i]);
	}
}

/* Extension of type 0 and no length in ServerHello or EncryptedExtensions. */
static bool acknowledged;

static void on_message(int write, int version, int type, const void *data, size_t len, SSL *ssl,
		       void *arg)
{
	const uint8_t *message = data, *end = message + len;
	const uint8_t *at;

	(void)version;
	(void)ssl;
	(void)arg;
	if (write || type != SSL3_RT_HANDSHAKE || (message[0] != 2 && message[0] != 8))
		return;
	at = message + 4;
	if (message[0] == 2) {
		at += 2 + 32;
		at += 1 + at[0] + 2 + 1;
	}
	for (at += 2; at + 4 <= end; at += 4 + get16(at + 2))
		acknowledged |= !get16(at) && !get16(at + 2);
}

static struct client *asks_for(int version, const char *host)
{
	struct client *client = client_new(version, version);

	acknowledged = false;
	SSL_set_tlsext_host_name(client->ssl, host);
	SSL_set_msg_callback(client->ssl, on_message);
	return client;
}

static const char *common_name_of(struct client *client)
{
	static char name[64];
	X509 *x509 = SSL_get1_peer_certificate(client->ssl);

	assert_non_null(x509);
	X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, name, sizeof(name));
	X509_free(x509);
	return name;
}

static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

/* @algorithms: that the client verifies, NULL: all */
static void gets(struct engine_context *context, const char *host, const char *algorithms,
		 const char *common_name, bool by_name)
{
	for (int i = 0; i < 2; i++) {
		struct client *client = asks_for(versions[i], host);

		if (algorithms)
			SSL_set1_sigalgs_list(client->ssl, algorithms);
		if (flow_run(&flow, context, client) != ENGINE_DONE)
			fail_msg("%s: %s", host ? host : "-", engine_reason_text(flow.engine));
		assert_string_equal(common_name_of(client), common_name);
		assert_int_equal(acknowledged, by_name);
		flow_end(&flow);
		client_free(client);
	}
}

static void refuses(struct engine_context *context, int version, const char *host, int alert)
{
	struct client *client = asks_for(version, host);

	assert_int_equal(flow_run(&flow, context, client), ENGINE_FAILED);
	assert_int_equal(flow.sent_len, 7);
	assert_int_equal(flow.sent[6], alert);
	flow_end(&flow);
	client_free(client);
}

static const struct given several[] = {
	{ TEST_P256, "default", "DNS:default.example" },
	{ TEST_P256, "one", "DNS:one.example,DNS:*.one.example,IP:192.0.2.1" },
	{ TEST_RSA, "two", "DNS:Two.Example" },
	{ TEST_P384, "three.example", NULL },
};

static void test_names(void **state)
{
	struct engine_context *context = port_of(several, 4, false, NULL);

	(void)state;
	gets(context, "one.example", NULL, "one", true);
	gets(context, "WWW.one.example", NULL, "one", true);
	gets(context, "two.example", NULL, "two", true);
	gets(context, "three.example", NULL, "three.example", true);
	gets(context, "four.example", NULL, "default", false);
	gets(context, "a.b.one.example", NULL, "default", false);
	gets(context, NULL, NULL, "default", false);
	port_end(context, 4);
}

static void test_strict(void **state)
{
	struct engine_context *context = port_of(several, 4, true, NULL);

	(void)state;
	gets(context, "www.one.example", NULL, "one", true);
	gets(context, "default.example", NULL, "default", true);
	refuses(context, TLS1_2_VERSION, "four.example", ALERT_UNRECOGNIZED_NAME);
	refuses(context, TLS1_3_VERSION, "four.example", ALERT_UNRECOGNIZED_NAME);
	refuses(context, TLS1_2_VERSION, NULL, ALERT_UNRECOGNIZED_NAME);
	refuses(context, TLS1_3_VERSION, NULL, ALERT_MISSING_EXTENSION);
	port_end(context, 4);
}

/* ECDSA costs less: RSA is for who knows nothing else, also where it is the default. */
static void test_two_keys_of_a_name(void **state)
{
	static const struct given both[] = {
		{ TEST_RSA, "old", "DNS:a.example" },
		{ TEST_P256, "new", "DNS:a.example" },
		{ TEST_P256, "other", "DNS:b.example" },
	};
	struct engine_context *context = port_of(both, 3, false, NULL);

	(void)state;
	gets(context, "a.example", NULL, "new", true);
	gets(context, "a.example", "RSA-PSS+SHA256", "old", true);
	gets(context, "c.example", NULL, "new", false);
	gets(context, NULL, "RSA-PSS+SHA256", "old", false);
	gets(context, "b.example", NULL, "other", true);
	for (int i = 0; i < 2; i++) {
		struct client *client = asks_for(versions[i], "b.example");

		SSL_set1_sigalgs_list(client->ssl, "RSA-PSS+SHA256");
		assert_int_equal(flow_run(&flow, context, client), ENGINE_FAILED);
		assert_int_equal(flow.sent[6], ALERT_HANDSHAKE_FAILURE);
		flow_end(&flow);
		client_free(client);
	}
	port_end(context, 3);
}

/* One that the port's policy leaves nothing for does not keep the others from being served. */
static void test_one_does_not_fit(void **state)
{
	static const struct given both[] = {
		{ TEST_RSA, "rsa", "DNS:a.example" },
		{ TEST_P256, "ec", "DNS:*.b.example" },
		{ TEST_RSA, "rsa too", "DNS:*.b.example" },
	};
	struct engine_policy policy = test_policy(443);
	struct engine_certificate certificates[3];
	struct engine_context *context;
	char err[256] = "";

	(void)state;
	/* a wildcard stands for who asks for nothing, too */
	context = port_of(both + 1, 2, false, NULL);
	gets(context, NULL, NULL, "ec", false);
	gets(context, NULL, "RSA-PSS+SHA256", "rsa too", false);
	port_end(context, 2);
	policy.max_version = TLS_1_2;
	policy.suites[0] = 0xc02b; /* ECDSA */
	policy.suite_count = 1;
	for (size_t i = 0; i < 3; i++) {
		test_files_named(both[i].key, both[i].common_name, both[i].names, &files[i],
				 &facts[i]);
		assert_int_equal(cert_files_names(&files[i], &names[i]), 0);
		certificates[i] =
			(struct engine_certificate){ &files[i], &facts[i], &names[i], NULL, NULL };
	}
	assert_null(engine_context_new(&policy, certificates, 1, err, sizeof(err)));
	context = engine_context_new(&policy, certificates, 3, err, sizeof(err));
	assert_non_null(context);
	assert_string_equal(err, "no cipher is left that fits the versions and the RSA key");
	for (int i = 0; i < 2; i++) {
		struct client *client = asks_for(TLS1_2_VERSION, i ? "x.b.example" : "a.example");

		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		assert_string_equal(common_name_of(client), "ec");
		flow_end(&flow);
		client_free(client);
	}
	port_end(context, 3);
}

/* A ticket of one certificate's name is none for another's. */
static void test_resumption(void **state)
{
	struct ticket_keys *tickets = ticket_keys_new();
	struct engine_context *context = port_of(several, 4, false, tickets);

	(void)state;
	for (int i = 0; i < 2; i++) {
		static const char *const hosts[] = { "one.example", "one.example", "two.example" };
		SSL_SESSION *session;
		struct client *client = asks_for(versions[i], hosts[0]);

		for (int j = 0; j < 3; j++) {
			SSL_set_tlsext_host_name(client->ssl, hosts[j]);
			if (flow_run(&flow, context, client) != ENGINE_DONE)
				fail_msg("%s", engine_reason_text(flow.engine));
			assert_int_equal(flow.result.resumed, j == 1);
			/* RFC 6066 3: a resumed session of TLS 1.2 is not answered with it */
			assert_int_equal(acknowledged, versions[i] == TLS1_3_VERSION || j != 1);
			SSL_read(client->ssl, &(char){ 0 }, 1); /* tickets of TLS 1.3 */
			flow_end(&flow);
			session = client->session;
			client->session = NULL;
			client_again(client, session);
			SSL_SESSION_free(session);
			acknowledged = false;
			SSL_set_msg_callback(client->ssl, on_message);
		}
		client_free(client);
	}
	port_end(context, 4);
	ticket_keys_free(tickets);
}

/* Two hellos of TLS 1.2, the second one with the session of the first. */
static void resumes(struct engine_context *context, const char *first, const char *second,
		    bool resumed)
{
	struct client *client = asks_for(TLS1_2_VERSION, "a.example");

	if (first)
		SSL_set1_sigalgs_list(client->ssl, first);
	assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
	flow_end(&flow);
	client_again(client, client->session);
	SSL_set_tlsext_host_name(client->ssl, "a.example");
	SSL_set1_sigalgs_list(client->ssl, second);
	if (flow_run(&flow, context, client) != ENGINE_DONE)
		fail_msg("%s", engine_reason_text(flow.engine));
	assert_int_equal(flow.result.resumed, resumed);
	if (!resumed)
		assert_string_equal(common_name_of(client), "old");
	flow_end(&flow);
	client_free(client);
}

/* A key that the client's algorithms fit counts more than one that could but resume. */
static void test_resumption_with_two_keys(void **state)
{
	static const struct given both[] = {
		{ TEST_RSA, "old", "DNS:a.example" },
		{ TEST_P256, "new", "DNS:a.example" },
	};
	struct ticket_keys *tickets = ticket_keys_new();
	struct engine_context *context = port_of(both, 2, false, tickets);

	(void)state;
	resumes(context, "RSA-PSS+SHA256", "RSA-PSS+SHA256", true);
	resumes(context, NULL, "RSA-PSS+SHA256", false);
	resumes(context, NULL, "ed25519", true);
	port_end(context, 2);
	ticket_keys_free(tickets);
}

/* HelloRetryRequest: the certificate is that of the second ClientHello's name, which is the first's. */
static void test_retry(void **state)
{
	struct engine_context *context = port_of(several, 4, false, NULL);
	struct client *client = asks_for(TLS1_3_VERSION, "two.example");

	(void)state;
	SSL_set1_groups_list(client->ssl, "P-521:P-256");
	if (flow_run(&flow, context, client) != ENGINE_DONE)
		fail_msg("%s", engine_reason_text(flow.engine));
	assert_string_equal(common_name_of(client), "two");
	assert_true(acknowledged);
	flow_end(&flow);
	client_free(client);
	port_end(context, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_strict),
		cmocka_unit_test(test_two_keys_of_a_name),
		cmocka_unit_test(test_one_does_not_fit),
		cmocka_unit_test(test_resumption),
		cmocka_unit_test(test_resumption_with_two_keys),
		cmocka_unit_test(test_retry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
