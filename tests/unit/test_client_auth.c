// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates of clients: who gets in, and which alert the others get. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <wolfssl/version.h>

#include "engine_client.h"
#include "pki.h"

static struct party root, intermediate, stranger;

/* --- a handshake --- */

static struct flow flow;
static int alert_level, alert_seen; /* by the client, -1: none */

static void on_info(const SSL *ssl, int where, int value)
{
	(void)ssl;
	if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT) {
		alert_level = value >> 8;
		alert_seen = value & 0xff;
	}
}

static void present(struct client *client, const struct party *own, const struct party *behind)
{
	assert_int_equal(SSL_use_certificate(client->ssl, own->x509), 1);
	assert_int_equal(SSL_use_PrivateKey(client->ssl, own->key), 1);
	if (behind)
		assert_int_equal(SSL_add1_chain_cert(client->ssl, behind->x509), 1);
}

static enum engine_status shake(struct engine_context *context, int version, size_t chunk,
				const struct party *own, const struct party *behind)
{
	struct client *client = client_new(version, version);
	enum engine_status status;
	char byte;

	/* for keys that OpenSSL would not use of itself */
	SSL_set_security_level(client->ssl, 0);
	SSL_set_info_callback(client->ssl, on_info);
	if (own)
		present(client, own, behind);
	alert_seen = -1;
	memset(&flow, 0, sizeof(flow));
	flow.chunk = chunk;
	status = flow_run(&flow, context, client);
	SSL_read(client->ssl, &byte, 1);
	ERR_clear_error();
	client_free(client);
	return status;
}

static struct engine_context *port_for(const struct client_ca *ca, bool required, enum test_key key)
{
	struct engine_policy policy = test_policy(443);

	policy.clients = (struct engine_clients){ ca, required, 4 };
	return test_context(&policy, key);
}

static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

#define EACH(i, array) for (size_t i = 0; i < sizeof(array) / sizeof((array)[0]); i++)

static void expect_in(struct engine_context *context, int version, const struct party *own,
		      const struct party *behind, const char *what)
{
	unsigned char *der = NULL;
	int len;

	if (shake(context, version, 0, own, behind) != ENGINE_DONE)
		fail_msg("%s: refused (TLS %x): %s, alert %d", what, version,
			 engine_reason_text(flow.engine), alert_seen);
	assert_int_equal(alert_seen, -1);
	assert_int_equal(flow.result.client->count, own ? 1 + (behind != NULL) : 0);
	if (own) {
		len = i2d_X509(own->x509, &der);
		assert_int_equal(flow.result.client->own_len, len);
		assert_memory_equal(flow.result.client->der, der, len);
		OPENSSL_free(der);
	}
	flow_end(&flow);
}

static void expect_out(struct engine_context *context, int version, const struct party *own,
		       const struct party *behind, int alert, const char *what)
{
	if (shake(context, version, 0, own, behind) != ENGINE_FAILED)
		fail_msg("%s: not refused (TLS %x)", what, version);
	if (alert_seen != alert || alert_level != SSL3_AL_FATAL)
		fail_msg("%s: alert %d in place of %d (TLS %x): %s", what, alert_seen, alert,
			 version, engine_reason_text(flow.engine));
	/* what it is counted as */
	if (engine_reason(flow.engine) != TLSPORT_REASON_HANDSHAKE_REFUSED)
		fail_msg("%s: reason %d (TLS %x)", what, engine_reason(flow.engine), version);
	flow_end(&flow);
}

/* --- tests --- */

static void test_keys_of_clients(void **state)
{
	static const char *const algorithms[] = { "P-256", "P-384", "P-521", "RSA" };
	static const enum test_key servers[] = { TEST_P256, TEST_RSA };
	struct client_ca ca = { 0 };

	(void)state;
	pki_add_ca(&ca, &root);
	EACH(s, servers)
	{
		struct engine_context *context = port_for(&ca, true, servers[s]);

		EACH(a, algorithms)
		{
			const struct wish wish = { "client", algorithms[a], .usage = "clientAuth",
						   .to = 10 };
			struct party own = party_new(&wish, &root);

			EACH(v, versions)
			expect_in(context, versions[v], &own, NULL, algorithms[a]);
			party_free(&own);
		}
		engine_context_free(context);
	}
	client_ca_free(&ca);
}

/* An older wolfSSL keeps intermediates, and does not verify RSASSA-PSS. */
static bool is_newest(void)
{
	return strverscmp(engine_library(), "5.9.2") >= 0;
}

/*
 * For nothing but RSASSA-PSS: the older libraries cannot verify it, none looks at what
 * else the key is limited to.
 */
