// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A connection, from event to event.  It belongs to the thread of its worker.
 */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AGAIN = -1, BROKEN = -2 };
#define WRONG_UPLOAD "HTTP/1.1 422 "

static void wait_for(struct connection *c, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (events == c->events)
		return;
	c->events = events;
	epoll_ctl(c->worker->epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static int ssl_result(struct connection *c, int result)
{
	switch (SSL_get_error(c->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		wait_for(c, EPOLLIN);
		return AGAIN;
	case SSL_ERROR_WANT_WRITE:
		wait_for(c, EPOLLOUT);
		return AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return BROKEN;
	}
}

static ssize_t try_transmit(struct connection *c, const void *from, size_t len)
{
	ssize_t n;

	if (c->ssl) {
		n = SSL_write(c->ssl, from, len);
		return n > 0 ? n : ssl_result(c, n);
	}
	n = send(c->fd, from, len, MSG_NOSIGNAL);
	if (n >= 0)
		return n;
	if (errno != EAGAIN)
		return BROKEN;
	wait_for(c, EPOLLOUT);
	return AGAIN;
}

static ssize_t try_receive(struct connection *c, void *to, size_t max)
{
	ssize_t n;

	if (c->ssl) {
		n = SSL_read(c->ssl, to, max);
		return n > 0 ? n : ssl_result(c, n);
	}
	n = recv(c->fd, to, max, 0);
	if (n >= 0)
		return n;
	if (errno != EAGAIN)
		return BROKEN;
	wait_for(c, EPOLLIN);
	return AGAIN;
}

static ssize_t transmit(struct connection *c, const void *from, size_t len)
{
	ssize_t n = try_transmit(c, from, len);

	if (n > 0)
		c->moved = now();
	return n;
}

static ssize_t receive(struct connection *c, void *to, size_t max)
{
	ssize_t n = try_receive(c, to, max);

	if (n > 0)
		c->moved = now();
	return n;
}

static void close_socket(struct connection *c)
{
	SSL_free(c->ssl);
	c->ssl = NULL;
	ERR_clear_error(); /* or SSL_get_error() would take it for another connection's */
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void sleep_until(struct connection *c, int64_t time)
{
	c->resume = time;
	c->worker->waiting++;
}

bool is_wrong_data(enum failure why)
{
	return why == F_PAYLOAD || why == F_LENGTH;
}

/* The request is lost; the connection is opened anew a little later. */
void connection_fail(struct connection *c, enum failure why, const char *text)
{
	/* wrong bytes are never warm-up */
	if (counts() || is_wrong_data(why))
		c->worker->results->failures[why]++;
	tell_failure(why, text);
	close_socket(c);
	if (c->paused)
		c->worker->waiting--;
	c->paused = false;
	SSL_SESSION_free(c->session);
	c->session = NULL;
	c->state = WAITING;
	sleep_until(c, now() + RETRY_NS);
}

static void fail_errno(struct connection *c, enum failure why)
{
	connection_fail(c, why, strerror(errno));
}

static void fail_stream(struct connection *c, const char *end)
{
	int error = errno;

	if (c->ssl)
		connection_fail(c, F_CLOSED,
				error && error != EAGAIN ? strerror(error) : tls_why());
	else
		connection_fail(c, F_CLOSED, error ? strerror(error) : end);
}

/* In order: close_notify, then FIN. */
void connection_end(struct connection *c)
{
	if (c->ssl && c->state > HANDSHAKE)
		SSL_shutdown(c->ssl);
	close_socket(c);
}

static void established(struct connection *c)
{
	struct results *results = c->worker->results;

	if (counts()) {
		results->connects++;
		if (c->ssl)
			histogram_add(&results->handshake, now() - c->opened);
		if (c->ssl && SSL_session_reused(c->ssl))
			results->resumed++;
		else if (c->ssl)
			results->full++;
	}
	if (c->ssl)
		tell_cipher(c->ssl);
	c->requests = 0;
	c->state = IDLE;
	if (c->intended)
		connection_request(c, c->intended);
	else
		worker_idle(c);
}

static void shake_hands(struct connection *c)
{
	int result;

	errno = 0;
	result = SSL_do_handshake(c->ssl);
	if (result == 1) {
		established(c);
		return;
	}
	if (ssl_result(c, result) != AGAIN)
		connection_fail(c, F_HANDSHAKE,
				errno && errno != EAGAIN ? strerror(errno) : tls_why());
}

static void connected(struct connection *c)
{
	socklen_t len = sizeof(int);
	int error = 0;

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		connection_fail(c, F_CONNECT, strerror(error));
		return;
	}
	if (!o.version) {
		established(c);
		return;
	}
	if (!tls_open(c)) {
		connection_fail(c, F_HANDSHAKE, tls_why());
		return;
	}
	c->state = HANDSHAKE;
	shake_hands(c);
}

static void set_options(struct connection *c)
{
	int one = 1;

	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* With a request that is due, or none yet. */
void connection_open(struct connection *c)
{
	struct epoll_event event = { .events = EPOLLOUT, .data.ptr = c };

	c->opened = now();
	c->fd = socket(o.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		fail_errno(c, F_CONNECT);
		return;
	}
	set_options(c);
	c->state = CONNECTING;
	c->events = EPOLLOUT;
	if (epoll_ctl(c->worker->epoll, EPOLL_CTL_ADD, c->fd, &event) ||
	    (connect(c->fd, (struct sockaddr *)&o.address, o.address_len) && errno != EINPROGRESS))
		fail_errno(c, F_CONNECT);
}

static void response_begins(struct connection *c)
{
	if (counts())
		histogram_add(&c->worker->results->first_byte, now() - c->intended);
	if (!c->served) {
		c->served = true;
		served++;
	}
}

/* A server that looks at uploads itself says so when one was not what is sent here. */
static void fail_status(struct connection *c)
{
	bool wrong = o.upload && !strncmp(c->head, WRONG_UPLOAD, strlen(WRONG_UPLOAD));

	c->head[strcspn(c->head, "\r\n")] = 0;
	connection_fail(c, wrong ? F_PAYLOAD : F_STATUS, c->head);
}

/* False: it is not what was asked for. */
static bool read_head(struct connection *c, const char *end)
{
	char *field = strcasestr(c->head, "\r\nContent-Length:");

	if (strncmp(c->head, "HTTP/1.1 20", 11)) {
		fail_status(c);
		return false;
	}
	c->length = field && field < end ? strtoull(field + 17, NULL, 10) : 0;
	if (!o.upload && c->length != o.size) {
		connection_fail(c, F_LENGTH, "the response has another length than the object");
		return false;
	}
	c->in_body = true;
	c->body = 0;
	return true;
}

static bool is_pattern(uint64_t at, const unsigned char *data, size_t len)
{
	while (len) {
		size_t from = at % o.pattern_len, n = o.pattern_len - from;

		n = n < len ? n : len;
		if (memcmp(o.pattern + from, data, n))
			return false;
		data += n;
		at += n;
		len -= n;
	}
	return true;
}

/* How much of a payload goes or comes at once: what is paced does so in small pieces. */
static size_t piece(size_t most)
{
	uint64_t paced = o.pace / PACE_PARTS + 1;

	return o.pace && paced < most ? paced : most;
}

/*
 * So many bytes of a payload went or came.  True: the connection is ahead of its pace, and waits.
 * The account is of all its requests; time in which nothing moved is not saved up.
 */
static bool held_back(struct connection *c, size_t len)
{
	int64_t time = now();

	if (!o.pace || !len)
		return false;
	if (c->paid < time)
		c->paid = time;
	c->paid += len / (double)o.pace * NS_PER_S;
	if (c->paid <= time + NS_PER_S / PACE_PARTS)
		return false;
	c->paused = true;
	wait_for(c, 0);
	sleep_until(c, c->paid - NS_PER_S / PACE_PARTS);
	return true;
}

static bool body_data(struct connection *c, const unsigned char *data, size_t len)
{
	if (c->body + len > c->length) {
		connection_fail(c, F_LENGTH, "more came than the response's length");
		return false;
	}
	if (o.check && !o.upload && !is_pattern(c->body, data, len)) {
		connection_fail(c, F_PAYLOAD, "the payload is not what the server's file is");
		return false;
	}
	c->body += len;
	if (counts())
		c->worker->results->received += len;
	return true;
}

/* The response has come whole. */
static void answered(struct connection *c)
{
	struct results *results = c->worker->results;

	if (counts()) {
		results->requests++;
		histogram_add(&results->latency, now() - c->intended);
	}
	c->intended = 0;
	c->requests++;
	c->state = IDLE;
	if (o.per_connection && c->requests >= o.per_connection) {
		connection_end(c);
		if (!o.rate)
			c->intended = now();
		else
			c->state = WAITING;
	}
	if (c->fd >= 0 || o.rate)
		worker_idle(c);
	else
		connection_open(c);
}

static bool head_data(struct connection *c, ssize_t n)
{
	char *end;

	if (!c->head_len)
		response_begins(c);
	c->head_len += n;
	c->head[c->head_len] = 0;
	end = strstr(c->head, "\r\n\r\n");
	if (!end && c->head_len == HEAD_MAX - 1) {
		connection_fail(c, F_STATUS, "the response's head does not end");
		return false;
	}
	if (!end)
		return true;
	if (!read_head(c, end))
		return false;
	end += 4;
	return body_data(c, (unsigned char *)end, c->head + c->head_len - end);
}

static bool is_whole(const struct connection *c)
{
	return c->in_body && c->body == c->length;
}

static void take_response(struct connection *c)
{
	/* it was held back */
	if (is_whole(c)) {
		answered(c);
		return;
	}
	/* of what the library holds epoll does not know */
	for (int i = 0; i < READS_A_TURN || (c->ssl && SSL_pending(c->ssl)); i++) {
		unsigned char *to = c->worker->buffer;
		uint64_t before = c->body;
		ssize_t n;

		errno = 0;
		if (c->in_body)
			n = receive(c, to, piece(READ_SIZE));
		else
			n = receive(c, c->head + c->head_len, piece(HEAD_MAX - 1 - c->head_len));
		if (n == AGAIN)
			return;
		if (n <= 0) {
			fail_stream(c, "the server closed it");
			return;
		}
		if (!(c->in_body ? body_data(c, to, n) : head_data(c, n)))
			return;
		if (held_back(c, c->body - before))
			return;
		if (is_whole(c)) {
			answered(c);
			return;
		}
	}
	wait_for(c, EPOLLIN);
}

static void send_request(struct connection *c)
{
	while (c->head_sent < c->head_len || (o.upload && c->body < o.size)) {
		const void *from = c->head + c->head_sent;
		size_t len = c->head_len - c->head_sent, at = c->body % o.pattern_len;
		ssize_t n;

		if (!len) {
			from = o.pattern + at;
			len = o.pattern_len - at;
			if (len > o.size - c->body)
				len = o.size - c->body;
			len = piece(len);
		}
		errno = 0;
		n = transmit(c, from, len);
		if (n == AGAIN)
			return;
		if (n < 0) {
			fail_stream(c, "the server closed it");
			return;
		}
		if (c->head_sent < c->head_len) {
			c->head_sent += n;
			continue;
		}
		c->body += n;
		if (counts())
			c->worker->results->sent += n;
		if (held_back(c, n))
			return;
	}
	c->state = RECEIVING;
	c->head_len = 0;
	c->head[0] = 0;
	c->body = 0;
	c->in_body = false;
	wait_for(c, EPOLLIN);
}

static void make_request(struct connection *c)
{
	c->head_sent = 0;
	c->body = 0;
	c->head_len =
		o.upload ?
			snprintf(c->head, HEAD_MAX,
				 "PUT %s%u-%u HTTP/1.1\r\nHost: %s\r\nContent-Length: %llu\r\n\r\n",
				 o.path, c->id, c->file, o.name, (unsigned long long)o.size) :
			snprintf(c->head, HEAD_MAX, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", o.path,
				 o.name);
	c->file = (c->file + 1) % o.files;
}

static bool key_update_due(const struct connection *c)
{
	return o.key_update && c->ssl && c->requests && c->requests % o.key_update == 0;
}

/* On a connection that is open. */
void connection_request(struct connection *c, int64_t intended)
{
	c->intended = intended;
	c->moved = now();
	if (key_update_due(c)) {
		if (!SSL_key_update(c->ssl, SSL_KEY_UPDATE_REQUESTED)) {
			connection_fail(c, F_HANDSHAKE, tls_why());
			return;
		}
		if (counts())
			c->worker->results->key_updates++;
	}
	make_request(c);
	c->state = SENDING;
	send_request(c);
}

/* What comes while nothing is asked for: tickets, KeyUpdates, or the end. */
static void take_unasked(struct connection *c)
{
	ssize_t n;

	errno = 0;
	n = receive(c, c->worker->buffer, READ_SIZE);
	if (n != AGAIN)
		fail_stream(c, n > 0 ? "a response to nothing" : "the server closed it");
}

void connection_go_on(struct connection *c)
{
	switch (c->state) {
	case CONNECTING:
		connected(c);
		break;
	case HANDSHAKE:
		shake_hands(c);
		break;
	case SENDING:
		if (!c->paused)
			send_request(c);
		break;
	case RECEIVING:
		if (!c->paused)
			take_response(c);
		break;
	case IDLE:
		take_unasked(c);
		break;
	case WAITING:
		break;
	}
}
