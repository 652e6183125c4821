// SPDX-License-Identifier: GPL-2.0-or-later
/* The lock of the run directory, see lock.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lock.h"
#include "log.h"

void lock_sign(int fd)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (pwrite(fd, text, len, 0) != len || ftruncate(fd, len))
		log_warning("the lock does not hold our pid: %s", strerror(errno));
}

int lock_take(const char *run_dir)
{
	char path[4096];
	int fd;

	if (mkdir(run_dir, 0755) && errno != EEXIST) {
		log_error("%s: %s", run_dir, strerror(errno));
		return -1;
	}
	snprintf(path, sizeof(path), "%s/lock", run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		log_error("%s: %s", path, strerror(errno));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK)
			log_error("another tlsportd runs with %s", run_dir);
		else
			log_error("%s: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	lock_sign(fd);
	return fd;
}
