// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The parent with real processes as workers, which do nothing but report, and
 * without the kernel module: start, deaths, reload, upgrade, stop, control socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/core_names.h>

#include "../../userspace/common/clock.h"
#include "../../userspace/common/signer.h"
#include "../../userspace/common/signer_process.h"
#include "../../userspace/tlsportd/control.h"
#include "../../userspace/tlsportd/crypt.h"
#include "../../userspace/tlsportd/handover.h"
#include "../../userspace/tlsportd/lock.h"
#include "../../userspace/tlsportd/log.h"
#include "../../userspace/tlsportd/parent.h"
#include "engine_client.h"
#include "ocsp_make.h"
#include "pki.h"
#include "token_fake.h"

/* --- in place of the worker and of the module --- */

static enum { WORKS, DIES, DIES_LATER, IS_STUBBORN } stub;

int worker_run(const struct generation *generation, const struct sandbox_user *user, int report,
	       struct worker_numbers *numbers)
{
	sigset_t set;
	int sig;

	(void)user;
	numbers->begun = 9;
	numbers->done = 6;
	numbers->failed = 2;
	if (stub == DIES)
		return 1;
	if (write(report, "R", 1) != 1 || !generation->ports)
		return 1;
	sigemptyset(&set);
	sigaddset(&set, WORKER_DRAIN_SIGNAL);
	if (stub == DIES_LATER)
		usleep(20000);
	else if (!sigwait(&set, &sig) && write(report, "D", 1) == 1 && stub == IS_STUBBORN)
		pause();
	return stub == DIES_LATER;
}

static int forks = -1; /* so many succeed, -1: all */

pid_t __real_fork(void);
pid_t __wrap_fork(void);

pid_t __wrap_fork(void)
{
	if (!forks) {
		errno = EAGAIN;
		return -1;
	}
	forks -= forks > 0;
	return __real_fork();
}

static uint16_t set[16], deleted[16];
static size_t set_count, deleted_count;
static int64_t set_at; /* the last one */
static struct tlsport_nl_policy last_policy, policies[16];
static uint16_t refused;
static bool registered[65536];

static int mock_port_set(struct tlsport_nl *nl, uint16_t number,
			 const struct tlsport_nl_policy *policy)
{
	if (number == refused) {
		snprintf(nl->error, sizeof(nl->error), "no, thank you");
		return -EINVAL;
	}
	policies[set_count] = *policy;
	registered[number] = true;
	set[set_count++] = number;
	set_at = clock_ms();
	last_policy = *policy;
	return 0;
}

static int mock_port_del(struct tlsport_nl *nl, uint16_t number)
{
	(void)nl;
	registered[number] = false;
	deleted[deleted_count++] = number;
	return 0;
}

static struct tlsport_nl_policy *in_kernel; /* of any port that is registered; NULL: the last */

static int mock_port_get(struct tlsport_nl *nl, uint16_t number, struct tlsport_nl_port *port)
{
	(void)nl;
	if (!registered[number])
		return -ENOENT;
	*port = (struct tlsport_nl_port){ .number = number,
					  .policy = in_kernel ? *in_kernel : last_policy };
	return 0;
}

static const struct tlsport_nl_ops mock = {
	.port_set = mock_port_set,
	.port_del = mock_port_del,
	.port_get = mock_port_get,
};

/* --- helpers --- */

static char root[64], certificate[128];
static struct parent parent;

static void put_file(const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	chmod(path, 0600);
}

static void configure(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void configure(const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	put_file("tlsport.conf", text);
}

static unsigned int count(enum worker_state state)
{
	unsigned int n = 0;

	parent_reports(&parent);
	for (struct worker_slot *worker = parent.all; worker; worker = worker->next)
		n += worker->state == state;
	return n;
}

/* Runs the parent's loop until there are so many workers in this state. */
static void wait_for(enum worker_state state, unsigned int n)
{
	for (int i = 0; i < 400 && count(state) != n; i++) {
		poll(NULL, 0, 5);
		parent_reap(&parent);
		parent_restart(&parent);
	}
	assert_int_equal(count(state), n);
}

static void put_certificate(const char *name, enum test_key key)
{
	struct cert_files files;
	struct cert_facts facts;
	char *both;

	test_files(key, &files, &facts);
	both = malloc(files.cert_len + files.key_len + 1);
	sprintf(both, "%s%s", files.cert, files.key);
	put_file(name, both);
	free(both);
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/test_parent.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	put_certificate("cert.pem", TEST_P256);
	snprintf(certificate, sizeof(certificate), "%s/cert.pem", root);
	memset(&parent, 0, sizeof(parent));
	parent.config_dir = root;
	parent.run_dir = root;
	parent.workers = 3;
	assert_int_equal(ticket_store_open(&parent.tickets, root, 3600), 0);
	sigemptyset(&parent.signals);
	sigaddset(&parent.signals, WORKER_DRAIN_SIGNAL);
	sigprocmask(SIG_BLOCK, &parent.signals, NULL);
	tlsport_nl_ops = &mock;
	stub = WORKS;
	forks = -1;
	set_count = deleted_count = 0;
	refused = 0;
	memset(registered, 0, sizeof(registered));
	in_kernel = NULL;
	configure("[port 443]\ncert = %s\nhandshake-timeout = 500ms\n", certificate);
	return 0;
}

/* Those that sign: what their module counts by is in a file that is about to go. */
static void end_children(void)
{
	FILE *file = fopen("/proc/thread-self/children", "r");
	int pid;

	assert_non_null(file);
	while (fscanf(file, "%d", &pid) == 1)
		kill(pid, SIGKILL);
	fclose(file);
	while (waitpid(-1, NULL, 0) > 0)
		;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	parent_stop(&parent);
	assert_null(parent.all);
	end_children();
	ticket_store_close(&parent.tickets);
	snprintf(command, sizeof(command), "rm -r '%s'", root);
	return system(command);
}

/* --- the tests --- */

static void test_start(void **state)
{
	(void)state;
	assert_int_equal(parent_start(&parent), 0);
	assert_int_equal(count(WORKER_STATE_READY), 3);
	assert_int_equal(set_count, 1);
	assert_int_equal(set[0], 443);
	assert_int_equal(last_policy.given, TLSPORT_NL_POLICY_ALL);
	assert_int_equal(last_policy.handshake_timeout, 500);
}

static void test_start_with_broken_ports(void **state)
{
	(void)state;
	configure("[port 1]\ncert = %s\n[port 2]\ncert = /nowhere\n[port 3]\nfoo = bar\n",
		  certificate);
	assert_int_equal(parent_start(&parent), 0);
	/* all are registered, the broken ones shut */
	assert_int_equal(set_count, 3);
	assert_non_null(generation_port(parent.generation, 1)->context);
	assert_null(generation_port(parent.generation, 2)->context);
	assert_null(generation_port(parent.generation, 3)->context);
	assert_null(generation_port(parent.generation, 4));
}

static void test_start_without_workers(void **state)
{
	(void)state;
	stub = DIES;
	assert_int_equal(parent_start(&parent), -1);
	assert_int_equal(set_count, 1); /* shut all the same */
}

static void test_start_with_some_workers(void **state)
{
	(void)state;
	forks = 1;
	assert_int_equal(parent_start(&parent), 0);
	assert_int_equal(count(WORKER_STATE_READY), 1);
	assert_in_range(parent_restart(&parent), 1, 10000);
	assert_int_equal(count(WORKER_STATE_STARTING), 0);
	forks = -1;
	for (unsigned int slot = 1; slot < 3; slot++) {
		assert_true(parent.restart_at[slot] > clock_ms());
		parent.restart_at[slot] = 1; /* the time has passed */
	}
	wait_for(WORKER_STATE_READY, 3);
	assert_int_equal(parent_restart(&parent), -1);
}

static void test_start_without_any_process(void **state)
{
	(void)state;
	forks = 0;
	assert_int_equal(parent_start(&parent), -1);
}

/* A generation takes over with all of its workers, or not. */
static void test_reload_with_some_workers(void **state)
{
	struct text errors = { NULL, 0 };

	(void)state;
	parent_start(&parent);
	forks = 2;
	assert_int_equal(parent_reload(&parent, &errors), -1);
	forks = -1;
	text_free(&errors);
	assert_int_equal(parent.generation->number, 1);
	wait_for(WORKER_STATE_READY, 3);
	assert_int_equal(parent_restart(&parent), -1);
}

/* Port 443, of a file, and 1001 and so on, of a token that does as @file says */
static void configure_tokens(unsigned int count, const char *file, const char *text)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	char all[4096], uri[FAKE_URI_LEN], path[128];
	struct cert_files files;
	struct cert_facts facts;
	size_t len;

	snprintf(path, sizeof(path), "%s/fake", root);
	mkdir(path, 0700);
	setenv("FAKE_TOKEN", path, 1);
	test_files(TEST_P256, &files, &facts);
	put_file("fake/key.pem", files.key);
	put_file("pin", "1234");
	if (file)
		put_file(file, text);
	len = sprintf(all, "[port 443]\ncert = %s\n", certificate);
	for (unsigned int i = 0; i < count; i++)
		len += sprintf(all + len, "[port %u]\ncert = %s\nkey = %s\npassphrase = %s/pin\n",
			       1001 + i, certificate, fake_uri(names[i], uri), root);
	put_file("tlsport.conf", all);
	signer_run_dir(root);
}

static bool serves(uint16_t port)
{
	return generation_port(parent.generation, port)->context;
}

