// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * load: asks a server by HTTP/1.1 and says what came, as JSON.  "begin" and "end" on lines of
 * their own say when what counts begins and ends.
 */
#include "load.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct options o = { .name = "localhost",
		     .path = "/",
		     .files = 1,
		     .connections = 1,
		     .threads = 1,
		     .warm_up = 1,
		     .duration = 5,
		     .timeout = 60 };
_Atomic enum phase phase;
_Atomic unsigned int served;
const char *const failure_names[FAILURES] = { "connect", "handshake", "closed", "status",
					      "length",	 "payload",   "timeout" };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char first_failure[200], version[20], cipher[60];

static const char usage[] =
	"usage: load --connect ADDRESS:PORT [OPTION VALUE]...\n"
	"  --tls 1.2|1.3, --cipher aes128|aes256, --name NAME of the server (localhost)\n"
	"  --path PATH      of the object, of an upload the beginning of it; --size BYTES\n"
	"  --upload         PUT, and the server is to check what it got\n"
	"  --files N        an upload is PATH, connection, \"-\", and 0 to N - 1 in turn (1)\n"
	"  --pattern FILE   what every payload is, over and over; without it responses are not checked\n"
	"  --connections N, --threads N, --warm-up SECONDS, --duration SECONDS\n"
	"  --timeout SECONDS without a byte, after which a request has failed (60)\n"
	"  --rate N         requests a second, due at random times or with --steady at equal ones\n"
	"  --per-connection N requests; --resume sessions\n"
	"  --key-update N   one after so many requests, of both directions (TLS 1.3)\n"
	"  --pace BYTES     a second that a connection takes, or sends\n"
	"  --told           says \"served\" and waits for a line before what counts, says \"end\" and goes\n"
	"                   on until a line has come after it\n"
	"  --idle           opens, asks once, says \"ready\" and keeps them until its input ends\n";

static bool idle, waits;

void tell_failure(enum failure why, const char *text)
{
	static bool told_wrong_data;

	pthread_mutex_lock(&lock);
	if (!first_failure[0] || (is_wrong_data(why) && !told_wrong_data))
		snprintf(first_failure, sizeof(first_failure), "%s: %s", failure_names[why], text);
	told_wrong_data |= is_wrong_data(why);
	pthread_mutex_unlock(&lock);
}

void tell_cipher(SSL *ssl)
{
	static _Atomic bool told;

	if (atomic_exchange(&told, true))
		return;
	pthread_mutex_lock(&lock);
	snprintf(version, sizeof(version), "%s", SSL_get_version(ssl));
	snprintf(cipher, sizeof(cipher), "%s", SSL_get_cipher_name(ssl));
	pthread_mutex_unlock(&lock);
}

static double number(const char *option, const char *text, double least, double most)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= least) || value > most)
		errx(2, "--%s wants a number from %g to %g, not \"%s\"", option, least, most, text);
	return value;
}

static void read_pattern(const char *path)
{
	FILE *file = fopen(path, "rb");

	if (!file || fseek(file, 0, SEEK_END) || ftell(file) <= 0)
		errx(2, "%s: %s", path, file ? "is empty" : strerror(errno));
	o.pattern_len = ftell(file);
	o.pattern = malloc(o.pattern_len);
	rewind(file);
	if (!o.pattern || fread(o.pattern, o.pattern_len, 1, file) != 1)
		errx(2, "%s: cannot be read", path);
	fclose(file);
	o.check = true;
}

/* "127.0.0.1:80", "[::1]:80" */
static void read_address(char *text)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	char *port = strrchr(text, ':'), *host = text;
	struct addrinfo *found;

	if (!port)
		errx(2, "--connect wants ADDRESS:PORT, not \"%s\"", text);
	*port++ = 0;
	if (host[0] == '[' && port - host > 2 && port[-2] == ']') {
		port[-2] = 0;
		host++;
	}
	if (getaddrinfo(host, port, &hints, &found))
		errx(2, "--connect: \"%s\" port \"%s\" is no address", host, port);
	memcpy(&o.address, found->ai_addr, found->ai_addrlen);
	o.address_len = found->ai_addrlen;
	freeaddrinfo(found);
}

static int one_of(const char *option, const char *text, const char *const *names, const int *values)
{
	for (; *names; names++, values++)
		if (!strcmp(text, *names))
			return *values;
	errx(2, "--%s: \"%s\" is not known", option, text);
}

enum choice {
	O_CONNECT,
	O_TLS,
	O_CIPHER,
	O_NAME,
	O_PATH,
	O_SIZE,
	O_UPLOAD,
	O_FILES,
	O_PATTERN,
	O_CONNECTIONS,
	O_THREADS,
	O_WARM_UP,
	O_DURATION,
	O_TIMEOUT,
	O_RATE,
	O_STEADY,
	O_PER_CONNECTION,
	O_RESUME,
	O_KEY_UPDATE,
	O_PACE,
	O_TOLD,
	O_IDLE
};

