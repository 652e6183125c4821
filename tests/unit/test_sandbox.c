// SPDX-License-Identifier: GPL-2.0-or-later
/* The worker's walls: what still goes and what ends the process. */
#include <cap-ng.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../userspace/tlsportd/sandbox.h"

/* The sanitizers' own system calls are not a worker's. */
#ifdef __SANITIZE_ADDRESS__
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

static struct sandbox_user user;

/* Status of a child that does this behind the walls: 0 is what it should return. */
static int inside(int (*function)(void))
{
	pid_t pid;
	int status;

	if (sanitized)
		skip();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(sandbox_enter(&user) ? 99 : function());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static bool killed(int (*function)(void))
{
	int status = inside(function);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static int pair[2];

static int loop(void)
{
	struct timespec ts;
	char *memory = malloc(10 << 20), bytes[16];

	if (!memory)
		return 1;
	memset(memory, 1, 10 << 20);
	free(memory);
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes) ||
	    clock_gettime(CLOCK_MONOTONIC, &ts) || write(pair[0], "x", 1) != 1 ||
	    read(pair[1], bytes, 1) != 1)
		return 2;
	return 0;
}

static void test_what_a_worker_does(void **state)
{
	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(inside(loop), 0);
	close(pair[0]);
	close(pair[1]);
}

static int opens(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static int connects(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int executes(void)
{
	return execl("/bin/true", "true", NULL);
}

static int forks(void)
{
	return fork();
}

static int maps_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED;
}

static int makes_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static int traces(void)
{
	return kill(getppid(), 0);
}

static void test_what_it_does_not(void **state)
{
	(void)state;
	assert_true(killed(opens));
	assert_true(killed(connects));
	assert_true(killed(executes));
	assert_true(killed(forks));
	assert_true(killed(maps_code));
	assert_true(killed(makes_code));
	assert_true(killed(traces));
}

static int aborts(void)
{
	abort();
}

static void test_abort_is_seen_as_such(void **state)
{
	int status = inside(aborts);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* A line of /proc/PID/status. */
static void has(pid_t pid, const char *want)
{
	char path[64], line[256];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		found |= !strncmp(line, want, strlen(want));
	fclose(file);
	if (!found)
		fail_msg("no '%s'", want);
}

static void test_rights(void **state)
{
	char byte, uids[64], gids[64];
	int up[2], down[2];
	pid_t pid;

	(void)state;
	if (geteuid() || sanitized)
		skip();
	assert_int_equal(pipe(up) || pipe(down), 0);
	pid = fork();
	if (!pid) {
		if (sandbox_enter(&user) || write(up[1], "x", 1) != 1)
			_exit(1);
		_exit(read(down[0], &byte, 1) != 1);
	}
	assert_int_equal(read(up[0], &byte, 1), 1);
	snprintf(uids, sizeof(uids), "Uid:\t%u\t%u\t%u\t%u\n", user.uid, user.uid, user.uid,
		 user.uid);
	snprintf(gids, sizeof(gids), "Gid:\t%u\t%u\t%u\t%u\n", user.gid, user.gid, user.gid,
		 user.gid);
	has(pid, uids);
	has(pid, gids);
	has(pid, "Groups:\t \n");
	has(pid, "CapInh:\t0000000000000000\n");
	has(pid, "CapPrm:\t0000000000001000\n");
	has(pid, "CapEff:\t0000000000001000\n");
	has(pid, "CapBnd:\t0000000000000000\n");
	has(pid, "NoNewPrivs:\t1\n");
	has(pid, "Seccomp:\t2\n");
	assert_int_equal(write(down[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	for (int i = 0; i < 2; i++) {
		close(up[i]);
		close(down[i]);
	}
}

static void test_users(void **state)
{
	const char *const names[] = { "no-such-user", "nobody", NULL };
	struct sandbox_user found = { 0 };

	(void)state;
	assert_int_equal(sandbox_find_user(names + 2, &found), -1);
	assert_false(found.known);
	assert_int_equal(sandbox_find_user(names, &found), 0);
	assert_true(found.known);
	user = found;
}

/* What it says of a choice, in a child without the right to change user */
static int choose_without_rights(const char *name, char *said, size_t len)
{
	int fds[2], status;
	ssize_t n = 0, more;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		dup2(fds[1], STDERR_FILENO);
		capng_get_caps_process();
		capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SETUID);
		if (capng_apply(CAPNG_SELECT_CAPS))
			_exit(9);
		_exit(sandbox_choose_user(name, &user) ? 1 : 0);
	}
	close(fds[1]);
	while ((more = read(fds[0], said + n, len - 1 - n)) > 0)
		n += more;
	said[n] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_user_that_it_cannot_become(void **state)
{
	char said[512];

	(void)state;
	if (geteuid())
		skip();
	assert_int_equal(sandbox_choose_user("nobody", &user), 0);
	assert_int_equal(sandbox_choose_user("no-such-user", &user), -1);
	assert_int_equal(choose_without_rights("nobody", said, sizeof(said)), 1);
	assert_non_null(strstr(said, "the workers cannot become 'nobody': CAP_SETUID"));
	assert_int_equal(choose_without_rights("root", said, sizeof(said)), 0);
	assert_string_equal(said, "");
	assert_int_equal(choose_without_rights(NULL, said, sizeof(said)), 0);
	assert_non_null(strstr(said, "the workers stay root: to change the user CAP_SETUID"));
	assert_int_equal(sandbox_choose_user("nobody", &user), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_user_that_it_cannot_become),
		cmocka_unit_test(test_what_a_worker_does),
		cmocka_unit_test(test_what_it_does_not),
		cmocka_unit_test(test_abort_is_seen_as_such),
		cmocka_unit_test(test_rights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
