// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine against OpenSSL: handshakes, the keys that it hands over, resumption. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine_client.h"

#define DATA_UP	  "GET / HTTP/1.1\r\n\r\n"
#define DATA_DOWN "HTTP/1.1 200 OK\r\n\r\n"

/* Data both ways under the keys of the result. */
static void check_keys(struct flow *flow, struct client *client)
{
	uint8_t record[512], content[512], type;
	char text[64] = "";
	int len;

	if (!flow->pending_len) {
		assert_int_equal(SSL_write(client->ssl, DATA_UP, strlen(DATA_UP)),
				 (int)strlen(DATA_UP));
		flow->pending_len = BIO_read(client->out, flow->pending, sizeof(flow->pending));
	}
	len = test_open_record(&flow->result.rx, flow->pending, flow->pending_len, content, &type);
	assert_int_equal(len, strlen(DATA_UP));
	assert_int_equal(type, TLS_APPLICATION_DATA);
	assert_memory_equal(content, DATA_UP, len);
	len = test_seal_record(&flow->result.tx, TLS_APPLICATION_DATA, DATA_DOWN, strlen(DATA_DOWN),
			       record);
	BIO_write(client->in, record, len);
	assert_int_equal(SSL_read(client->ssl, text, sizeof(text)), strlen(DATA_DOWN));
	assert_string_equal(text, DATA_DOWN);
}

static struct flow flow;

static void handshake(const struct tls_suite *suite, size_t chunk, bool data_behind)
{
	struct engine_policy policy = test_policy(443);
	struct engine_context *context;
	struct client *client;

	policy.suites[0] = suite->id;
	policy.suite_count = 1;
	context = test_context(&policy, suite->auth == AUTH_RSA ? TEST_RSA : TEST_P256);
	client = client_new(suite->version, suite->version);
	flow.chunk = chunk;
	flow.data = data_behind ? DATA_UP : NULL;
	if (flow_run(&flow, context, client) != ENGINE_DONE)
		fail_msg("%s: %s", suite->name, engine_reason_text(flow.engine));
	assert_int_equal(flow.result.suite, suite->id);
	assert_int_equal(flow.result.version, suite->version);
	assert_false(flow.result.resumed);
	assert_string_equal(flow.result.server_name, "test.example");
	assert_int_equal(SSL_is_init_finished(client->ssl), 1);
	assert_int_equal(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(client->ssl)),
			 suite->id);
	check_keys(&flow, client);
	flow_end(&flow);
	client_free(client);
	engine_context_free(context);
}

static void test_every_suite(void **state)
{
	(void)state;
	for (int i = 0; i < TLS_SUITES; i++)
		handshake(&tls_suites[i], 0, false);
}

static void test_byte_by_byte(void **state)
{
	(void)state;
	for (int i = 0; i < TLS_SUITES; i++)
		handshake(&tls_suites[i], 1, false);
}

static void test_data_behind_finished_is_left(void **state)
{
	(void)state;
	for (int i = 0; i < TLS_SUITES; i++)
		if (tls_suites[i].version == TLS_1_3)
			handshake(&tls_suites[i], 0, true);
}

/* --- HelloRetryRequest --- */

static void test_hello_retry(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct engine_context *context;
	struct client *client;

	(void)state;
	policy.groups[0] = GROUP_SECP384R1;
	policy.group_count = 1;
	context = test_context(&policy, TEST_P256);
	for (size_t chunk = 0; chunk < 2; chunk++) {
		client = client_new(TLS1_3_VERSION, TLS1_3_VERSION);
		flow.chunk = chunk;
		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		check_keys(&flow, client);
		flow_end(&flow);
		client_free(client);
	}
	engine_context_free(context);
}

/* --- ALPN --- */

static void offer(const struct client *client, const char *protocols)
{
	SSL_set_alpn_protos(client->ssl, (const unsigned char *)protocols, strlen(protocols));
}

static void check_selected(const struct client *client, const char *wanted)
{
	const unsigned char *got;
	unsigned int len;

	SSL_get0_alpn_selected(client->ssl, &got, &len);
	assert_int_equal(len, strlen(wanted));
	assert_memory_equal(got, wanted, len);
}

