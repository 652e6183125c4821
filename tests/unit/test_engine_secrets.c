// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a process has in its memory after it has done handshakes: none of their
 * secrets.  The engine runs in a child, the client in the test, which searches all
 * that the child has mapped; that the search finds them, where they are, is shown
 * with the test's own memory, and with the child's before it has forgotten them.
 */
#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/kdf.h>

#include "../../userspace/tlsportd/stack.h"
#include "engine_client.h"

#define SECRETS_MAX 64

/* As they are searched for; nothing of the child's has them from here, for it was forked before. */
static struct secret {
	char name[64];
	uint8_t bytes[64];
	size_t len;
} secrets[SECRETS_MAX];
static size_t secret_count;

static void add_secret(const char *name, const void *bytes, size_t len)
{
	struct secret *secret = &secrets[secret_count++];

	assert_true(secret_count <= SECRETS_MAX && len <= sizeof(secret->bytes));
	snprintf(secret->name, sizeof(secret->name), "%s", name);
	memcpy(secret->bytes, bytes, len);
	secret->len = len;
}

/* A line of SSLKEYLOGFILE: what, the client's random, the secret. */
static void on_key_log(const SSL *ssl, const char *line)
{
	const char *hex = strrchr(line, ' ') + 1;
	size_t len = strlen(hex) / 2;
	uint8_t bytes[64];
	char name[64];

	(void)ssl;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(line, " "), line);
	for (size_t i = 0; i < len; i++)
		sscanf(hex + 2 * i, "%2hhx", &bytes[i]);
	add_secret(name, bytes, len);
}

/* --- the child: one handshake after the other --- */

enum { FORGETS, KEEPS };

static void serve(int fd, const struct engine_context *context, int how)
{
	static uint8_t data[65536];
	struct engine_result result;
	struct engine *engine = NULL;
	enum engine_status status;
	size_t consumed, out_len;
	const uint8_t *out;
	ssize_t len;

	while ((len = recv(fd, data, sizeof(data), 0)) > 0) {
		if (!engine)
			engine = engine_new(context);
		status = engine_feed(engine, data, len, false, &consumed, &out, &out_len);
		if (status == ENGINE_FAILED || send(fd, out_len ? out : data, out_len, 0) < 0)
			_exit(1);
		if (status == ENGINE_DONE && engine_result(engine, &result))
			_exit(1);
		/* as the worker does */
		if (status == ENGINE_DONE && how == FORGETS) {
			explicit_bzero(&result, sizeof(result));
			engine_free(engine);
			engine = NULL;
		}
		stack_wipe();
	}
	_exit(0);
}

static pid_t start_child(int *fd, const struct engine_context *context, int how)
{
	int pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	pid = fork();
	if (!pid) {
		close(pair[0]);
		serve(pair[1], context, how);
	}
	close(pair[1]);
	*fd = pair[0];
	return pid;
}

/* --- the search --- */

static unsigned int search(pid_t pid, const char *what, bool tell)
{
	char path[64], line[512], *chunk = NULL;
	unsigned int found = 0;
	FILE *maps;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "r");
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDONLY);
	assert_true(maps && mem >= 0);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long from, to;
		ssize_t len;

		/* not a sanitizer's shadow, of terabytes */
		if (sscanf(line, "%lx-%lx r", &from, &to) != 2 || to - from > 1UL << 30)
			continue;
		chunk = realloc(chunk, to - from);
		len = pread(mem, chunk, to - from, from);
		for (size_t i = 0; len > 0 && i < secret_count; i++) {
			const struct secret *secret = &secrets[i];
			char *at = memmem(chunk, len, secret->bytes, secret->len);

			if (!at)
				continue;
			found++;
			if (tell)
				print_message("%s: %s at %lx in %s", what, secret->name,
					      from + (at - chunk), line);
		}
	}
	free(chunk);
	fclose(maps);
	close(mem);
	return found;
}

/* --- the client --- */

static void handshake(struct client *client, int fd)
{
	static uint8_t data[65536];
	ssize_t len;

	while (SSL_do_handshake(client->ssl) != 1 || BIO_pending(client->out)) {
		len = BIO_read(client->out, data, sizeof(data));
		if (len > 0)
			assert_int_equal(send(fd, data, len, 0), len);
		len = recv(fd, data, sizeof(data), 0);
		assert_true(len >= 0);
		if (len)
			BIO_write(client->in, data, len);
	}
	SSL_read(client->ssl, data, sizeof(data)); /* the ticket */
}

