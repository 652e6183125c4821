// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads a file whole, see pem.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pem.h"
#include "refuse.h"

/* Chains are a few KiB, lists of revoked certificates more; more is a wrong file. */
#define PEM_FILE_MAX (16 * 1024 * 1024)

int pem_read(const char *path, char **text, size_t *len, unsigned int *mode, char *err,
	     size_t errlen)
{
	struct stat st;
	size_t have = 0;
	ssize_t n = 0;
	char *buf;
	int fd;

	/* O_NONBLOCK: a fifo in place of the file must not hang the daemon. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT && !lstat(path, &st))
		return refuse(err, errlen, "%s: the link leads nowhere", path);
	if (fd < 0)
		return refuse(err, errlen, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return refuse(err, errlen, "%s: not a regular file", path);
	}
	if (st.st_size > PEM_FILE_MAX) {
		close(fd);
		return refuse(err, errlen, "%s: too large for a PEM file (%lld bytes)", path,
			      (long long)st.st_size);
	}
	buf = malloc(st.st_size + 1);
	if (!buf) {
		close(fd);
		return refuse(err, errlen, "%s: out of memory", path);
	}
	while (have < (size_t)st.st_size && (n = read(fd, buf + have, st.st_size - have)) > 0)
		have += n;
	close(fd);
	if (n < 0) {
		explicit_bzero(buf, have);
		free(buf);
		return refuse(err, errlen, "%s: %s", path, strerror(errno));
	}
	buf[have] = '\0';
	*text = buf;
	*len = have;
	if (mode)
		*mode = st.st_mode;
	return 0;
}
