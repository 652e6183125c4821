// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * wolfserve: a small web server with wolfSSL in its own process, to be measured beside others.
 * "GET /N" is answered with N bytes of the pattern; a PUT by 422 if what came is not the pattern.
 * Each worker, a thread, has its own epoll; a connection belongs to the one that accepted it.
 * Threads and not processes, for those would not understand each other's tickets.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#define RECORD	    16384
#define HEAD_MAX    2048
#define ANSWER_MAX  128
#define BACKLOG	    4096
#define EVENTS	    256
#define STEPS	    16 /* of a connection, then the others have theirs */
#define WORKERS_MAX 256

enum state { HANDSHAKE, REQUEST, UPLOAD, ANSWER };

struct connection {
	int fd;
	uint32_t events;
	WOLFSSL *ssl;
	enum state state;
	bool wrong; /* the upload is not the pattern */
	size_t head_len, answer_len;
	uint64_t length, done; /* of the body that comes or goes; of it and the head */
	char head[HEAD_MAX], answer[ANSWER_MAX];
};

static __thread int epoll;
static int listener;
static WOLFSSL_CTX *ctx;
/* Once more at its end, as far as a record reaches. */
static unsigned char *pattern;
static size_t pattern_len;
static __thread unsigned char record[RECORD];

static void drop(struct connection *c)
{
	wolfSSL_free(c->ssl);
	close(c->fd);
	free(c);
}

/* True: it goes on when the socket is ready. */
static bool waits(struct connection *c, int result)
{
	int error = wolfSSL_get_error(c->ssl, result);
	struct epoll_event event = { .data.ptr = c };

	if (error != WOLFSSL_ERROR_WANT_READ && error != WOLFSSL_ERROR_WANT_WRITE)
		return false;
	event.events = error == WOLFSSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;
	if (event.events != c->events)
		epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
	c->events = event.events;
	return true;
}

static void answer(struct connection *c, const char *status, uint64_t length)
{
	c->answer_len = snprintf(c->answer, ANSWER_MAX,
				 "HTTP/1.1 %s\r\nContent-Length: %llu\r\n\r\n", status,
				 (unsigned long long)length);
	c->length = length;
	c->done = 0;
	c->state = ANSWER;
}

static void take_upload(struct connection *c, const unsigned char *data, size_t len)
{
	if (len > c->length - c->done)
		len = c->length - c->done;
	c->wrong |= memcmp(pattern + c->done % pattern_len, data, len) != 0;
	c->done += len;
	if (c->done == c->length)
		answer(c, c->wrong ? "422 Not the pattern" : "201 Created", 0);
}

/* A client of ours sends no second request before it has its answer. */
static bool take_request(struct connection *c)
{
	char *end = strstr(c->head, "\r\n\r\n"), *field;

	if (!end)
		return c->head_len < HEAD_MAX - 1;
	if (!strncmp(c->head, "GET /", 5)) {
		answer(c, "200 OK", strtoull(c->head + 5, NULL, 10));
		return true;
	}
	field = strcasestr(c->head, "\r\nContent-Length:");
	if (strncmp(c->head, "PUT /", 5) || !field)
		return false;
	c->state = UPLOAD;
	c->wrong = false;
	c->done = 0;
	c->length = strtoull(field + 17, NULL, 10);
	end += 4;
	take_upload(c, (unsigned char *)end, c->head + c->head_len - end);
	return true;
}

/* The result of wolfSSL_read() or wolfSSL_write(). */
static int send_answer(struct connection *c)
{
	uint64_t total = c->answer_len + c->length, left = total - c->done;
	size_t n = left < RECORD ? left : RECORD, head = 0;
	const unsigned char *from = record;
	int result;

	if (c->done < c->answer_len) {
		head = c->answer_len - c->done;
		memcpy(record, c->answer + c->done, head);
		memcpy(record + head, pattern, n - head);
	} else {
		from = pattern + (c->done - c->answer_len) % pattern_len;
	}
	result = wolfSSL_write(c->ssl, from, n);
	if (result <= 0)
		return result;
	c->done += result;
	if (c->done == total) {
		c->state = REQUEST;
		c->head_len = 0;
	}
	return result;
}