static void expand_label(const struct secret *secret, const char *label, size_t len)
{
	uint8_t info[32], key[64];
	size_t label_len = strlen(label), key_len = len;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	char name[128];

	put16(info, len);
	info[2] = 6 + label_len;
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, label_len);
	info[9 + label_len] = 0;
	assert_true(EVP_PKEY_derive_init(ctx) > 0 &&
		    EVP_PKEY_CTX_hkdf_mode(ctx, EVP_PKEY_HKDEF_MODE_EXPAND_ONLY) > 0 &&
		    EVP_PKEY_CTX_set_hkdf_md(ctx, secret->len == 48 ? EVP_sha384() : EVP_sha256()) >
			    0 &&
		    EVP_PKEY_CTX_set1_hkdf_key(ctx, secret->bytes, secret->len) > 0 &&
		    EVP_PKEY_CTX_add1_hkdf_info(ctx, info, 10 + label_len) > 0 &&
		    EVP_PKEY_derive(ctx, key, &key_len) > 0);
	EVP_PKEY_CTX_free(ctx);
	snprintf(name, sizeof(name), "%.40s %s", secret->name, label);
	add_secret(name, key, len);
}

/* The key block of TLS 1.2: keys, then the parts of the nonces, 4 bytes that say nothing. */
static void key_block(SSL *ssl, const struct secret *master, size_t key_len)
{
	const EVP_MD *md = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_TLS1_PRF, NULL);
	uint8_t random[32], block[64];
	size_t len = 2 * key_len;

	assert_true(EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_CTX_set_tls1_prf_md(ctx, md) > 0 &&
		    EVP_PKEY_CTX_set1_tls1_prf_secret(ctx, master->bytes, master->len) > 0 &&
		    EVP_PKEY_CTX_add1_tls1_prf_seed(ctx, (const uint8_t *)"key expansion", 13) > 0);
	SSL_get_server_random(ssl, random, 32);
	assert_true(EVP_PKEY_CTX_add1_tls1_prf_seed(ctx, random, 32) > 0);
	SSL_get_client_random(ssl, random, 32);
	assert_true(EVP_PKEY_CTX_add1_tls1_prf_seed(ctx, random, 32) > 0 &&
		    EVP_PKEY_derive(ctx, block, &len) > 0);
	EVP_PKEY_CTX_free(ctx);
	add_secret("client key", block, key_len);
	add_secret("server key", block + key_len, key_len);
}

static void add_keys(struct client *client, const struct tls_suite *suite)
{
	size_t count = secret_count;
	uint8_t psk[64];

	for (size_t i = 0; i < count; i++) {
		if (suite->version == TLS_1_2)
			key_block(client->ssl, &secrets[i], suite->key_len);
		else if (strstr(secrets[i].name, "TRAFFIC")) {
			expand_label(&secrets[i], "key", suite->key_len);
			expand_label(&secrets[i], "iv", 12);
		}
	}
	if (client->session)
		add_secret("secret of the ticket", psk,
			   SSL_SESSION_get_master_key(client->session, psk, sizeof(psk)));
}

static void after_handshakes(const struct tls_suite *suite, bool resumed)
{
	struct engine_policy policy = test_policy(443);
	struct ticket_keys *tickets = ticket_keys_new();
	struct engine_context *context;
	struct client *client;
	SSL_SESSION *session;
	pid_t children[2];
	int fds[2];

	policy.suites[0] = suite->id;
	policy.suite_count = 1;
	policy.tickets = tickets;
	context = test_context(&policy, suite->auth == AUTH_RSA ? TEST_RSA : TEST_P256);
	for (int how = FORGETS; how <= KEEPS; how++)
		children[how] = start_child(&fds[how], context, how);
	for (int how = FORGETS; how <= KEEPS; how++) {
		client = client_new(suite->version, suite->version);
		if (resumed) {
			handshake(client, fds[FORGETS]);
			session = client->session;
			client->session = NULL;
			client_again(client, session);
			SSL_SESSION_free(session);
		}
		secret_count = 0;
		SSL_CTX_set_keylog_callback(client->ctx, on_key_log);
		handshake(client, fds[how]);
		assert_int_equal(SSL_session_reused(client->ssl), resumed);
		add_keys(client, suite);
		poll(NULL, 0, 20); /* the child is done when it waits again */
		if (how == KEEPS)
			assert_true(search(children[how], suite->name, false) >= 2);
		else if (search(children[how], suite->name, true))
			fail();
		client_free(client);
	}
	/* all of them are in this process */
	assert_true(search(getpid(), suite->name, false) >= secret_count);
	for (int how = FORGETS; how <= KEEPS; how++) {
		close(fds[how]);
		kill(children[how], SIGKILL);
		waitpid(children[how], NULL, 0);
	}
	engine_context_free(context);
	ticket_keys_free(tickets);
}

static void test_nothing_is_left(void **state)
{
	(void)state;
	for (int i = 0; i < TLS_SUITES; i++)
		after_handshakes(&tls_suites[i], false);
}

static void test_nothing_is_left_of_resumed_ones(void **state)
{
	(void)state;
	for (int i = 0; i < TLS_SUITES; i++)
		after_handshakes(&tls_suites[i], true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_left),
		cmocka_unit_test(test_nothing_is_left_of_resumed_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
