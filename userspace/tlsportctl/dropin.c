// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Drop-ins, ports.d/PORT.conf: lines of "key = value".  What is not changed
 * stays as the administrator wrote it, comments too.  A change is a new file
 * under the old name (rename), so a reader sees one or the other.
 */
#include "ctl.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/text_file.h"

#define SUFFIX	      ".conf"
#define STAGED_SUFFIX ".tmp"

void dropin_path(const char *dir, uint16_t port, char *path, size_t len)
{
	snprintf(path, len, "%s/ports.d/%u" SUFFIX, dir, port);
}

static bool staged_path(const char *path, char *staged, size_t len)
{
	return (size_t)snprintf(staged, len, "%s" STAGED_SUFFIX, path) < len;
}

static int add_line(struct dropin *dropin, char *line)
{
	char **lines = realloc(dropin->lines, (dropin->nlines + 1) * sizeof(*lines));

	if (!lines || !line)
		return -ENOMEM;
	dropin->lines = lines;
	dropin->lines[dropin->nlines++] = line;
	return 0;
}

int dropin_load(const char *path, struct dropin *dropin)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	FILE *file;
	int ret = 0;

	memset(dropin, 0, sizeof(*dropin));
	file = text_file_open(path);
	if (!file)
		return errno == ENOENT ? 0 : -errno;
	dropin->exists = true;
	errno = 0;
	while (!ret && (len = getline(&line, &size, file)) >= 0) {
		while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			line[--len] = '\0';
		if (!dropin->nlines)
			text_file_skip_mark(line);
		ret = add_line(dropin, line);
		line = ret ? line : NULL;
		size = 0;
	}
	if (!ret && ferror(file))
		ret = errno ? -errno : -EIO;
	free(line);
	fclose(file);
	if (ret)
		dropin_free(dropin);
	return ret;
}

void dropin_free(struct dropin *dropin)
{
	size_t i;

	for (i = 0; i < dropin->nlines; i++)
		free(dropin->lines[i]);
	free(dropin->lines);
	memset(dropin, 0, sizeof(*dropin));
}

/* Start of the value if the line sets @key, else NULL.  Indented lines go on with a value. */
static char *line_value(char *line, const char *key)
{
	size_t len = strlen(key);
	char *c = line;

	if (strncmp(c, key, len))
		return NULL;
	c += len;
	c += strspn(c, " \t");
	if (*c != '=' && *c != ':')
		return NULL;
	c++;
	return c + strspn(c, " \t");
}

static bool is_blank(const char *line)
{
	const char *c = line + strspn(line, " \t");

	return !*c || *c == '#' || *c == ';';
}

/* The next line that goes on with a value, as tlsportd reads it: blank ones do not end it. */
static size_t continuation(const struct dropin *dropin, size_t i)
{
	const char *line;

	while (i < dropin->nlines && is_blank(dropin->lines[i]))
		i++;
	line = i < dropin->nlines ? dropin->lines[i] : "";
	return strchr(" \t", *line) && line[strspn(line, " \t")] != '[' ? i : dropin->nlines;
}

/* The number in "[port N]", 0: another section, -1: no section line */
static long line_section(const char *line)
{
	long number;
	char *end;

	line += strspn(line, " \t");
	if (line[0] != '[')
		return -1;
	if (strncmp(line, "[port ", 6) || !isdigit((unsigned char)line[6]))
		return 0;
	number = strtol(line + 6, &end, 10);
	return *end == ']' && number >= 1 && number <= 65535 ? number : 0;
}

bool dropin_is_foreign(const struct dropin *dropin, uint16_t port)
{
	size_t i;
	long section;

	for (i = 0; i < dropin->nlines; i++) {
		section = line_section(dropin->lines[i]);
		if (section >= 0 && section != port)
			return true;
	}
	return false;
}

/* Of a value without the comment and the blanks behind it */
static size_t text_len(const char *text)
{
	const char *end = strstr(text, " ;");
	size_t len = end ? (size_t)(end - text) : strlen(text);

	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	return len;
}