/* As the daemon's loop does, until there is a generation in which the port is served. */
static void await_token(uint16_t port, unsigned int number)
{
	int64_t until = clock_ms() + 10000, next;
	struct pollfd fd = { .fd = signer_events(), .events = POLLIN };
	struct text errors = { NULL, 0 };

	while (clock_ms() < until && (parent.generation->number < number || !serves(port))) {
		poll(&fd, 1, 20);
		parent_reap(&parent);
		if (signer_attend(&next))
			parent_renew(&parent, &errors);
	}
	text_free(&errors);
	assert_true(serves(port));
	assert_true(parent.generation->number >= number);
}

/* Before they are registered ports are in plaintext; after that some may have to wait. */
static void test_start_with_hung_tokens(void **state)
{
	struct text errors = { NULL, 0 };
	int64_t began = clock_ms();

	(void)state;
	configure_tokens(4, "fake/init", "0 100000");
	assert_int_equal(parent_start(&parent), 0);
	assert_true(clock_ms() - began < PARENT_START_TOKENS_MS + 1500);
	assert_int_equal(set_count, 5);
	assert_true(set_at - began < 1000);
	assert_int_equal(count(WORKER_STATE_READY), 3);
	assert_true(serves(443));
	for (uint16_t port = 1001; port < 1005; port++) {
		assert_false(serves(port));
		assert_non_null(strstr(generation_port(parent.generation, port)->error,
				       "the token has not answered yet"));
	}
	assert_true(generation_wants_token(parent.generation));
	/* What else is renewed does not wait. */
	put_certificate("cert.pem", TEST_RSA);
	began = clock_ms();
	parent_renew(&parent, &errors);
	assert_true(clock_ms() - began < 1500);
	text_free(&errors);
	assert_int_equal(parent.generation->number, 2);
	/* And then they are tried again as before. */
	assert_true(generation_wants_token(parent.generation));
}

static void test_token_that_comes_late(void **state)
{
	(void)state;
	configure_tokens(1, "fake/init", "0 2500");
	assert_int_equal(parent_start(&parent), 0);
	assert_false(serves(1001));
	await_token(1001, 2);
	assert_false(generation_wants_token(parent.generation));
}

/* What is in force serves; what was asked for in its place is still wanted. */
static void test_token_that_does_not_come_again(void **state)
{
	struct text errors = { NULL, 0 };

	(void)state;
	configure_tokens(1, NULL, NULL);
	assert_int_equal(parent_start(&parent), 0);
	parent_renew(&parent, &errors);
	assert_null(errors.chars);
	assert_false(generation_wants_token(parent.generation));
	put_file("fake/init", "5 0"); /* CKR_GENERAL_ERROR */
	put_file("pin", "another");
	parent_renew(&parent, &errors);
	text_free(&errors);
	assert_int_equal(parent.generation->number, 1);
	assert_true(serves(1001));
	assert_true(generation_wants_token(parent.generation));
}

static struct signer *signer_of(uint16_t port)
{
	return generation_port(parent.generation, port)->certificates.list[0].files.signer;
}

/* A worker has found it out: the next generation has another process. */
static void test_token_that_signs_wrongly(void **state)
{
	(void)state;
	configure_tokens(1, NULL, NULL);
	assert_int_equal(parent_start(&parent), 0);
	assert_true(signer_connect(signer_of(1001)) >= 0);
	signer_reject(signer_of(1001));
	await_token(1001, 2);
	assert_true(signer_lives(signer_of(1001)));
	wait_for(WORKER_STATE_READY, 3);
}

/* Certificate and key are replaced, and whoever did it reloads. */
static void test_reload_with_another_key(void **state)
{
	struct text errors = { NULL, 0 };
	struct cert_files files;
	struct cert_facts facts;

	(void)state;
	configure_tokens(2, NULL, NULL);
	assert_int_equal(parent_start(&parent), 0);
	test_files(TEST_P384, &files, &facts);
	put_file("fake/key.pem", files.key);
	put_certificate("cert.pem", TEST_P384);
	if (parent_reload(&parent, &errors))
		fail_msg("%s", errors.chars);
	assert_int_equal(parent.generation->number, 2);
	assert_true(serves(1001));
	assert_true(serves(1002));
}

static void test_token_that_is_lost(void **state)
{
	uint8_t digest[32] = { 1 }, signature[TOKEN_SIGNATURE_MAX];
	struct signer *signer;
	char err[512];

	(void)state;
	configure_tokens(1, NULL, NULL);
	assert_int_equal(parent_start(&parent), 0);
	assert_true(serves(1001));
	signer = signer_of(1001);
	assert_true(signer_connect(signer) >= 0);
	put_file("fake/sign", "32 0 0"); /* CKR_DEVICE_REMOVED */
	assert_int_equal(signer_sign(signer, TOKEN_ECDSA, digest, sizeof(digest), signature, err,
				     sizeof(err)),
			 -1);
	put_file("fake/sign", "0 0 0");
	await_token(1001, 2);
	wait_for(WORKER_STATE_READY, 3);
}

/* It is refused, as with all that cannot be served, and does not take for ever. */
static void test_reload_with_a_hung_token(void **state)
{
	struct text errors = { NULL, 0 };
	int64_t began;

	(void)state;
	parent_start(&parent);
	configure_tokens(4, "fake/init", "0 100000");
	began = clock_ms();
	assert_int_equal(parent_reload(&parent, &errors), -1);
	assert_true(clock_ms() - began < PARENT_RELOAD_TOKENS_MS + 1500);
	assert_non_null(strstr(errors.chars, "the token has not answered yet"));
	assert_non_null(strstr(errors.chars, "tlsport.conf:5: port 1001: pkcs11:")); /* key = */
	text_free(&errors);
	assert_int_equal(parent.generation->number, 1);
}

static void test_dead_worker_is_replaced(void **state)
{
	(void)state;
	parent_start(&parent);
	kill(parent.all->pid, SIGKILL);
	wait_for(WORKER_STATE_READY, 2);
	wait_for(WORKER_STATE_READY, 3);
}

/* Its last word is heard, however late. */
static void test_drained_worker_is_not_replaced(void **state)
{
	siginfo_t info;

	(void)state;
	parent.workers = 1;
	parent_start(&parent);
	kill(parent.all->pid, WORKER_DRAIN_SIGNAL);
	assert_int_equal(waitid(P_PID, parent.all->pid, &info, WEXITED | WNOWAIT), 0);
	parent_reap(&parent);
	assert_null(parent.all);
	assert_int_equal(parent_restart(&parent), -1);
}

static void test_deaths_at_once_are_slowed_down(void **state)
{
	int64_t until = clock_ms() + 1000;
	unsigned int started = 0;
	struct worker_slot *newest = NULL;

	(void)state;
	parent.workers = 1;
	stub = DIES_LATER;
	parent_start(&parent);
	while (clock_ms() < until) {
		parent_reap(&parent);
		parent_restart(&parent);
		started += parent.all && parent.all != newest;
		newest = parent.all;
		poll(NULL, 0, 2);
	}
	/* 0.1 s, 0.2 s, 0.4 s between them */
	assert_in_range(started, 3, 6);
}

static void test_reload(void **state)
{
	struct generation *old;

	(void)state;
	parent_start(&parent);
	old = parent.generation;
	configure("[port 444]\ncert = %s\n[port 445]\ncert = %s\n", certificate, certificate);
	set_count = 0;
	assert_int_equal(parent_reload(&parent, &(struct text){ NULL, 0 }), 0);
	assert_ptr_not_equal(parent.generation, old);
	assert_int_equal(parent.generation->number, 2);
	assert_int_equal(count(WORKER_STATE_READY), 3);
	assert_int_equal(set_count, 2);
	assert_int_equal(deleted_count, 1);
	assert_int_equal(deleted[0], 443);
	wait_for(WORKER_STATE_DRAINING, 0);
	assert_int_equal(count(WORKER_STATE_READY), 3);
}

/* Workers of both generations answer until the old ones drain. */
static void test_reload_widens_first(void **state)
{
	struct tlsport_nl_policy before = {
		.given = TLSPORT_NL_POLICY_ALL,
		.min_version = 0x0304,
		.max_version = 0x0304,
		.max_handshakes = 7,
		.offload = TLSPORT_OFFLOAD_AUTO,
	};

	(void)state;
	parent_start(&parent);
	configure("[port 443]\ncert = %s\nmax-version = 1.2\noffload = require\n", certificate);
	in_kernel = &before;
	set_count = 0;
	assert_int_equal(parent_reload(&parent, &(struct text){ NULL, 0 }), 0);
	assert_int_equal(set_count, 2);
	assert_int_equal(policies[0].min_version, 0x0303);
	assert_int_equal(policies[0].max_version, 0x0304);
	assert_int_equal(policies[0].offload, TLSPORT_OFFLOAD_AUTO);
	assert_int_equal(policies[0].max_handshakes, 7);
	assert_int_equal(policies[1].min_version, 0x0303);
	assert_int_equal(policies[1].max_version, 0x0303);
	assert_int_equal(policies[1].offload, TLSPORT_OFFLOAD_REQUIRE);
}

static void test_reload_that_fails_narrows_again(void **state)
{
	struct tlsport_nl_policy before;
	struct text errors = { NULL, 0 };

	(void)state;
	configure("[port 443]\ncert = %s\nmin-version = 1.3\n", certificate);
	parent_start(&parent);
	before = last_policy;
	configure("[port 443]\ncert = %s\n", certificate);
	in_kernel = &before;
	stub = DIES;
	set_count = 0;
	assert_int_equal(parent_reload(&parent, &errors), -1);
	text_free(&errors);
	assert_int_equal(set_count, 2);
	assert_int_equal(policies[0].min_version, 0x0303);
	assert_int_equal(policies[1].min_version, 0x0304);
}

