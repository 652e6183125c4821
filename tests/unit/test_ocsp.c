// SPDX-License-Identifier: GPL-2.0-or-later
/* Which OCSP responses are stapled, and what a client gets of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ocsp_make.h"

static struct test_ca ca;
static struct flow flow;

static int setup(void **state)
{
	(void)state;
	test_ca_new(&ca, "authority");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	test_ca_free(&ca);
	return 0;
}

static void need_stapling(void)
{
	if (!engine_staples())
		skip();
}

/* --- which are good --- */

static void judged(const struct test_response *how, const char *chain, const char *error)
{
	struct ocsp_response response = { NULL };
	uint8_t der[OCSP_RESPONSE_MAX];
	size_t len = test_response_make(how, der);
	char err[256] = "";
	time_t now = time(NULL);
	int ret = ocsp_check(chain, der, len, &response, err, sizeof(err));

	if (error) {
		assert_int_equal(ret, -1);
		assert_string_equal(err, error);
		assert_null(response.der);
		return;
	}
	if (ret)
		fail_msg("%s", err);
	assert_int_equal(response.len, len);
	assert_memory_equal(response.der, der, len);
	assert_in_range(response.since, now + how->since - 2, now + how->since + 2);
	assert_in_range(response.until, now + how->until - 2, now + how->until + 2);
	ocsp_response_free(&response);
}

#define REVOKED "it says that the certificate is revoked"
#define UNKNOWN "it says that the certificate is unknown"
#define FOREIGN "its issuer did not sign it for this certificate"
#define BROKEN	"it has expired, or is no OCSP response with a status (DER)"

static void test_judgement(void **state)
{
	const struct test_response good = {
		&ca, NULL, V_OCSP_CERTSTATUS_GOOD, -60, 3600, BY_ISSUER
	};
	struct test_response how = good;
	struct cert_files files, other_files;
	struct cert_facts facts;
	X509 *cert, *other;

	(void)state;
	need_stapling();
	cert = test_ca_issue(&ca, TEST_P256, false, NULL, &files, &facts);
	other = test_ca_issue(&ca, TEST_RSA, false, NULL, &other_files, &facts);
#define CASE(error, ...) \
	do { \
		how = good; \
		how.cert = cert; \
		__VA_ARGS__; \
		judged(&how, files.cert, error); \
	} while (0)
	CASE(NULL, (void)0);
	CASE(NULL, how.by = BY_DELEGATE);
	CASE(FOREIGN, how.by = BY_SERVER);
	CASE(FOREIGN, how.by = BY_STRANGER);
	CASE(FOREIGN, how.cert = other);
	CASE(REVOKED, how.status = V_OCSP_CERTSTATUS_REVOKED);
	CASE(UNKNOWN, how.status = V_OCSP_CERTSTATUS_UNKNOWN);
	CASE(BROKEN, how.since = -7200; how.until = -3600);
	CASE(BROKEN, how.since = 3600 * 24 * 3; how.until = 3600 * 24 * 4);
	CASE("it does not say how long it is valid", how.until = 0);
	how = good;
	how.cert = other;
	judged(&how, other_files.cert, NULL);
	X509_free(cert);
	X509_free(other);
	cert_files_free(&files);
	cert_files_free(&other_files);
}