bool dropin_value(const char *line, char *value, size_t len)
{
	const char *text = strpbrk(line, "=:");

	if (!text || strchr("#;[", line[strspn(line, " \t")]))
		return false;
	text += 1 + strspn(text + 1, " \t");
	snprintf(value, len, "%.*s", (int)text_len(text), text);
	return *value;
}

/* What the lines behind it have of a list, as tlsportd reads it: one ':' between two. */
static void add_continuation(const struct dropin *dropin, size_t first, char *value, size_t len)
{
	size_t used = strlen(value), i;

	for (i = continuation(dropin, first); i < dropin->nlines; i = continuation(dropin, i + 1)) {
		const char *text = dropin->lines[i] + strspn(dropin->lines[i], " \t:");

		used -= used && value[used - 1] == ':';
		used += snprintf(value + used, len - used, ":%.*s", (int)text_len(text), text);
		if (used >= len)
			return;
	}
	if (used && value[used - 1] == ':')
		value[used - 1] = '\0';
}

bool dropin_get(const struct dropin *dropin, const char *key, char *value, size_t len)
{
	const char *text;
	size_t i, n;

	for (i = 0; i < dropin->nlines; i++) {
		text = line_value(dropin->lines[i], key);
		n = text ? text_len(text) : 0;
		if (!n)
			continue;
		snprintf(value, len, "%.*s", (int)n, text);
		add_continuation(dropin, i + 1, value, len);
		return true;
	}
	return false;
}

static void drop_line(struct dropin *dropin, size_t i)
{
	free(dropin->lines[i]);
	dropin->nlines--;
	memmove(dropin->lines + i, dropin->lines + i + 1,
		(dropin->nlines - i) * sizeof(*dropin->lines));
}

/* What followed a value that is replaced, or goes: a list may be on many lines.  Comments stay. */
static void drop_continuation(struct dropin *dropin, size_t i)
{
	while ((i = continuation(dropin, i)) < dropin->nlines)
		drop_line(dropin, i);
}

int dropin_set(struct dropin *dropin, const char *key, const char *value)
{
	char *line;
	size_t i;
	int ret;

	if (asprintf(&line, "%s = %s", key, value) < 0)
		return -ENOMEM;
	for (i = 0; i < dropin->nlines; i++) {
		if (!line_value(dropin->lines[i], key))
			continue;
		free(dropin->lines[i]);
		dropin->lines[i] = line;
		drop_continuation(dropin, i + 1);
		return 0;
	}
	ret = add_line(dropin, line);
	if (ret)
		free(line);
	return ret;
}

void dropin_unset(struct dropin *dropin, const char *key)
{
	size_t i = 0;

	while (i < dropin->nlines) {
		if (!line_value(dropin->lines[i], key)) {
			i++;
			continue;
		}
		drop_continuation(dropin, i + 1);
		drop_line(dropin, i);
	}
}

int dropin_add(struct dropin *dropin, const char *line)
{
	char *copy = strdup(line);
	int ret = add_line(dropin, copy);

	if (ret)
		free(copy);
	return ret;
}

int dropin_make_directory(const char *path)
{
	char dir[CTL_PATH_LEN];
	char *c;

	if ((size_t)snprintf(dir, sizeof(dir), "%s", path) >= sizeof(dir))
		return -ENAMETOOLONG;
	for (c = dir + 1; (c = strchr(c, '/')); c++) {
		*c = '\0';
		if (mkdir(dir, 0755) && errno != EEXIST)
			return -errno;
		*c = '/';
	}
	return 0;
}