static void fails_to_reload(const char *piece)
{
	struct generation *old = parent.generation;
	struct text errors = { NULL, 0 };

	set_count = deleted_count = 0;
	assert_int_equal(parent_reload(&parent, &errors), -1);
	assert_non_null(errors.chars);
	if (!strstr(errors.chars, piece))
		fail_msg("'%s' does not hold '%s'", errors.chars, piece);
	text_free(&errors);
	/* nothing has changed */
	assert_ptr_equal(parent.generation, old);
	assert_int_equal(set_count, 0);
	assert_int_equal(deleted_count, 0);
	wait_for(WORKER_STATE_READY, 3);
	for (struct worker_slot *worker = parent.all; worker; worker = worker->next)
		assert_true(worker->generation == old || worker->state != WORKER_STATE_READY);
}

static void test_reload_of_what_is_wrong(void **state)
{
	(void)state;
	parent_start(&parent);
	configure("[port 444]\nfoo = bar\n");
	fails_to_reload("unknown key 'foo'");
	configure("[port 444]\nalpn = h2\ncert = /nowhere.pem\n");
	fails_to_reload("tlsport.conf:3: port 444: /nowhere.pem: No such file or directory");
	configure("[port 444]\ncert = %s\nciphers = ECDHE-RSA-AES128-GCM-SHA256\n", certificate);
	fails_to_reload("no cipher is left that fits");
	configure("[port 444]\ncert = %s\n", certificate);
	stub = DIES;
	fails_to_reload("new workers could not be started");
	stub = WORKS;
	assert_int_equal(parent_reload(&parent, &(struct text){ NULL, 0 }), 0);
}

static void fails_at_line(unsigned int line, const char *piece)
{
	char text[256];

	snprintf(text, sizeof(text), "tlsport.conf:%u: port 443: %s", line, piece);
	fails_to_reload(text);
}

/* Whichever of the port's files it is, the line that names it is told. */
static void test_lines_of_what_is_wrong(void **state)
{
	const struct wish wish = { "authority", "P-256", .ca = true, .to = 100 };
	struct party authority = party_new(&wish, NULL);
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	struct client_ca ca = { 0 };
	char path[128];
	FILE *file;

	(void)state;
	parent_start(&parent);
	configure("[port 443]\nalpn = h2\ncert = %s\nkey = /nowhere.key\n", certificate);
	fails_at_line(4, "/nowhere.key: No such file or directory");
	configure("[port 443]\nkey = %s\ncert = %s\n", certificate, certificate);
	put_file("cert.pem", "junk\n");
	fails_at_line(3, "/");
	put_certificate("cert.pem", TEST_P256);
	if (!crypt_has_group(GROUP_X25519MLKEM768)) {
		configure("[port 443]\ncert = %s\nalpn = h2\ngroups = X25519MLKEM768\n",
			  certificate);
		fails_at_line(4, "groups: wolfSSL ");
	}
	snprintf(path, sizeof(path), "%s/encrypted.key", root);
	file = fopen(path, "w");
	assert_non_null(file);
	PEM_write_PKCS8PrivateKey(file, key, EVP_aes_256_cbc(), NULL, 0, NULL, "secret");
	fclose(file);
	configure("[port 443]\ncert = %s\nkey = %s\npassphrase = /nowhere\n", certificate, path);
	fails_at_line(4, "/nowhere: No such file or directory");
	mkdir(strcat(strcpy(path, root), "/certs"), 0700);
	put_file("certs/a.pem", "junk\n");
	configure("[port 443]\ncert = %s\ncert-dir = %s\n", certificate, path);
	fails_at_line(3, path);
	pki_add_ca(&ca, &authority);
	put_file("ca.pem", ca.ca);
	configure("[port 443]\ncert = %s\nclient-auth = require\nclient-ca = %s/ca.pem\n"
		  "client-crl = /nowhere.crl\n",
		  certificate, root);
	fails_at_line(5, "/nowhere.crl: No such file or directory");
	put_file("ca.pem", "junk\n");
	put_file("crl.pem", "junk\n");
	configure("[port 443]\ncert = %s\nclient-auth = require\nclient-ca = %s/ca.pem\n"
		  "client-crl = %s/crl.pem\n",
		  certificate, root, root);
	snprintf(path, sizeof(path), "%s/ca.pem: no certificate in it", root);
	fails_at_line(4, path);
	client_ca_free(&ca);
	party_free(&authority);
	EVP_PKEY_free(key);
}

static void test_reload_that_the_kernel_refuses(void **state)
{
	struct text errors = { NULL, 0 };

	(void)state;
	parent_start(&parent);
	configure("[port 444]\ncert = %s\n", certificate);
	refused = 444;
	assert_int_equal(parent_reload(&parent, &errors), -1);
	assert_string_equal(errors.chars, "port 444: the kernel refused it: no, thank you\n");
	text_free(&errors);
}

/* "tlsportctl disable 443" of a port whose reload was refused: the generation in force has it still. */
static void disable_443(void)
{
	registered[443] = false;
	set_count = deleted_count = 0;
}

static void configure_two(const char *more)
{
	configure("[port 80]\ncert = %s\n%s[port 443]\ncert = %s\n%s", certificate, more,
		  certificate, more);
}

static void test_disabled_port_stays_so(void **state)
{
	struct text errors = { NULL, 0 };

	(void)state;
	configure_two("min-version = 1.3\n");
	parent_start(&parent);
	disable_443();
	put_certificate("cert.pem", TEST_RSA);
	assert_int_equal(parent_renew(&parent, &errors), 0);
	assert_int_equal(parent.generation->number, 2);
	assert_int_equal(set_count, 1);
	assert_int_equal(set[0], 80);
	/* a reload whose workers die had widened what it narrows again */
	configure_two("");
	stub = DIES;
	set_count = 0;
	assert_int_equal(parent_reload(&parent, &errors), -1);
	text_free(&errors);
	assert_int_equal(set_count, 2);
	assert_int_equal(set[0], 80);
	assert_int_equal(set[1], 80);
	/* what has just been read makes it again */
	stub = WORKS;
	assert_int_equal(parent_reload(&parent, &errors), 0);
	assert_true(registered[443]);
}

/* --- certificates that are replaced --- */

static void renews(unsigned int generation, const char *error)
{
	struct text errors = { NULL, 0 };

	set_count = deleted_count = 0;
	assert_int_equal(parent_renew(&parent, &errors), error ? -1 : 0);
	if (error && (!errors.chars || !strstr(errors.chars, error)))
		fail_msg("'%s' does not hold '%s'", errors.chars, error);
	text_free(&errors);
	assert_int_equal(parent.generation->number, generation);
	assert_int_equal(deleted_count, 0);
	wait_for(WORKER_STATE_DRAINING, 0);
	assert_int_equal(count(WORKER_STATE_READY), 3);
}

static void served(uint16_t port, const char *key_type)
{
	const struct served_port *p = generation_port(parent.generation, port);

	assert_non_null(p->context);
	assert_string_equal(p->certificates.list[0].facts.key_type, key_type);
}

/* What status says of files that are newer than what is in force */
static void status_says(const char *renewal_errors)
{
	char *status = control_status(&parent), *found = strstr(status, "\"renewal_errors\":[");

	assert_non_null(found);
	found += strlen("\"renewal_errors\":[");
	if (strncmp(found, renewal_errors, strlen(renewal_errors)))
		fail_msg("'%s' does not begin with '%s'", found, renewal_errors);
	free(status);
}

static void test_renewal(void **state)
{
	char broken[512];

	(void)state;
	parent_start(&parent);
	renews(1, NULL); /* nothing has changed */
	put_certificate("cert.pem", TEST_RSA);
	configure("[port 443]\nhalf = written\n"); /* is not looked at */
	renews(2, NULL);
	served(443, "RSA 2048");
	status_says("]");
	put_file("cert.pem", "junk\n");
	renews(2, "the certificate in force stays");
	served(443, "RSA 2048");
	snprintf(broken, sizeof(broken), "\"%s: ", certificate);
	status_says(broken);
	remove(certificate);
	renews(2, "No such file or directory; the certificate in force stays");
	put_certificate("cert.pem", TEST_P384);
	renews(3, NULL);
	served(443, "ECDSA P-384");
	status_says("]");
}

static void test_renewal_of_one_of_two(void **state)
{
	(void)state;
	put_certificate("other.pem", TEST_P384);
	configure(
		"[port 443]\ncert = %s\n[port 444]\ncert = %s/other.pem\n[port 445]\ncert = %s/none.pem\n",
		certificate, root, root);
	parent_start(&parent);
	put_certificate("other.pem", TEST_RSA);
	put_file("cert.pem", "junk\n");
	renews(2, "port 443");
	served(443, "ECDSA P-256");
	served(444, "RSA 2048");
	assert_null(generation_port(parent.generation, 445)->context);
	put_certificate("none.pem", TEST_P256); /* at last */
	put_certificate("cert.pem", TEST_P256); /* as it was */
	renews(3, NULL);
	served(443, "ECDSA P-256");
	served(444, "RSA 2048");
	served(445, "ECDSA P-256");
}