/* The port's order counts, with and without a retry, also when resumed. */
static void test_alpn(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct engine_context *context;
	struct client *client;

	(void)state;
	memcpy(policy.alpn.list, "\2h2\10http/1.1", 12);
	policy.alpn.len = 12;
	policy.tickets = ticket_keys_new();
	for (int retry = 0; retry < 2; retry++) {
		if (retry) {
			policy.groups[0] = GROUP_SECP384R1;
			policy.group_count = 1;
		}
		context = test_context(&policy, TEST_P256);
		for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
			client = client_new(version, version);
			offer(client, "\4imap\10http/1.1\2h2");
			assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
			check_selected(client, "h2");
			check_keys(&flow, client);
			flow_end(&flow);
			client_again(client, client->session);
			offer(client, "\10http/1.1");
			assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
			check_selected(client, "http/1.1");
			check_keys(&flow, client);
			flow_end(&flow);
			client_again(client, NULL); /* that offers nothing */
			assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
			check_selected(client, "");
			flow_end(&flow);
			client_again(client, NULL);
			offer(client, "\4imap\3h2c");
			assert_int_equal(flow_run(&flow, context, client), ENGINE_FAILED);
			assert_memory_equal(flow.sent, "\x15\3\3\0\2\2\x78", 7);
			flow_end(&flow);
			client_free(client);
		}
		engine_context_free(context);
	}
	policy.alpn.len = 0;
	context = test_context(&policy, TEST_P256);
	client = client_new(TLS1_3_VERSION, TLS1_3_VERSION);
	offer(client, "\2h2");
	assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
	check_selected(client, "");
	flow_end(&flow);
	client_free(client);
	engine_context_free(context);
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

/* One change_cipher_spec behind our first message and none later, RFC 8446 D.4. */
static void test_middlebox_compatibility(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct engine_context *context;
	struct client *client;

	(void)state;
	for (int retry = 0; retry < 2; retry++) {
		size_t at = 0, ccs = 0, position = 0, n = 0;

		if (retry) {
			policy.groups[0] = GROUP_SECP384R1;
			policy.group_count = 1;
		}
		context = test_context(&policy, TEST_P256);
		client = client_new(TLS1_3_VERSION, TLS1_3_VERSION);
		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		for (; at < flow.sent_len; at += 5 + get16(flow.sent + at + 3), n++) {
			if (flow.sent[at] == TLS_CHANGE_CIPHER_SPEC) {
				ccs++;
				position = n;
			}
		}
		assert_int_equal(ccs, 1);
		assert_int_equal(position, 1);
		flow_end(&flow);
		/* without it nobody needs it */
		client_again(client, NULL);
		SSL_clear_options(client->ssl, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		for (at = 0; at < flow.sent_len; at += 5 + get16(flow.sent + at + 3))
			assert_int_not_equal(flow.sent[at], TLS_CHANGE_CIPHER_SPEC);
		flow_end(&flow);
		client_free(client);
		engine_context_free(context);
	}
}

static void test_every_key_type(void **state)
{
	const enum test_key keys[] = { TEST_P256, TEST_P384, TEST_RSA };
	struct engine_policy policy = test_policy(443);

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct engine_context *context = test_context(&policy, keys[i]);

		for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
			struct client *client = client_new(version, version);

			assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
			check_keys(&flow, client);
			flow_end(&flow);
			client_free(client);
		}
		engine_context_free(context);
	}
}

/* A port that stops at TLS 1.2 must not claim in ServerHello that it could do 1.3. */
static void test_port_with_tls12_only(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct engine_context *context;
	struct client *client = client_new(TLS1_2_VERSION, TLS1_3_VERSION);

	(void)state;
	policy.max_version = TLS_1_2;
	context = test_context(&policy, TEST_P256);
	assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
	assert_int_equal(flow.result.version, TLS_1_2);
	check_keys(&flow, client);
	flow_end(&flow);
	client_free(client);
	engine_context_free(context);
}

/* In ServerHello, which comes first. */
#define MARK_AT (TLS_RECORD_HEADER + TLS_HANDSHAKE_HEADER + 2 + TLS_RANDOM_LEN - 8)

/* ... and one that could has to say so, RFC 8446 4.1.3. */
static void test_downgrade_is_marked(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct engine_context *context = test_context(&policy, TEST_P256);
	struct client *client = client_new(TLS1_2_VERSION, TLS1_2_VERSION);

	(void)state;
	assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
	assert_memory_equal(flow.sent + MARK_AT, "DOWNGRD\x01", 8);
	flow_end(&flow);
	client_free(client);
	engine_context_free(context);
}

/* --- resumption --- */

