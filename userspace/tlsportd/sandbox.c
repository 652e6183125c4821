// SPDX-License-Identifier: GPL-2.0-or-later
/* The worker's walls, see sandbox.h. */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../common/memory.h"
#include "log.h"
#include "sandbox.h"

int sandbox_find_user(const char *const *names, struct sandbox_user *user)
{
	for (; *names; names++) {
		const struct passwd *entry = getpwnam(*names);

		if (!entry)
			continue;
		*user = (struct sandbox_user){ true, entry->pw_uid, entry->pw_gid };
		return 0;
	}
	return -1;
}

/* What may not be locked is no reason not to serve. */
void sandbox_lock_memory(void)
{
	int err = memory_lock();

	if (err)
		log_debug("memory cannot be locked: %s", strerror(-err));
}

#define NEEDED "CAP_SETUID, CAP_SETGID and CAP_SETPCAP are needed"

static bool may_change_user(void)
{
	return !capng_get_caps_process() && capng_have_capability(CAPNG_EFFECTIVE, CAP_SETUID) &&
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_SETGID) &&
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
}

int sandbox_choose_user(const char *name, struct sandbox_user *user)
{
	const char *const names[] = { name ? name : "tlsport", name ? NULL : "nobody", NULL };

	if (sandbox_find_user(names, user)) {
		if (name)
			log_error("--user: there is no user '%s'", name);
		else if (!geteuid())
			log_warning("there is no user tlsport or nobody: the workers stay root");
		return name ? -1 : 0;
	}
	if (may_change_user() || user->uid == geteuid())
		return 0;
	if (name)
		log_error("--user: the workers cannot become '%s': " NEEDED, name);
	else if (!geteuid())
		log_warning("the workers stay root: to change the user " NEEDED);
	return name ? -1 : 0;
}

static int drop_rights(const struct sandbox_user *user, bool net_admin)
{
	pid_t parent = getppid();
	bool may_change = user->known && may_change_user();
	int err;

	if (user->known && !may_change && !net_admin && !geteuid()) {
		log_error("the user cannot be changed: " NEEDED);
		return -1;
	}
	capng_clear(CAPNG_SELECT_BOTH);
	if (net_admin)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN);
	if (may_change)
		err = capng_change_id(user->uid, user->gid,
				      CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING);
	else
		err = capng_apply(CAPNG_SELECT_CAPS);
	if (err) {
		log_error("rights cannot be dropped: libcap-ng's error %d", err);
		return -1;
	}
	/* A change of user undoes both. */
	if (prctl(PR_SET_DUMPABLE, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL)) {
		log_error("prctl: %s", strerror(errno));
		return -1;
	}
	return getppid() == parent ? 0 : -1;
}

/* What the loop of worker.c makes, with libnl, the library and malloc() below it. */
static const int calls[] = {
	/* netlink, signals, the pipe to the parent, the log */
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(close),
	SCMP_SYS(restart_syscall),
	/* randomness and time, which not every machine has in its vDSO */
	SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	/* memory; mmap and mprotect come below */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	/* the end, abort() too */
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(tgkill),
};

static int add_rules(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp no_code =
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0); /* the third argument is prot */
	const struct scmp_arg_cmp set_flags = SCMP_A1(SCMP_CMP_EQ, F_SETFL);
	int err = 0;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && !err; i++) {
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
		if (err == -EDOM) /* another architecture has it not */
			err = 0;
	}
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, no_code);
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_code);
	if (!err) /* that reads do not wait */
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, set_flags);
	return err;
}

static int filter_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err = filter ? add_rules(filter) : -ENOMEM;

	if (!err)
		err = seccomp_load(filter); /* with no_new_privs */
	seccomp_release(filter);
	if (err)
		log_error("worker: system calls cannot be filtered: %s", strerror(-err));
	return err ? -1 : 0;
}

int sandbox_enter(const struct sandbox_user *user)
{
	sandbox_lock_memory(); /* which a fork undoes */
	return drop_rights(user, true) || filter_calls() ? -1 : 0;
}

int sandbox_drop(const struct sandbox_user *user)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		log_error("prctl: %s", strerror(errno));
		return -1;
	}
	return drop_rights(user, false);
}