/* What says who is revoked is replaced every few days. */
static void test_renewal_of_revocation_lists(void **state)
{
	const struct wish wish = { "authority", "P-256", .ca = true, .to = 100 };
	struct party authority = party_new(&wish, NULL);
	struct client_ca first = { 0 }, second = { 0 };

	(void)state;
	pki_add_ca(&first, &authority);
	pki_add_crl(&first, &authority, NULL, 10);
	pki_add_crl(&second, &authority, &authority, 10);
	put_file("ca.pem", first.ca);
	put_file("crl.pem", first.crl);
	configure("[port 443]\ncert = %s\nclient-auth = require\nclient-ca = %s/ca.pem\n"
		  "client-crl = %s/crl.pem\n",
		  certificate, root, root);
	parent_start(&parent);
	served(443, "ECDSA P-256");
	renews(1, NULL);
	put_file("crl.pem", "junk\n");
	renews(1, "no certificate revocation list in it; what is in force stays");
	put_file("crl.pem", second.crl);
	renews(2, NULL);
	assert_true(!strcmp(generation_port(parent.generation, 443)->clients.crl, second.crl));
	/* the certificate is replaced while the lists are of no use: those in force go with it */
	put_file("crl.pem", "junk\n");
	put_certificate("cert.pem", TEST_RSA);
	renews(3, "what is in force stays");
	served(443, "RSA 2048");
	assert_true(!strcmp(generation_port(parent.generation, 443)->clients.crl, second.crl));
	client_ca_free(&first);
	client_ca_free(&second);
	party_free(&authority);
}

/* Without its authorities it lets nobody in, and never everybody. */
static void test_authorities_are_missing(void **state)
{
	(void)state;
	configure("[port 443]\ncert = %s\nclient-auth = request\nclient-ca = %s/none.pem\n",
		  certificate, root);
	parent_start(&parent);
	assert_null(generation_port(parent.generation, 443)->context);
	assert_non_null(strstr(generation_port(parent.generation, 443)->error,
			       "none.pem: No such file or directory"));
	renews(1, "none.pem: No such file or directory");
	assert_null(generation_port(parent.generation, 443)->context);
}

static void put_bytes(const char *name, const uint8_t *bytes, size_t len)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
}

static void put_party(const char *name, const struct party *party)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fchmod(fileno(file), 0600);
	PEM_write_X509(file, party->x509);
	PEM_write_PrivateKey(file, party->key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
}

static int catch_log(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC), kept = dup(STDERR_FILENO);

	assert_true(fd >= 0 && kept >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
	return kept;
}

/* What has been logged since catch_log(), which returned @kept */
static const char *caught_log(int kept)
{
	static char text[4096];
	ssize_t len = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);

	dup2(kept, STDERR_FILENO);
	close(kept);
	assert_true(len >= 0);
	text[len] = '\0';
	return text;
}

static void logs(const char *text, const char *piece)
{
	if (!strstr(text, piece))
		fail_msg("'%s' does not hold '%s'", text, piece);
}

/* What the daily alarm says. */
static const char *told_ends(void)
{
	int kept = catch_log();

	generation_tell_ends(parent.generation);
	return caught_log(kept);
}

static void test_alarm(void **state)
{
	const struct wish soon = { "soon", "P-256", .to = 3 };
	const struct wish late = { "late", "P-256", .from = -9, .to = -1 };
	const struct wish later = { "later", "P-256", .to = 20 };
	struct party parties[] = { party_new(&soon, NULL), party_new(&late, NULL),
				   party_new(&later, NULL) };
	struct certificate *one;
	const char *text;

	(void)state;
	put_party("soon.pem", &parties[0]);
	put_party("late.pem", &parties[1]);
	put_party("later.pem", &parties[2]);
	configure("[port 443]\ncert = %s/soon.pem\n[port 444]\ncert = %s/late.pem\n"
		  "[port 445]\ncert = %s/later.pem\n[port 446]\ncert = /nowhere\n",
		  root, root, root);
	parent_start(&parent);
	text = told_ends();
	logs(text, "port 443: ");
	logs(text, "/soon.pem: expires in ");
	logs(text, ": renew it\n");
	logs(text, "port 444: ");
	logs(text, "/late.pem: expired on 20");
	assert_null(strstr(text, "port 445"));
	assert_null(strstr(text, "port 446"));
	assert_null(strstr(text, "OCSP"));
	one = generation_port(parent.generation, 445)->certificates.list;
	one->response =
		(struct ocsp_response){ .der = calloc(1, 1), .len = 1, .until = time(NULL) - 1 };
	logs(told_ends(), "/later.pem: its OCSP response has expired: none is stapled\n");
	for (size_t i = 0; i < sizeof(parties) / sizeof(parties[0]); i++)
		party_free(&parties[i]);
}

/* --- what workers have in their memory --- */

#define MASK	    0x5a
#define SECRET_LEN  32
#define MAPPING_MAX (1UL << 28)

/**
 * struct unseen - a key that this process has never had
 * @number: masked, for whoever looks for it must not find what it looks for with
 * @text: likewise half a line of its file, most of the number
 */
struct unseen {
	uint8_t number[SECRET_LEN];
	uint8_t text[SECRET_LEN];
};

static void note_unseen(EVP_PKEY *key, struct unseen *unseen)
{
	BIO *bio = BIO_new(BIO_s_mem());
	BIGNUM *number = NULL;
	char *text;

	EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &number);
	BN_bn2binpad(number, unseen->number, SECRET_LEN);
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	BIO_get_mem_data(bio, &text);
	/* behind the first line, and one of 64 letters */
	memcpy(unseen->text, strchr(text, '\n') + 1 + 64 + 1, SECRET_LEN);
	for (int i = 0; i < SECRET_LEN; i++) {
		unseen->number[i] ^= MASK;
		unseen->text[i] ^= MASK;
	}
}

/* A certificate with such a key */
static void put_unseen(const char *name, struct unseen *unseen)
{
	const struct wish wish = { "unseen", "P-256", .to = 100 };
	struct party party;
	int status, out[2];
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (!pid) {
		party = party_new(&wish, NULL);
		put_party(name, &party);
		note_unseen(party.key, unseen);
		_exit(write(out[1], unseen, sizeof(*unseen)) != sizeof(*unseen));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(out[0], unseen, sizeof(*unseen)), sizeof(*unseen));
	close(out[0]);
	close(out[1]);
}

static bool has_masked(const uint8_t *bytes, size_t len, const uint8_t masked[SECRET_LEN])
{
	const uint8_t first = masked[0] ^ MASK, *end = bytes + len;
	size_t i;

	while (end - bytes >= SECRET_LEN && (bytes = memchr(bytes, first, end - bytes))) {
		for (i = 0; i < SECRET_LEN && bytes + i < end; i++)
			if ((bytes[i] ^ MASK) != masked[i])
				break;
		if (i == SECRET_LEN)
			return true;
		bytes++;
	}
	return false;
}

/* In all that it can write, but for what is too large to be its own. */
static bool process_has(pid_t pid, const struct unseen *unseen)
{
	unsigned long start, end;
	char path[64], line[512];
	bool found = false;
	uint8_t *bytes;
	ssize_t len;
	FILE *maps;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "r");
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDONLY);
	assert_true(maps && mem >= 0);
	while (!found && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx rw", &start, &end) != 2 || !strstr(line, " rw"))
			continue;
		if (end - start > MAPPING_MAX)
			continue;
		bytes = malloc(end - start);
		len = bytes ? pread(mem, bytes, end - start, start) : -1;
		found = len > 0 && (has_masked(bytes, len, unseen->number) ||
				    has_masked(bytes, len, unseen->text));
		if (bytes)
			explicit_bzero(bytes, end - start);
		free(bytes);
	}
	fclose(maps);
	close(mem);
	return found;
}

/* Those that serve: how many have it? */
static unsigned int ready_with(const struct unseen *unseen)
{
	unsigned int found = 0;

	parent_reports(&parent);
	for (struct worker_slot *worker = parent.all; worker; worker = worker->next)
		found += worker->state == WORKER_STATE_READY && process_has(worker->pid, unseen);
	return found;
}

/* A key that others know by now, perhaps, was replaced: who reads what strangers send is rid of it. */
static void test_new_workers_have_no_old_keys(void **state)
{
	struct unseen first, second, third;
	struct text errors = { NULL, 0 };

	(void)state;
	/* The packaged libraries, which do not staple either, leave copies in what they free. */
	if (!engine_staples())
		skip();
	stub = IS_STUBBORN; /* generations stay */
	put_unseen("cert.pem", &first);
	assert_int_equal(parent_start(&parent), 0);
	assert_int_equal(ready_with(&first), 3);
	put_unseen("cert.pem", &second);
	parent_renew(&parent, &errors);
	assert_int_equal(parent.generation->number, 2);
	assert_int_equal(ready_with(&second), 3);
	assert_int_equal(ready_with(&first), 0);
	put_unseen("cert.pem", &third);
	assert_int_equal(parent_reload(&parent, &errors), 0);
	assert_int_equal(parent.generation->number, 3);
	assert_int_equal(ready_with(&third), 3);
	assert_int_equal(ready_with(&first) + ready_with(&second), 0);
	assert_int_equal(count(WORKER_STATE_DRAINING), 6);
	text_free(&errors);
}