/* A session of this version from a full handshake with this policy. */
static struct client *with_session(const struct engine_policy *policy, enum test_key key,
				   int version)
{
	struct engine_context *context = test_context(policy, key);
	struct client *client = client_new(version, version);

	assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
	assert_false(flow.result.resumed);
	check_keys(&flow, client); /* reads the ticket, too */
	assert_int_equal(client->sessions, 1);
	flow_end(&flow);
	engine_context_free(context);
	return client;
}

/* Did it resume? */
static bool again(const struct engine_policy *policy, enum test_key key, struct client *client)
{
	struct engine_context *context = test_context(policy, key);
	bool resumed;

	client_again(client, client->session);
	if (flow_run(&flow, context, client) != ENGINE_DONE)
		fail_msg("%s", engine_reason_text(flow.engine));
	resumed = flow.result.resumed;
	assert_int_equal(SSL_session_reused(client->ssl), resumed);
	check_keys(&flow, client);
	flow_end(&flow);
	engine_context_free(context);
	return resumed;
}

static void test_resumption_across_contexts(void **state)
{
	struct engine_policy policy = test_policy(443);

	(void)state;
	policy.tickets = ticket_keys_new();
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct client *client = with_session(&policy, TEST_P256, version);

		/* each with the ticket of the one before */
		for (int i = 0; i < 5; i++)
			assert_true(again(&policy, TEST_P256, client));
		client_free(client);
	}
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

/*
 * Of TLS 1.3, each with the ticket of the one before: wolfSSL 5.9.2 fails after 255, so now and then
 * there is a full handshake in place of one.
 */
static void test_many_resumptions_in_a_row(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct client *client;
	int whole = 0;

	(void)state;
	policy.tickets = ticket_keys_new();
	client = with_session(&policy, TEST_P256, TLS1_3_VERSION);
	for (int i = 0; i < 300; i++)
		whole += !again(&policy, TEST_P256, client);
	assert_in_range(whole, 1, 10);
	client_free(client);
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

static void test_downgrade_is_marked_when_resumed(void **state)
{
	(void)state;
	for (uint16_t max = TLS_1_2; max <= TLS_1_3; max++) {
		struct engine_policy policy = test_policy(443);
		struct engine_context *context;
		struct client *client;

		policy.max_version = max;
		policy.tickets = ticket_keys_new();
		client = with_session(&policy, TEST_P256, TLS1_2_VERSION);
		context = test_context(&policy, TEST_P256);
		client_again(client, client->session);
		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		assert_true(flow.result.resumed);
		assert_int_equal(!memcmp(flow.sent + MARK_AT, "DOWNGRD\x01", 8), max == TLS_1_3);
		flow_end(&flow);
		engine_context_free(context);
		client_free(client);
		ticket_keys_free((struct ticket_keys *)policy.tickets);
	}
}

static void test_resumption_across_processes(void **state)
{
	struct engine_policy policy = test_policy(443);

	(void)state;
	policy.tickets = ticket_keys_new();
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct client *client = with_session(&policy, TEST_P256, version);
		int status;
		pid_t pid;

		/* rotated by the parent after the fork: the ticket's key is still there */
		pid = fork();
		if (!pid) {
			usleep(100000);
			_exit(again(&policy, TEST_P256, client) ? 42 : 1);
		}
		ticket_keys_rotate((struct ticket_keys *)policy.tickets);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 42);
		client_free(client);
	}
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

static void test_forgotten_key_means_full_handshake(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct ticket_keys *keys = ticket_keys_new();

	(void)state;
	policy.tickets = keys;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct client *client = with_session(&policy, TEST_P256, version);

		for (int i = 0; i < TICKET_GENERATIONS; i++)
			ticket_keys_rotate(keys);
		assert_false(again(&policy, TEST_P256, client));
		client_free(client);
	}
	ticket_keys_free(keys);
}

/*
 * The bypass: a session counts as authenticated, so one of a port must not be
 * taken on a port with another policy, though the ticket keys are the same.
 */