static const struct option long_options[] = {
	{ "connect", 1, NULL, O_CONNECT },
	{ "tls", 1, NULL, O_TLS },
	{ "cipher", 1, NULL, O_CIPHER },
	{ "name", 1, NULL, O_NAME },
	{ "path", 1, NULL, O_PATH },
	{ "size", 1, NULL, O_SIZE },
	{ "upload", 0, NULL, O_UPLOAD },
	{ "files", 1, NULL, O_FILES },
	{ "pattern", 1, NULL, O_PATTERN },
	{ "connections", 1, NULL, O_CONNECTIONS },
	{ "threads", 1, NULL, O_THREADS },
	{ "warm-up", 1, NULL, O_WARM_UP },
	{ "duration", 1, NULL, O_DURATION },
	{ "timeout", 1, NULL, O_TIMEOUT },
	{ "rate", 1, NULL, O_RATE },
	{ "steady", 0, NULL, O_STEADY },
	{ "per-connection", 1, NULL, O_PER_CONNECTION },
	{ "resume", 0, NULL, O_RESUME },
	{ "key-update", 1, NULL, O_KEY_UPDATE },
	{ "pace", 1, NULL, O_PACE },
	{ "told", 0, NULL, O_TOLD },
	{ "idle", 0, NULL, O_IDLE },
	{ NULL, 0, NULL, 0 },
};

static void take_option(int option, char *value, const char *name)
{
	switch ((enum choice)option) {
	case O_CONNECT:
		read_address(value);
		break;
	case O_TLS:
		o.version = one_of(name, value, (const char *const[]){ "1.2", "1.3", NULL },
				   (const int[]){ TLS1_2_VERSION, TLS1_3_VERSION });
		break;
	case O_CIPHER:
		o.cipher = one_of(name, value, (const char *const[]){ "aes128", "aes256", NULL },
				  (const int[]){ 128, 256 });
		break;
	case O_NAME:
		o.name = value;
		break;
	case O_PATH:
		o.path = value;
		break;
	case O_SIZE:
		o.size = number(name, value, 0, 1e15);
		break;
	case O_UPLOAD:
		o.upload = true;
		break;
	case O_FILES:
		o.files = number(name, value, 1, 1e6);
		break;
	case O_PATTERN:
		read_pattern(value);
		break;
	case O_CONNECTIONS:
		o.connections = number(name, value, 1, CONNECTIONS_MAX);
		break;
	case O_THREADS:
		o.threads = number(name, value, 1, THREADS_MAX);
		break;
	case O_WARM_UP:
		o.warm_up = number(name, value, 0, 3600);
		break;
	case O_DURATION:
		o.duration = number(name, value, 0.01, 1e6);
		break;
	case O_TIMEOUT:
		o.timeout = number(name, value, 1, 1e6);
		break;
	case O_RATE:
		o.rate = number(name, value, 0.001, 1e9);
		break;
	case O_STEADY:
		o.poisson = false;
		break;
	case O_PER_CONNECTION:
		o.per_connection = number(name, value, 1, 1e9);
		break;
	case O_RESUME:
		o.resume = true;
		break;
	case O_KEY_UPDATE:
		o.key_update = number(name, value, 1, 1e9);
		break;
	case O_PACE:
		o.pace = number(name, value, 1, 1e15);
		break;
	case O_TOLD:
		waits = true;
		break;
	case O_IDLE:
		idle = true;
		break;
	}
}

static void read_options(int argc, char **argv)
{
	int option, index;

	o.poisson = true;
	while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (option == '?')
			exit(2);
		take_option(option, optarg, long_options[index].name);
	}
	if (optind < argc)
		errx(2, "\"%s\" is no option", argv[optind]);
	if (!o.address_len) {
		fputs(usage, stderr);
		exit(2);
	}
	if (o.upload && !o.pattern)
		errx(2, "--upload wants --pattern, what is to be sent");
	if (o.key_update && o.version != TLS1_3_VERSION)
		errx(2, "--key-update wants --tls 1.3");
	if (o.threads > o.connections)
		o.threads = o.connections;
}

static struct worker *make_workers(void)
{
	struct worker *workers = calloc(o.threads, sizeof(*workers));
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < o.connections + 32)
		errx(1, "%u connections are more files than the %llu that a process may have",
		     o.connections, (unsigned long long)limit.rlim_max);
	for (unsigned int i = 0; workers && i < o.threads; i++) {
		struct worker *w = &workers[i];

		w->count = o.connections / o.threads + (i < o.connections % o.threads);
		w->epoll = epoll_create1(EPOLL_CLOEXEC);
		w->ctx = o.version ? tls_context() : NULL;
		w->connections = calloc(w->count, sizeof(*w->connections));
		w->idle = calloc(w->count, sizeof(struct connection *));
		w->results = calloc(1, sizeof(*w->results));
		w->buffer = malloc(READ_SIZE);
		w->random = 88172645463325252ULL + i * 2654435761U;
		w->interval = o.rate ? o.threads / o.rate * NS_PER_S : 0;
		if (w->epoll < 0 || (o.version && !w->ctx) || !w->connections || !w->idle ||
		    !w->results || !w->buffer)
			errx(1, "a thread cannot be prepared: %s",
			     w->ctx ? strerror(errno) : tls_why());
		for (unsigned int j = 0; j < w->count; j++) {
			w->connections[j].worker = w;
			w->connections[j].id = j * o.threads + i;
			w->connections[j].fd = -1;
		}
	}
	return workers;
}

