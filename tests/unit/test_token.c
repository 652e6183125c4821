// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keys in a token, by SoftHSM with its files in a directory of the test: what a URI
 * may say, what is refused with which words, and handshakes.  And by token_fake.c,
 * tokens that are slow, hang, or answer oddly.  Includes signer.c, for the process that
 * signs is stopped and ended here; this program is it as well.
 */
#include "../../userspace/common/signer.c"

#include <setjmp.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <openssl/err.h>

#include "engine_client.h"
#include "token_fake.h"
#include "../../userspace/common/cert_check.h"
#include "../../userspace/common/memory.h"
#include "../../userspace/common/pin_record.h"

#define MODULE "/usr/lib/softhsm/libsofthsm2.so"

static char dir[64];

/* As if nobody had asked for long */
static void age(void)
{
	for (struct signer *signer = signers; signer; signer = signer->next) {
		signer->asked -= KEEP_MS;
		if (signer->state != SIGNER_STARTING)
			signer->since -= KEEP_MS;
	}
}

/* What nobody holds is dropped. */
static void none_is_left(void)
{
	int64_t next;

	for (int i = 0; i < 200 && signers; i++) {
		age();
		signer_attend(&next);
		poll(NULL, 0, signers ? 50 : 0);
	}
	assert_null(signers);
	memset(&pass, 0, sizeof(pass));
	news = false;
}

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void write_text(const char *name, const char *text)
{
	FILE *file = fopen(path_of(name), "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void run(const char *fmt, ...)
{
	char command[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	strcat(command, " >/dev/null 2>&1");
	if (system(command))
		fail_msg("%s", command);
}

/* The key of test_files() into the token, the certificate into a file */
static void import(enum test_key kind, const char *token, const char *label, const char *id)
{
	struct cert_files files;
	struct cert_facts facts;
	char name[64];

	test_files(kind, &files, &facts);
	write_text("import", files.key);
	run("softhsm2-util --import %s --token %s --label %s --id %s --pin 1234", path_of("import"),
	    token, label, id);
	unlink(path_of("import"));
	snprintf(name, sizeof(name), "%s.crt", label);
	write_text(name, files.cert);
}

static int start(void **state)
{
	char conf[256];

	(void)state;
	strcpy(dir, "/tmp/test-token-XXXXXX");
	assert_non_null(mkdtemp(dir));
	mkdir(path_of("tokens"), 0700);
	snprintf(conf, sizeof(conf), "directories.tokendir = %s\nobjectstore.backend = file\n",
		 path_of("tokens"));
	write_text("softhsm2.conf", conf);
	setenv("SOFTHSM2_CONF", path_of("softhsm2.conf"), 1);
	write_text("pin", "1234\n");
	chmod(path_of("pin"), 0600);
	run("softhsm2-util --init-token --free --label web --so-pin 0000 --pin 1234");
	run("softhsm2-util --init-token --free --label other --so-pin 0000 --pin 1234");
	import(TEST_P256, "web", "p256", "01");
	import(TEST_P384, "web", "p384", "02");
	import(TEST_RSA, "web", "rsa", "03");
	signer_run_dir(strdup(path_of("run")));
	return 0;
}

static int stop(void **state)
{
	(void)state;
	run("rm -rf %s", dir);
	return 0;
}

static const char *const good_uris[] = {
	"pkcs11:token=web;object=p256",
	"pkcs11:token=web;id=%01;type=private",
	"pkcs11:manufacturer=SoftHSM%20project;object=a%3Bb?module-name=softhsm2&pin-source=file:/etc/pin",
	"pkcs11:object=x?module-path=" MODULE "&pin-source=/etc/pin",
};

static const struct {
	const char *uri;
	const char *why;
} bad_uris[] = {
	{ "pkcs11:token=web?pin-value=987654", "pin-value can be read" },
	{ "pkcs11:token=web;colour=red", "not known; these are: token" },
	{ "pkcs11:token=web;type=public", "private key" },
	{ "pkcs11:token=web?module-path=lib.so", "absolute" },
	{ "pkcs11:token=web?pin-source=|/bin/pin", "not a file" },
	{ "pkcs11:token", "RFC 7512" },
	{ "pkcs11:token=%zz", "RFC 7512" },
};

static void test_uris(void **state)
{
	char why[512];
	P11KitUri *uri;

	(void)state;
	assert_true(token_uri_is("pkcs11:"));
	assert_false(token_uri_is("/etc/pkcs11:"));
	assert_false(token_uri_is(NULL));
	for (size_t i = 0; i < sizeof(good_uris) / sizeof(good_uris[0]); i++) {
		uri = token_uri_parse(good_uris[i], why, sizeof(why));
		if (!uri)
			fail_msg("%s: %s", good_uris[i], why);
		p11_kit_uri_free(uri);
	}
	for (size_t i = 0; i < sizeof(bad_uris) / sizeof(bad_uris[0]); i++) {
		if (token_uri_parse(bad_uris[i].uri, why, sizeof(why)))
			fail_msg("%s is taken", bad_uris[i].uri);
		if (!strstr(why, bad_uris[i].why) || strstr(why, "987654"))
			fail_msg("%s: %s", bad_uris[i].uri, why);
	}
}

static void test_pin_files(void **state)
{
	static const struct {
		const char *uri;
		const char *passphrase;
		const char *file; /* NULL: none */
	} cases[] = {
		{ "pkcs11:token=web", NULL, NULL },
		{ "pkcs11:token=web", "/a", "/a" },
		{ "pkcs11:token=web?pin-source=file:/b", "/a", "/b" },
		{ "pkcs11:token=web?pin-source=file:///b%20c", NULL, "/b c" },
		{ "pkcs11:token=web?pin-source=/b", NULL, "/b" },
	};
	char *file;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		file = token_pin_file(cases[i].uri, cases[i].passphrase);
		if (!same_text(file, cases[i].file))
			fail_msg("%s: %s", cases[i].uri, file ? file : "none");
		free(file);
	}
}

/* As cert = and key = have them */
static int load(const char *label, const char *uri, const char *pin, struct cert_files *files,
		struct cert_facts *facts, char *err, size_t errlen)
{
	char cert[128];

	snprintf(cert, sizeof(cert), "%s/%s.crt", dir, label);
	if (cert_files_read(cert, uri, pin ? path_of(pin) : NULL, files, err, errlen))
		return -1;
	if (!cert_files_check(files, cert, uri, facts, err, errlen))
		return 0;
	cert_files_free(files);
	return -1;
}

struct served {
	struct cert_files files;
	struct cert_facts facts;
	struct cert_names names;
	struct engine_context *context;
};

static void serve(struct served *served, const char *label)
{
	const struct engine_certificate certificate = { &served->files, &served->facts,
							&served->names, NULL, NULL };
	struct engine_policy policy = test_policy(443);
	char uri[128], err[512] = "";

	memset(served, 0, sizeof(*served));
	snprintf(uri, sizeof(uri), "pkcs11:token=web;object=%s", label);
	if (load(label, uri, "pin", &served->files, &served->facts, err, sizeof(err)))
		fail_msg("%s", err);
	served->context = engine_context_new(&policy, &certificate, 1, err, sizeof(err));
	if (!served->context)
		fail_msg("%s", err);
	patience.credit = CREDIT_MAX; /* this machine may be slow, too */
	/* As a worker does */
	assert_true(signer_connect(served->files.signer) >= 0);
}

static void serve_end(struct served *served)
{
	engine_context_free(served->context);
	cert_files_free(&served->files);
}

/* @algorithms: of the client, NULL: all that it has */
static void handshake(const struct served *served, int version, const char *algorithms)
{
	struct client *client = client_new(version, version);
	static struct flow flow;

	memset(&flow, 0, sizeof(flow));
	if (algorithms) {
		assert_true(SSL_CTX_set1_sigalgs_list(client->ctx, algorithms));
		client_again(client, NULL);
	}
	if (flow_run(&flow, served->context, client) != ENGINE_DONE)
		fail_msg("%s, version %x, %s: %s", served->facts.key_type, version,
			 algorithms ? algorithms : "all", engine_reason_text(flow.engine));
	flow_end(&flow);
	client_free(client);
}

static void handshakes(const char *label, const char *const *algorithms)
{
	struct served served;

	serve(&served, label);
	for (int i = 0; i < 3; i++) {
		handshake(&served, TLS1_2_VERSION, NULL);
		handshake(&served, TLS1_3_VERSION, NULL);
	}
	for (; algorithms && *algorithms; algorithms++)
		handshake(&served, TLS1_2_VERSION, *algorithms);
	serve_end(&served);
}

static void test_p256(void **state)
{
	(void)state;
	handshakes("p256", NULL);
}

static void test_p384(void **state)
{
	(void)state;
	handshakes("p384", NULL);
}

static void test_rsa(void **state)
{
	static const char *const algorithms[] = {
		"RSA+SHA256",	       "RSA+SHA384",	      "RSA+SHA512", "rsa_pss_rsae_sha256",
		"rsa_pss_rsae_sha384", "rsa_pss_rsae_sha512", NULL
	};

	(void)state;
	handshakes("rsa", algorithms);
}

static void test_uri_in_place_of_the_key(void **state)
{
	struct served served;

	(void)state;
	serve(&served, "p256");
	assert_string_equal(served.files.key, "pkcs11:token=web;object=p256");
	serve_end(&served);
}

static const struct {
	const char *cert;
	const char *uri;
	const char *pin;
	const char *why;
} refused[] = {
	{ "p256", "pkcs11:token=none;object=p256", "pin", "there is no such token" },
	{ "p256", "pkcs11:object=p256", "pin", "several tokens fit, name one (token=): " },
	{ "p256", "pkcs11:token=web;object=none", "pin",
	  "there is no such private key in the token 'web'" },
	{ "p256", "pkcs11:token=web;object=p256;id=%02", "pin", "there is no such private key" },
	{ "p256", "pkcs11:token=web", "pin",
	  "several private keys fit, name one (object= or id=) in the token 'web'" },
	{ "p256", "pkcs11:token=web;object=p384", "pin",
	  "the private key does not belong to the certificate /tmp/" },
	{ "p256", "pkcs11:token=web;object=rsa", "pin", "of another type than the certificate's" },
	{ "rsa", "pkcs11:token=web;object=p256", "pin", "of another type than the certificate's" },
	{ "p256", "pkcs11:token=web;object=p256", NULL, "the token asks for a PIN: name a file" },
	{ "p256", "pkcs11:token=web;object=p256", "no-pin", "no-pin: No such file" },
	{ "p256", "pkcs11:token=web;object=p256", "fifo", "fifo: not a regular file" },
	{ "p256", "pkcs11:token=web;object=p256?module-path=/none.so", "pin",
	  "the module /none.so cannot be loaded: " },
	{ "p256", "pkcs11:token=web;object=p256?module-path=/etc/passwd", "pin",
	  "the module /etc/passwd cannot be loaded: " },
	{ "p256", "pkcs11:token=web;object=p256?module-name=none", "pin",
	  "p11-kit has no module 'none'" },
};

static void test_refused(void **state)
{
	struct cert_files files;
	struct cert_facts facts;
	char err[512];

	(void)state;
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0); /* nobody waits for its writer */
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		err[0] = '\0';
		if (!load(refused[i].cert, refused[i].uri, refused[i].pin, &files, &facts, err,
			  sizeof(err)))
			fail_msg("%s with %s is taken", refused[i].cert, refused[i].uri);
		if (!strstr(err, refused[i].why) || strchr(err, '\n'))
			fail_msg("%s with %s: %s", refused[i].cert, refused[i].uri, err);
	}
	none_is_left();
}