static int step(struct connection *c)
{
	int n;

	switch (c->state) {
	case HANDSHAKE:
		n = wolfSSL_accept(c->ssl);
		if (n == WOLFSSL_SUCCESS)
			c->state = REQUEST;
		return n;
	case REQUEST:
		n = wolfSSL_read(c->ssl, c->head + c->head_len, HEAD_MAX - 1 - c->head_len);
		if (n <= 0)
			return n;
		c->head_len += n;
		c->head[c->head_len] = 0;
		return take_request(c) ? 1 : 0;
	case UPLOAD:
		n = wolfSSL_read(c->ssl, record, RECORD);
		if (n > 0)
			take_upload(c, record, n);
		return n;
	case ANSWER:
		return send_answer(c);
	}
	return 0;
}

static void go_on(struct connection *c)
{
	for (int i = 0; i < STEPS || wolfSSL_pending(c->ssl); i++) {
		int result = step(c);

		if (result > 0)
			continue;
		if (!waits(c, result))
			drop(c);
		return;
	}
	/* it is ready still: epoll says so again, once it waits for what it does */
	if (c->events != (c->state == ANSWER ? EPOLLOUT : EPOLLIN)) {
		struct epoll_event event = { .events = c->state == ANSWER ? EPOLLOUT : EPOLLIN,
					     .data.ptr = c };

		c->events = event.events;
		epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
	}
}

static void take_connections(void)
{
	int fd, one = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct connection *c = calloc(1, sizeof(*c));
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

		if (!c)
			err(1, "a connection");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c->fd = fd;
		c->events = EPOLLIN;
		c->ssl = wolfSSL_new(ctx);
		if (!c->ssl || wolfSSL_set_fd(c->ssl, fd) != WOLFSSL_SUCCESS)
			errx(1, "no memory for a connection");
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	}
}

static void *work(void *unused)
{
	struct epoll_event events[EVENTS], event = { .events = EPOLLIN | EPOLLEXCLUSIVE };

	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event))
		err(1, "epoll");
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				go_on(events[i].data.ptr);
			else
				take_connections();
		}
	}
}

static void read_pattern(const char *path)
{
	FILE *file = fopen(path, "rb");

	if (!file || fseek(file, 0, SEEK_END) || ftell(file) < RECORD)
		errx(1, "%s: %s", path, file ? "is shorter than a record" : strerror(errno));
	pattern_len = ftell(file);
	pattern = malloc(pattern_len + RECORD);
	rewind(file);
	if (!pattern || fread(pattern, pattern_len, 1, file) != 1)
		errx(1, "%s: cannot be read", path);
	memcpy(pattern + pattern_len, pattern, RECORD);
	fclose(file);
}

static void make_context(const char *cert, const char *key)
{
	wolfSSL_Init();
	ctx = wolfSSL_CTX_new(wolfSSLv23_server_method());
	if (!ctx || wolfSSL_CTX_SetMinVersion(ctx, WOLFSSL_TLSV1_2) != WOLFSSL_SUCCESS)
		errx(1, "wolfSSL has no context");
	if (wolfSSL_CTX_use_certificate_chain_file(ctx, cert) != WOLFSSL_SUCCESS)
		errx(1, "%s: no certificate", cert);
	if (wolfSSL_CTX_use_PrivateKey_file(ctx, key, WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
		errx(1, "%s: no key", key);
}

static int listen_on(const char *port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, BACKLOG))
		err(1, "port %s", port);
	return fd;
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	pthread_t thread;
	int workers;

	if (argc != 6)
		errx(2, "usage: wolfserve PORT WORKERS CERT KEY PATTERN");
	workers = atoi(argv[2]);
	if (workers < 1 || workers > WORKERS_MAX)
		errx(2, "workers are from 1 to %d", WORKERS_MAX);
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	make_context(argv[3], argv[4]);
	read_pattern(argv[5]);
	listener = listen_on(argv[1]);
	for (int i = 1; i < workers; i++)
		if (pthread_create(&thread, NULL, work, NULL))
			errx(1, "a thread cannot be started");
	work(NULL);
}