static void test_what_is_none(void **state)
{
	struct ocsp_response response = { NULL };
	uint8_t der[OCSP_RESPONSE_MAX], large[OCSP_RESPONSE_MAX + 1] = { 0 };
	/* OCSPResponseStatus tryLater */
	const uint8_t later[] = { 0x30, 0x03, 0x0a, 0x01, 0x03 };
	struct cert_files files;
	struct cert_facts facts;
	char err[256] = "", alone[4096];
	X509 *cert;
	size_t len;

	(void)state;
	need_stapling();
	cert = test_ca_issue(&ca, TEST_P256, false, NULL, &files, &facts);
	len = test_response_good(&ca, cert, der);
	for (size_t cut = 0; cut < len; cut += 7)
		assert_int_equal(ocsp_check(files.cert, der, cut, &response, err, sizeof(err)), -1);
	assert_int_equal(ocsp_check(files.cert, later, sizeof(later), &response, err, sizeof(err)),
			 -1);
	assert_string_equal(err, BROKEN);
	assert_int_equal(ocsp_check(files.cert, large, sizeof(large), &response, err, sizeof(err)),
			 -1);
	assert_string_equal(err, "it is too long (more than 8192 bytes)");
	der[len - 20] ^= 1;
	assert_int_equal(ocsp_check(files.cert, der, len, &response, err, sizeof(err)), -1);
	assert_string_equal(err, FOREIGN);
	snprintf(alone, sizeof(alone), "%s", files.cert);
	*strstr(strstr(alone, "END CERT") + 1, "-----BEGIN") = '\0';
	assert_int_equal(ocsp_check(alone, der, len, &response, err, sizeof(err)), -1);
	assert_string_equal(err, "the issuer, which signs it, is not behind the certificate");
	assert_null(response.der);
	X509_free(cert);
	cert_files_free(&files);
}

static void test_facts(void **state)
{
	struct cert_files files;
	struct cert_facts facts;

	(void)state;
	X509_free(test_ca_issue(&ca, TEST_P256, false, NULL, &files, &facts));
	assert_false(facts.must_staple);
	assert_string_equal(facts.ocsp_url, "");
	cert_files_free(&files);
	X509_free(test_ca_issue(&ca, TEST_P256, true, "http://ocsp.example:81/a", &files, &facts));
	assert_true(facts.must_staple);
	assert_string_equal(facts.ocsp_url, "http://ocsp.example:81/a");
	cert_files_free(&files);
	X509_free(test_ca_issue(&ca, TEST_P256, false, "ldap://ocsp.example/", &files, &facts));
	assert_string_equal(facts.ocsp_url, "");
	cert_files_free(&files);
}

static void test_chain_without_the_key(void **state)
{
	struct cert_files files, joined;
	struct cert_facts facts;
	char text[16384], *chain;

	(void)state;
	X509_free(test_ca_issue(&ca, TEST_P256, false, NULL, &files, &facts));
	snprintf(text, sizeof(text), "# mine\n%s%s", files.key, files.cert);
	joined = (struct cert_files){ .cert = text, .cert_len = strlen(text) };
	chain = cert_files_chain(&joined);
	assert_string_equal(chain, files.cert);
	free(chain);
	cert_files_free(&files);
}

/* --- on the wire --- */

struct port {
	struct cert_files files;
	struct cert_facts facts;
	struct cert_names names;
	struct ocsp_response response;
	struct ticket_keys *tickets;
	struct engine_context *context;
};

static void port_open(struct port *port, enum test_key key, long until)
{
	const struct engine_certificate certificate = { &port->files, &port->facts, &port->names,
							&port->response, NULL };
	struct engine_policy policy = test_policy(443);
	uint8_t der[OCSP_RESPONSE_MAX];
	char err[256] = "";
	X509 *cert;
	size_t len;

	memset(port, 0, sizeof(*port));
	cert = test_ca_issue(&ca, key, false, NULL, &port->files, &port->facts);
	assert_int_equal(cert_files_names(&port->files, &port->names), 0);
	len = test_response_good(&ca, cert, der);
	if (engine_staples() &&
	    ocsp_check(port->files.cert, der, len, &port->response, err, sizeof(err)))
		fail_msg("%s", err);
	if (until)
		port->response.until = time(NULL) + until;
	X509_free(cert);
	port->tickets = ticket_keys_new();
	policy.tickets = port->tickets;
	port->context = engine_context_new(&policy, &certificate, 1, err, sizeof(err));
	if (!port->context)
		fail_msg("%s", err);
}

static void port_close(struct port *port)
{
	engine_context_free(port->context);
	ticket_keys_free(port->tickets);
	cert_names_free(&port->names);
	ocsp_response_free(&port->response);
	cert_files_free(&port->files);
}