static void test_ticket_is_bound_to_its_policy(void **state)
{
	struct engine_policy policy = test_policy(443), other;

	(void)state;
	policy.tickets = ticket_keys_new();
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct client *client = with_session(&policy, TEST_P256, version);
		SSL_SESSION *session = client->session;

		SSL_SESSION_up_ref(session);
#define REFUSED(key) \
	do { \
		SSL_SESSION_up_ref(session); \
		SSL_SESSION_free(client->session); \
		client->session = session; \
		assert_false(again(&other, key, client)); \
	} while (0)
		other = policy;
		other.port = 444;
		REFUSED(TEST_P256);
		other = policy;
		REFUSED(TEST_P384); /* another certificate */
		other = policy;
		other.suite_count -= 2; /* the last one is for RSA */
		REFUSED(TEST_P256);
		other = policy;
		other.group_count--;
		REFUSED(TEST_P256);
		other = policy;
		if (version == TLS1_3_VERSION)
			other.min_version = TLS_1_3;
		else
			other.max_version = TLS_1_2;
		REFUSED(TEST_P256);
		/* and under its own it still works */
		SSL_SESSION_free(client->session);
		client->session = session;
		assert_true(again(&policy, TEST_P256, client));
		client_free(client);
	}
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

static void test_ticket_is_bound_to_its_name(void **state)
{
	struct engine_policy policy = test_policy(443);

	(void)state;
	policy.tickets = ticket_keys_new();
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct client *client = with_session(&policy, TEST_P256, version);
		struct engine_context *context = test_context(&policy, TEST_P256);

		client_again(client, client->session);
		SSL_set_tlsext_host_name(client->ssl, "other.example");
		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		assert_false(flow.result.resumed);
		assert_string_equal(flow.result.server_name, "other.example");
		flow_end(&flow);
		client_free(client);
		engine_context_free(context);
	}
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

/* RFC 5077 4: none of its bytes can be another, and TLS goes on without it. */
static void test_every_byte_of_a_ticket_counts(void **state)
{
	struct engine_policy policy = test_policy(443);
	const unsigned char *ticket;
	size_t len;

	(void)state;
	policy.tickets = ticket_keys_new();
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct client *client = with_session(&policy, TEST_P256, version);
		struct engine_context *context = test_context(&policy, TEST_P256);
		SSL_SESSION *session = client->session;

		SSL_SESSION_up_ref(session); /* the client's is another after each */
		SSL_SESSION_get0_ticket(session, &ticket, &len);
		assert_true(len > 100);
		for (size_t i = 0; i < len; i++) {
			((unsigned char *)ticket)[i] ^= 1;
			client_again(client, session);
			assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
			if (flow.result.resumed)
				fail_msg("byte %zu of %zu may be another", i, len);
			flow_end(&flow);
			((unsigned char *)ticket)[i] ^= 1;
		}
		client_again(client, session);
		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		assert_true(flow.result.resumed);
		flow_end(&flow);
		SSL_SESSION_free(session);
		client_free(client);
		engine_context_free(context);
	}
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

static void test_resumption_off(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct ticket_keys *keys = ticket_keys_new();

	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct engine_context *context;
		struct client *client;

		policy.tickets = keys;
		client = with_session(&policy, TEST_P256, version);
		policy.tickets = NULL;
		client->sessions = 0;
		assert_false(again(&policy, TEST_P256, client));
		client_free(client);
		/* none is given either: the first record is data */
		context = test_context(&policy, TEST_P256);
		client = client_new(version, version);
		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		check_keys(&flow, client);
		assert_true(!client->session || !SSL_SESSION_has_ticket(client->session));
		flow_end(&flow);
		client_free(client);
		engine_context_free(context);
	}
	ticket_keys_free(keys);
}

/* A full handshake with one list of suites, and the next with another: is it resumed? */
static bool resumes_with(const struct engine_policy *policy, int version, const char *first,
			 const char *second)
{
	int (*set)(SSL *, const char *) = version == TLS1_3_VERSION ? SSL_set_ciphersuites :
								      SSL_set_cipher_list;
	struct engine_context *context = test_context(policy, TEST_P256);
	struct client *client = client_new(version, version);
	bool resumed;

	assert_true(set(client->ssl, first));
	assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
	check_keys(&flow, client);
	flow_end(&flow);
	client_again(client, client->session);
	assert_true(set(client->ssl, second));
	assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
	assert_int_equal(SSL_session_reused(client->ssl), flow.result.resumed);
	resumed = flow.result.resumed;
	check_keys(&flow, client);
	flow_end(&flow);
	client_free(client);
	engine_context_free(context);
	return resumed;
}