/* The process that signs is the parent's, and it hears of it still, whoever was forked. */
static void test_new_workers_leave_the_token(void **state)
{
	struct text errors = { NULL, 0 };
	struct signer *signer;

	(void)state;
	stub = IS_STUBBORN; /* the generation that has the token stays */
	assert_true(signer_events() >= 0);
	configure_tokens(2, NULL, NULL);
	assert_int_equal(parent_start(&parent), 0);
	signer = signer_of(1002);
	configure_tokens(1, NULL, NULL);
	assert_int_equal(parent_reload(&parent, &errors), 0);
	assert_int_equal(parent.generation->number, 2);
	assert_true(serves(1001));
	assert_true(signer_lives(signer));
	/* what it says at its end is an event as before */
	assert_true(signer_connect(signer) >= 0);
	signer_reject(signer);
	for (int64_t next, until = clock_ms() + 5000; signer_lives(signer); signer_attend(&next)) {
		struct pollfd fd = { .fd = signer_events(), .events = POLLIN };

		assert_true(clock_ms() < until);
		assert_int_equal(poll(&fd, 1, 5000), 1);
	}
	text_free(&errors);
}

/* The strings below @key of the port that is configured first, one a line */
static const char *status_strings(const char *key)
{
	static char all[4096];
	char *text = control_status(&parent);
	json_t *status = json_loads(text, 0, NULL), *line;
	size_t i;

	all[0] = '\0';
	json_array_foreach(
		json_object_get(json_array_get(json_object_get(status, "ports"), 0), key), i, line)
		strcat(strcat(all, json_string_value(line)), "\n");
	json_decref(status);
	free(text);
	return all;
}

/* Long after the start, and though the files are as they were */
static void test_alarm_of_revocation_lists(void **state)
{
	const struct wish wish = { "authority", "P-256", .ca = true, .to = 100 };
	struct party authority = party_new(&wish, NULL);
	struct client_ca text = { 0 };
	struct client_ca *clients;

	(void)state;
	pki_add_ca(&text, &authority);
	pki_add_crl(&text, &authority, NULL, 10);
	put_file("ca.pem", text.ca);
	put_file("crl.pem", text.crl);
	configure("[port 443]\ncert = %s\nclient-auth = require\nclient-ca = %s/ca.pem\n"
		  "client-crl = %s/crl.pem\n",
		  certificate, root, root);
	parent_start(&parent);
	assert_string_equal(told_ends(), "");
	assert_string_equal(status_strings("client_warnings"), "");
	clients = &parent.generation->ports[0].clients;
	assert_int_equal(clients->end_count, 2);
	clients->ends[1].until = time(NULL) - 1;
	renews(1, NULL);
	logs(told_ends(),
	     "/crl.pem: revocation list 1 has ended: no client certificate of its issuer is taken\n");
	logs(status_strings("client_warnings"), "/crl.pem: revocation list 1 has ended: ");
	logs(status_strings("warnings"), "/crl.pem: revocation list 1 has ended: ");
	/* a new generation for another reason knows it, too */
	put_certificate("cert.pem", TEST_RSA);
	put_file("crl.pem", "junk\n");
	parent.generation->ports[0].clients.ends[0].until = time(NULL) + 3 * 24 * 3600 + 100;
	renews(2, "what is in force stays");
	logs(told_ends(), "/ca.pem: certificate 1 (authority) in it expires in 3 days: then ");
	logs(status_strings("warnings"), "/crl.pem: revocation list 1 has ended: ");
	client_ca_free(&text);
	party_free(&authority);
}

/* Those of a file are of all ports that have it. */
static void test_renewal_of_ticket_keys(void **state)
{
	static const char line[] =
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";

	(void)state;
	put_file("keys", line);
	configure("[port 443]\ncert = %s\nticket-keys = %s/keys\n", certificate, root);
	parent_start(&parent);
	assert_string_equal(status_strings("renewal_errors"), "");
	put_file("keys", "junk\n");
	renews(1, "the ticket keys in force stay");
	logs(status_strings("renewal_errors"), "/keys:1: ");
	logs(status_strings("renewal_errors"), "; the ticket keys in force stay\n");
	put_file("keys", line);
	renews(1, NULL);
	assert_string_equal(status_strings("renewal_errors"), "");
}

/* What is asked for in the background, and fails there */
static void test_status_of_failing_responders(void **state)
{
	json_t *status, *ocsp;
	char *text;
	struct certificate *one;

	(void)state;
	if (!engine_staples())
		skip();
	configure("[port 443]\ncert = %s\nocsp = fetch\n", certificate);
	parent_start(&parent);
	one = parent.generation->ports[0].certificates.list;
	strcpy(one->facts.ocsp_url, "http://127.0.0.1:1/");
	one->response_error[0] = '\0';
	ocsp_fetch_update(&parent.fetches, parent.generation);
	/* as if it had been asked, by a process that could not even begin */
	put_file("ocsp", "no directory");
	assert_true(ocsp_fetch_run(&parent.fetches, &parent.user) > 0);
	text = control_status(&parent);
	status = json_loads(text, 0, NULL);
	ocsp = json_object_get(json_array_get(json_object_get(status, "ports"), 0), "ocsp");
	assert_true(json_is_null(json_object_get(ocsp, "until")));
	logs(json_string_value(json_object_get(ocsp, "error")), "OCSP: no process can be started");
	strcpy(one->response_error, "it is wrong");
	json_decref(status);
	free(text);
	text = control_status(&parent);
	logs(text, "\"error\":\"it is wrong; OCSP: no process can be started");
	free(text);
	ocsp_fetch_close(&parent.fetches);
}

/* An intermediate that ends takes the certificate with it. */
static void test_alarm_of_intermediates(void **state)
{
	const struct wish ca = { "middle", "P-256", .ca = true, .to = 90 };
	const struct wish wish = { "leaf", "P-256", .to = 100 };
	struct party middle = party_new(&ca, NULL), leaf = party_new(&wish, &middle);
	struct cert_facts *facts;
	char path[128];
	FILE *file;

	(void)state;
	put_party("cert.pem", &leaf);
	snprintf(path, sizeof(path), "%s/cert.pem", root);
	file = fopen(path, "a");
	PEM_write_X509(file, middle.x509);
	fclose(file);
	parent_start(&parent);
	assert_string_equal(told_ends(), "");
	assert_string_equal(status_strings("warnings"), "");
	facts = &parent.generation->ports[0].certificates.list[0].facts;
	facts->issuer.not_after = time(NULL) + 5 * 3600 + 100;
	logs(told_ends(),
	     "/cert.pem: certificate 2 (middle) of the chain expires in 5 hours: renew it\n");
	assert_string_equal(status_strings("warnings"),
			    "certificate 2 (middle) of the chain expires in 5 hours\n");
	party_free(&leaf);
	party_free(&middle);
}

/* Whoever has the keys, or writes the authorities' file, gets at what is sent. */
static void test_files_that_others_can_read(void **state)
{
	static const char line[] =
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
	const struct wish wish = { "authority", "P-256", .ca = true, .to = 100 };
	struct party authority = party_new(&wish, NULL);
	struct client_ca ca = { 0 };
	char keys[128], path[128], two[2 * sizeof(line)];
	struct text errors = { NULL, 0 };
	const char *text;
	int kept;

	(void)state;
	pki_add_ca(&ca, &authority);
	put_file("ca.pem", ca.ca);
	put_file("keys", line);
	snprintf(keys, sizeof(keys), "%s/keys", root);
	snprintf(path, sizeof(path), "%s/ca.pem", root);
	chmod(keys, 0644);
	chmod(path, 0660);
	configure("[port 443]\ncert = %s\nticket-keys = %s\n[port 444]\ncert = %s\n"
		  "client-auth = require\nclient-ca = %s\n",
		  certificate, keys, certificate, path);
	kept = catch_log();
	parent_start(&parent);
	text = caught_log(kept);
	logs(text, "port 443: ");
	logs(text, "/keys: is readable by everyone\n");
	logs(text, "port 444: ");
	logs(text, "/ca.pem: can be changed by others than its owner\n");
	/* later with others only */
	kept = catch_log();
	parent_renew(&parent, &errors);
	assert_string_equal(caught_log(kept), "");
	put_file("keys", strcat(strcpy(two, line), line));
	chmod(keys, 0644);
	kept = catch_log();
	parent_renew(&parent, &errors);
	logs(caught_log(kept), "/keys: is readable by everyone\n");
	assert_null(errors.chars);
	client_ca_free(&ca);
	party_free(&authority);
}

static bool has_own_keys(const char *path)
{
	return ticket_store_keys(&parent.tickets, path) != parent.tickets.own;
}

/* They stay for as long as a generation names them, which may be one that has workers only. */
static void test_ticket_keys_that_nobody_names(void **state)
{
	static const char line[] =
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
	const char plain[] = "[port 443]\ncert = %s\n", keyed[] = "%sticket-keys = %s/%s\n";
	struct text errors = { NULL, 0 };
	char text[256], path[128], typo[128];

	(void)state;
	stub = IS_STUBBORN;
	put_file("keys", line);
	snprintf(path, sizeof(path), "%s/keys", root);
	snprintf(typo, sizeof(typo), "%s/typo", root);
	snprintf(text, sizeof(text), plain, certificate);
	configure(keyed, text, root, "keys");
	assert_int_equal(parent_start(&parent), 0);
	/* refused */
	configure(keyed, text, root, "typo");
	assert_int_equal(parent_reload(&parent, &errors), -1);
	text_free(&errors);
	assert_true(has_own_keys(path));
	assert_false(has_own_keys(typo));
	assert_int_equal(parent_renew(&parent, &errors), 0);
	/* taken out, and the old workers are busy still */
	configure(plain, certificate);
	assert_int_equal(parent_reload(&parent, &errors), 0);
	assert_true(has_own_keys(path));
	snprintf(text, sizeof(text), "rm '%s'", path);
	assert_int_equal(system(text), 0);
	assert_int_equal(parent_renew(&parent, &errors), 0);
	for (struct worker_slot *worker = parent.all; worker; worker = worker->next)
		if (worker->state == WORKER_STATE_DRAINING)
			kill(worker->pid, SIGKILL);
	wait_for(WORKER_STATE_DRAINING, 0);
	assert_false(has_own_keys(path));
	assert_int_equal(errors.len, 0);
}

