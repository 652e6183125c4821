// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PINs that were tried, see pin_record.h: a file for each token, a line for each
 * try that has not succeeded.  The lock is held for as long as a try takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "pin_record.h"

#define LINE_MAX_LEN 128
#define TRIED	     '?'
#define REFUSED	     '!'

/* Without its last character, which says how the try has ended. */
static int line_of(const struct stat *pin, char line[LINE_MAX_LEN])
{
	return snprintf(line, LINE_MAX_LEN, "%lx %lx %lx %lx.%lx ", (unsigned long)pin->st_dev,
			(unsigned long)pin->st_ino, (unsigned long)pin->st_size,
			(unsigned long)pin->st_ctim.tv_sec, (unsigned long)pin->st_ctim.tv_nsec);
}

static int await_lock(int fd, void (*on_wait)(bool waits))
{
	int ret, err;

	on_wait(true);
	ret = flock(fd, LOCK_EX);
	err = errno;
	on_wait(false);
	errno = err;
	return ret;
}

static int open_record(const char *run_dir, const char *token, void (*on_wait)(bool waits),
		       char *why, size_t len)
{
	char path[4096];
	int fd = -1;

	if ((!mkdir(run_dir, 0755) || errno == EEXIST) &&
	    snprintf(path, sizeof(path), "%s/pins", run_dir) < (int)sizeof(path) &&
	    (!mkdir(path, 0700) || errno == EEXIST) &&
	    snprintf(path, sizeof(path), "%s/pins/%s", run_dir, token) < (int)sizeof(path))
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && !await_lock(fd, on_wait))
		return fd;
	snprintf(why, len, "no PIN is tried without a record of it: %s/pins: %s", run_dir,
		 strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* How the last try with it has ended; 0: there was none */
static char look_up(int fd, const char *wanted, off_t *end)
{
	char line[LINE_MAX_LEN];
	size_t len = strlen(wanted);
	FILE *stream = fdopen(dup(fd), "r");
	char found = 0;

	*end = 0;
	while (stream && fgets(line, sizeof(line), stream)) {
		*end += strlen(line);
		if (!strncmp(line, wanted, len))
			found = line[len];
	}
	if (stream)
		fclose(stream);
	return stream ? found : TRIED;
}

int pin_record_begin(const char *run_dir, const char *token, const struct stat *pin,
		     struct pin_record *record, void (*on_wait)(bool waits), char *why, size_t len)
{
	char line[LINE_MAX_LEN];
	int line_len = line_of(pin, line);
	char found;

	record->fd = open_record(run_dir, token, on_wait, why, len);
	if (record->fd < 0)
		return -1;
	found = look_up(record->fd, line, &record->line);
	if (found) {
		snprintf(
			why, len, "%s",
			found == REFUSED ?
				"the token has refused it" :
				"the last login with it did not come to an end, which the token may count as a wrong one");
		goto close_record;
	}
	line[line_len++] = TRIED;
	line[line_len++] = '\n';
	record->end = record->line + line_len;
	errno = ENOSPC; /* of a part of it nothing is said */
	if (pwrite(record->fd, line, line_len, record->line) == line_len)
		return 0;
	snprintf(why, len, "no PIN is tried without a record of it: %s/pins: %s", run_dir,
		 strerror(errno));
	/* A part of a line would spoil the next one. */
	if (ftruncate(record->fd, record->line))
		fprintf(stderr, "the record of a PIN cannot be written: %s\n", strerror(errno));
close_record:
	close(record->fd);
	return -1;
}

void pin_record_end(struct pin_record *record, bool refused)
{
	const char how = REFUSED;

	/* If it cannot be written it stays as it is: tried, and no more than that. */
	if (refused ? pwrite(record->fd, &how, 1, record->end - 2) != 1 :
		      ftruncate(record->fd, record->line) != 0)
		fprintf(stderr, "the record of a PIN cannot be written: %s\n", strerror(errno));
	close(record->fd);
}