static void test_ways_to_name_it(void **state)
{
	static const char *const uris[] = {
		"pkcs11:token=web;id=%01",
		"pkcs11:token=web;object=p256;type=private",
		"pkcs11:token=web;object=p256?module-path=" MODULE,
		"pkcs11:token=web;object=p256?module-name=softhsm2",
	};
	struct cert_files files;
	struct cert_facts facts;
	char err[512];

	(void)state;
	for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
		if (load("p256", uris[i], "pin", &files, &facts, err, sizeof(err)))
			fail_msg("%s: %s", uris[i], err);
		cert_files_free(&files);
	}
}

/* Another key of the same type: no token is asked for what it has of public keys. */
static void test_mismatch(void **state)
{
	struct cert_files files, other;
	struct cert_facts facts;
	char err[512];

	(void)state;
	test_files_named(TEST_P256, "other.example", NULL, &other, &facts);
	write_text("p256-new.crt", other.cert);
	cert_files_free(&other);
	test_files_named(TEST_RSA, "other.example", NULL, &other, &facts);
	write_text("rsa-new.crt", other.cert);
	cert_files_free(&other);
	assert_int_equal(load("p256-new", "pkcs11:token=web;object=p256", "pin", &files, &facts,
			      err, sizeof(err)),
			 -1);
	assert_non_null(strstr(err, "does not belong to the certificate"));
	assert_int_equal(load("rsa-new", "pkcs11:token=web;object=rsa", "pin", &files, &facts, err,
			      sizeof(err)),
			 -1);
	assert_non_null(strstr(err, "does not belong to the certificate"));
}

