// SPDX-License-Identifier: GPL-2.0-or-later
/* Opens text files, see text_file.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text_file.h"

FILE *text_file_open(const char *path)
{
	struct stat st;
	FILE *file;
	int fd;

	/* O_NONBLOCK: a fifo in place of the file must not hang who reads it. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		if (errno == ENOENT)
			errno = !lstat(path, &st) && S_ISLNK(st.st_mode) ? ENOLINK : ENOENT;
		return NULL;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		errno = EINVAL;
		return NULL;
	}
	file = fdopen(fd, "r");
	if (!file)
		close(fd);
	return file;
}

void text_file_skip_mark(char *line)
{
	static const char mark[] = "\xef\xbb\xbf";
	size_t len = strlen(mark);

	if (!strncmp(line, mark, len))
		memmove(line, line + len, strlen(line + len) + 1);
}

const char *text_file_error(int error)
{
	/* open() has no such errors with these flags. */
	switch (error) {
	case EINVAL:
		return "not a regular file";
	case ENOLINK:
		return "a link that leads nowhere";
	default:
		return strerror(error);
	}
}