static void test_keys_of_rsa_pss(void **state)
{
	const struct wish wish = { "client", "RSA-PSS", .usage = "clientAuth", .to = 10 };
	const struct wish limited = { "client", "RSA-PSS-SHA256", .usage = "clientAuth", .to = 10 };
	struct party own = party_new(&wish, &root), other = party_new(&limited, &root);
	struct engine_context *context;
	struct client_ca ca = { 0 };

	(void)state;
	pki_add_ca(&ca, &root);
	context = port_for(&ca, true, TEST_P256);
	expect_out(context, TLS1_2_VERSION, &own, NULL, SSL_AD_UNSUPPORTED_CERTIFICATE, "RSA-PSS");
	if (is_newest())
		expect_in(context, TLS1_3_VERSION, &own, NULL, "RSA-PSS");
	EACH(v, versions)
	expect_out(context, versions[v], &other, NULL, SSL_AD_UNSUPPORTED_CERTIFICATE, "limited");
	engine_context_free(context);
	party_free(&own);
	party_free(&other);
	client_ca_free(&ca);
}

/* What the library could not verify, in TLS 1.2, it does not ask for: the client sends none. */
static void test_ed25519_is_not_asked_for(void **state)
{
	const struct wish wish = { "client", "ED25519", .usage = "clientAuth", .to = 10 };
	struct party own = party_new(&wish, &root);
	struct client_ca ca = { 0 };
	struct engine_context *context;

	(void)state;
	pki_add_ca(&ca, &root);
	context = port_for(&ca, true, TEST_P256);
	expect_out(context, TLS1_2_VERSION, &own, NULL, SSL_AD_HANDSHAKE_FAILURE, "Ed25519");
	engine_context_free(context);
	party_free(&own);
	client_ca_free(&ca);
}

static void test_without_certificate(void **state)
{
	struct engine_context *required, *requested;
	struct client_ca ca = { 0 };

	(void)state;
	pki_add_ca(&ca, &root);
	required = port_for(&ca, true, TEST_P256);
	requested = port_for(&ca, false, TEST_P256);
	expect_out(required, TLS1_2_VERSION, NULL, NULL, SSL_AD_HANDSHAKE_FAILURE, "none");
	expect_out(required, TLS1_3_VERSION, NULL, NULL, SSL_AD_CERTIFICATE_REQUIRED, "none");
	EACH(v, versions)
	expect_in(requested, versions[v], NULL, NULL, "none");
	engine_context_free(required);
	engine_context_free(requested);
	client_ca_free(&ca);
}

static void test_chain(void **state)
{
	const struct wish wish = { "client", "P-256", .usage = "clientAuth", .to = 10 };
	struct party own = party_new(&wish, &intermediate);
	struct engine_policy policy = test_policy(443);
	struct engine_context *context, *flat;
	struct client_ca ca = { 0 };

	(void)state;
	pki_add_ca(&ca, &root);
	context = port_for(&ca, true, TEST_P256);
	for (int again = 0; again < 2; again++) /* what one client sent is not there for another */
		EACH(v, versions)
		{
			if (is_newest())
				expect_out(context, versions[v], &own, NULL, SSL_AD_UNKNOWN_CA,
					   "no intermediate");
			expect_in(context, versions[v], &own, &intermediate, "intermediate");
			/* in small pieces, too */
			assert_int_equal(shake(context, versions[v], 7, &own, &intermediate),
					 ENGINE_DONE);
			flow_end(&flow);
		}
	policy.clients = (struct engine_clients){ &ca, true, 0 };
	flat = test_context(&policy, TEST_P256);
	EACH(v, versions)
	expect_out(flat, versions[v], &own, &intermediate, SSL_AD_UNKNOWN_CA, "depth");
	engine_context_free(flat);
	engine_context_free(context);
	party_free(&own);
	client_ca_free(&ca);
}

static void test_bad_certificates(void **state)
{
	static const struct {
		const char *what;
		struct wish wish;
		struct party *issuer; /* NULL: by itself */
		int alert;
	} cases[] = {
		{ "stranger",
		  { "x", "P-256", .usage = "clientAuth", .to = 10 },
		  &stranger,
		  SSL_AD_UNKNOWN_CA },
		{ "self-signed",
		  { "x", "P-256", .usage = "clientAuth", .to = 10 },
		  NULL,
		  SSL_AD_UNKNOWN_CA },
		{ "expired",
		  { "x", "P-256", .usage = "clientAuth", .from = -20, .to = -10 },
		  &root,
		  SSL_AD_CERTIFICATE_EXPIRED },
		{ "not yet",
		  { "x", "P-256", .usage = "clientAuth", .from = 10, .to = 20 },
		  &root,
		  SSL_AD_CERTIFICATE_EXPIRED },
		{ "of a server",
		  { "x", "P-256", .usage = "serverAuth", .to = 10 },
		  &root,
		  SSL_AD_UNSUPPORTED_CERTIFICATE },
		{ "short key",
		  { "x", "RSA1024", .usage = "clientAuth", .to = 10 },
		  &root,
		  SSL_AD_UNSUPPORTED_CERTIFICATE },
		{ "critical extension that is not known",
		  { "x", "P-256", .usage = "clientAuth", .to = 10, .strange = true },
		  &root,
		  SSL_AD_UNSUPPORTED_CERTIFICATE },
	};
	static const bool required[] = { true, false };
	struct client_ca ca = { 0 };

	(void)state;
	pki_add_ca(&ca, &root);
	EACH(r, required)
	{
		struct engine_context *context = port_for(&ca, required[r], TEST_P256);

		EACH(c, cases)
		{
			struct party own = party_new(&cases[c].wish, cases[c].issuer);

			EACH(v, versions)
			expect_out(context, versions[v], &own, NULL, cases[c].alert, cases[c].what);
			party_free(&own);
		}
		engine_context_free(context);
	}
	client_ca_free(&ca);
}