static void test_pin_that_all_can_read(void **state)
{
	struct cert_files files;
	struct cert_facts facts;
	char err[512];

	(void)state;
	write_text("open", "1234");
	chmod(path_of("open"), 0644);
	assert_int_equal(load("p256", "pkcs11:token=web;object=p256", "open", &files, &facts, err,
			      sizeof(err)),
			 0);
	assert_int_equal(facts.warning_count, 1);
	assert_string_equal(facts.warnings[0], "the PIN's file is readable by everyone");
	cert_files_free(&files);
}

static void test_one_process_for_a_key(void **state)
{
	const char uri[] = "pkcs11:token=web;object=p256";
	struct signer *one, *other;
	char err[512];

	(void)state;
	one = signer_get(uri, path_of("pin"), err, sizeof(err));
	assert_non_null(one);
	assert_ptr_equal(signer_get(uri, path_of("pin"), err, sizeof(err)), one);
	/* Written anew: it may be another PIN. */
	unlink(path_of("pin"));
	write_text("pin", "1234\n");
	other = signer_get(uri, path_of("pin"), err, sizeof(err));
	assert_non_null(other);
	assert_ptr_not_equal(other, one);
	signer_put(one);
	signer_put(one);
	signer_put(other);
	none_is_left();
}

static int sign_once(struct signer *signer, char *err, size_t errlen)
{
	const uint8_t digest[32] = { 1 };
	uint8_t signature[TOKEN_SIGNATURE_MAX];

	return signer_sign(signer, TOKEN_ECDSA, digest, sizeof(digest), signature, err, errlen);
}

static void test_process_that_ends(void **state)
{
	const char uri[] = "pkcs11:token=web;object=p256";
	struct signer *signer, *next;
	char err[512];

	(void)state;
	signer = signer_get(uri, path_of("pin"), err, sizeof(err));
	assert_non_null(signer);
	assert_true(signer_connect(signer) >= 0);
	assert_int_equal(sign_once(signer, err, sizeof(err)), 64);
	kill(signer->pid, SIGKILL);
	waitpid(signer->pid, NULL, 0);
	assert_int_equal(sign_once(signer, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "has ended"));
	assert_null(signer_ended(getpid()));
	assert_string_equal(signer_ended(signer->pid), uri);
	assert_null(signer_ended(signer->pid));
	assert_false(signer_lives(signer));
	next = signer_get(uri, path_of("pin"), err, sizeof(err));
	assert_non_null(next);
	assert_ptr_not_equal(next, signer);
	assert_true(signer_connect(next) >= 0);
	assert_int_equal(sign_once(next, err, sizeof(err)), 64);
	signer_put(next);
	signer_put(signer);
}

