// SPDX-License-Identifier: GPL-2.0-or-later
/* Files of ticket keys, see ticket_file.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypt.h"
#include "ticket_file.h"

/* 48 bytes in base64, and room for what is too long */
#define LINE_LEN 256

_Static_assert(sizeof(struct ticket_key) == 48, "a line is a key");

static void add(struct ticket_key *list, size_t *count, const struct ticket_key *key)
{
	if (*count == TICKET_KEYS_MAX)
		memmove(list, list + 1, --*count * sizeof(*list));
	list[(*count)++] = *key;
}

static int take_line(char *line, struct ticket_key *list, size_t *count)
{
	struct ticket_key key;
	size_t len = strspn(line, " \t");
	int err;

	line += len;
	line[strcspn(line, " \t\r\n")] = '\0';
	if (!*line || *line == '#')
		return 0;
	err = crypt_base64_decode(line, &key, sizeof(key));
	if (!err)
		add(list, count, &key);
	explicit_bzero(&key, sizeof(key));
	return err;
}

/* Of the first file that is; @err: "" before */
static void judge_mode(const char *path, int fd, char *err, size_t errlen)
{
	struct stat st;

	if (err[0] || fstat(fd, &st) || !(st.st_mode & 0026))
		return;
	snprintf(err, errlen, "%s: %s", path,
		 st.st_mode & 0004 ? "is readable by everyone" :
				     "can be changed by others than its owner");
}

static int read_one(const char *path, struct ticket_key *list, size_t *count, char *err,
		    size_t errlen)
{
	/* O_NONBLOCK: a fifo must not hang the daemon */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	char line[LINE_LEN], buffer[BUFSIZ];
	unsigned int number = 0;
	int failed = 0;

	if (!file) {
		snprintf(err, errlen, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	judge_mode(path, fd, err, errlen);
	setbuf(file, buffer); /* which can be wiped */
	while (!failed && fgets(line, sizeof(line), file)) {
		number++;
		failed = take_line(line, list, count);
	}
	if (failed) {
		snprintf(err, errlen,
			 "%s:%u: not 48 bytes in base64 (make a key with: openssl rand -base64 48)",
			 path, number);
	} else if (ferror(file)) {
		snprintf(err, errlen, "%s: %s", path, strerror(errno));
		failed = -1;
	}
	fclose(file);
	explicit_bzero(line, sizeof(line));
	explicit_bzero(buffer, sizeof(buffer));
	return failed;
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int read_directory(const char *path, struct ticket_key *list, size_t *count, char *err,
			  size_t errlen)
{
	struct dirent **entries;
	char file[PATH_MAX];
	int files = scandir(path, &entries, not_hidden, alphasort), failed = 0;
	struct stat st;

	if (files < 0) {
		snprintf(err, errlen, "%s: %s", path, strerror(errno));
		return -1;
	}
	for (int i = 0; i < files; i++) {
		if (!failed &&
		    snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name) < PATH_MAX &&
		    !stat(file, &st) && S_ISREG(st.st_mode))
			failed = read_one(file, list, count, err, errlen);
		free(entries[i]);
	}
	free(entries);
	return failed;
}

size_t ticket_file_read(const char *path, struct ticket_key list[TICKET_KEYS_MAX], char *err,
			size_t errlen)
{
	struct stat st;
	size_t count = 0;
	int failed;

	err[0] = '\0';
	failed = !stat(path, &st) && S_ISDIR(st.st_mode) ?
			 read_directory(path, list, &count, err, errlen) :
			 read_one(path, list, &count, err, errlen);
	if (failed) {
		explicit_bzero(list, TICKET_KEYS_MAX * sizeof(*list));
		return 0;
	}
	if (!count)
		snprintf(err, errlen, "%s: no key in it (make one with: openssl rand -base64 48)",
			 path);
	return count;
}

static int write_all(int fd, const char *text, size_t len)
{
	ssize_t n = write(fd, text, len);

	if (n >= 0 && (size_t)n != len)
		errno = ENOSPC;
	return n == (ssize_t)len ? 0 : -1;
}

int ticket_file_write(const char *path, const struct ticket_key *list, size_t count)
{
	char text[TICKET_KEYS_MAX * LINE_LEN], name[PATH_MAX];
	size_t len = 0;
	int fd, err;

	for (size_t i = 0; i < count; i++) {
		len += crypt_base64_encode(&list[i], sizeof(list[i]), text + len, LINE_LEN - 1);
		text[len++] = '\n';
	}
	snprintf(name, sizeof(name), "%s.tmp", path);
	unlink(name);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	err = fd < 0 ? -1 : write_all(fd, text, len);
	explicit_bzero(text, sizeof(text));
	if (fd >= 0)
		close(fd);
	return err ? -1 : rename(name, path);
}