/* What an authority may vouch for, as it says itself. */
static void test_limits_of_authorities(void **state)
{
	const struct wish named = { "named", "P-256", .ca = true, .to = 100,
				    .allowed = "critical,permitted;DNS:example.org" };
	const struct wish lowest = { "lowest", "P-256", .ca = true, .to = 100,
				     .basic = "critical,CA:TRUE,pathlen:0" };
	const struct wish below = { "below", "P-256", .ca = true, .to = 50 };
	const struct wish mine = { "x", "P-256", .usage = "clientAuth", .to = 10,
				   .names = "DNS:x.example.org" };
	const struct wish theirs = { "x", "P-256", .usage = "clientAuth", .to = 10,
				     .names = "DNS:x.example.net" };
	struct party authorities[] = { party_new(&named, NULL), party_new(&lowest, NULL) };
	struct party deeper = party_new(&below, &authorities[1]);
	struct party owns[] = { party_new(&mine, &authorities[0]),
				party_new(&theirs, &authorities[0]),
				party_new(&mine, &authorities[1]), party_new(&mine, &deeper) };
	struct engine_context *context;
	struct client_ca ca = { 0 };

	(void)state;
	pki_add_ca(&ca, &authorities[0]);
	pki_add_ca(&ca, &authorities[1]);
	context = port_for(&ca, true, TEST_P256);
	EACH(v, versions)
	{
		expect_in(context, versions[v], &owns[0], NULL, "a name that is permitted");
		expect_out(context, versions[v], &owns[1], NULL, SSL_AD_BAD_CERTIFICATE,
			   "a name that is not");
		expect_in(context, versions[v], &owns[2], NULL, "as far as its path may go");
		if (LIBWOLFSSL_VERSION_HEX >= 0x05009002) /* 5.5.4 does not look */
			expect_out(context, versions[v], &owns[3], &deeper, SSL_AD_UNKNOWN_CA,
				   "further than that");
	}
	engine_context_free(context);
	client_ca_free(&ca);
	EACH(i, owns)
	party_free(&owns[i]);
	party_free(&deeper);
	EACH(i, authorities)
	party_free(&authorities[i]);
}

static void test_revocation(void **state)
{
	const struct wish wish = { "client", "P-256", .usage = "clientAuth", .to = 10 };
	struct party good = party_new(&wish, &root), bad = party_new(&wish, &root);
	struct party below = party_new(&wish, &intermediate);
	struct client_ca ca = { 0 }, all = { 0 }, ended = { 0 }, middle = { 0 };
	struct engine_context *context;

	(void)state;
	pki_add_ca(&ca, &root);
	pki_add_crl(&ca, &root, &bad, 10);
	context = port_for(&ca, true, TEST_P256);
	EACH(v, versions)
	{
		expect_in(context, versions[v], &good, NULL, "not revoked");
		expect_out(context, versions[v], &bad, NULL, SSL_AD_CERTIFICATE_REVOKED, "revoked");
		/* nobody says whether it is */
		expect_out(context, versions[v], &below, &intermediate, SSL_AD_CERTIFICATE_UNKNOWN,
			   "no list of the intermediate");
	}
	engine_context_free(context);

	pki_add_ca(&all, &root);
	pki_add_ca(&all, &intermediate);
	pki_add_crl(&all, &root, &bad, 10);
	pki_add_crl(&all, &intermediate, NULL, 10);
	context = port_for(&all, true, TEST_P256);
	EACH(v, versions)
	expect_in(context, versions[v], &below, &intermediate, "both lists");
	engine_context_free(context);

	pki_add_ca(&middle, &root);
	pki_add_ca(&middle, &intermediate);
	pki_add_crl(&middle, &root, &intermediate, 10);
	pki_add_crl(&middle, &intermediate, NULL, 10);
	context = port_for(&middle, true, TEST_P256);
	EACH(v, versions)
	expect_out(context, versions[v], &below, &intermediate, SSL_AD_CERTIFICATE_REVOKED,
		   "the intermediate is revoked");
	engine_context_free(context);

	pki_add_ca(&ended, &root);
	pki_add_crl(&ended, &root, &bad, -1);
	context = port_for(&ended, false, TEST_P256);
	EACH(v, versions)
	{
		expect_out(context, versions[v], &good, NULL, SSL_AD_CERTIFICATE_UNKNOWN,
			   "the list has ended");
		expect_in(context, versions[v], NULL, NULL, "none, and the list has ended");
	}
	engine_context_free(context);
	client_ca_free(&ca);
	client_ca_free(&all);
	client_ca_free(&ended);
	client_ca_free(&middle);
	party_free(&good);
	party_free(&bad);
	party_free(&below);
}