/* The last one to give it back ends it; who still asks is served first. */
static void test_end_of_the_process(void **state)
{
	struct signer *signer;
	char err[512];
	int fd, status;
	pid_t pid;

	(void)state;
	signer = signer_get("pkcs11:token=web;object=p256", path_of("pin"), err, sizeof(err));
	assert_non_null(signer);
	pid = signer->pid;
	fd = dup(signer_connect(signer));
	assert_true(fd >= 0);
	signer_put(signer);
	poll(NULL, 0, 100);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* --- a token as slow and as odd as it may be --- */

static void fake_has(enum test_key kind)
{
	struct cert_files files;
	struct cert_facts facts;

	test_files(kind, &files, &facts);
	write_text("fake.crt", files.cert);
	write_text("fake/key.pem", files.key);
}

static const char *uri_of(const char *object)
{
	static char uris[4][FAKE_URI_LEN];
	static unsigned int next;

	return fake_uri(object, uris[next++ % 4]);
}

/* How often it was asked for that, all processes together */
static unsigned int fake_asked(const char *what)
{
	FILE *log = fopen(path_of("fake/log"), "r");
	unsigned int count = 0;
	char line[32];

	while (log && fgets(line, sizeof(line), log))
		count += !strncmp(line, what, strlen(what));
	if (log)
		fclose(log);
	return count;
}

static int fake_start(void **state)
{
	(void)state;
	run("rm -rf %s %s", path_of("fake"), path_of("run"));
	mkdir(path_of("fake"), 0700);
	setenv("FAKE_TOKEN", path_of("fake"), 1);
	fake_has(TEST_P256);
	unlink(path_of("pin"));
	write_text("pin", "1234\n");
	patience.credit = CREDIT_MAX;
	return 0;
}

static int fake_stop(void **state)
{
	(void)state;
	none_is_left();
	return 0;
}

#define FAKE(name) cmocka_unit_test_setup_teardown(name, fake_start, fake_stop)

static struct signer *get(const char *object, char *err, size_t errlen)
{
	err[0] = '\0';
	return signer_get(uri_of(object), path_of("pin"), err, errlen);
}

static struct signer *get_good(const char *object)
{
	char err[512];
	struct signer *signer = get(object, err, sizeof(err));

	if (!signer)
		fail_msg("%s", err);
	assert_true(signer_connect(signer) >= 0);
	return signer;
}

static void get_bad(const char *object, const char *why)
{
	char err[512];

	if (get(object, err, sizeof(err)))
		fail_msg("it serves");
	if (!strstr(err, why) || strchr(err, '\n'))
		fail_msg("%s", err);
}

static bool signs(struct signer *signer)
{
	char err[512];

	patience.credit = CREDIT_MAX; /* this machine may be slow, too */
	return sign_once(signer, err, sizeof(err)) > 0;
}

/* -1: it lives on */
static int end_of(const struct signer *signer, int limit_ms)
{
	int64_t until = clock_ms() + limit_ms;
	int status;

	do {
		if (waitpid(signer->pid, &status, WNOHANG) == signer->pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		poll(NULL, 0, 20);
	} while (clock_ms() < until);
	return -1;
}

static void serve_fake(struct served *served)
{
	const struct engine_certificate one = { &served->files, &served->facts, &served->names,
						NULL, NULL };
	struct engine_policy policy = test_policy(443);
	char err[512] = "";

	memset(served, 0, sizeof(*served));
	if (load("fake", uri_of("a"), "pin", &served->files, &served->facts, err, sizeof(err)))
		fail_msg("%s", err);
	served->context = engine_context_new(&policy, &one, 1, err, sizeof(err));
	assert_non_null(served->context);
	assert_true(signer_connect(served->files.signer) >= 0);
}

static void test_fake_is_a_token(void **state)
{
	static const char *const algorithms[] = { "ECDSA+SHA256", "ECDSA+SHA384", "ECDSA+SHA512",
						  NULL };
	struct served served;

	(void)state;
	serve_fake(&served);
	handshake(&served, TLS1_3_VERSION, NULL);
	/* Digests that are longer than the curve: the module takes none of them. */
	for (size_t i = 0; algorithms[i]; i++)
		handshake(&served, TLS1_2_VERSION, algorithms[i]);
	serve_end(&served);
}

static bool is_starting(void)
{
	for (const struct signer *signer = signers; signer; signer = signer->next)
		if (signer->state == SIGNER_STARTING)
			return true;
	return false;
}

/* Four that hang, and the whole pass takes as long as it may. */
static void test_hung_tokens_are_waited_for_together(void **state)
{
	static const char *const objects[] = { "a", "b", "c", "d" };
	int64_t began = clock_ms(), next;

	(void)state;
	write_text("fake/init", "0 100000");
	signer_pass(500);
	for (int i = 0; i < 4; i++)
		signer_begin(uri_of(objects[i]), path_of("pin"));
	for (int i = 0; i < 4; i++)
		get_bad(objects[i], "the token has not answered yet");
	assert_true(clock_ms() - began >= 500);
	assert_true(clock_ms() - began < 2000);
	/* A renewal waits for nothing, and starts nothing beside what is starting. */
	began = clock_ms();
	signer_pass(0);
	for (int i = 0; i < 4; i++)
		get_bad(objects[i], "the token has not answered yet");
	assert_true(clock_ms() - began < 500);
	assert_false(signer_attend(&next));
	assert_true(next > 0 && next <= SIGNER_START_MS);
	while (is_starting()) {
		signer_attend(&next);
		poll(NULL, 0, next < 100 ? next : 100);
	}
	/* Nor does one that is soon after. */
	signer_pass(0);
	for (struct signer *signer = signers; signer; signer = signer->next)
		assert_int_equal(end_of(signer, 1000), 128 + SIGKILL);
	for (int i = 0; i < 4; i++)
		get_bad(objects[i], "the token does not answer");
	for (struct signer *signer = signers; signer; signer = signer->next)
		assert_int_equal(signer->state, SIGNER_FAILED_TO_START);
}

static void test_token_that_comes_later(void **state)
{
	struct pollfd fd = { .events = POLLIN };
	struct signer *signer;
	char err[512];
	int64_t next;

	(void)state;
	fd.fd = signer_events();
	write_text("fake/init", "0 500");
	signer_pass(0);
	get_bad("a", "the token has not answered yet");
	do
		assert_int_equal(poll(&fd, 1, SIGNER_START_MS), 1);
	while (!signer_attend(&next));
	assert_false(is_starting());
	signer_pass(0);
	signer = get("a", err, sizeof(err));
	assert_non_null(signer);
	assert_int_equal(poll(&fd, 1, 0), 0);
	signer_put(signer);
}

/* Who asks has other things to do. */
static void test_slow_token_gets_its_share(void **state)
{
	struct signer *signer = get_good("a");
	int64_t began = clock_ms(), waited = 0, at;
	unsigned int good = 0;
	char err[512];

	(void)state;
	write_text("fake/sign", "0 200 0");
	while (clock_ms() - began < 5000) {
		at = clock_ms();
		if (sign_once(signer, err, sizeof(err)) > 0)
			good++;
		else if (!strstr(err, "so slow that other handshakes"))
			fail_msg("%s", err);
		waited += clock_ms() - at;
		poll(NULL, 0, 10);
	}
	assert_true(good >= 5);
	assert_true(waited < 1000 + 5000 / SIGNER_SHARE + 600);
	write_text("fake/sign", "0 0 0");
	poll(NULL, 0, 1500);
	assert_true(sign_once(signer, err, sizeof(err)) > 0);
	signer_put(signer);
}

/* Another one pays nothing for it. */
static void test_quick_token_beside_a_slow_one(void **state)
{
	struct signer *slow = get_good("a"), *quick;
	struct cert_files files;
	struct cert_facts facts;
	char err[512] = "";

	(void)state;
	run("rm -rf %s", path_of("fake-quick"));
	mkdir(path_of("fake-quick"), 0700);
	test_files(TEST_P256, &files, &facts);
	write_text("fake-quick/key.pem", files.key);
	setenv("FAKE_TOKEN", path_of("fake-quick"), 1);
	quick = get_good("b");
	write_text("fake/sign", "0 200 0");
	for (int i = 0; i < 20 && sign_once(slow, err, sizeof(err)) > 0; i++)
		;
	assert_non_null(strstr(err, "so slow that other handshakes"));
	assert_true(sign_once(quick, err, sizeof(err)) > 0);
	signer_put(quick);
	signer_put(slow);
}

/* Nobody who asks waits for it a second time, until it has had its rest. */
static void test_signature_that_comes_late(void **state)
{
	struct signer *signer = get_good("a");
	int64_t began;

	(void)state;
	write_text("fake/sign", "0 1500 0");
	began = clock_ms();
	assert_false(signs(signer));
	assert_true(clock_ms() - began >= SIGNER_SIGN_MS);
	assert_true(clock_ms() - began < SIGNER_SIGN_MS + 1000);
	write_text("fake/sign", "0 0 0");
	began = clock_ms();
	while (clock_ms() - began < SIGNER_REST_MS - 500) {
		assert_false(signs(signer));
		poll(NULL, 0, 100);
	}
	poll(NULL, 0, 1000);
	assert_true(signs(signer));
	signer_put(signer);
}

/* It is of no use to anybody: it ends, so that another is started. */
static void test_process_that_hangs_ends(void **state)
{
	struct signer *signer = get_good("a");

	(void)state;
	write_text("fake/sign", "0 100000 0");
	assert_false(signs(signer));
	assert_int_equal(end_of(signer, SIGNER_HANG_MS + 2000), SIGNER_EXIT_HUNG);
	signer_ended(signer->pid);
	unlink(path_of("fake/sign"));
	signer_put(signer);
	signer = get_good("a");
	assert_true(signs(signer));
	signer_put(signer);
}

/* What a session has come to is no fault of the others. */
static void test_error_of_a_session(void **state)
{
	struct signer *signer = get_good("a");

	(void)state;
	for (int i = 0; i < 10; i++) {
		write_text("fake/break", "");
		assert_true(signs(signer));
	}
	assert_int_equal(end_of(signer, 0), -1);
	signer_put(signer);
}

static void test_errors_in_a_row(void **state)
{
	struct signer *signer = get_good("a");

	(void)state;
	/* CKR_MECHANISM_INVALID: the client's choice, as often as it likes */
	write_text("fake/sign", "70 0 0");
	for (int i = 0; i < 20; i++)
		assert_false(signs(signer));
	/* CKR_FUNCTION_FAILED */
	for (int round = 0; round < 3; round++) {
		write_text("fake/sign", "6 0 0");
		for (int i = 0; i < 4; i++)
			assert_false(signs(signer));
		write_text("fake/sign", "0 0 0");
		assert_true(signs(signer));
	}
	assert_int_equal(end_of(signer, 100), -1);
	write_text("fake/sign", "6 0 0");
	for (int i = 0; i < 5; i++)
		assert_false(signs(signer));
	assert_int_equal(end_of(signer, 2000), 1);
	signer_ended(signer->pid);
	signer_put(signer);
}

static void test_token_that_is_taken_away(void **state)
{
	struct signer *signer = get_good("a");

	(void)state;
	write_text("fake/sign", "32 0 0"); /* CKR_DEVICE_REMOVED */
	assert_false(signs(signer));
	assert_int_equal(end_of(signer, 2000), 1);
	signer_ended(signer->pid);
	signer_put(signer);
}

static void test_session_is_asked_for_again(void **state)
{
	struct signer *signer = get_good("a");

	(void)state;
	write_text("fake/session", "5"); /* CKR_GENERAL_ERROR */
	assert_false(signs(signer));
	unlink(path_of("fake/session"));
	assert_true(signs(signer));
	signer_put(signer);
}

/* Another one that asks, as workers are */
static int connect_another(struct signer *signer, int *before)
{
	*before = signer->fd;
	signer->fd = -1;
	return signer_connect(signer);
}

/* One has its own, the others share one: nobody goes without. */
static void test_sessions_run_out(void **state)
{
	struct signer *signer;
	int fds[5];

	(void)state;
	write_text("fake/sessions", "3");
	signer = get_good("a");
	for (int i = 1; i < 5; i++)
		assert_true(connect_another(signer, &fds[i - 1]) >= 0);
	fds[4] = signer->fd;
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 5; i++) {
			signer->fd = fds[i];
			assert_true(signs(signer));
		}
	/* Nor is it the end when there is none at all. */
	write_text("fake/sign", "5 0");
	assert_false(signs(signer));
	write_text("fake/session", "b1"); /* CKR_SESSION_COUNT */
	for (int i = 0; i < 10; i++)
		assert_false(signs(signer));
	unlink(path_of("fake/session"));
	unlink(path_of("fake/sign"));
	assert_true(signs(signer));
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	signer_put(signer);
}

/* What clients may ask for is tried before they do. */
static void test_hash_that_the_token_has_not(void **state)
{
	(void)state;
	fake_has(TEST_RSA);
	write_text("fake/sign", "71 0 64"); /* CKR_MECHANISM_PARAM_INVALID */
	get_bad("a", "the token does not sign with RSA-PSS");
	unlink(path_of("fake/sign"));
	signer_put(get_good("a"));
}

static void test_token_that_is_too_slow(void **state)
{
	(void)state;
	write_text("fake/sign", "0 1200 0");
	get_bad("a", "the token is too slow: a signature took 12");
}

/* By other keys, other processes, and after a restart: all know of the one try. */
static void test_pin_is_tried_once(void **state)
{
	(void)state;
	write_text("fake/login", "a0 0"); /* CKR_PIN_INCORRECT */
	get_bad("a", "the token refuses the PIN in");
	for (int i = 0; i < 3; i++) {
		get_bad("a",
			"the token has refused it: it is not tried again until that file changes");
		get_bad("b", "the token has refused it");
	}
	none_is_left();
	get_bad("a", "the token has refused it");
	assert_int_equal(fake_asked("login"), 1);
	unlink(path_of("fake/login"));
	poll(NULL, 0, 20); /* the clock of files is coarse */
	run("touch %s", path_of("pin"));
	signer_put(get_good("a"));
	signer_put(get_good("b"));
	assert_int_equal(fake_asked("login"), 3);
}

/* It may have been refused, and nobody lived to hear it. */
static void test_login_that_does_not_end(void **state)
{
	(void)state;
	write_text("fake/login", "0 100000");
	signer_pass(1);
	get_bad("a", "the token has not answered yet");
	for (int i = 0; i < 200 && !fake_asked("login"); i++)
		poll(NULL, 0, 20);
	assert_int_equal(fake_asked("login"), 1);
	kill(signers->pid, SIGKILL);
	unlink(path_of("fake/login"));
	signer_pass(SIGNER_START_MS);
	get_bad("a", "the module ended the process");
	get_bad("b", "the last login with it did not come to an end");
	assert_int_equal(fake_asked("login"), 1);
}

static void test_login_that_says_nothing_of_the_pin(void **state)
{
	(void)state;
	write_text("fake/login", "e0 0"); /* CKR_TOKEN_NOT_PRESENT */
	get_bad("a", "login: ");
	get_bad("a", "login: ");
	unlink(path_of("fake/login"));
	signer_put(get_good("a"));
	assert_int_equal(fake_asked("login"), 3);
}

/* It may have looked at the PIN before. */
static void test_login_with_a_fault_of_the_device(void **state)
{
	/* CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY, CKR_DEVICE_REMOVED; of each PIN another file */
	static const char *const faults[][2] = { { "30 0", "1\n" },
						 { "31 0", "12\n" },
						 { "32 0", "123\n" } };

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		write_text("fake/login", faults[i][0]);
		write_text("pin", faults[i][1]);
		get_bad("a", "the token refuses the PIN in");
		get_bad("a", "the token has refused it");
		assert_int_equal(fake_asked("login"), i + 1);
	}
}

