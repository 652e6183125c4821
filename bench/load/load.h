/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The load generator of tlsport-bench: HTTP/1.1 over TCP or TLS, from threads that share
 * nothing but the options and the phase.
 */
#ifndef _LOAD_H
#define _LOAD_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_S	INT64_C(1000000000)
#define HEAD_MAX	8192 /* of a response, and of a request */
#define READ_SIZE	65536
#define READS_A_TURN	16 /* then the other connections have theirs */
#define RETRY_NS	(NS_PER_S / 100)
#define PACE_PARTS	20 /* of a second: so far a paced connection may be ahead */
#define CONNECTIONS_MAX 1000000
#define THREADS_MAX	256

/* histogram.c: values are grouped so that a group is less than 0.8 % wide. */
#define HISTOGRAM_BITS	 7
#define HISTOGRAM_GROUPS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
	uint64_t counts[HISTOGRAM_GROUPS];
};

void histogram_add(struct histogram *histogram, int64_t value);
void histogram_merge(struct histogram *to, const struct histogram *from);
/* The highest value that is in the group. */
uint64_t histogram_highest(unsigned int group);

enum failure {
	F_CONNECT,
	F_HANDSHAKE,
	F_CLOSED,
	F_STATUS,
	F_LENGTH,
	F_PAYLOAD,
	F_TIMEOUT,
	FAILURES
};
extern const char *const failure_names[FAILURES];

struct options {
	struct sockaddr_storage address;
	socklen_t address_len;
	int version;		 /* 0: without TLS */
	int cipher;		 /* bits of the AES key; 0: what the server chooses */
	const char *name, *path; /* of an upload the path's beginning */
	uint64_t size;		 /* of the response, or of what is sent */
	unsigned int connections, threads;
	double warm_up, duration; /* seconds */
	double rate;		  /* requests a second, of all threads; 0: closed loop */
	bool poisson;
	unsigned int per_connection; /* requests; 0: as many as there are */
	bool resume, upload;
	unsigned int files;	 /* names that a connection's uploads have in turn */
	bool keep;		 /* connections, after one request each */
	unsigned int key_update; /* one after so many requests; 0: none */
	uint64_t pace;		 /* bytes a second and connection; 0: as fast as can be */
	double timeout;		 /* seconds without a byte */
	unsigned char *pattern;	 /* every payload is this, over and over */
	size_t pattern_len;
	bool check;
};
extern struct options o;

/* Only what happens while it is MEASURE counts; in AFTER all goes on as before. */
enum phase { WARM_UP, MEASURE, AFTER, DONE };
extern _Atomic enum phase phase;
extern _Atomic unsigned int served; /* connections of which one byte of a response has come */

struct results {
	uint64_t requests, received, sent, connects, full, resumed, key_updates, unfinished;
	uint64_t failures[FAILURES];
	struct histogram latency, handshake, first_byte;
};

enum state { WAITING, CONNECTING, HANDSHAKE, IDLE, SENDING, RECEIVING };

struct connection {
	struct worker *worker;
	unsigned int id, requests;
	unsigned int file; /* of the next upload */
	enum state state;
	bool listed; /* among those that are idle */
	bool served, paused;
	int fd;
	uint32_t events;
	SSL *ssl;
	SSL_SESSION *session;
	int64_t opened, intended; /* when it began, when the request was due */
	int64_t moved;		  /* when the last byte went or came */
	int64_t resume;		  /* of one that waits or is paused */
	int64_t paid;		  /* until then the pace allows what went or came */
	size_t head_len, head_sent;
	uint64_t body;	 /* bytes of it that went or came */
	uint64_t length; /* of the response's body */
	bool in_body;
	char head[HEAD_MAX];
};

struct worker {
	int epoll;
	SSL_CTX *ctx;
	struct connection *connections;
	unsigned int count;
	struct connection **idle; /* wait for a request of the open loop */
	unsigned int idle_count;
	unsigned int waiting; /* connections with a time at which they go on */
	int64_t due;	      /* of the next request of the open loop; 0: not begun */
	double interval;
	uint64_t random;
	struct results *results;
	unsigned char *buffer;
};

int64_t now(void);
bool counts(void);

/* connection.c */
void connection_open(struct connection *c);
void connection_request(struct connection *c, int64_t intended);
void connection_go_on(struct connection *c);
void connection_fail(struct connection *c, enum failure why, const char *text);
void connection_end(struct connection *c);
bool is_wrong_data(enum failure why);

/* worker.c */
void *worker_run(void *worker);
void worker_idle(struct connection *c);

/* tls.c */
SSL_CTX *tls_context(void);
bool tls_open(struct connection *c);
const char *tls_why(void);

/* main.c: of all failures the first is told, of wrong data before all others */
void tell_failure(enum failure why, const char *text);
void tell_cipher(SSL *ssl);

#endif
