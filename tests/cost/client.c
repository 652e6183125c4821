// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The client of `make cost`, the same for every engine: one process, one
 * connection at a time, blocking sockets.  A cost is that of 2N operations less
 * that of N, divided by N, so what is done once cancels.
 *
 * Under scripts/vm --icount a nanosecond of any clock of the guest is an
 * instruction: what a task has run, as /proc/PID/schedstat has it, is
 * how many it has executed, with the interrupts that came meanwhile.
 */
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP	     3
#define RESPONSE_MAX 65536

/* Whose instructions they are. */
enum owner { CLIENT, NGINX, HELPER, KERNEL, OTHERS, OWNERS };
static const char *const owners[OWNERS] = { "client", "nginx", "tlsportd", "kernel", "others" };

struct cost {
	int64_t by[OWNERS], clock;
};

struct connection {
	int fd;
	SSL *ssl;
	size_t response; /* length of the first; the others are as long */
};

static struct {
	uint16_t port;
	int version; /* 0: without TLS */
	bool nodelay, upload, resume;
	size_t size;
	long count;
	char request[256];
	char *body;
	SSL_CTX *ctx;
	SSL_SESSION *session;
} o = { .nodelay = true };

static char buffer[RESPONSE_MAX];

static void die(const char *what)
{
	ERR_print_errors_fp(stderr);
	err(1, "%s", what);
}

static int64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static enum owner owner_of(const char *pid)
{
	char path[300], exe[300], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	file = fopen(path, "r");
	if (!file)
		return OTHERS;
	if (!fgets(name, sizeof(name), file))
		name[0] = 0;
	fclose(file);
	if (!strncmp(name, "nginx", 5))
		return NGINX;
	if (!strncmp(name, "tlsportd", 8))
		return HELPER;
	snprintf(path, sizeof(path), "/proc/%s/exe", pid); /* a thread of the kernel has none */
	return readlink(path, exe, sizeof(exe)) < 0 ? KERNEL : OTHERS;
}

static int64_t has_run(const char *pid)
{
	char path[300];
	int64_t ns = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/schedstat", pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fscanf(file, "%" SCNd64, &ns) != 1)
		ns = 0;
	fclose(file);
	return ns;
}

/* What every task has run so far; all of them have one thread. */
static void add_tasks(struct cost *cost, int sign)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (!proc)
		die("/proc");
	while ((entry = readdir(proc)))
		if (isdigit(entry->d_name[0]) && atoi(entry->d_name) != getpid())
			cost->by[owner_of(entry->d_name)] += sign * has_run(entry->d_name);
	closedir(proc);
}

/* Where tests/cost/blocks.c begins to count, and where it ends. */
__attribute__((noinline, noipa)) static void count_begins(void)
{
	__asm__ volatile("");
}

__attribute__((noinline, noipa)) static void count_ends(void)
{
	__asm__ volatile("");
}

static void begin(struct cost *cost)
{
	*cost = (struct cost){};
	add_tasks(cost, -1);
	cost->by[CLIENT] = -now(CLOCK_PROCESS_CPUTIME_ID);
	cost->clock = -now(CLOCK_MONOTONIC);
	count_begins();
}

static void end(struct cost *cost)
{
	count_ends();
	cost->clock += now(CLOCK_MONOTONIC);
	cost->by[CLIENT] += now(CLOCK_PROCESS_CPUTIME_ID);
	add_tasks(cost, 1);
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(o.session);
	o.session = session;
	return 1;
}

static void make_context(void)
{
	o.ctx = SSL_CTX_new(TLS_client_method());
	if (!o.ctx || !SSL_CTX_set_min_proto_version(o.ctx, o.version) ||
	    !SSL_CTX_set_max_proto_version(o.ctx, o.version) ||
	    !SSL_CTX_set_ciphersuites(o.ctx, "TLS_AES_256_GCM_SHA384") ||
	    !SSL_CTX_set_cipher_list(o.ctx, "ECDHE-ECDSA-AES256-GCM-SHA384") ||
	    !SSL_CTX_set1_groups_list(o.ctx, "X25519:P-256"))
		die("context");
	SSL_CTX_set_session_cache_mode(o.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(o.ctx, keep_session);
}

static void open_connection(struct connection *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(o.port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int nodelay = o.nodelay;

	*c = (struct connection){ .fd = socket(AF_INET, SOCK_STREAM, 0) };
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, sizeof(nodelay));
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	if (!o.version)
		return;
	c->ssl = SSL_new(o.ctx);
	if (!c->ssl || !SSL_set_fd(c->ssl, c->fd) || !SSL_set_tlsext_host_name(c->ssl, "localhost"))
		die("SSL");
	if (o.resume && o.session && !SSL_set_session(c->ssl, o.session))
		die("session");
	if (SSL_connect(c->ssl) != 1)
		die("handshake");
	if (!!SSL_session_reused(c->ssl) != (o.resume && o.session))
		errx(1, "%sresumed", o.resume ? "not " : "");
}

static void close_connection(struct connection *c)
{
	if (c->ssl)
		SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	close(c->fd);
}

static size_t receive(struct connection *c, void *to, size_t max)
{
	ssize_t n = c->ssl ? SSL_read(c->ssl, to, max) : recv(c->fd, to, max, 0);

	if (n <= 0)
		die("receive");
	return n;
}

static void transmit(struct connection *c, const char *from, size_t len)
{
	while (len) {
		ssize_t n = c->ssl ? SSL_write(c->ssl, from, len) : send(c->fd, from, len, 0);

		if (n <= 0)
			die("transmit");
		from += n;
		len -= n;
	}
}

static void check(const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != 'x')
			errx(1, "the content of the response is wrong");
}