/* All three have seen three tries when they began. */
static void test_tries_that_others_use_up(void **state)
{
	static const char *const objects[] = { "a", "b", "c" };
	static const char *const pins[] = { "pin-a", "pin-b", "pin-c" };
	char err[512];
	int last = 0;

	(void)state;
	write_text("fake/tries", "3");
	write_text("fake/login", "a0 700"); /* CKR_PIN_INCORRECT */
	for (int i = 0; i < 3; i++) {
		write_text(pins[i], "1234\n");
		signer_begin(uri_of(objects[i]), path_of(pins[i]));
	}
	signer_pass(SIGNER_START_MS);
	for (int i = 0; i < 3; i++) {
		assert_null(signer_get(uri_of(objects[i]), path_of(pins[i]), err, sizeof(err)));
		last += strstr(err, "allows one more PIN before it locks") != NULL;
	}
	assert_int_equal(fake_asked("login"), 2);
	assert_int_equal(last, 1);
}

/* The record of the token, held as by somebody who logs in to it */
static int hold_record(void)
{
	const struct dirent *entry;
	char path[512];
	DIR *pins = opendir(path_of("run/pins"));
	int fd = -1;

	assert_non_null(pins);
	while ((entry = readdir(pins)))
		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%s", path_of("run/pins"), entry->d_name);
			fd = open(path, O_RDWR | O_CLOEXEC);
		}
	closedir(pins);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	return fd;
}

