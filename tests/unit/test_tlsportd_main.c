// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the daemon's loop does when its time has come, with processes as workers that do
 * nothing, and without the kernel module.  Times are moved instead of waited for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

int tlsportd_main(int argc, char **argv);

#define main tlsportd_main
#include "../../userspace/tlsportd/main.c"
#undef main

#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "engine_client.h"

static bool dies;

int worker_run(const struct generation *generation, const struct sandbox_user *user, int report,
	       struct worker_numbers *numbers)
{
	sigset_t set;
	int sig;

	(void)generation;
	(void)user;
	(void)numbers;
	if (dies || write(report, "R", 1) != 1)
		return 1;
	sigemptyset(&set);
	sigaddset(&set, WORKER_DRAIN_SIGNAL);
	return !sigwait(&set, &sig) && write(report, "D", 1) == 1 ? 0 : 1;
}

static int mock_port_set(struct tlsport_nl *nl, uint16_t number,
			 const struct tlsport_nl_policy *policy)
{
	(void)nl;
	(void)number;
	(void)policy;
	return 0;
}

static int mock_port_get(struct tlsport_nl *nl, uint16_t number, struct tlsport_nl_port *port)
{
	(void)nl;
	*port = (struct tlsport_nl_port){ .number = number };
	return 0;
}

static const struct tlsport_nl_ops mock = { .port_set = mock_port_set, .port_get = mock_port_get };

#define ROTATION 3600

static char root[64];
static struct daemon *helper = &the_daemon;

static void put_file(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put_file(const char *name, const char *fmt, ...)
{
	char path[256];
	va_list args;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "w");
	assert_non_null(file);
	va_start(args, fmt);
	vfprintf(file, fmt, args);
	va_end(args);
	fclose(file);
	chmod(path, 0600);
}

static void put_certificate(enum test_key key)
{
	struct cert_files files;
	struct cert_facts facts;

	test_files(key, &files, &facts);
	put_file("cert.pem", "%s%s", files.cert, files.key);
}

/* As run() does, up to its loop. */
static int setup(void **state)
{
	struct parent *parent = &helper->parent;

	(void)state;
	strcpy(root, "/tmp/test_main.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	memset(helper, 0, sizeof(*helper));
	parent->config_dir = parent->run_dir = root;
	parent->workers = 2;
	helper->rotation = ROTATION;
	helper->files = helper->handover.control = -1;
	tlsport_nl_ops = &mock;
	dies = false;
	put_certificate(TEST_P256);
	put_file("tlsport.conf", "[port 443]\ncert = %s/cert.pem\n", root);
	helper->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (ticket_store_open(&parent->tickets, root, helper->rotation) ||
	    open_signals(helper) < 0 || parent_start(parent))
		return -1;
	helper->alarm_at = clock_ms() + ALARM_MS;
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	parent_stop(&helper->parent);
	ocsp_fetch_close(&helper->parent.fetches);
	ticket_store_close(&helper->parent.tickets);
	close(helper->signals);
	close(helper->epoll);
	snprintf(command, sizeof(command), "rm -r '%s'", root);
	return system(command);
}

static void test_rotation_option(void **state)
{
	static const struct {
		const char *text;
		time_t seconds; /* 0: refused */
	} cases[] = {
		{ "12h", 12 * 3600 },
		{ "90m", 5400 },
		{ "600s", 600 },
		{ "60s", 60 },
		{ "1m", 60 },
		{ "168h", 7 * 24 * 3600 },
		{ "604800s", 7 * 24 * 3600 },
		{ "59s", 0 },
		{ "169h", 0 },
		{ "604801s", 0 },
		{ "600", 0 },
		{ "10d", 0 },
		{ "1h30m", 0 },
		{ "h", 0 },
		{ "", 0 },
		{ "-5m", 0 },
		{ "9223372036854775807h", 0 },
		{ "5124095576030432h", 0 }, /* times 3600 it is small again */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		time_t rotation = 1;
		int ret = parse_rotation(cases[i].text, &rotation);

		if (ret != (cases[i].seconds ? 0 : -1) ||
		    rotation != (cases[i].seconds ? cases[i].seconds : 1))
			fail_msg("%s: %d, %lld", cases[i].text, ret, (long long)rotation);
	}
}

/* The loop wakes up in time for it, and the worker's next ticket has another key. */
static void test_ticket_keys_are_rotated_by_age(void **state)
{
	struct ticket_store *tickets = &helper->parent.tickets;
	struct ticket_key first, second;

	(void)state;
	tickets->made -= ROTATION - 100;
	assert_true(ticket_key_current(tickets->own, &first));
	assert_in_range(next_timeout(helper), 90 * 1000, 100 * 1000);
	assert_true(ticket_key_current(tickets->own, &second));
	assert_memory_equal(&first, &second, sizeof(first));
	tickets->made -= 100;
	assert_in_range(next_timeout(helper), (ROTATION - 10) * 1000, ROTATION * 1000);
	assert_true(ticket_key_current(tickets->own, &second));
	assert_memory_not_equal(&first, &second, sizeof(first));
	assert_true(ticket_key_find(tickets->own, first.name, &second));
	assert_memory_equal(&first, &second, sizeof(first));
}

/* Workers could not be started with the new certificate: there is no event that would tell of better times. */
static void test_failed_renewal_is_tried_again_in_a_minute(void **state)
{
	struct parent *parent = &helper->parent;

	(void)state;
	dies = true;
	put_certificate(TEST_RSA);
	helper->renew_at = clock_ms();
	assert_in_range(next_timeout(helper), AGAIN_MS - 5000, AGAIN_MS);
	assert_int_equal(parent->generation->number, 1);
	assert_int_equal(helper->renew_at, 0);
	assert_in_range(helper->retry_at - clock_ms(), AGAIN_MS - 5000, AGAIN_MS);
	/* not before its time */
	dies = false;
	next_timeout(helper);
	assert_int_equal(parent->generation->number, 1);
	helper->retry_at = clock_ms();
	next_timeout(helper);
	assert_true(parent->generation->number > 1);
	assert_int_equal(helper->retry_at, 0);
	/* and then there is nothing to be tried */
	assert_true(next_timeout(helper) > AGAIN_MS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rotation_option),
		TEST(test_ticket_keys_are_rotated_by_age),
		TEST(test_failed_renewal_is_tried_again_in_a_minute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
