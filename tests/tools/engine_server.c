// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * engine_server PORT CERT KEY [min-version [max-version [GROUP]]]: the engine
 * behind an ordinary TCP socket, so that foreign clients and protocol test suites
 * can be pointed at it without the kernel module.  Records after the handshake
 * are done here, in user space: data is sent back as it came; a request "GET"
 * gets a reply and the end.
 *
 * One connection at a time; each is told in a line on standard output.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../userspace/tlsportd/engine.h"
#include "../../userspace/tlsportd/crypt.h"

static uint8_t data[512 * 1024];
static size_t have;

static int more(int fd)
{
	ssize_t n = read(fd, data + have, sizeof(data) - have);

	if (n > 0)
		have += n;
	return n > 0 ? 0 : -1;
}

static void used(size_t n)
{
	memmove(data, data + n, have - n);
	have -= n;
}

/* TLS 1.2 GCM sends the sequence number as nonce here: good enough for a test. */
static void send_record(int fd, struct record_keys *keys, uint8_t type, const uint8_t *text,
			size_t len)
{
	uint8_t nonce[8], record[128];

	for (size_t at = 0; at < len; at += 16) {
		int n;

		put64(nonce, keys->seq + 0x5555555500000000);
		n = crypt_record_seal(keys, type, nonce, text + at, len - at < 16 ? len - at : 16,
				      record);
		if (n < 0 || write(fd, record, n) != n)
			return;
	}
}

static void keys_of(const struct engine_result *result, const union engine_crypto_info *info,
		    const uint8_t *secret, struct record_keys *keys)
{
	const struct tls_suite *suite = tls_suite_by_id(result->suite);

	memset(keys, 0, sizeof(*keys));
	if (result->secret_len) {
		crypt_record_keys(suite, secret, keys);
	} else {
		keys->version = result->version;
		keys->aead = suite->aead;
		switch (suite->aead) {
		case AEAD_AES_128_GCM:
			memcpy(keys->key, info->gcm128.key, 16);
			memcpy(keys->iv, info->gcm128.salt, 4);
			break;
		case AEAD_AES_256_GCM:
			memcpy(keys->key, info->gcm256.key, 32);
			memcpy(keys->iv, info->gcm256.salt, 4);
			break;
		case AEAD_CHACHA20_POLY1305:
			memcpy(keys->key, info->chacha.key, 32);
			memcpy(keys->iv, info->chacha.iv, 12);
			break;
		}
		keys->seq = 1;
	}
	if (result->secret_len) /* tickets that went out */
		keys->seq = (suite->aead == AEAD_AES_128_GCM ? info->gcm128.rec_seq :
			     suite->aead == AEAD_AES_256_GCM ? info->gcm256.rec_seq :
							       info->chacha.rec_seq)[7];
}

static void serve(int fd, const struct engine_result *result)
{
	static uint8_t content[20000];
	const uint8_t close_notify[] = { TLS_ALERT_WARNING, ALERT_CLOSE_NOTIFY };
	struct record_keys rx, tx;
	uint8_t type;
	int n;

	keys_of(result, &result->rx, result->rx_secret, &rx);
	keys_of(result, &result->tx, result->tx_secret, &tx);
	for (;;) {
		size_t len = have >= 5 ? 5u + get16(data + 3) : 0;

		if (!len || have < len) {
			if (more(fd))
				return;
			continue;
		}
		type = data[0];
		n = crypt_record_open(&rx, data, len, content, &type);
		used(len);
		if (n < 0) {
			printf("  bad record\n");
			return;
		}
		if (type == TLS_ALERT)
			break;
		if (type != TLS_APPLICATION_DATA)
			continue;
		send_record(fd, &tx, type, content, n);
		if (n >= 4 && !memcmp(content, "GET ", 4))
			break;
	}
	send_record(fd, &tx, TLS_ALERT, close_notify, 2);
}

static void handshake(int fd, const struct engine_context *context)
{
	struct engine *engine = engine_new(context);
	enum engine_status status = ENGINE_MORE;
	struct engine_result result;
	size_t consumed, out_len;
	const uint8_t *out;
	bool eof = false;

	have = 0;
	while (status == ENGINE_MORE && !eof) {
		eof = more(fd);
		do {
			status = engine_feed(engine, data, have, eof, &consumed, &out, &out_len);
			used(consumed);
			if (out_len && write(fd, out, out_len) != (ssize_t)out_len)
				eof = true;
		} while (status == ENGINE_MORE && consumed && have);
	}
	if (status == ENGINE_DONE && !engine_result(engine, &result)) {
		printf("done %04x %s%s name %s\n", result.version,
		       tls_suite_by_id(result.suite)->name, result.resumed ? " resumed" : "",
		       result.server_name);
		engine_free(engine);
		serve(fd, &result);
	} else {
		printf("failed reason %d alert %d: %s\n", engine_reason(engine),
		       out_len ? out[out_len - 1] : -1, engine_reason_text(engine));
		engine_free(engine);
	}
	fflush(stdout);
	shutdown(fd, SHUT_WR);
	while (read(fd, data, sizeof(data)) > 0)
		;
	close(fd);
}

static uint16_t version(const char *text)
{
	return strcmp(text, "1.3") ? TLS_1_2 : TLS_1_3;
}

int main(int argc, char **argv)
{
	struct engine_policy policy = {
		.min_version = TLS_1_2,
		.max_version = TLS_1_3,
		.suite_count = TLS_SUITES,
		.groups = { GROUP_X25519, GROUP_SECP256R1, GROUP_SECP384R1 },
		.group_count = 3,
	};
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct engine_context *context;
	struct cert_files files;
	struct cert_facts facts;
	int listener, on = 1;
	char err[512];

	if (argc < 4) {
		fprintf(stderr, "usage: engine_server PORT CERT KEY [MIN [MAX [GROUP]]]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	policy.port = atoi(argv[1]);
	policy.tickets = ticket_keys_new();
	for (int i = 0; i < TLS_SUITES; i++)
		policy.suites[i] = tls_suites[i].id;
	if (argc > 4)
		policy.min_version = version(argv[4]);
	if (argc > 5)
		policy.max_version = version(argv[5]);
	if (argc > 6) {
		policy.groups[0] = atoi(argv[6]);
		policy.group_count = 1;
	}
	if (cert_files_read(argv[2], argv[3], &files, err, sizeof(err)) ||
	    cert_files_check(&files, argv[2], argv[3], &facts, err, sizeof(err)) ||
	    !(context = engine_context_new(&policy, &files, &facts, err, sizeof(err)))) {
		fprintf(stderr, "%s\n", err);
		return 1;
	}
	cert_files_free(&files);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	addr.sin_port = htons(policy.port);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 64)) {
		perror("listen");
		return 1;
	}
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0)
			handshake(fd, context);
	}
}