/* That others log in is nothing that a process would be ended for. */
static void test_logins_of_others_are_waited_for(void **state)
{
	struct pollfd events_fd = { .fd = signer_events(), .events = POLLIN };
	int64_t until = clock_ms() + SIGNER_HANG_MS + 1500, next;
	int record;

	(void)state;
	signer_put(get_good("a"));
	record = hold_record();
	signer_pass(1);
	get_bad("a", "the token has not answered yet");
	while (clock_ms() < until) {
		assert_false(signer_attend(&next));
		assert_int_equal(signers->state, SIGNER_STARTING);
		poll(&events_fd, 1, next < until - clock_ms() ? next : until - clock_ms());
	}
	assert_int_equal(fake_asked("login"), 1);
	close(record);
	signer_pass(SIGNER_START_MS);
	signer_put(get_good("a"));
	assert_int_equal(fake_asked("login"), 2);
}

static void wait_for_nobody(bool waits)
{
	(void)waits;
}

/* The disk is full: what is half written spoils no other line. */
static void test_record_that_is_cut(void **state)
{
	const struct stat one = { .st_ino = 1 }, other = { .st_ino = 2 };
	struct pin_record record;
	struct rlimit limit, short_limit;
	char why[256];

	(void)state;
	mkdir(path_of("run"), 0755);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	short_limit = (struct rlimit){ 10, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &short_limit), 0);
	assert_int_equal(pin_record_begin(path_of("run"), "token", &one, &record, wait_for_nobody,
					  why, sizeof(why)),
			 -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_non_null(strstr(why, "no PIN is tried without a record of it"));
	assert_int_equal(pin_record_begin(path_of("run"), "token", &other, &record, wait_for_nobody,
					  why, sizeof(why)),
			 0);
	pin_record_end(&record, true);
	assert_int_equal(pin_record_begin(path_of("run"), "token", &other, &record, wait_for_nobody,
					  why, sizeof(why)),
			 -1);
	assert_string_equal(why, "the token has refused it");
}

static void test_pin_that_is_too_long(void **state)
{
	char line[400];

	(void)state;
	memset(line, '1', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	write_text("pin", line);
	get_bad("a", "is no PIN: it may have 254 bytes");
	assert_int_equal(fake_asked("login"), 0);
}

static void test_many_slots(void **state)
{
	(void)state;
	write_text("fake/slots", "100");
	signer_put(get_good("a"));
}

/* The number behind this word in a file of the process */
static unsigned long number_of(const struct signer *signer, const char *name, const char *word,
			       int base)
{
	char path[64], line[256];
	unsigned long number = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)signer->pid, name);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, word, strlen(word)))
			number = strtoul(line + strlen(word), NULL, base);
	fclose(file);
	return number;
}

/* What the module executes has none of them blocked or ignored, and no socket of ours. */
static void test_nothing_is_inherited(void **state)
{
	const unsigned long ours = 1UL << (SIGTERM - 1) | 1UL << (SIGPIPE - 1);
	struct signer *signer = get_good("a");

	(void)state;
	assert_int_equal(number_of(signer, "status", "SigBlk:", 16), 0);
	assert_int_equal(number_of(signer, "status", "SigIgn:", 16) & ours, 0);
	assert_true(number_of(signer, "fdinfo/3", "flags:", 8) & O_CLOEXEC);
	signer_put(signer);
}

/* systemd signals all processes of a unit at once; this one has signatures to make. */
static void test_signals_are_not_heeded(void **state)
{
	struct signer *signer = get_good("a");

	(void)state;
	kill(signer->pid, SIGTERM);
	kill(signer->pid, SIGINT);
	kill(signer->pid, SIGPIPE);
	poll(NULL, 0, 100);
	assert_true(signs(signer));
	signer_put(signer);
}