/* The first response of a connection is read and checked; later ones are counted. */
static void first_response(struct connection *c)
{
	size_t have = 0, head, length;
	char *end = NULL, *field;

	while (!end) {
		have += receive(c, buffer + have, sizeof(buffer) - have);
		end = memmem(buffer, have, "\r\n\r\n", 4);
	}
	if (memcmp(buffer, "HTTP/1.1 20", 11))
		errx(1, "response: %.40s", buffer);
	field = memmem(buffer, end - buffer, "Content-Length: ", 16);
	length = field ? strtoul(field + 16, NULL, 10) : 0;
	if (!o.upload && length != o.size)
		errx(1, "the response has %zu bytes, not %zu", length, o.size);
	head = end + 4 - buffer;
	check(buffer + head, have - head);
	for (c->response = head + length; have < c->response;) {
		size_t n = receive(c, buffer, sizeof(buffer));

		check(buffer, n);
		have += n;
	}
}

static void ask(struct connection *c)
{
	transmit(c, o.request, strlen(o.request));
	if (o.upload)
		transmit(c, o.body, o.size);
	if (!c->response) {
		first_response(c);
		return;
	}
	for (size_t have = 0; have < c->response;)
		have += receive(c, buffer, sizeof(buffer));
}

/* N requests on a connection. */
static void requests(long n)
{
	struct connection c;

	open_connection(&c);
	while (n--)
		ask(&c);
	close_connection(&c);
}

/* N connections with a request each; those that resume begin with one that does not. */
static void connections(long n)
{
	struct connection c;

	SSL_SESSION_free(o.session);
	o.session = NULL;
	while (n--) {
		open_connection(&c);
		ask(&c);
		close_connection(&c);
	}
}

/* Keeps N connections until its input ends. */
static void idle(long n)
{
	struct rlimit limit = { n + 100, n + 100 };
	struct connection *all = calloc(n, sizeof(*all));

	setrlimit(RLIMIT_NOFILE, &limit);
	for (long i = 0; i < n; i++) {
		open_connection(&all[i]);
		ask(&all[i]);
	}
	puts("ready");
	fflush(stdout);
	(void)!read(0, buffer, 1);
	free(all);
}

static void measure(void (*function)(long n))
{
	struct cost once, twice;

	for (int i = 0; i < WARM_UP; i++)
		function(o.count < 10 ? o.count : 10);
	begin(&once);
	function(o.count);
	end(&once);
	begin(&twice);
	function(2 * o.count);
	end(&twice);
	printf("{");
	for (int i = 0; i < OWNERS; i++)
		printf("\"%s\": %.1f, ", owners[i], (double)(twice.by[i] - once.by[i]) / o.count);
	printf("\"clock\": %.1f}\n", (double)(twice.clock - once.clock) / o.count);
}

static void usage(void)
{
	fputs("usage: cost PORT VERSION WHAT SIZE COUNT\n"
	      "VERSION is 0 (TCP), 1.2 or 1.3; WHAT is get, post, full, resumed or idle, with a D\n"
	      "behind it without TCP_NODELAY; SIZE is that of the response, or of what is sent.\n"
	      "Prints the instructions of each, and how long it took, as JSON.\n",
	      stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	void (*function)(long n) = requests;
	char *what;

	if (argc != 6)
		usage();
	o.port = atoi(argv[1]);
	o.version = !strcmp(argv[2], "1.3") ? TLS1_3_VERSION :
		    !strcmp(argv[2], "1.2") ? TLS1_2_VERSION :
					      0;
	o.size = strtoul(argv[4], NULL, 0);
	o.count = atol(argv[5]);
	what = argv[3];
	if (what[0] && what[strlen(what) - 1] == 'D') {
		o.nodelay = false;
		what[strlen(what) - 1] = 0;
	}
	o.upload = !strcmp(what, "post");
	o.resume = !strcmp(what, "resumed");
	if (!strcmp(what, "full") || o.resume)
		function = connections;
	else if (!strcmp(what, "idle"))
		function = idle;
	else if (!o.upload && strcmp(what, "get"))
		usage();
	if (o.version)
		make_context();
	if (o.upload) {
		o.body = malloc(o.size);
		memset(o.body, 'x', o.size);
		snprintf(o.request, sizeof(o.request),
			 "POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
			 o.size);
	} else {
		snprintf(o.request, sizeof(o.request),
			 "GET /%zu HTTP/1.1\r\nHost: localhost\r\n\r\n", o.size);
	}
	if (function == idle)
		idle(o.count);
	else
		measure(function);
	return 0;
}