/* Debian's library would ask the address that stands in a client's certificate. */
static void test_nobody_is_asked_for_a_list(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(address);
	struct engine_context *context;
	struct client_ca ca = { 0 };
	struct party own;
	char where[64];

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	snprintf(where, sizeof(where), "URI:http://127.0.0.1:%u/list.crl", ntohs(address.sin_port));
	own = party_new(&(struct wish){ "client", "P-256", .usage = "clientAuth", .to = 10,
					.crl = where },
			&root);
	pki_add_ca(&ca, &root);
	pki_add_crl(&ca, &root, NULL, -1);
	context = port_for(&ca, true, TEST_P256);
	EACH(v, versions)
	expect_out(context, versions[v], &own, NULL, SSL_AD_CERTIFICATE_UNKNOWN,
		   "the list has ended");
	assert_int_equal(accept(listener, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN);
	close(listener);
	engine_context_free(context);
	party_free(&own);
	client_ca_free(&ca);
}

static void test_no_tickets(void **state)
{
	const struct wish wish = { "client", "P-256", .usage = "clientAuth", .to = 10 };
	struct ticket_keys *tickets = ticket_keys_new();
	struct party own = party_new(&wish, &root);
	struct engine_policy policy = test_policy(443);
	struct engine_context *open, *shut;
	struct client_ca ca = { 0 };

	(void)state;
	pki_add_ca(&ca, &root);
	policy.tickets = tickets;
	open = test_context(&policy, TEST_P256);
	policy.clients = (struct engine_clients){ &ca, true, 4 };
	shut = test_context(&policy, TEST_P256);
	EACH(v, versions)
	{
		struct client *client = client_new(versions[v], versions[v]);
		SSL_SESSION *session;
		char byte;

		/* a session of a port that asks for nothing is worth nothing here */
		assert_int_equal(flow_run(&flow, open, client), ENGINE_DONE);
		SSL_read(client->ssl, &byte, 1);
		assert_int_equal(client->sessions, 1);
		flow_end(&flow);
		session = client->session;
		SSL_SESSION_up_ref(session);
		client_again(client, session);
		assert_int_equal(flow_run(&flow, shut, client), ENGINE_FAILED);
		flow_end(&flow);
		/* and with a certificate there is none to be had */
		client_again(client, session);
		present(client, &own, NULL);
		assert_int_equal(flow_run(&flow, shut, client), ENGINE_DONE);
		SSL_read(client->ssl, &byte, 1);
		assert_false(flow.result.resumed);
		assert_int_equal(client->sessions, 1);
		flow_end(&flow);
		SSL_SESSION_free(session);
		client_free(client);
	}
	engine_context_free(open);
	engine_context_free(shut);
	ticket_keys_free(tickets);
	party_free(&own);
	client_ca_free(&ca);
}

/* --- flights that OpenSSL would not send --- */

/**
 * struct flight - the client's second flight, opened
 * @at: of each message in @bytes; one more for the end
 */
struct flight {
	struct client *client;
	struct engine *engine;
	union engine_crypto_info info; /* TLS 1.3 */
	uint8_t bytes[16384];
	size_t at[8];
	size_t count;
	uint8_t rest[1024]; /* TLS 1.2: what is behind them, protected */
	size_t rest_len;
};

static void take_messages(struct flight *flight, size_t len)
{
	size_t at = 0;

	while (at < len) {
		flight->at[flight->count++] = at;
		at += 4 + get24(flight->bytes + at + 1);
	}
	assert_int_equal(at, len);
	flight->at[flight->count] = at;
}

static enum engine_status push(struct flight *flight, const uint8_t *data, size_t len)
{
	const uint8_t *out;
	size_t consumed, out_len;
	enum engine_status status;

	status = engine_feed(flight->engine, data, len, false, &consumed, &out, &out_len);
	if (out_len)
		BIO_write(flight->client->in, out, out_len);
	return status;
}

static void open_flight(struct flight *flight, const uint8_t *data, size_t len)
{
	size_t have = 0;
	uint8_t type;

	for (; len; len -= 5 + get16(data + 3), data += 5 + get16(data + 3)) {
		size_t record = 5 + get16(data + 3);
		int n;

		if (data[0] == TLS_APPLICATION_DATA) {
			n = test_open_record(&flight->info, data, record, flight->bytes + have,
					     &type);
			assert_true(n > 0);
			flight->info.gcm256.rec_seq[7]++;
			have += n;
		} else if (data[0] == TLS_HANDSHAKE) {
			memcpy(flight->bytes + have, data + 5, record - 5);
			have += record - 5;
		} else if (flight->info.info.version != TLS_1_3_VERSION) {
			memcpy(flight->rest, data, len);
			flight->rest_len = len;
			break;
		}
	}
	flight->info.gcm256.rec_seq[7] = 0;
	take_messages(flight, have);
}

static void begin(struct flight *flight, const struct engine_context *context, int version,
		  const struct party *own)
{
	uint8_t buffer[16384];
	int n;

	memset(flight, 0, sizeof(*flight));
	flight->client = client_new(version, version);
	flight->engine = engine_new(context);
	if (own)
		present(flight->client, own, NULL);
	SSL_set_info_callback(flight->client->ssl, on_info);
	alert_seen = -1;
	SSL_do_handshake(flight->client->ssl);
	n = BIO_read(flight->client->out, buffer, sizeof(buffer));
	assert_int_equal(push(flight, buffer, n), ENGINE_MORE);
	SSL_do_handshake(flight->client->ssl);
	n = BIO_read(flight->client->out, buffer, sizeof(buffer));
	flight->info = flight->client->handshake_keys;
	open_flight(flight, buffer, n);
}

/* One record of these bytes. */
static enum engine_status send_record(struct flight *flight, const uint8_t *bytes, size_t len)
{
	static uint8_t record[20000];
	size_t n;

	if (flight->info.info.version == TLS_1_3_VERSION) {
		n = test_seal_record(&flight->info, TLS_HANDSHAKE, bytes, len, record);
		flight->info.gcm256.rec_seq[7]++;
	} else {
		record[0] = TLS_HANDSHAKE;
		put16(record + 1, TLS_1_2);
		put16(record + 3, len);
		memcpy(record + 5, bytes, len);
		n = 5 + len;
	}
	return push(flight, record, n);
}

static enum engine_status send_message(struct flight *flight, size_t i)
{
	return send_record(flight, flight->bytes + flight->at[i],
			   flight->at[i + 1] - flight->at[i]);
}

static void finish(struct flight *flight, const char *what, enum engine_status status, int alert)
{
	char byte;

	if (alert >= 0) {
		assert_int_equal(status, ENGINE_FAILED);
		SSL_read(flight->client->ssl, &byte, 1);
		if (alert_seen != alert)
			fail_msg("%s: alert %d in place of %d: %s", what, alert_seen, alert,
				 engine_reason_text(flight->engine));
	} else if (status != ENGINE_DONE) {
		fail_msg("%s: %s", what, engine_reason_text(flight->engine));
	}
	engine_free(flight->engine);
	client_free(flight->client);
	ERR_clear_error();
}

/* The client's Certificate with so many bytes behind the DER of an entry, the second one a copy. */
static size_t stuffed(const struct flight *flight, bool tls13, bool second, size_t more,
		      uint8_t *message)
{
	const size_t list = 4 + tls13, entry = get24(flight->bytes + list + 3);
	const uint8_t *first = flight->bytes + list + 3;
	uint8_t *at = message + list + 3;

	memset(message, 0, list);
	message[0] = TLS_CERTIFICATE;
	for (int i = 0; i <= second; i++) {
		size_t extra = i == second ? more : 0;

		put24(at, entry + extra);
		memcpy(at + 3, first + 3, entry);
		memset(at + 3 + entry, 0, extra + 2); /* and no extensions */
		at += 3 + entry + extra + 2 * tls13;
	}
	put24(message + list, at - message - list - 3);
	put24(message + 1, at - message - 4);
	return at - message;
}

/* RFC 8446 4.4.2: an entry is one certificate. */
static void test_bytes_behind_a_certificate(void **state)
{
	const struct wish wish = { "client", "P-256", .usage = "clientAuth", .to = 10 };
	struct party own = party_new(&wish, &root);
	struct engine_context *context;
	static struct flight flight;
	struct client_ca ca = { 0 };
	uint8_t message[4096];

	(void)state;
	pki_add_ca(&ca, &root);
	context = port_for(&ca, true, TEST_P256);
	EACH(v, versions)
	{
		for (int second = 0; second < 2; second++) {
			for (size_t more = 0; more < 3; more++) {
				size_t len;

				begin(&flight, context, versions[v], &own);
				len = stuffed(&flight, versions[v] == TLS1_3_VERSION, second, more,
					      message);
				if (more) {
					finish(&flight, "bytes behind a certificate",
					       send_record(&flight, message, len),
					       SSL_AD_DECODE_ERROR);
					continue;
				}
				assert_int_equal(send_record(&flight, message, len), ENGINE_MORE);
				engine_free(flight.engine);
				client_free(flight.client);
			}
		}
	}
	engine_context_free(context);
	party_free(&own);
	client_ca_free(&ca);
}

/* The client's Certificate of TLS 1.3, one entry, with these extensions, length and all. */
static size_t with_extensions(const struct flight *flight, const char *bytes, size_t len,
			      uint8_t *message)
{
	const size_t before = flight->at[1] - 2; /* it ends in their length, 0 */

	memcpy(message, flight->bytes, before);
	memcpy(message + before, bytes, len);
	put24(message + 1, before + len - 4);
	put24(message + 5, before + len - 8);
	return before + len;
}

static const struct {
	const char *bytes;
	size_t len;
	int alert;
} extensions[] = {
	{ "\0\1\5", 3, SSL_AD_DECODE_ERROR },
	{ "\0\3\0\5\0", 5, SSL_AD_DECODE_ERROR },
	{ "\0\4\0\5\0\1", 6, SSL_AD_DECODE_ERROR },
	{ "\0\5\0\5\0\0\0", 7, SSL_AD_DECODE_ERROR },
	{ "\0\4\0\5\0\0", 6, SSL_AD_UNSUPPORTED_EXTENSION },
	{ "\0\5\0\5\0\1\0", 7, SSL_AD_UNSUPPORTED_EXTENSION },
};

/* Certificate, CertificateVerify, Finished */
static void test_order_of_tls13(void **state)
{
	/* P-384, P-521, RSA */
	static const uint16_t not_its_key[] = { 0x0503, 0x0603, 0x0804 };
	const struct wish wish = { "client", "P-256", .usage = "clientAuth", .to = 10 };
	static const uint8_t empty[] = { TLS_CERTIFICATE, 0, 0, 4, 0, 0, 0, 0 };
	/* a SEQUENCE without content, no extensions */
	static const uint8_t nothing[] = {
		TLS_CERTIFICATE, 0, 0, 11, 0, 0, 0, 7, 0, 0, 2, 0x30, 0, 0, 0
	};
	struct party own = party_new(&wish, &root);
	struct engine_context *context;
	static struct flight flight;
	struct client_ca ca = { 0 };
	enum engine_status status;
	uint8_t message[4096];

	(void)state;
	pki_add_ca(&ca, &root);
	context = port_for(&ca, true, TEST_P256);

	begin(&flight, context, TLS1_3_VERSION, &own);
	assert_int_equal(flight.count, 3);
	status = send_record(&flight, flight.bytes, flight.at[3]);
	finish(&flight, "all in one record", status, -1);

	begin(&flight, context, TLS1_3_VERSION, &own);
	for (size_t i = 0; i < flight.at[3]; i += 100)
		status = send_record(&flight, flight.bytes + i,
				     flight.at[3] - i < 100 ? flight.at[3] - i : 100);
	finish(&flight, "pieces that hold no whole message", status, -1);

	begin(&flight, context, TLS1_3_VERSION, &own);
	assert_int_equal(send_message(&flight, 0), ENGINE_MORE);
	finish(&flight, "no CertificateVerify", send_message(&flight, 2),
	       SSL_AD_UNEXPECTED_MESSAGE);

	begin(&flight, context, TLS1_3_VERSION, &own);
	finish(&flight, "no Certificate", send_message(&flight, 2), SSL_AD_UNEXPECTED_MESSAGE);

	begin(&flight, context, TLS1_3_VERSION, &own);
	finish(&flight, "CertificateVerify first", send_message(&flight, 1),
	       SSL_AD_UNEXPECTED_MESSAGE);

	begin(&flight, context, TLS1_3_VERSION, &own);
	assert_int_equal(send_message(&flight, 0), ENGINE_MORE);
	finish(&flight, "two Certificates", send_message(&flight, 0), SSL_AD_UNEXPECTED_MESSAGE);

	begin(&flight, context, TLS1_3_VERSION, &own);
	finish(&flight, "an empty one where it is required",
	       send_record(&flight, empty, sizeof(empty)), SSL_AD_CERTIFICATE_REQUIRED);

	begin(&flight, context, TLS1_3_VERSION, &own);
	flight.bytes[4] = 1; /* length of the context */
	finish(&flight, "a context", send_message(&flight, 0), SSL_AD_ILLEGAL_PARAMETER);

	begin(&flight, context, TLS1_3_VERSION, &own);
	finish(&flight, "a certificate that is nothing",
	       send_record(&flight, nothing, sizeof(nothing)), SSL_AD_BAD_CERTIFICATE);

	begin(&flight, context, TLS1_3_VERSION, &own);
	flight.bytes[flight.at[1] - 1] = 1; /* length of the extensions */
	finish(&flight, "extensions that are not there", send_message(&flight, 0),
	       SSL_AD_DECODE_ERROR);

	for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
		begin(&flight, context, TLS1_3_VERSION, &own);
		finish(&flight, "extensions of a certificate",
		       send_record(&flight, message,
				   with_extensions(&flight, extensions[i].bytes, extensions[i].len,
						   message)),
		       extensions[i].alert);
	}

	begin(&flight, context, TLS1_3_VERSION, &own);
	flight.bytes[7]++; /* length of the list */
	finish(&flight, "a wrong length", send_message(&flight, 0), SSL_AD_DECODE_ERROR);

	begin(&flight, context, TLS1_3_VERSION, &own);
	flight.bytes[flight.at[2] - 1] ^= 1;
	assert_int_equal(send_message(&flight, 0), ENGINE_MORE);
	finish(&flight, "a wrong signature", send_message(&flight, 1), SSL_AD_DECRYPT_ERROR);

	for (size_t i = 0; i < 3; i++) {
		begin(&flight, context, TLS1_3_VERSION, &own);
		put16(flight.bytes + flight.at[1] + 4, not_its_key[i]);
		assert_int_equal(send_message(&flight, 0), ENGINE_MORE);
		finish(&flight, "a scheme of another key", send_message(&flight, 1),
		       SSL_AD_ILLEGAL_PARAMETER);
	}

	begin(&flight, context, TLS1_3_VERSION, &own);
	send_message(&flight, 0);
	send_message(&flight, 1);
	flight.bytes[flight.at[3] - 1] ^= 1;
	finish(&flight, "a wrong Finished", send_message(&flight, 2), SSL_AD_DECRYPT_ERROR);

	begin(&flight, context, TLS1_3_VERSION, &own);
	flight.bytes[flight.at[0] + 1] = 1; /* 64 KiB and more */
	finish(&flight, "a huge Certificate", send_message(&flight, 0), SSL_AD_DECODE_ERROR);

	engine_context_free(context);
	party_free(&own);
	client_ca_free(&ca);
}

