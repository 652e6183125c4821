// SPDX-License-Identifier: GPL-2.0-or-later
/* Keeps secrets from being swapped and dumped, see memory.h. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "memory.h"

int memory_lock(void)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit limit;
	int flags = MCL_CURRENT | MCL_ONFAULT;

	/* Future maps fail beyond a limit: then what is there now is enough. */
	if ((!getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur == RLIM_INFINITY) ||
	    !setrlimit(RLIMIT_MEMLOCK, &all))
		flags |= MCL_FUTURE;
	return mlockall(flags) ? -errno : 0;
}

void memory_forbid_dumps(void)
{
	const struct rlimit none = { 0, 0 };

	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &none);
}
