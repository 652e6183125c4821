// SPDX-License-Identifier: GPL-2.0-or-later
/* OCSP responses that are asked for, of a responder that is a thread of the test. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>

#include <cmocka.h>

/* What is due when is its own affair, but here. */
#include "../../userspace/tlsportd/ocsp_fetch.c"
#include "../../userspace/tlsportd/engine.h"
#include "ocsp_make.h"

/* --- the responder --- */

static enum { GOOD, CHUNKED, NOT_FOUND, JUNK, NOT_HTTP, LONG, SILENT, REVOKED } mode;
static int listener;
static struct test_ca ca;
static X509 *cert;
static bool asked; /* for the certificate */

static void look_at_request(const uint8_t *body, int len)
{
	OCSP_REQUEST *request = d2i_OCSP_REQUEST(NULL, &body, len);
	OCSP_CERTID *wanted = OCSP_cert_to_id(NULL, cert, ca.cert);

	asked = request && OCSP_request_onereq_count(request) == 1 &&
		!OCSP_id_cmp(wanted, OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0)));
	OCSP_CERTID_free(wanted);
	OCSP_REQUEST_free(request);
}

static void read_request(int fd)
{
	uint8_t text[8192];
	size_t have = 0;
	ssize_t n;

	while ((n = read(fd, text + have, sizeof(text) - have - 1)) > 0) {
		const char *length, *body;

		have += n;
		text[have] = '\0';
		length = strstr((char *)text, "Content-Length: ");
		body = strstr((char *)text, "\r\n\r\n");
		if (!length || !body || (char *)text + have < body + 4 + atoi(length + 16))
			continue;
		look_at_request((const uint8_t *)body + 4, atoi(length + 16));
		return;
	}
}

#define OK "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n"

static void answer(int fd)
{
	struct test_response how = { &ca, cert, V_OCSP_CERTSTATUS_GOOD, -3600, 3600, BY_DELEGATE };
	uint8_t der[OCSP_RESPONSE_MAX];
	char filler[2000];
	size_t len;

	how.status = mode == REVOKED ? V_OCSP_CERTSTATUS_REVOKED : how.status;
	len = test_response_make(&how, der);
	memset(filler, 'x', sizeof(filler));
	switch (mode) {
	case SILENT:
		pause();
		break;
	case NOT_FOUND:
		dprintf(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
		break;
	case NOT_HTTP:
		dprintf(fd, "220 mail.example ESMTP\r\n");
		break;
	case JUNK:
		dprintf(fd, OK "Content-Length: 4\r\n\r\njunk");
		break;
	case LONG:
		dprintf(fd, OK "Content-Length: 9000\r\n\r\n%9000s", "");
		break;
	case CHUNKED:
		dprintf(fd, OK "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", len);
		write(fd, der, len);
		dprintf(fd, "\r\n0\r\n\r\n");
		break;
	default: /* with a header as proxies make it */
		dprintf(fd, OK "X-Long: %.2000s\r\nContent-Length: %zu\r\n\r\n", filler, len);
		write(fd, der, len);
	}
}

static void *respond(void *unused)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		read_request(fd);
		answer(fd);
		close(fd);
	}
	return unused;
}

static unsigned int open_responder(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	return ntohs(addr.sin_port);
}

/* --- a port --- */

static char root[64];
static struct port_config config;
static struct served_port port = { .config = &config };
static struct generation generation = { .config = { .ports = &config, .count = 1 },
					.ports = &port };
static struct ocsp_fetches fetches;
static struct sandbox_user user;
static char told[4096];

static void put_file(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	chmod(path, 0600);
}

static void issue(const char *url)
{
	char err[256] = "", path[128];
	struct cert_files files;
	struct cert_facts facts;

	cert = test_ca_issue(&ca, TEST_P256, false, url, &files, &facts);
	put_file("cert.pem", files.cert);
	put_file("cert.key", files.key);
	cert_files_free(&files);
	port_config_init(&config, 443);
	snprintf(path, sizeof(path), "%s/cert.pem", root);
	config.cert = strdup(path);
	snprintf(path, sizeof(path), "%s/cert.key", root);
	config.key = strdup(path);
	config.ocsp = OCSP_FETCH;
	assert_int_equal(certificates_find(&config, root, &port.certificates, err, sizeof(err)), 0);
	certificate_load(port.certificates.list);
	assert_true(port.certificates.list->usable);
}

