// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keys in a token, by SoftHSM with its files in a directory of the test: what a URI
 * may say, what is refused with which words, and handshakes.  Includes signer.c, for
 * the process that signs is stopped and ended here.
 */
#include "../../userspace/common/signer.c"

#include <setjmp.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine_client.h"
#include "../../userspace/common/cert_check.h"

#define MODULE "/usr/lib/softhsm/libsofthsm2.so"

static char dir[64];

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
							&served->names, NULL };
	struct engine_policy policy = test_policy(443);
	char uri[128], err[512] = "";

	memset(served, 0, sizeof(*served));
	snprintf(uri, sizeof(uri), "pkcs11:token=web;object=%s", label);
	if (load(label, uri, "pin", &served->files, &served->facts, err, sizeof(err)))
		fail_msg("%s", err);
	served->context = engine_context_new(&policy, &certificate, 1, err, sizeof(err));
	if (!served->context)
		fail_msg("%s", err);
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
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		err[0] = '\0';
		if (!load(refused[i].cert, refused[i].uri, refused[i].pin, &files, &facts, err,
			  sizeof(err)))
			fail_msg("%s with %s is taken", refused[i].cert, refused[i].uri);
		if (!strstr(err, refused[i].why) || strchr(err, '\n'))
			fail_msg("%s with %s: %s", refused[i].cert, refused[i].uri, err);
	}
	assert_null(signers);
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

/* With no token any more a second try would say so. */
static void test_pin_is_tried_once(void **state)
{
	const char uri[] = "pkcs11:token=web;object=p256";
	struct cert_files files;
	struct cert_facts facts;
	char err[512];

	(void)state;
	write_text("wrong", "9999\n");
	assert_int_equal(load("p256", uri, "wrong", &files, &facts, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "refuses the PIN in"));
	assert_null(strstr(err, "9999"));
	rename(path_of("tokens"), path_of("away"));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(load("p256", uri, "wrong", &files, &facts, err, sizeof(err)), -1);
		assert_non_null(strstr(err, "refuses the PIN in"));
	}
	rename(path_of("away"), path_of("tokens"));
	write_text("wrong", "1234\n");
	if (load("p256", uri, "wrong", &files, &facts, err, sizeof(err)))
		fail_msg("%s", err);
	cert_files_free(&files);
	assert_null(signers);
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
	assert_null(signers);
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

/* Nobody who asks waits for it a second time. */
static void test_token_that_hangs(void **state)
{
	struct signer *signer;
	char err[512];
	int64_t began;

	(void)state;
	signer = signer_get("pkcs11:token=web;object=p256", path_of("pin"), err, sizeof(err));
	assert_non_null(signer);
	assert_true(signer_connect(signer) >= 0);
	kill(signer->pid, SIGSTOP);
	began = now_ms();
	assert_int_equal(sign_once(signer, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "does not answer"));
	assert_true(now_ms() - began >= SIGNER_SIGN_MS);
	began = now_ms();
	for (int i = 0; i < 100; i++)
		assert_int_equal(sign_once(signer, err, sizeof(err)), -1);
	assert_true(now_ms() - began < SIGNER_SIGN_MS);
	kill(signer->pid, SIGCONT);
	for (int i = 0; i < 100 && sign_once(signer, err, sizeof(err)) < 0; i++)
		poll(NULL, 0, 50);
	assert_int_equal(sign_once(signer, err, sizeof(err)), 64);
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

int main(void)
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
		cmocka_unit_test(test_pin_is_tried_once),
		cmocka_unit_test(test_pin_that_all_can_read),
		cmocka_unit_test(test_one_process_for_a_key),
		cmocka_unit_test(test_process_that_ends),
		cmocka_unit_test(test_token_that_hangs),
		cmocka_unit_test(test_end_of_the_process),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