/* A name lasts when its directory was written, too. */
static void sync_directory(const char *path)
{
	char dir[CTL_PATH_LEN];
	char *slash;
	int fd;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

static int write_lines(FILE *file, const struct dropin *dropin)
{
	size_t i;

	for (i = 0; i < dropin->nlines; i++)
		fprintf(file, "%s\n", dropin->lines[i]);
	if (fflush(file) || ferror(file) || fchmod(fileno(file), 0644) || fsync(fileno(file)))
		return errno ? -errno : -EIO;
	return 0;
}

int dropin_stage(const char *path, const struct dropin *dropin)
{
	char staged[CTL_PATH_LEN];
	FILE *file;
	int ret;

	if (!staged_path(path, staged, sizeof(staged)))
		return -ENAMETOOLONG;
	ret = dropin_make_directory(path);
	if (ret)
		return ret;
	errno = 0;
	file = fopen(staged, "we");
	if (!file)
		return -errno;
	ret = write_lines(file, dropin);
	if (fclose(file) && !ret)
		ret = -errno;
	if (ret)
		unlink(staged);
	return ret;
}

int dropin_commit(const char *path)
{
	char staged[CTL_PATH_LEN];

	if (!staged_path(path, staged, sizeof(staged)))
		return -ENAMETOOLONG;
	if (rename(staged, path))
		return -errno;
	sync_directory(path);
	return 0;
}

void dropin_discard(const char *path)
{
	char staged[CTL_PATH_LEN];

	if (staged_path(path, staged, sizeof(staged)))
		unlink(staged);
}

int dropin_restore(const char *path, const struct dropin *old)
{
	int ret;

	if (!old->exists) {
		if (unlink(path) && errno != ENOENT)
			return -errno;
		sync_directory(path);
		return 0;
	}
	ret = dropin_stage(path, old);
	return ret ? ret : dropin_commit(path);
}

int dropin_lock(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Without the directory, or with a file system that cannot: go on unlocked. */
	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void each_section(const char *path, void (*fn)(uint16_t port, const char *path, void *arg),
			 void *arg)
{
	struct dropin file;
	long section;
	size_t i;

	if (dropin_load(path, &file))
		return;
	for (i = 0; i < file.nlines; i++) {
		section = line_section(file.lines[i]);
		if (section > 0)
			fn(section, path, arg);
	}
	dropin_free(&file);
}

static void each_in_directory(const char *dir,
			      void (*fn)(uint16_t port, const char *path, void *arg), void *arg)
{
	char path[CTL_PATH_LEN];
	struct dirent *entry;
	long number;
	DIR *stream;
	char *end;

	snprintf(path, sizeof(path), "%s/ports.d", dir);
	stream = opendir(path);
	if (!stream)
		return;
	while ((entry = readdir(stream))) {
		end = strrchr(entry->d_name, '.');
		if (entry->d_name[0] == '.' || !end || strcmp(end, SUFFIX))
			continue;
		snprintf(path, sizeof(path), "%s/ports.d/%s", dir, entry->d_name);
		number = strtol(entry->d_name, &end, 10);
		if (isdigit((unsigned char)entry->d_name[0]) && !strcmp(end, SUFFIX) &&
		    number >= 1 && number <= 65535)
			fn(number, path, arg);
		each_section(path, fn, arg);
	}
	closedir(stream);
}

struct search {
	uint16_t port;
	const char *own;
	char *path;
	size_t len;
	bool found;
};

static void compare_file(uint16_t port, const char *path, void *arg)
{
	struct search *search = arg;
	const char *name = strrchr(path, '/') + 1;

	if (port != search->port || search->found || !strcmp(name, search->own))
		return;
	snprintf(search->path, search->len, "%s", path);
	search->found = true;
}

bool dropin_elsewhere(uint16_t port, char *path, size_t len)
{
	struct search search = { .port = port, .path = path, .len = len };
	char own[32];

	snprintf(own, sizeof(own), "%u" SUFFIX, port);
	search.own = own;
	dropin_each(compare_file, &search);
	return search.found;
}

void dropin_each(void (*fn)(uint16_t port, const char *path, void *arg), void *arg)
{
	char path[CTL_PATH_LEN];

	snprintf(path, sizeof(path), "%s/tlsport.conf", ctl.config_dir);
	each_section(path, fn, arg);
	each_in_directory(ctl.config_dir, fn, arg);
	each_in_directory(ctl.run_dir, fn, arg);
}