/* Certificate, ClientKeyExchange, CertificateVerify; then what is protected */
static void test_order_of_tls12(void **state)
{
	const struct wish wish = { "client", "P-256", .usage = "clientAuth", .to = 10 };
	static const uint8_t empty[] = { TLS_CERTIFICATE, 0, 0, 3, 0, 0, 0 };
	struct party own = party_new(&wish, &root);
	struct engine_context *context;
	static struct flight flight;
	struct client_ca ca = { 0 };

	(void)state;
	pki_add_ca(&ca, &root);
	context = port_for(&ca, true, TEST_P256);

	begin(&flight, context, TLS1_2_VERSION, &own);
	assert_int_equal(flight.count, 3);
	assert_int_equal(send_record(&flight, flight.bytes, flight.at[3]), ENGINE_MORE);
	finish(&flight, "all in one record", push(&flight, flight.rest, flight.rest_len), -1);

	begin(&flight, context, TLS1_2_VERSION, &own);
	for (size_t i = 0; i < flight.at[3]; i += 100)
		assert_int_equal(send_record(&flight, flight.bytes + i,
					     flight.at[3] - i < 100 ? flight.at[3] - i : 100),
				 ENGINE_MORE);
	finish(&flight, "pieces", push(&flight, flight.rest, flight.rest_len), -1);

	begin(&flight, context, TLS1_2_VERSION, &own);
	send_message(&flight, 0);
	send_message(&flight, 1);
	finish(&flight, "no CertificateVerify", push(&flight, flight.rest, flight.rest_len),
	       SSL_AD_UNEXPECTED_MESSAGE);

	begin(&flight, context, TLS1_2_VERSION, &own);
	finish(&flight, "no Certificate", send_message(&flight, 1), SSL_AD_UNEXPECTED_MESSAGE);

	begin(&flight, context, TLS1_2_VERSION, &own);
	finish(&flight, "an empty one where it is required",
	       send_record(&flight, empty, sizeof(empty)), SSL_AD_HANDSHAKE_FAILURE);

	begin(&flight, context, TLS1_2_VERSION, &own);
	send_message(&flight, 0);
	send_message(&flight, 1);
	flight.bytes[flight.at[3] - 1] ^= 1;
	finish(&flight, "a wrong signature", send_message(&flight, 2), SSL_AD_DECRYPT_ERROR);

	begin(&flight, context, TLS1_2_VERSION, &own);
	send_message(&flight, 0);
	send_message(&flight, 1);
	put16(flight.bytes + flight.at[2] + 4, 0x0401);
	finish(&flight, "a scheme of RSA", send_message(&flight, 2), SSL_AD_ILLEGAL_PARAMETER);

	begin(&flight, context, TLS1_2_VERSION, &own);
	send_message(&flight, 0);
	finish(&flight, "two Certificates", send_message(&flight, 0), SSL_AD_UNEXPECTED_MESSAGE);

	engine_context_free(context);
	party_free(&own);
	client_ca_free(&ca);
}

