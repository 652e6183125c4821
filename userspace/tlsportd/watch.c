// SPDX-License-Identifier: GPL-2.0-or-later
/* Directories in which certificates and keys can be replaced, see watch.h. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/token_uri.h"
#include "watch.h"

/* Linux follows as many */
#define LINKS_MAX 40

int watch_open(void)
{
	return inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
}

/* Of a directory that is not there, the one above in which it would come to be. */
static int watch_directory(int fd, const char *path)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	for (;;) {
		if (inotify_add_watch(fd, dir[0] ? dir : "/",
				      IN_ONLYDIR | IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO |
					      IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF |
					      IN_MOVE_SELF) >= 0)
			return 0;
		if ((errno != ENOENT && errno != ENOTDIR) || !dir[0])
			return -1;
		slash = strrchr(dir, '/');
		if (!slash)
			return -1;
		*slash = '\0';
	}
}

/* Puts the target of the link that is the first @len bytes of @path in their place. */
static int follow(char path[PATH_MAX], size_t len)
{
	char link[PATH_MAX], target[PATH_MAX], rest[PATH_MAX];
	ssize_t n;
	int dir;

	snprintf(link, sizeof(link), "%.*s", (int)len, path);
	snprintf(rest, sizeof(rest), "%s", path + len);
	n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return -1;
	target[n] = '\0';
	dir = target[0] == '/' ? 0 : (int)(strrchr(link, '/') - link) + 1;
	if (snprintf(path, PATH_MAX, "%.*s%s%s", dir, link, target, rest) >= PATH_MAX)
		return -1;
	return 0;
}

/* Another one may be put in the place of any directory on the way; at best. */
static void watch_place(int fd, const char *dir)
{
	if (dir[0])
		inotify_add_watch(fd, dir, IN_ONLYDIR | IN_MASK_ADD | IN_MOVE_SELF);
}

/* The directory of each link on the way, and that of the file. */
static int watch_path(int fd, const char *name)
{
	char path[PATH_MAX], dir[PATH_MAX];
	struct stat st;
	size_t at = 0;
	int links = 0;

	if (snprintf(path, sizeof(path), "%s", name) >= PATH_MAX)
		return -1;
	while (path[at]) {
		size_t end = at + 1 + strcspn(path + at + 1, "/");
		char byte = path[end];
		bool link, last = !byte;

		path[end] = '\0';
		link = !lstat(path, &st) && S_ISLNK(st.st_mode);
		snprintf(dir, sizeof(dir), "%.*s", (int)at, path);
		path[end] = byte;
		if ((link || last) && watch_directory(fd, dir))
			return -1;
		watch_place(fd, dir);
		if (link) {
			if (++links > LINKS_MAX || follow(path, end))
				return 0; /* who loads the file says what is wrong with it */
			at = 0;
		} else {
			at = end;
		}
	}
	return 0;
}

/* Of a directory what is in it, too, down to so many levels. */
static int watch_tree(int fd, const char *path, int depth)
{
	char below[PATH_MAX];
	const struct dirent *entry;
	int failed;
	DIR *dir;

	failed = watch_path(fd, path);
	dir = depth ? opendir(path) : NULL;
	if (!dir)
		return failed;
	failed |= watch_directory(fd, path);
	while (!failed && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' &&
		    snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) < PATH_MAX)
			failed = watch_tree(fd, below, depth - 1);
	closedir(dir);
	return failed;
}

/* Of a key in a token the file of the PIN. */
static int watch_key(int fd, const struct port_config *port)
{
	char *pin;
	int failed;

	if (!token_uri_is(port->key))
		return watch_path(fd, port->key);
	pin = token_pin_file(port->key, port->passphrase);
	failed = pin ? watch_path(fd, pin) : 0;
	free(pin);
	return failed;
}

int watch_files(int fd, const struct config *config)
{
	int err = 0;

	for (size_t i = 0; i < config->count; i++) {
		const struct port_config *port = &config->ports[i];

		if ((port->cert && watch_path(fd, port->cert)) ||
		    (port->key && watch_key(fd, port)) ||
		    (port->passphrase && watch_path(fd, port->passphrase)) ||
		    (port->client_ca && watch_path(fd, port->client_ca)) ||
		    (port->client_crl && watch_path(fd, port->client_crl)) ||
		    (port->cert_dir && watch_tree(fd, port->cert_dir, 2)) ||
		    (port->ticket_keys && watch_tree(fd, port->ticket_keys, 1)))
			err = errno;
	}
	errno = err;
	return err ? -1 : 0;
}

bool watch_happened(int fd)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool happened = false;

	while (read(fd, events, sizeof(events)) > 0)
		happened = true;
	return happened;
}