/* The one that is in force; what is said of it. */
static const struct certificate *stapled(size_t len, const char *error)
{
	const struct certificate *one = generation_port(parent.generation, 443)->certificates.list;

	assert_int_equal(one->response.len, len);
	if (strcmp(one->response_error, error))
		fail_msg("'%s', not '%s'", one->response_error, error);
	return one;
}

#define NO_STAPLE "must-staple, and there is no OCSP response: some clients will refuse it"

static void test_ocsp_file(void **state)
{
	struct test_response expired = { .status = V_OCSP_CERTSTATUS_GOOD,
					 .since = -7200,
					 .until = -3600 };
	uint8_t der[OCSP_RESPONSE_MAX];
	char wrong[512], *status;
	struct cert_files files;
	struct cert_facts facts;
	struct test_ca ca;
	size_t len;
	X509 *cert;

	(void)state;
	if (!engine_staples())
		skip();
	test_ca_new(&ca, "authority");
	cert = test_ca_issue(&ca, TEST_P256, true, NULL, &files, &facts);
	put_file("cert.pem", files.cert);
	put_file("cert.key", files.key);
	configure("[port 443]\ncert = %s\nkey = %s/cert.key\n", certificate, root);
	parent_start(&parent);
	stapled(0, NO_STAPLE);
	len = test_response_good(&ca, cert, der);
	put_bytes("cert.ocsp", der, len);
	renews(2, NULL);
	stapled(len, "");
	status = control_status(&parent);
	assert_non_null(strstr(status, "\"ocsp\":{\"until\":1"));
	assert_non_null(strstr(status, "\"must_staple\":true,\"error\":null}"));
	free(status);
	renews(2, NULL);		 /* nothing has changed */
	put_file("cert.ocsp", "junk\n"); /* the one in force stays */
	renews(2, NULL);
	stapled(len, "");
	snprintf(wrong, sizeof(wrong), "%s/cert.ocsp", root);
	remove(wrong);
	renews(3, NULL);
	stapled(0, NO_STAPLE);
	/* as HAProxy has it; of several the one that is good */
	put_file("cert.ocsp", "junk\n");
	put_bytes("cert.pem.ocsp", der, len);
	snprintf(wrong, sizeof(wrong),
		 "OCSP response %s/cert.ocsp is not stapled: it has expired, or "
		 "is no OCSP response with a status (DER)",
		 root);
	renews(4, NULL);
	stapled(len, wrong);
	/* a daemon that starts has no older one */
	expired.ca = &ca;
	expired.cert = cert;
	len = test_response_make(&expired, der);
	put_bytes("cert.ocsp", der, len);
	put_bytes("cert.pem.ocsp", der, len);
	assert_int_equal(parent_reload(&parent, &(struct text){ NULL, 0 }), 0);
	stapled(0, wrong);
	configure("[port 443]\ncert = %s\nkey = %s/cert.key\nocsp = off\n", certificate, root);
	assert_int_equal(parent_reload(&parent, &(struct text){ NULL, 0 }), 0);
	stapled(0, NO_STAPLE);
	X509_free(cert);
	cert_files_free(&files);
	test_ca_free(&ca);
}

static size_t usable(uint16_t port)
{
	return certificates_usable(&generation_port(parent.generation, port)->certificates);
}

/* Each file by itself: a broken one does not keep the others from being renewed. */
static void test_renewal_in_a_directory(void **state)
{
	char dir[80];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/certs", root);
	assert_int_equal(mkdir(dir, 0700), 0);
	put_certificate("certs/a.pem", TEST_P256);
	put_certificate("certs/b.pem", TEST_P384);
	configure("[port 443]\ncert-dir = %s\n", dir);
	parent_start(&parent);
	served(443, "ECDSA P-256");
	assert_int_equal(usable(443), 2);
	renews(1, NULL);
	put_certificate("certs/b.pem", TEST_RSA);
	put_file("certs/a.pem", "junk\n");
	renews(2,
	       "a.pem: no certificate in it (PEM \"BEGIN CERTIFICATE\"); the certificate in force stays");
	served(443, "ECDSA P-256");
	assert_int_equal(usable(443), 2);
	put_file("certs/c.pem", "junk\n"); /* new, and of no use yet */
	renews(2, "c.pem: no certificate in it");
	put_certificate("certs/c.pem", TEST_P384);
	put_certificate("certs/a.pem", TEST_RSA);
	renews(3, NULL);
	served(443, "RSA 2048");
	assert_int_equal(usable(443), 3);
	put_file("certs/a.pem", "junk\n");
	remove(certificate); /* another port's */
	snprintf(certificate, sizeof(certificate), "%s/b.pem", dir);
	remove(certificate);
	renews(4, "a.pem: no certificate in it");
	assert_int_equal(usable(443), 2);
	/* a directory without any is no reason to serve none */
	snprintf(certificate, sizeof(certificate), "%s/a.pem", dir);
	remove(certificate);
	snprintf(certificate, sizeof(certificate), "%s/c.pem", dir);
	remove(certificate);
	renews(4,
	       "certs: no certificate in it: NAME.pem, NAME.crt with NAME.key, or NAME/fullchain.pem; "
	       "the certificate in force stays");
	assert_int_equal(usable(443), 2);
}

/* More certificates that are not there are no reason to serve none. */
static void test_directory_is_missing(void **state)
{
	struct text errors = { NULL, 0 };

	(void)state;
	configure("[port 443]\ncert = %s\ncert-dir = %s/none\n", certificate, root);
	parent_start(&parent);
	served(443, "ECDSA P-256");
	put_certificate("cert.pem", TEST_RSA);
	renews(2, "none: No such file or directory");
	served(443, "RSA 2048");
	assert_int_equal(parent_reload(&parent, &errors), -1);
	text_free(&errors);
}

/* Its names are served on when it goes, or all that is in it. */
static void test_directory_goes(void **state)
{
	char dir[80], file[96];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/certs", root);
	snprintf(file, sizeof(file), "%s/a.pem", dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	put_certificate("certs/a.pem", TEST_P384);
	configure("[port 443]\ncert = %s\ncert-dir = %s\n", certificate, dir);
	parent_start(&parent);
	assert_int_equal(usable(443), 2);
	remove(file);
	renews(1, "certs: no certificate in it: NAME.pem, NAME.crt with NAME.key, or "
		  "NAME/fullchain.pem; the certificate in force stays");
	assert_int_equal(usable(443), 2);
	put_certificate("cert.pem", TEST_RSA);
	renews(2, "; the certificate in force stays");
	served(443, "RSA 2048");
	assert_int_equal(usable(443), 2);
	assert_int_equal(rmdir(dir), 0);
	put_certificate("cert.pem", TEST_P256);
	renews(3, "certs: No such file or directory; the certificate in force stays");
	assert_int_equal(usable(443), 2);
	assert_int_equal(mkdir(dir, 0700), 0);
	put_certificate("certs/b.pem", TEST_RSA);
	renews(4, NULL);
	assert_int_equal(usable(443), 2);
	assert_string_equal(
		generation_port(parent.generation, 443)->certificates.list[1].facts.key_type,
		"RSA 2048");
}

/* Good certificates for which no worker can be started: they are tried again. */
static void test_renewal_is_tried_again(void **state)
{
	struct text errors = { NULL, 0 };

	(void)state;
	parent_start(&parent);
	put_certificate("cert.pem", TEST_RSA);
	stub = DIES;
	assert_int_equal(parent_renew(&parent, &errors), 1);
	text_free(&errors);
	stub = WORKS;
	renews(3, NULL);
	served(443, "RSA 2048");
}

static void test_strict_profile(void **state)
{
	(void)state;
	configure("[port 443]\ncert = %s\nprofile = strict\n", certificate);
	parent_start(&parent);
	assert_null(generation_port(parent.generation, 443)->context);
	assert_non_null(strstr(generation_port(parent.generation, 443)->error,
			       "self-signed: nobody vouches for it (profile = strict)"));
}

/* What can be served is, at a start; a reload is refused. */
static void test_one_of_a_directory_is_broken(void **state)
{
	struct text errors = { NULL, 0 };
	char dir[80];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/certs", root);
	assert_int_equal(mkdir(dir, 0700), 0);
	put_file("certs/a.pem", "junk\n");
	put_certificate("certs/b.pem", TEST_P384);
	configure("[port 443]\ncert-dir = %s\n", dir);
	parent_start(&parent);
	assert_int_equal(usable(443), 1);
	assert_non_null(generation_port(parent.generation, 443)->context);
	assert_int_equal(parent_reload(&parent, &errors), -1);
	assert_non_null(strstr(errors.chars, "tlsport.conf:2: port 443: "));
	assert_non_null(strstr(errors.chars, "a.pem: no certificate in it"));
	text_free(&errors);
}

/* A file that is good need not go with the port's ciphers. */
static void test_some_do_not_go_with_the_settings(void **state)
{
	struct text errors = { NULL, 0 };
	json_t *status, *all, *one;
	char dir[80], *text;
	const char *log;
	size_t i;
	int kept;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/certs", root);
	assert_int_equal(mkdir(dir, 0700), 0);
	put_certificate("certs/a.pem", TEST_RSA);
	put_certificate("certs/b.pem", TEST_P384);
	put_certificate("certs/c.pem", TEST_RSA);
	configure("[port 443]\ncert-dir = %s\nmax-version = 1.2\n"
		  "ciphers = ECDHE-ECDSA-AES128-GCM-SHA256\n",
		  dir);
	kept = catch_log();
	parent_start(&parent);
	log = caught_log(kept);
	logs(log, "tlsport.conf:2: port 443: ");
	logs(log, "/certs/a.pem: no cipher is left that fits the versions and the RSA key\n");
	logs(log, "/certs/c.pem: no cipher is left that fits the versions and the RSA key\n");
	assert_non_null(generation_port(parent.generation, 443)->context);
	text = control_status(&parent);
	status = json_loads(text, 0, NULL);
	all = json_object_get(json_array_get(json_object_get(status, "ports"), 0), "certificates");
	assert_int_equal(json_array_size(all), 3);
	json_array_foreach(all, i, one) {
		const char *error = json_string_value(json_object_get(one, "error"));

		assert_int_equal(json_is_true(json_object_get(one, "usable")), i == 1);
		if (i == 1)
			assert_null(error);
		else
			logs(error, i ? "/c.pem: no cipher is left" : "/a.pem: no cipher is left");
	}
	json_decref(status);
	free(text);
	renews(1, NULL); /* nothing is new */
	assert_int_equal(parent_reload(&parent, &errors), -1);
	logs(errors.chars, "/a.pem: no cipher is left");
	logs(errors.chars, "/c.pem: no cipher is left");
	text_free(&errors);
	/* none is left: that of the first is the port's */
	put_certificate("certs/b.pem", TEST_RSA);
	renews(1, "/b.pem: no cipher is left");
	assert_non_null(generation_port(parent.generation, 443)->context);
}

static void test_stop_is_bounded(void **state)
{
	int64_t begin;

	(void)state;
	stub = IS_STUBBORN;
	parent_start(&parent);
	begin = clock_ms();
	parent_stop(&parent);
	assert_in_range(clock_ms() - begin, WORKER_STOP_MS, WORKER_STOP_MS + 2000);
	assert_null(parent.all);
}

/* --- another tlsportd takes over --- */

/* A child that ends still has it for a moment. */
static int take_lock(void)
{
	int fd = lock_take(root);

	for (int i = 0; i < 200 && fd < 0; i++) {
		poll(NULL, 0, 5);
		fd = lock_take(root);
	}
	assert_true(fd >= 0);
	return fd;
}

/* A program that does this in place of a tlsportd. */
static pid_t upgrade_to(const char *script, struct text *errors)
{
	struct handover handover = { .lock = take_lock(), .control = control_listen(root) };
	char path[128], *argv[] = { path, NULL };
	pid_t pid;

	snprintf(path, sizeof(path), "%s/tlsportd", root);
	put_file("tlsportd", script);
	chmod(path, 0700);
	pid = handover_give(&parent, &handover, argv, errors);
	close(handover.lock);
	close(handover.control);
	return pid;
}

static const char *file_text(const char *name)
{
	static char text[256];
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "r");
	text[file ? fread(text, 1, sizeof(text) - 1, file) : 0] = '\0';
	if (file)
		fclose(file);
	return text;
}