/*
 * Each byte of the body of message @i changed: the alert says what is wrong with it, which
 * is not the server.  What no signature is about may be as it likes.
 */
static void corrupt(struct engine_context *context, int version, const struct party *own, size_t i)
{
	static const uint8_t changes[] = { 1, 0x80, 0xff };
	const bool signature = i > 0;
	static struct flight flight;
	size_t accepted = 0, at = TLS_HANDSHAKE_HEADER, len;
	enum engine_status status;
	char byte;

	for (;; at++) {
		begin(&flight, context, version, own);
		len = flight.at[i + 1] - flight.at[i];
		if (at < len)
			flight.bytes[flight.at[i] + at] ^= changes[at % sizeof(changes)];
		status = ENGINE_MORE;
		for (size_t m = 0; m <= i && at < len && status == ENGINE_MORE; m++)
			status = send_message(&flight, m);
		SSL_read(flight.client->ssl, &byte, 1);
		accepted += status != ENGINE_FAILED;
		if (status == ENGINE_FAILED &&
		    (alert_seen == SSL_AD_INTERNAL_ERROR ||
		     (signature && at >= 8 && alert_seen != SSL_AD_DECRYPT_ERROR)))
			fail_msg("TLS %x, message %zu, byte %zu: alert %d: %s", version, i, at,
				 alert_seen, engine_reason_text(flight.engine));
		engine_free(flight.engine);
		client_free(flight.client);
		ERR_clear_error();
		if (at >= len)
			break;
	}
	assert_in_range(accepted, 1, signature ? 1 : 3);
}