/* Is status_request in ServerHello?  In TLS 1.2 it says that the response comes. */
static bool acknowledged(void)
{
	const uint8_t *end = flow.sent + 5 + get16(flow.sent + 3);
	const uint8_t *at = flow.sent + 5 + 4 + 2 + 32;

	at += 1 + at[0] + 2 + 1;
	for (at += 2; at + 4 <= end; at += 4 + get16(at + 2))
		if (get16(at) == 5)
			return true;
	return false;
}

/* One more handshake of this client; does it get the response? */
static void gets(const struct port *port, struct client *client, bool response, bool resumed)
{
	const uint8_t *der;
	long len;

	if (flow_run(&flow, port->context, client) != ENGINE_DONE)
		fail_msg("%s", engine_reason_text(flow.engine));
	assert_true(SSL_is_init_finished(client->ssl));
	assert_int_equal(flow.result.resumed, resumed);
	assert_int_equal(SSL_session_reused(client->ssl), resumed);
	assert_int_equal(acknowledged(), response && SSL_version(client->ssl) == TLS1_2_VERSION);
	len = SSL_get_tlsext_status_ocsp_resp(client->ssl, &der);
	if (response) {
		assert_int_equal(len, port->response.len);
		assert_memory_equal(der, port->response.der, len);
	} else {
		assert_int_equal(len, -1);
	}
	SSL_read(client->ssl, &(char){ 0 }, 1); /* tickets of TLS 1.3 */
	flow_end(&flow);
}

static void full_handshakes(enum test_key key)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct client *client;
	struct port port;

	port_open(&port, key, 0);
	for (int i = 0; i < 2; i++) {
		client = client_new(versions[i], versions[i]);
		gets(&port, client, false, false);
		client_again(client, NULL);
		SSL_set_tlsext_status_type(client->ssl, TLSEXT_STATUSTYPE_ocsp);
		gets(&port, client, engine_staples(), false);
		client_free(client);
	}
	port_close(&port);
}

static void test_ecdsa(void **state)
{
	(void)state;
	full_handshakes(TEST_P256);
}

static void test_rsa(void **state)
{
	(void)state;
	full_handshakes(TEST_RSA);
}

static void test_after_hello_retry(void **state)
{
	struct client *client = client_new(TLS1_3_VERSION, TLS1_3_VERSION);
	struct port port;

	(void)state;
	port_open(&port, TEST_P256, 0);
	/* one share is sent, of a group that the port has not */
	SSL_set1_groups_list(client->ssl, "P-521:X25519");
	SSL_set_tlsext_status_type(client->ssl, TLSEXT_STATUSTYPE_ocsp);
	gets(&port, client, engine_staples(), false);
	client_free(client);
	port_close(&port);
}

/* It would be refused by OpenSSL, had it an answer to status_request */
static void test_resumed(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct client *client;
	struct port port;

	(void)state;
	port_open(&port, TEST_P256, 0);
	for (int i = 0; i < 2; i++) {
		client = client_new(versions[i], versions[i]);
		SSL_set_tlsext_status_type(client->ssl, TLSEXT_STATUSTYPE_ocsp);
		gets(&port, client, engine_staples(), false);
		client_again(client, client->session);
		SSL_set_tlsext_status_type(client->ssl, TLSEXT_STATUSTYPE_ocsp);
		gets(&port, client, false, true);
		client_free(client);
	}
	port_close(&port);
}

/* The worker has it still, but its time is over. */
static void test_expired_meanwhile(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct client *client;
	struct port port;

	(void)state;
	port_open(&port, TEST_P256, -1);
	for (int i = 0; i < 2; i++) {
		client = client_new(versions[i], versions[i]);
		SSL_set_tlsext_status_type(client->ssl, TLSEXT_STATUSTYPE_ocsp);
		gets(&port, client, false, false);
		client_free(client);
	}
	port_close(&port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judgement),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_chain_without_the_key),
		cmocka_unit_test(test_ecdsa),
		cmocka_unit_test(test_rsa),
		cmocka_unit_test(test_after_hello_retry),
		cmocka_unit_test(test_resumed),
		cmocka_unit_test(test_expired_meanwhile),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