/* Nothing of who started it: it is another program's memory. */
static void test_process_is_executed_anew(void **state)
{
	struct signer *signer = get_good("a");
	char line[256], path[64];
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)signer->pid);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	assert_string_equal(line, SIGNER_NAME);
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)signer->pid);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	assert_string_equal(line, SIGNER_NAME "\n");
	signer_put(signer);
}

/* It has the PIN, and with a module in software the key: neither is to be swapped. */
static void test_process_locks_its_memory(void **state)
{
	struct signer *signer = get_good("a");
	char line[256], path[64];
	long locked = -1;
	FILE *file;

	(void)state;
#ifndef __SANITIZE_ADDRESS__ /* which makes nothing of mlockall() */
	if (!memory_lock()) {
		munlockall();
		snprintf(path, sizeof(path), "/proc/%d/status", (int)signer->pid);
		file = fopen(path, "r");
		assert_non_null(file);
		while (fgets(line, sizeof(line), file))
			sscanf(line, "VmLck: %ld kB", &locked);
		fclose(file);
		assert_true(locked > 0);
	}
#endif
	signer_put(signer);
}

static void take_other_certificate(bool with_key)
{
	struct cert_files other;
	struct cert_facts facts;

	test_files_named(TEST_P256, "other.example", NULL, &other, &facts);
	write_text("fake.crt", other.cert);
	if (with_key)
		write_text("fake/key.pem", other.key);
	cert_files_free(&other);
}

/* The old generation has the old key's process meanwhile. */
static void test_another_key_of_the_name(void **state)
{
	struct signer *old = get_good("a");
	struct cert_files files;
	struct cert_facts facts;
	char err[512];

	(void)state;
	take_other_certificate(true);
	old->since -= FRESH_MS;
	assert_int_equal(load("fake", uri_of("a"), "pin", &files, &facts, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "does not belong to the certificate"));
	if (load("fake", uri_of("a"), "pin", &files, &facts, err, sizeof(err)))
		fail_msg("%s", err);
	assert_ptr_not_equal(files.signer, old);
	assert_true(signs(old));
	cert_files_free(&files);
	signer_put(old);
}

/* Until signer_get() has news */
static void await_news(void)
{
	struct pollfd fd = { .fd = signer_events(), .events = POLLIN };
	int64_t until = clock_ms() + 2 * SIGNER_START_MS, next;

	while (!signer_attend(&next)) {
		assert_true(clock_ms() < until);
		poll(&fd, 1, next >= 0 && next < 1000 ? next : 1000);
	}
}

/* Two ports of one key: one process more is started for both, and then no other. */
static void test_key_that_does_not_fit_twice(void **state)
{
	struct pollfd fd = { .fd = signer_events(), .events = POLLIN };
	struct signer *old = get_good("a");
	struct cert_files files;
	struct cert_facts facts;
	unsigned int renewals = 0;
	char err[512];

	(void)state;
	old->since -= FRESH_MS;
	take_other_certificate(false);
	do {
		if (renewals)
			await_news();
		signer_pass(0);
		for (int port = 0; port < 2; port++)
			assert_int_equal(load("fake", uri_of("a"), "pin", &files, &facts, err,
					      sizeof(err)),
					 -1);
	} while (++renewals < 6 && poll(&fd, 1, 1500) > 0);
	assert_non_null(strstr(err, "does not belong to the certificate"));
	assert_int_equal(fake_asked("login"), 2);
	assert_int_equal(renewals, 2);
	/* It is looked at again. */
	assert_true(signer_missed());
	signer_put(old);
}

/* After the reload that has begun it was refused; the next one is as good as the first. */
static void test_token_that_is_too_late_for_its_pass(void **state)
{
	struct signer *signer;
	char err[512];
	int64_t next;
	pid_t pid;

	(void)state;
	write_text("fake/init", "0 300");
	signer_pass(1);
	get_bad("a", "the token has not answered yet");
	assert_true(signer_missed());
	await_news();
	signer_pass(0);
	assert_false(signer_missed());
	signer_pass(1);
	signer = get("a", err, sizeof(err));
	assert_non_null(signer);
	assert_int_equal(fake_asked("login"), 1);
	pid = signer->pid;
	/* Nobody holds it, and after some time it ends. */
	signer_put(signer);
	assert_ptr_equal(signers, signer);
	signer_attend(&next);
	assert_in_range(next, 1, KEEP_MS);
	age();
	signer_attend(&next);
	assert_null(signers);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Nobody of the next pass asks for it: that of a port that is not served any more. */
static void test_key_that_is_not_asked_for(void **state)
{
	struct signer *signer;

	(void)state;
	signer_pass(SIGNER_START_MS);
	signer = get_good("a");
	signer_pass(0);
	signer_put(signer);
	assert_null(signers);
}

static struct signer *lose_one(struct signer *signer)
{
	kill(signer->pid, SIGKILL);
	assert_int_equal(end_of(signer, 5000), 128 + SIGKILL);
	assert_non_null(signer_ended(signer->pid));
	return signer;
}

/* Each key by itself: two that are lost together are no one that is lost twice. */
static void test_tokens_that_are_lost(void **state)
{
	struct signer *a = get_good("a"), *b = get_good("b"), *again;
	int64_t next;

	(void)state;
	signer_attend(&next);
	lose_one(a);
	assert_true(signer_attend(&next));
	again = get_good("a");
	signer_put(a);
	lose_one(b);
	assert_true(signer_attend(&next));
	signer_put(b);
	lose_one(again);
	assert_false(signer_attend(&next));
	assert_in_range(next, LOST_MS - 5000, LOST_MS);
	again->replace_at -= LOST_MS;
	assert_true(signer_attend(&next));
	signer_put(again);
}

/* Standard error goes to a file of the test. */
static int divert_log(void)
{
	int saved = dup(STDERR_FILENO),
	    fd = open(path_of("stderr"), O_CREAT | O_RDWR | O_TRUNC, 0600);

	assert_true(saved >= 0 && fd >= 0);
	fflush(stderr);
	dup2(fd, STDERR_FILENO);
	close(fd);
	return saved;
}

/* Its lines */
static unsigned int read_log(int saved, char *line, size_t len)
{
	unsigned int lines = 0;
	FILE *file;

	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	file = fopen(path_of("stderr"), "r");
	assert_non_null(file);
	while (fgets(line, len, file))
		lines++;
	fclose(file);
	return lines;
}

static void handshake_fails(const struct served *served, int version)
{
	struct client *client = client_new(version, version);
	static struct flow flow;
	char line[512] = "";
	int saved = divert_log();

	memset(&flow, 0, sizeof(flow));
	ERR_clear_error();
	flow_run(&flow, served->context, client);
	assert_int_equal(read_log(saved, line, sizeof(line)), 1);
	if (!strstr(line, "object=a") || !strstr(line, "what the token has signed is wrong"))
		fail_msg("%s", line);
	assert_int_equal(flow.status, ENGINE_FAILED);
	assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_TLSV1_ALERT_INTERNAL_ERROR);
	flow_end(&flow);
	client_free(client);
}