static int setup(void **state)
{
	const char *const names[] = { "nobody", NULL };
	pthread_t thread;
	char url[64];

	(void)state;
	strcpy(root, "/tmp/test_ocsp.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	if (!geteuid())
		sandbox_find_user(names, &user);
	test_ca_new(&ca, "authority");
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/ocsp", open_responder());
	issue(url);
	return pthread_create(&thread, NULL, respond, NULL);
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	certificates_free(&port.certificates);
	port_config_free(&config);
	X509_free(cert);
	test_ca_free(&ca);
	snprintf(command, sizeof(command), "rm -r '%s'", root);
	return system(command);
}

/* The answer goes, and what is known of it. */
static int forget(void **state)
{
	(void)state;
	if (!engine_staples())
		return 0;
	if (fetches.list)
		unlink(fetches.list->path);
	ocsp_fetch_close(&fetches);
	certificate_load(port.certificates.list);
	asked = false;
	ocsp_fetch_update(&fetches, &generation);
	return 0;
}

/* One question; what the process says is in told. */
static bool ask_once(void)
{
	int err = dup(STDERR_FILENO), log = memfd_create("log", MFD_CLOEXEC), status;
	pid_t pid;

	dup2(log, STDERR_FILENO);
	ocsp_fetch_run(&fetches, &user);
	assert_int_equal(fetches.running, 1);
	assert_false(ocsp_fetch_fresh(&fetches));
	pid = waitpid(-1, &status, 0);
	assert_true(ocsp_fetch_ended(&fetches, pid, status));
	dup2(err, STDERR_FILENO);
	told[pread(log, told, sizeof(told) - 1, 0)] = '\0';
	close(err);
	close(log);
	return ocsp_fetch_fresh(&fetches);
}

/* What status says */
static void error_is(const char *why)
{
	const char *error = ocsp_fetch_error(&fetches, port.certificates.list);

	if (!error || strncmp(error, "no OCSP response from http://127.0.0.1:", 39) ||
	    !strstr(error, why))
		fail_msg("'%s' does not hold '%s'", error ? error : "(none)", why);
}

static void fails(const char *why)
{
	time_t next;

	if (!engine_staples())
		skip();
	for (int i = 0; i < 3; i++) {
		fetches.list->due = 0;
		assert_false(ask_once());
		if (i ? told[0] != '\0' : !strstr(told, why)) /* once */
			fail_msg("'%s' is not '%s'", told, why);
		error_is(why); /* always */
		next = ocsp_fetch_run(&fetches, &user);
		assert_in_range(next, (60 << i) - 5, 60 << i);
		if (mode == SILENT)
			break;
	}
	certificate_load(port.certificates.list);
	assert_int_equal(port.certificates.list->response.len, 0);
}

static void succeeds(void)
{
	const struct ocsp_response *response = &port.certificates.list->response;
	time_t next;

	if (!engine_staples())
		skip();
	if (!ask_once())
		fail_msg("%s", told);
	assert_true(asked);
	assert_string_equal(told, "");
	assert_null(ocsp_fetch_error(&fetches, port.certificates.list));
	certificate_load(port.certificates.list);
	assert_true(response->len > 0);
	assert_string_equal(port.certificates.list->response_error, "");
	/* again in the middle of its life, which is now: but no responder is asked all the time */
	ocsp_fetch_update(&fetches, &generation);
	assert_in_range(fetches.list->due, time(NULL) + 895, time(NULL) + 900);
	fetches.list->due = 0;
	assert_true(ask_once());
	ocsp_fetch_update(&fetches, &generation);
	next = ocsp_fetch_run(&fetches, &user);
	assert_in_range(next, 3590, 3600);
}

static void test_good(void **state)
{
	(void)state;
	mode = GOOD;
	succeeds();
}

static void test_chunked(void **state)
{
	(void)state;
	mode = CHUNKED;
	succeeds();
}

static void test_bad(void **state)
{
	static const struct {
		int mode;
		const char *why;
	} all[] = {
		{ NOT_FOUND, "no answer of OCSP (HTTP status 200)" },
		{ NOT_HTTP, "no answer of OCSP (HTTP status 200)" },
		{ JUNK, "is no OCSP response" },
		{ LONG, "the answer is too long (9000 bytes)" },
		{ REVOKED, "it says that the certificate is revoked" },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		forget(state);
		mode = all[i].mode;
		fails(all[i].why);
	}
}

/* What is at hand stays so while it is valid, and it is told when there is an answer again. */
static void test_failure_and_recovery(void **state)
{
	(void)state;
	mode = GOOD;
	if (!engine_staples())
		skip();
	assert_true(ask_once());
	mode = NOT_FOUND;
	fetches.list->due = 0;
	assert_false(ask_once());
	certificate_load(port.certificates.list);
	assert_true(port.certificates.list->response.len > 0);
	error_is("HTTP status");
	mode = GOOD;
	fetches.list->due = 0;
	assert_true(ask_once());
	assert_non_null(strstr(told, "answers again"));
	assert_null(ocsp_fetch_error(&fetches, port.certificates.list));
}

static void test_not_wanted_any_more(void **state)
{
	char path[PATH_MAX];

	(void)state;
	mode = GOOD;
	if (!engine_staples())
		skip();
	assert_true(ask_once());
	strcpy(path, fetches.list->path);
	assert_int_equal(access(path, F_OK), 0);
	port.certificates.list->ocsp = OCSP_FILE;
	ocsp_fetch_update(&fetches, &generation);
	port.certificates.list->ocsp = OCSP_FETCH;
	assert_null(fetches.list);
	assert_int_equal(access(path, F_OK), -1);
}

/* As another tlsportd, with the answers that are stored */
static void start_again(void)
{
	generation.run_dir = root;
	ocsp_fetch_close(&fetches);
	memset(&fetches, 0, sizeof(fetches));
}

/* Of certificates that were replaced while no tlsportd ran */
static void test_left_by_another(void **state)
{
	static const char old[] = "ocsp/00112233445566778899aabbccddeeff",
			  half[] = "ocsp/00112233445566778899aabbccddeeff.new";
	char wanted[PATH_MAX], path[128];

	(void)state;
	mode = GOOD;
	if (!engine_staples())
		skip();
	assert_true(ask_once());
	strcpy(wanted, fetches.list->path);
	put_file(old, "");
	put_file(half, "");
	start_again();
	ocsp_fetch_update(&fetches, &generation);
	snprintf(path, sizeof(path), "%s/%s", root, old);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/%s", root, half);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(wanted, F_OK), 0);
	/* What comes later is somebody's who knows. */
	put_file(old, "");
	ocsp_fetch_update(&fetches, &generation);
	snprintf(path, sizeof(path), "%s/%s", root, old);
	assert_int_equal(unlink(path), 0);
	generation.run_dir = NULL;
}

/* A certificate that cannot be served yet wants its answer later: the sweep waits for it. */
static void test_kept_for_what_is_not_usable(void **state)
{
	static const char left[] = "ocsp/00112233445566778899aabbccddeeff";
	struct certificate *one = port.certificates.list;
	char wanted[PATH_MAX], path[128];

	(void)state;
	mode = GOOD;
	if (!engine_staples())
		skip();
	assert_true(ask_once());
	strcpy(wanted, fetches.list->path);
	put_file(left, "");
	snprintf(path, sizeof(path), "%s/%s", root, left);
	start_again();
	one->usable = false; /* its token is slow */
	ocsp_fetch_update(&fetches, &generation);
	one->usable = true;
	assert_int_equal(access(wanted, F_OK), 0);
	config.broken = true;
	ocsp_fetch_update(&fetches, &generation);
	config.broken = false;
	strcpy(port.error, "its cert-dir is missing");
	ocsp_fetch_update(&fetches, &generation);
	port.error[0] = '\0';
	assert_int_equal(access(path, F_OK), 0);
	ocsp_fetch_update(&fetches, &generation);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(wanted, F_OK), 0);
	generation.run_dir = NULL;
}