#define TAKES_OVER \
	"#!/bin/sh\n" \
	"cd \"${0%/*}\" && echo $TLSPORTD_HANDOVER >who\n" \
	"printf ready >&3\n" \
	"dd bs=64k count=1 <&3 >ports 2>/dev/null\n"

static void test_upgrade(void **state)
{
	struct text errors = { NULL, 0 };
	char self[32];
	pid_t pid;

	(void)state;
	configure("[port 443]\ncert = %s\n[port 80]\ncert = %s\n", certificate, certificate);
	parent_start(&parent);
	set_count = 0;
	pid = upgrade_to(TAKES_OVER "flock -n 9 9<lock && exit\n"
				    "[ -S /proc/self/fd/5 ] && printf done >&3 && sleep 100\n",
			 &errors);
	assert_null(errors.chars);
	assert_true(pid > 0);
	kill(pid, SIGKILL);
	snprintf(self, sizeof(self), "%d\n", (int)getpid());
	assert_string_equal(file_text("who"), self);
	assert_string_equal(file_text("ports"), "ports 80 443");
	/* the old workers go, nobody takes their place, and ports are the other's */
	assert_int_equal(count(WORKER_STATE_READY), 0);
	wait_for(WORKER_STATE_DRAINING, 0);
	assert_null(parent.all);
	assert_int_equal(set_count + deleted_count, 0);
}

static void test_upgrade_that_leaves_a_port_out(void **state)
{
	struct text errors = { NULL, 0 };
	pid_t pid;

	(void)state;
	parent_start(&parent);
	pid = upgrade_to(TAKES_OVER "printf 'error: port 1: no\n' >&3\n", &errors);
	assert_true(pid > 0);
	assert_string_equal(errors.chars, "port 1: no\n");
	text_free(&errors);
	wait_for(WORKER_STATE_DRAINING, 0);
	assert_null(parent.all);
}

static void test_upgrade_to_what_is_broken(void **state)
{
	static const struct {
		const char *script;
		const char *error;
	} broken[] = {
		{ "junk\n", "/tlsportd: Exec format error\n" },
		{ "#!/nowhere\n", "/tlsportd: No such file or directory\n" },
		{ "#!/bin/sh\nexit 3\n",
		  "/tlsportd ended with status 3 before it had taken over: see the log\n" },
		{ "#!/bin/sh\nkill -SEGV $$\n",
		  "/tlsportd was ended by signal 11 (Segmentation fault) before it had taken over\n" },
		{ "#!/bin/sh\nprintf 'error: a.conf:1: wrong\n' >&3\n", "a.conf:1: wrong\n" },
		{ "#!/bin/sh\nprintf junk >&3; sleep 100\n",
		  "/tlsportd did not take over in time: it was ended, see the log\n" },
	};

	(void)state;
	parent_start(&parent);
	set_count = 0;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct text errors = { NULL, 0 };

		assert_int_equal(upgrade_to(broken[i].script, &errors), -1);
		if (!errors.chars || !strstr(errors.chars, broken[i].error))
			fail_msg("'%s' does not hold '%s'", errors.chars, broken[i].error);
		text_free(&errors);
		assert_int_equal(count(WORKER_STATE_READY), 3);
		assert_int_equal(set_count,
				 i + 1); /* as they are configured: it may have widened them */
	}
}

/* It ends when the old workers have retired already: others take their place. */
static void test_upgrade_that_dies_half_way(void **state)
{
	struct text errors = { NULL, 0 };

	(void)state;
	parent_start(&parent);
	set_count = 0;
	assert_int_equal(upgrade_to(TAKES_OVER "echo 1 >lock\nexit 4\n", &errors), -1);
	assert_non_null(strstr(errors.chars, "ended"));
	text_free(&errors);
	wait_for(WORKER_STATE_DRAINING, 0);
	wait_for(WORKER_STATE_READY, 3);
	assert_int_equal(set_count, 1);
	assert_true(atoi(file_text("lock")) == getpid());
}

/* Neither before nor after the old workers have retired is it set again. */
static void test_upgrade_that_fails_leaves_ports_disabled(void **state)
{
	static const char *const scripts[] = { "#!/bin/sh\nexit 3\n", TAKES_OVER "exit 4\n" };

	(void)state;
	configure_two("");
	parent_start(&parent);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		struct text errors = { NULL, 0 };

		disable_443();
		assert_int_equal(upgrade_to(scripts[i], &errors), -1);
		text_free(&errors);
		assert_int_equal(set_count, 1);
		assert_int_equal(set[0], 80);
	}
}

/* The other one had taken out what its configuration does not have: this one's has it. */
static void test_return_sets_what_the_successor_took_out(void **state)
{
	(void)state;
	parent_start(&parent);
	parent_retire(&parent);
	disable_443();
	parent_return(&parent);
	assert_true(registered[443]);
	wait_for(WORKER_STATE_DRAINING, 0);
	wait_for(WORKER_STATE_READY, 3);
}

/* What the other side of a hand-over does, in a process of its own: it says this, and ends. */
static struct handover predecessor(const char *says, int *pipe_of_answers)
{
	struct handover handover = { .lock = take_lock(), .control = -1 };
	int pair[2], answers[2];
	char text[256];
	ssize_t len;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(pipe(answers), 0);
	if (!fork()) {
		close(pair[0]);
		close(answers[0]);
		for (int i = 0; i < 2; i++) {
			len = recv(pair[1], text, sizeof(text), 0);
			if (len <= 0 || write(answers[1], text, len) != len)
				break;
			if (!i && says && send(pair[1], says, strlen(says), 0) < 0)
				break;
			if (!says)
				break;
		}
		_exit(0);
	}
	close(pair[1]);
	close(answers[1]);
	*pipe_of_answers = answers[0];
	handover.channel = pair[0];
	return handover;
}

static int takes_over(const char *says, const char *answers)
{
	char text[512];
	struct handover handover;
	ssize_t n, len = 0;
	int fd, ret;

	handover = predecessor(says, &fd);
	assert_int_equal(ftruncate(handover.lock, 0), 0);
	ret = handover_take(&handover, &parent);
	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	text[len] = '\0';
	close(fd);
	close(handover.lock);
	assert_string_equal(text, answers);
	/* it is signed by who is in charge */
	assert_int_equal(atoi(file_text("lock")), ret ? 0 : getpid());
	return ret;
}