/* No client gets it, and whoever started the process starts another. */
static void signs_wrongly(enum test_key kind, int version)
{
	struct served served, other;
	struct signer *signer;

	fake_has(kind);
	serve_fake(&served);
	signer = served.files.signer;
	handshake(&served, version, NULL);
	write_text("fake/wrong", "1");
	handshake_fails(&served, version);
	assert_int_equal(signer->fd, -1);
	await_news();
	assert_false(signer_lives(signer));
	unlink(path_of("fake/wrong"));
	serve_fake(&other);
	assert_ptr_not_equal(other.files.signer, signer);
	handshake(&other, version, NULL);
	serve_end(&other);
	serve_end(&served);
}

static void test_signature_that_is_wrong(void **state)
{
	(void)state;
	signs_wrongly(TEST_P256, TLS1_3_VERSION);
	signs_wrongly(TEST_P256, TLS1_2_VERSION);
	signs_wrongly(TEST_RSA, TLS1_3_VERSION);
	signs_wrongly(TEST_RSA, TLS1_2_VERSION);
}

/* It is told once, and again of the next one, which is replaced no sooner than after a minute. */
static void test_signatures_that_are_wrong_again(void **state)
{
	struct signer *signer = get_good("a"), *next_one;
	struct pollfd fd = { .fd = signer_events(), .events = POLLIN };
	int64_t next;

	(void)state;
	signer_attend(&next);
	signer_reject(signer);
	await_news();
	next_one = get_good("a");
	assert_ptr_not_equal(next_one, signer);
	signer_put(signer);
	signer_attend(&next);
	signer_reject(next_one);
	assert_int_equal(poll(&fd, 1, 5000), 1);
	assert_false(signer_attend(&next));
	assert_in_range(next, LOST_MS - 5000, LOST_MS);
	assert_false(signer_lives(next_one));
	signer_put(next_one);
}

/* A worker that was taken over has things signed that no handshake has: it alone is ended. */
static void test_requests_that_are_not_proper(void **state)
{
	static const struct signer_request requests[] = {
		{ .how = TOKEN_ECDSA, .len = 20 },
		{ .how = TOKEN_ECDSA, .len = 0 },
		{ .how = TOKEN_RSA_PSS, .len = 33 },
		{ .how = TOKEN_RSA_PKCS1, .len = 51 },
		{ .how = 7, .len = 32 },
	};
	struct signer *signer = get_good("a");
	char byte;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		const size_t len = offsetof(struct signer_request, data) + requests[i].len;

		assert_true(connect_another(signer, &fd) >= 0);
		assert_int_equal(send(signer->fd, &requests[i], len, 0), len);
		assert_int_equal(recv(signer->fd, &byte, 1, 0), 0);
		close(signer->fd);
		signer->fd = fd;
	}
	assert_true(signs(signer));
	assert_int_equal(fake_asked("sign"), 4);
	signer_put(signer);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uris),
		cmocka_unit_test(test_pin_files),
		cmocka_unit_test(test_p256),
		cmocka_unit_test(test_p384),
		cmocka_unit_test(test_rsa),
		cmocka_unit_test(test_uri_in_place_of_the_key),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_ways_to_name_it),
		cmocka_unit_test(test_mismatch),
		cmocka_unit_test(test_pin_that_all_can_read),
		cmocka_unit_test(test_one_process_for_a_key),
		cmocka_unit_test(test_process_that_ends),
		cmocka_unit_test(test_end_of_the_process),
		FAKE(test_fake_is_a_token),
		FAKE(test_hung_tokens_are_waited_for_together),
		FAKE(test_token_that_comes_later),
		FAKE(test_slow_token_gets_its_share),
		FAKE(test_quick_token_beside_a_slow_one),
		FAKE(test_signature_that_comes_late),
		FAKE(test_process_that_hangs_ends),
		FAKE(test_error_of_a_session),
		FAKE(test_errors_in_a_row),
		FAKE(test_token_that_is_taken_away),
		FAKE(test_session_is_asked_for_again),
		FAKE(test_sessions_run_out),
		FAKE(test_hash_that_the_token_has_not),
		FAKE(test_token_that_is_too_slow),
		FAKE(test_pin_is_tried_once),
		FAKE(test_login_that_does_not_end),
		FAKE(test_login_that_says_nothing_of_the_pin),
		FAKE(test_login_with_a_fault_of_the_device),
		FAKE(test_tries_that_others_use_up),
		FAKE(test_logins_of_others_are_waited_for),
		FAKE(test_record_that_is_cut),
		FAKE(test_pin_that_is_too_long),
		FAKE(test_many_slots),
		FAKE(test_nothing_is_inherited),
		FAKE(test_signals_are_not_heeded),
		FAKE(test_process_is_executed_anew),
		FAKE(test_process_locks_its_memory),
		FAKE(test_another_key_of_the_name),
		FAKE(test_key_that_does_not_fit_twice),
		FAKE(test_token_that_is_too_late_for_its_pass),
		FAKE(test_key_that_is_not_asked_for),
		FAKE(test_tokens_that_are_lost),
		FAKE(test_signature_that_is_wrong),
		FAKE(test_signatures_that_are_wrong_again),
		FAKE(test_requests_that_are_not_proper),
	};

	if (argc == SIGNER_ARGC && !strcmp(argv[0], SIGNER_NAME))
		return signer_main(argv);
	return cmocka_run_group_tests(tests, start, stop);
}