/* What it says comes from strangers. */
static void test_why_is_text(void **state)
{
	char path[sizeof(root) + 8], why[WHY_MAX];
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/why", root);
	read_why(path, why);
	assert_string_equal(why, "the process that asks it failed");
	file = fopen(path, "w");
	fprintf(file, "a\033[2J\n\"b\"%1000s", "");
	fclose(file);
	read_why(path, why);
	assert_int_equal(strlen(why), WHY_MAX - 1);
	assert_int_equal(strncmp(why, "a?[2J?\"b\"  ", 11), 0);
	remove(path);
}

/* The thread does not come back from it. */
static void test_silence(void **state)
{
	(void)state;
	mode = SILENT;
	fails("no answer in time");
}

static void test_refusal(void **state)
{
	(void)state;
	close(listener);
	shutdown(listener, SHUT_RDWR);
	strcpy(fetches.list ? fetches.list->url : (char[CERT_URL_LEN]){ 0 }, "http://127.0.0.1:1/");
	mode = NOT_FOUND;
	fails("Connection refused");
}

#define TEST(name) cmocka_unit_test_setup(name, forget)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_good),
		TEST(test_chunked),
		TEST(test_bad),
		TEST(test_failure_and_recovery),
		TEST(test_not_wanted_any_more),
		TEST(test_left_by_another),
		TEST(test_kept_for_what_is_not_usable),
		TEST(test_why_is_text),
		TEST(test_silence),
		TEST(test_refusal),
	};

	log_start(false);
	if (argc == 3 && !strcmp(argv[0], OCSP_FETCH_NAME))
		return ocsp_fetch_main(argv[1], argv[2]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
