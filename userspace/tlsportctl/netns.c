// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * --netns: a network namespace that has a name, see ip-netns(8).  It has a tlsportd of its
 * own, which runs inside, and directories of its own: whoever administers it needs no
 * right outside, and tlsportd none to change its namespace.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

static char config_dir[CTL_PATH_LEN], run_dir[CTL_PATH_LEN], unit[CTL_PATH_LEN];

const char *netns_unit(void)
{
	return ctl.netns ? unit : "tlsport";
}

static int enter(const char *name)
{
	char path[CTL_PATH_LEN];
	int fd, ret = CTL_DONE;

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return fail(
			"there is no network namespace '%s': 'ip netns list' shows those that there are",
			name);
	if (fd < 0)
		return fail("%s: %s", path, strerror(errno));
	if (setns(fd, CLONE_NEWNET))
		ret = errno == EPERM ?
			      fail("network namespace %s: needs CAP_SYS_ADMIN: run as root", name) :
			      fail("network namespace %s: %s", name, strerror(errno));
	close(fd);
	return ret;
}

int netns_enter(void)
{
	const char *name = ctl.netns;

	if (!*name || *name == '.' || strchr(name, '/') || strlen(name) > 255)
		return usage("--netns: '%s' is not the name of a network namespace", name);
	snprintf(unit, sizeof(unit), "tlsport@%s", name);
	snprintf(config_dir, sizeof(config_dir), "/etc/netns/%s/tlsport", name);
	snprintf(run_dir, sizeof(run_dir), "/run/tlsport@%s", name);
	if (!ctl.config_dir)
		ctl.config_dir = config_dir;
	if (!ctl.run_dir)
		ctl.run_dir = run_dir;
	return enter(name);
}