static void sleep_for(double seconds)
{
	struct timespec t = { seconds, (seconds - (int64_t)seconds) * NS_PER_S };

	nanosleep(&t, NULL);
}

/* An open loop does not use each connection at once. */
static void wait_until_served(void)
{
	unsigned int wanted = o.rate ? 1 : o.connections;
	int64_t limit = now() + (int64_t)((o.warm_up + o.timeout) * NS_PER_S);

	sleep_for(o.warm_up);
	while (served < wanted && now() < limit)
		sleep_for(0.005);
	if (served < wanted)
		errx(1, "only %u of %u connections were served; %s", served, wanted, first_failure);
}

static void print_histogram(const char *name, const struct histogram *histogram)
{
	const char *between = "";

	printf(", \"%s\": [", name);
	for (unsigned int i = 0; i < HISTOGRAM_GROUPS; i++) {
		if (!histogram->counts[i])
			continue;
		printf("%s[%llu, %llu]", between, (unsigned long long)histogram_highest(i),
		       (unsigned long long)histogram->counts[i]);
		between = ", ";
	}
	printf("]");
}

static void print_string(const char *name, const char *text)
{
	printf(", \"%s\": \"", name);
	for (; *text; text++)
		if (*text == '"' || *text == '\\' || *text < ' ')
			printf("\\u%04x", (unsigned char)*text);
		else
			putchar(*text);
	putchar('"');
}

#define ADD(field) (all->field += from->field)

static void add_results(struct results *all, const struct results *from)
{
	ADD(requests);
	ADD(received);
	ADD(sent);
	ADD(connects);
	ADD(full);
	ADD(resumed);
	ADD(key_updates);
	ADD(unfinished);
	for (int i = 0; i < FAILURES; i++)
		ADD(failures[i]);
	histogram_merge(&all->latency, &from->latency);
	histogram_merge(&all->handshake, &from->handshake);
	histogram_merge(&all->first_byte, &from->first_byte);
}

#define COUNT(field) printf(", \"" #field "\": %llu", (unsigned long long)all->field)

static void print_results(const struct results *all, double elapsed, double cpu)
{
	printf("{\"elapsed\": %.6f, \"cpu\": %.6f, \"threads\": %u", elapsed, cpu, o.threads);
	COUNT(requests);
	COUNT(received);
	COUNT(sent);
	COUNT(connects);
	COUNT(full);
	COUNT(resumed);
	COUNT(key_updates);
	COUNT(unfinished);
	printf(", \"failures\": {");
	for (int i = 0; i < FAILURES; i++)
		printf("%s\"%s\": %llu", i ? ", " : "", failure_names[i],
		       (unsigned long long)all->failures[i]);
	printf("}");
	print_string("first_failure", first_failure);
	print_string("version", version);
	print_string("cipher", cipher);
	print_histogram("latency", &all->latency);
	print_histogram("handshake", &all->handshake);
	print_histogram("first_byte", &all->first_byte);
	puts("}");
}

static double cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void say(const char *word)
{
	puts(word);
	fflush(stdout);
}

/* Who measures needs time to look, and what counts is not to run meanwhile. */
static void wait_until_told(void)
{
	char byte;

	if (waits && read(0, &byte, 1) != 1)
		errx(1, "nobody measures any more");
}

int main(int argc, char **argv)
{
	struct results *all = calloc(1, sizeof(*all));
	pthread_t threads[THREADS_MAX];
	struct worker *workers;
	double elapsed, cpu;
	char byte;

	signal(SIGPIPE, SIG_IGN);
	read_options(argc, argv);
	o.keep = idle;
	workers = make_workers();
	for (unsigned int i = 0; i < o.threads; i++)
		if (pthread_create(&threads[i], NULL, worker_run, &workers[i]))
			errx(1, "a thread cannot be started");
	wait_until_served();
	if (idle) {
		say("ready");
		while (read(0, &byte, 1) > 0)
			;
		return 0;
	}
	if (waits)
		say("served");
	wait_until_told();
	say("begin");
	elapsed = now() / (double)NS_PER_S;
	cpu = cpu_time();
	phase = MEASURE;
	sleep_for(o.duration);
	phase = AFTER;
	elapsed = now() / (double)NS_PER_S - elapsed;
	cpu = cpu_time() - cpu;
	say("end");
	wait_until_told();
	phase = DONE;
	for (unsigned int i = 0; i < o.threads; i++) {
		pthread_join(threads[i], NULL);
		add_results(all, workers[i].results);
	}
	print_results(all, elapsed, cpu);
	return 0;
}