static void test_corrupt_certificates(void **state)
{
	static const char *const algorithms[] = { "P-256", "RSA" };
	struct engine_context *context;
	struct client_ca ca = { 0 };

	(void)state;
	pki_add_ca(&ca, &root);
	context = port_for(&ca, true, TEST_P256);
	EACH(a, algorithms)
	{
		const struct wish wish = { "client", algorithms[a], .usage = "clientAuth",
					   .to = 10 };
		struct party own = party_new(&wish, &root);

		corrupt(context, TLS1_3_VERSION, &own, 0);
		corrupt(context, TLS1_3_VERSION, &own, 1);
		corrupt(context, TLS1_2_VERSION, &own, 0);
		corrupt(context, TLS1_2_VERSION, &own, 2);
		party_free(&own);
	}
	engine_context_free(context);
	client_ca_free(&ca);
}

/* A CertificateVerify with this scheme and signature in place of the true one. */
static void verify_by(struct engine_context *context, int version, const struct party *own,
		      const char *what, uint16_t scheme, const uint8_t *signature, size_t len)
{
	const size_t last = version == TLS1_3_VERSION ? 1 : 2;
	uint8_t message[1024] = { TLS_CERTIFICATE_VERIFY };
	static struct flight flight;

	put24(message + 1, 4 + len);
	put16(message + 4, scheme);
	put16(message + 6, len);
	memcpy(message + 8, signature, len);
	begin(&flight, context, version, own);
	for (size_t i = 0; i < last; i++)
		assert_int_equal(send_message(&flight, i), ENGINE_MORE);
	finish(&flight, what, send_record(&flight, message, 8 + len), SSL_AD_DECRYPT_ERROR);
}