static void test_take_over(void **state)
{
	(void)state;
	assert_int_equal(takes_over("ports 25 443 80", "readydone"), 0);
	assert_int_equal(count(WORKER_STATE_READY), 3);
	assert_int_equal(set_count, 1);
	assert_int_equal(set[0], 443);
	assert_int_equal(deleted_count, 2);
	assert_int_equal(deleted[0], 25);
	assert_int_equal(deleted[1], 80);
}

static void test_take_over_that_the_kernel_refuses(void **state)
{
	(void)state;
	refused = 443;
	assert_int_equal(takes_over("ports",
				    "readyerror: port 443: the kernel refused it: no, thank you\n"),
			 0);
	assert_int_equal(count(WORKER_STATE_READY), 3);
}

static void test_take_over_of_what_is_wrong(void **state)
{
	char text[256];

	(void)state;
	configure("[port 443]\ncert = /nowhere.pem\n");
	snprintf(text, sizeof(text),
		 "error: %s/tlsport.conf:2: port 443: /nowhere.pem: No such file or directory\n",
		 root);
	assert_int_equal(takes_over("ports 443", text), -1);
	assert_int_equal(set_count + deleted_count, 0);
	parent_stop(&parent);
	configure("[port 443]\ncert = %s\n", certificate);
	stub = DIES;
	assert_int_equal(takes_over("ports 443",
				    "error: its workers could not be started: see the log\n"),
			 -1);
	assert_int_equal(set_count + deleted_count, 0);
}

static void test_predecessor_ends(void **state)
{
	(void)state;
	assert_int_equal(takes_over(NULL, "ready"), -1);
	assert_int_equal(set_count + deleted_count, 0);
}

/* --- the control socket --- */

static int reloads, upgrades, reload_result;

static int fake_reload(struct parent *which, struct text *errors)
{
	assert_ptr_equal(which, &parent);
	reloads++;
	if (reload_result)
		text_add(errors, "a.conf:1: wrong\nb.conf:2: wrong, too\n");
	return reload_result;
}

static int fake_upgrade(struct parent *which, struct text *errors)
{
	(void)which;
	if (upgrades++)
		text_add(errors, "tlsportd: broken\n");
	return upgrades > 1 ? -1 : 0;
}

static char *ask(const char *request)
{
	const struct control_orders orders = { fake_reload, fake_upgrade };
	static char reply[65536];
	int pair[2];
	ssize_t len;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(send(pair[0], request, strlen(request), 0), strlen(request));
	assert_true(control_serve(pair[1], &parent, &orders));
	len = recv(pair[0], reply, sizeof(reply) - 1, 0);
	assert_true(len > 0);
	reply[len] = '\0';
	shutdown(pair[0], SHUT_WR);
	assert_false(control_serve(pair[1], &parent, &orders));
	close(pair[0]);
	close(pair[1]);
	return reply;
}

static void test_control(void **state)
{
	json_t *status, *port, *settings, *tickets, *worker;
	const char *text;
	size_t i;

	(void)state;
	configure("[port 443]\ncert = %s\nalpn = h2\nplaintext = redirect\npassphrase = /p\n"
		  "[port 444]\ncert = /nowhere\n[port 445]\ncert = %s\ncert-dir = /none\n"
		  "client-auth = request\nclient-ca = /ca\nclient-depth = 2\n",
		  certificate, certificate);
	parent_start(&parent);
	reload_result = 0;
	assert_string_equal(ask("reload"), "ok");
	assert_string_equal(ask("reload\n"), "ok");
	assert_int_equal(reloads, 2);
	reload_result = -1;
	assert_string_equal(ask("reload"), "error: a.conf:1: wrong\nb.conf:2: wrong, too");
	assert_string_equal(ask("upgrade"), "ok");
	assert_string_equal(ask("upgrade"), "error: tlsportd: broken");
	assert_string_equal(ask("make coffee"),
			    "error: unknown request; allowed are reload, status and upgrade");
	text = ask("status");
	status = json_loads(text, 0, NULL);
	assert_non_null(status);
	assert_int_equal(json_integer_value(json_object_get(status, "pid")), getpid());
	assert_int_equal(json_array_size(json_object_get(status, "workers")), 3);
	json_array_foreach(json_object_get(status, "workers"), i, worker) {
		assert_int_equal(json_integer_value(json_object_get(worker, "begun")), 9);
		assert_int_equal(json_integer_value(json_object_get(worker, "done")), 6);
		assert_int_equal(json_integer_value(json_object_get(worker, "failed")), 2);
	}
	port = json_array_get(json_object_get(status, "ports"), 0);
	assert_int_equal(json_integer_value(json_object_get(port, "port")), 443);
	assert_string_equal(json_string_value(json_object_get(port, "subject")), "test.example");
	assert_string_equal(json_string_value(json_object_get(port, "key_type")), "ECDSA P-256");
	assert_true(json_is_true(json_object_get(port, "usable")));
	assert_null(json_object_get(port, "error"));
	settings = json_object_get(port, "settings");
	assert_string_equal(json_string_value(json_object_get(settings, "profile")),
			    "intermediate");
	assert_int_equal(json_array_size(json_object_get(settings, "ciphers")), TLS_SUITES);
	assert_true(json_array_size(json_object_get(settings, "groups")) >= 3);
	assert_int_equal(json_array_size(json_object_get(settings, "alpn")), 1);
	assert_string_equal(json_string_value(json_object_get(settings, "plaintext")), "redirect");
	assert_string_equal(json_string_value(json_object_get(settings, "passphrase")), "/p");
	assert_true(json_is_null(json_object_get(settings, "cert_dir")));
	tickets = json_object_get(settings, "tickets");
	assert_int_equal(json_integer_value(json_object_get(tickets, "count")), 1);
	assert_in_range(time(NULL) - json_integer_value(json_object_get(tickets, "since")), 0, 60);
	port = json_array_get(json_object_get(status, "ports"), 1);
	assert_true(json_is_false(json_object_get(port, "usable")));
	assert_string_equal(json_string_value(json_object_get(port, "error")),
			    "/nowhere: No such file or directory");
	settings = json_object_get(json_array_get(json_object_get(status, "ports"), 2), "settings");
	assert_string_equal(json_string_value(json_object_get(settings, "cert_dir")), "/none");
	assert_int_equal(json_integer_value(json_object_get(settings, "client_depth")), 2);
	assert_true(json_is_null(json_object_get(settings, "tickets"))); /* no resumption */
	json_decref(status);
}

static void test_control_socket_is_for_root(void **state)
{
	char path[128];
	struct stat st;
	int fd;

	(void)state;
	fd = control_listen(root);
	assert_true(fd >= 0);
	snprintf(path, sizeof(path), "%s/control", root);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	close(fd);
	/* one that a predecessor left is no obstacle */
	fd = control_listen(root);
	assert_true(fd >= 0);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_start),
		TEST(test_start_with_broken_ports),
		TEST(test_start_without_workers),
		TEST(test_start_with_some_workers),
		TEST(test_start_without_any_process),
		TEST(test_reload_with_some_workers),
		TEST(test_start_with_hung_tokens),
		TEST(test_token_that_comes_late),
		TEST(test_token_that_does_not_come_again),
		TEST(test_token_that_is_lost),
		TEST(test_token_that_signs_wrongly),
		TEST(test_reload_with_another_key),
		TEST(test_reload_with_a_hung_token),
		TEST(test_dead_worker_is_replaced),
		TEST(test_drained_worker_is_not_replaced),
		TEST(test_deaths_at_once_are_slowed_down),
		TEST(test_reload),
		TEST(test_reload_widens_first),
		TEST(test_disabled_port_stays_so),
		TEST(test_reload_that_fails_narrows_again),
		TEST(test_reload_of_what_is_wrong),
		TEST(test_lines_of_what_is_wrong),
		TEST(test_reload_that_the_kernel_refuses),
		TEST(test_renewal),
		TEST(test_renewal_of_one_of_two),
		TEST(test_renewal_of_revocation_lists),
		TEST(test_authorities_are_missing),
		TEST(test_renewal_in_a_directory),
		TEST(test_new_workers_have_no_old_keys),
		TEST(test_new_workers_leave_the_token),
		TEST(test_alarm),
		TEST(test_alarm_of_revocation_lists),
		TEST(test_alarm_of_intermediates),
		TEST(test_renewal_of_ticket_keys),
		TEST(test_status_of_failing_responders),
		TEST(test_files_that_others_can_read),
		TEST(test_ticket_keys_that_nobody_names),
		TEST(test_ocsp_file),
		TEST(test_one_of_a_directory_is_broken),
		TEST(test_some_do_not_go_with_the_settings),
		TEST(test_directory_is_missing),
		TEST(test_directory_goes),
		TEST(test_renewal_is_tried_again),
		TEST(test_strict_profile),
		TEST(test_stop_is_bounded),
		TEST(test_upgrade),
		TEST(test_upgrade_that_leaves_a_port_out),
		TEST(test_upgrade_to_what_is_broken),
		TEST(test_upgrade_that_dies_half_way),
		TEST(test_upgrade_that_fails_leaves_ports_disabled),
		TEST(test_return_sets_what_the_successor_took_out),
		TEST(test_take_over),
		TEST(test_take_over_that_the_kernel_refuses),
		TEST(test_take_over_of_what_is_wrong),
		TEST(test_predecessor_ends),
		TEST(test_control),
		TEST(test_control_socket_is_for_root),
	};

	if (argc == SIGNER_ARGC && !strcmp(argv[0], SIGNER_NAME))
		return signer_main(argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