/* RFC 8446 4.2.11: a ticket of a suite with another hash is no use, and no fault either. */
static void test_resumption_with_another_suite(void **state)
{
	static const char *const suites[] = { "TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256",
					      "TLS_CHACHA20_POLY1305_SHA256" };
	struct engine_policy policy = test_policy(443);

	(void)state;
	policy.tickets = ticket_keys_new();
	for (int i = 0; i < 9; i++) {
		bool resumed = resumes_with(&policy, TLS1_3_VERSION, suites[i / 3], suites[i % 3]);

		if (i / 3 == i % 3)
			assert_true(resumed);
		else if (!(i / 3 && i % 3))
			assert_false(resumed);
	}
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

/* RFC 5246 7.4.1.3: with the suite that there was, or a full handshake. */
static void test_tls12_resumption_with_another_suite(void **state)
{
	static const char *const second[] = {
		"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
		"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
	};
	struct engine_policy policy = test_policy(443);

	(void)state;
	policy.tickets = ticket_keys_new();
	for (int i = 0; i < 3; i++)
		assert_int_equal(resumes_with(&policy, TLS1_2_VERSION, second[0], second[i]),
				 i == 0);
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

/* RFC 5077 3.4: a ticket of somebody else, however long. */
static void test_tls12_foreign_tickets(void **state)
{
	static const int lengths[] = { 1, 16, 200, 271, 272, 1000, 7000, 9000, 16000 };
	struct engine_policy policy = test_policy(443);
	static uint8_t ticket[16000];

	(void)state;
	policy.tickets = ticket_keys_new();
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct engine_context *context = test_context(&policy, TEST_P256);
		struct client *client = client_new(TLS1_2_VERSION, TLS1_2_VERSION);

		assert_true(SSL_set_session_ticket_ext(client->ssl, ticket, lengths[i]));
		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		assert_false(flow.result.resumed);
		check_keys(&flow, client);
		flow_end(&flow);
		client_free(client);
		engine_context_free(context);
	}
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

/* RFC 7627 5.3: a session with extended master secret, a hello without. */
static void test_resumption_without_extended_master_secret(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct engine_context *context;
	struct client *client;

	(void)state;
	policy.tickets = ticket_keys_new();
	client = with_session(&policy, TEST_P256, TLS1_2_VERSION);
	context = test_context(&policy, TEST_P256);
	client_again(client, client->session);
	SSL_set_options(client->ssl, SSL_OP_NO_EXTENDED_MASTER_SECRET);
	assert_int_equal(flow_run(&flow, context, client), ENGINE_FAILED);
	assert_int_equal(flow.sent_len, 7);
	assert_memory_equal(flow.sent, "\x15\x03\x03\x00\x02\x02\x28", 7);
	flow_end(&flow);
	client_free(client);
	engine_context_free(context);
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

/* --- early data: never accepted, must be skipped --- */

static enum engine_status early(const struct engine_policy *policy, struct client *client,
				size_t len, size_t chunk)
{
	static char data[70000];
	struct engine_context *context = test_context(policy, TEST_P256);
	enum engine_status status;
	size_t written;

	client_again(client, client->session);
	SSL_SESSION_set_max_early_data(SSL_get_session(client->ssl), sizeof(data));
	for (size_t at = 0; at < len; at += written)
		assert_int_equal(SSL_write_early_data(client->ssl, data + at,
						      len - at < 4000 ? len - at : 4000, &written),
				 1);
	flow.chunk = chunk;
	status = flow_run(&flow, context, client);
	if (status == ENGINE_DONE) {
		assert_int_equal(SSL_get_early_data_status(client->ssl), SSL_EARLY_DATA_REJECTED);
		check_keys(&flow, client);
	}
	flow_end(&flow);
	engine_context_free(context);
	return status;
}

static void test_early_data_is_skipped(void **state)
{
	struct engine_policy policy = test_policy(443), retrying;
	struct client *client;

	(void)state;
	policy.tickets = ticket_keys_new();
	client = with_session(&policy, TEST_P256, TLS1_3_VERSION);
	for (size_t chunk = 0; chunk < 2; chunk++) {
		assert_int_equal(early(&policy, client, 100, chunk), ENGINE_DONE);
		assert_int_equal(early(&policy, client, 16000, chunk), ENGINE_DONE);
	}
	/* more than any client of ours was allowed */
	assert_int_equal(early(&policy, client, 40000, 0), ENGINE_FAILED);
	client_free(client);
	client = with_session(&policy, TEST_P256, TLS1_3_VERSION);
	retrying = policy;
	retrying.groups[0] = GROUP_SECP384R1;
	retrying.group_count = 1;
	for (size_t chunk = 0; chunk < 2; chunk++) {
		assert_int_equal(early(&retrying, client, 100, chunk), ENGINE_DONE);
		assert_int_equal(early(&retrying, client, 16000, chunk), ENGINE_DONE);
	}
	assert_int_equal(early(&retrying, client, 40000, 0), ENGINE_FAILED);
	client_free(client);
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

/* --- hellos that the library alone would not take --- */

static void test_huge_hello(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct engine_context *context = test_context(&policy, TEST_P256);

	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct client *client = client_new(version, version);
		uint8_t protos[30000];

		/* 30 kB of ALPN: a ClientHello in two records */
		for (size_t i = 0; i < sizeof(protos); i += 100) {
			protos[i] = 99;
			memset(protos + i + 1, 'a', 99);
		}
		SSL_set_alpn_protos(client->ssl, protos, sizeof(protos));
		for (size_t chunk = 0; chunk < 2; chunk++) {
			if (chunk) {
				client_again(client, NULL);
				SSL_set_alpn_protos(client->ssl, protos, sizeof(protos));
			}
			flow.chunk = chunk;
			assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
			check_keys(&flow, client);
			flow_end(&flow);
		}
		client_free(client);
	}
	engine_context_free(context);
}

static void test_split_hello(void **state)
{
	struct engine_policy policy = test_policy(443);
	struct engine_context *context = test_context(&policy, TEST_P256);

	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct client *client = client_new(version, version);

		SSL_set_max_send_fragment(client->ssl, 512);
		SSL_set_split_send_fragment(client->ssl, 512);
		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		check_keys(&flow, client);
		flow_end(&flow);
		client_free(client);
	}
	engine_context_free(context);
}

/* --- what it leaves --- */

static void test_memory_does_not_grow(void **state)
{
	const int rounds = getenv("TEST_ENGINE_ROUNDS") ? atoi(getenv("TEST_ENGINE_ROUNDS")) : 200;
	struct engine_policy policy = test_policy(443);
	struct engine_context *context;
	size_t before = 0;

	(void)state;
	policy.tickets = ticket_keys_new();
	context = test_context(&policy, TEST_P256);
	for (int i = 0; i < rounds; i++) {
		struct client *client = client_new(TLS1_2_VERSION + i % 2, TLS1_2_VERSION + i % 2);

		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		check_keys(&flow, client);
		flow_end(&flow);
		client_again(client, client->session);
		assert_int_equal(flow_run(&flow, context, client), ENGINE_DONE);
		assert_true(flow.result.resumed);
		flow_end(&flow);
		client_free(client);
		if (i == rounds / 2)
			before = mallinfo2().uordblks;
	}
	/* malloc counts what lies in its caches per thread: tests/unit/run turns them off */
	assert_true(mallinfo2().uordblks <= before + (getenv("GLIBC_TUNABLES") ? 1024 : 262144));
	engine_context_free(context);
	ticket_keys_free((struct ticket_keys *)policy.tickets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_suite),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_data_behind_finished_is_left),
		cmocka_unit_test(test_hello_retry),
		cmocka_unit_test(test_alpn),
		cmocka_unit_test(test_middlebox_compatibility),
		cmocka_unit_test(test_every_key_type),
		cmocka_unit_test(test_port_with_tls12_only),
		cmocka_unit_test(test_downgrade_is_marked),
		cmocka_unit_test(test_resumption_across_contexts),
		cmocka_unit_test(test_many_resumptions_in_a_row),
		cmocka_unit_test(test_downgrade_is_marked_when_resumed),
		cmocka_unit_test(test_resumption_across_processes),
		cmocka_unit_test(test_forgotten_key_means_full_handshake),
		cmocka_unit_test(test_ticket_is_bound_to_its_policy),
		cmocka_unit_test(test_ticket_is_bound_to_its_name),
		cmocka_unit_test(test_every_byte_of_a_ticket_counts),
		cmocka_unit_test(test_resumption_off),
		cmocka_unit_test(test_resumption_with_another_suite),
		cmocka_unit_test(test_tls12_resumption_with_another_suite),
		cmocka_unit_test(test_tls12_foreign_tickets),
		cmocka_unit_test(test_resumption_without_extended_master_secret),
		cmocka_unit_test(test_early_data_is_skipped),
		cmocka_unit_test(test_huge_hello),
		cmocka_unit_test(test_split_hello),
		cmocka_unit_test(test_memory_does_not_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