/* Good signatures of the client's key, of something else: RFC 5246 7.2.2. */
static void test_signatures_of_other_digests(void **state)
{
	static const char *const digests[] = { "SHA1", "SHA384", "MD5-SHA1", "SHA256" };
	const struct wish wish = { "client", "RSA", .usage = "clientAuth", .to = 10 };
	struct party own = party_new(&wish, &root);
	struct engine_context *context;
	struct client_ca ca = { 0 };
	uint8_t signature[512];

	(void)state;
	pki_add_ca(&ca, &root);
	context = port_for(&ca, true, TEST_P256);
	EACH(d, digests)
	{
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		size_t len = sizeof(signature);

		assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_get_digestbyname(digests[d]),
						    NULL, own.key),
				 1);
		assert_int_equal(EVP_DigestSign(ctx, signature, &len, (const uint8_t *)"other", 5),
				 1);
		EVP_MD_CTX_free(ctx);
		verify_by(context, TLS1_2_VERSION, &own, digests[d], 0x0401, signature, len);
	}
	EACH(v, versions)
	verify_by(context, versions[v], &own, "no signature", 0x0804, signature, 0);
	engine_context_free(context);
	party_free(&own);
	client_ca_free(&ca);
}

/* Nobody asked for one. */
static void test_certificate_out_of_turn(void **state)
{
	static const uint8_t tls13[] = { TLS_CERTIFICATE, 0, 0, 4, 0, 0, 0, 0 };
	static const uint8_t tls12[] = { TLS_CERTIFICATE, 0, 0, 3, 0, 0, 0 };
	const struct engine_policy policy = test_policy(443);
	struct engine_context *context = test_context(&policy, TEST_P256);
	static struct flight flight;

	(void)state;
	begin(&flight, context, TLS1_3_VERSION, NULL);
	finish(&flight, "TLS 1.3", send_record(&flight, tls13, sizeof(tls13)),
	       SSL_AD_UNEXPECTED_MESSAGE);
	begin(&flight, context, TLS1_2_VERSION, NULL);
	finish(&flight, "TLS 1.2", send_record(&flight, tls12, sizeof(tls12)),
	       SSL_AD_UNEXPECTED_MESSAGE);
	engine_context_free(context);
}

static int set_up(void **state)
{
	const struct wish ca = { "root", "P-256", .ca = true, .to = 100 };
	const struct wish below = { "intermediate", "P-256", .ca = true, .to = 50 };
	const struct wish other = { "stranger", "P-256", .ca = true, .to = 100 };

	(void)state;
	root = party_new(&ca, NULL);
	intermediate = party_new(&below, &root);
	stranger = party_new(&other, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	party_free(&root);
	party_free(&intermediate);
	party_free(&stranger);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_of_clients),
		cmocka_unit_test(test_keys_of_rsa_pss),
		cmocka_unit_test(test_ed25519_is_not_asked_for),
		cmocka_unit_test(test_without_certificate),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_bad_certificates),
		cmocka_unit_test(test_limits_of_authorities),
		cmocka_unit_test(test_revocation),
		cmocka_unit_test(test_nobody_is_asked_for_a_list),
		cmocka_unit_test(test_no_tickets),
		cmocka_unit_test(test_order_of_tls13),
		cmocka_unit_test(test_order_of_tls12),
		cmocka_unit_test(test_certificate_out_of_turn),
		cmocka_unit_test(test_bytes_behind_a_certificate),
		cmocka_unit_test(test_corrupt_certificates),
		cmocka_unit_test(test_signatures_of_other_digests),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
