// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates by directory, see cert_dir.h. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cert_dir.h"

static bool ends_in(const char *name, const char *end)
{
	size_t len = strlen(name), end_len = strlen(end);

	return len > end_len && !strcmp(name + len - end_len, end);
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static bool is_kind(const char *path, mode_t kind)
{
	struct stat st;

	return !stat(path, &st) && (st.st_mode & S_IFMT) == kind;
}

/* Whoever opens it says so. */
static bool leads_nowhere(const char *path)
{
	struct stat st;

	return stat(path, &st) && !lstat(path, &st) && S_ISLNK(st.st_mode);
}

/* @stem: of PATH_MAX bytes, with room for the endings */
static bool find_key(const char *stem, char *key, size_t len)
{
	static const char *const endings[] = { ".key", "-key.pem" };
	const size_t count = sizeof(endings) / sizeof(endings[0]);

	/* A file goes before a link without one. */
	for (size_t i = 0; i < 2 * count; i++) {
		if ((size_t)snprintf(key, len, "%s%s", stem, endings[i % count]) < len &&
		    (i < count ? is_kind(key, S_IFREG) : leads_nowhere(key)))
			return true;
	}
	return false;
}

static int add(struct cert_dir *dir, const char *cert, const char *key)
{
	struct cert_pair *pairs = realloc(dir->pairs, (dir->count + 1) * sizeof(*pairs)), *pair;

	if (!pairs)
		return -1;
	dir->pairs = pairs;
	pair = &pairs[dir->count++];
	pair->cert = strdup(cert);
	pair->key = key ? strdup(key) : NULL;
	return pair->cert && (pair->key || !key) ? 0 : -1;
}

static int look_at(struct cert_dir *dir, const char *parent, const char *name)
{
	char path[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", parent, name) >= PATH_MAX)
		return 0;
	if (is_kind(path, S_IFDIR)) {
		if (snprintf(cert, sizeof(cert), "%s/fullchain.pem", path) < PATH_MAX &&
		    snprintf(key, sizeof(key), "%s/privkey.pem", path) < PATH_MAX &&
		    (is_kind(cert, S_IFREG) || leads_nowhere(cert)))
			return add(dir, cert, key);
		return 0;
	}
	if (ends_in(name, "-key.pem") || ends_in(name, ".issuer.crt") ||
	    !(ends_in(name, ".pem") || ends_in(name, ".crt")))
		return 0;
	snprintf(cert, sizeof(cert), "%s", path);
	path[strlen(path) - strlen(".pem")] = '\0';
	return add(dir, cert, find_key(path, key, sizeof(key)) ? key : NULL);
}

int cert_dir_list(const char *path, struct cert_dir *dir, char *err, size_t errlen)
{
	struct dirent **entries;
	int count, failed = 0;

	memset(dir, 0, sizeof(*dir));
	count = scandir(path, &entries, not_hidden, alphasort);
	if (count < 0) {
		snprintf(err, errlen, "%s: %s", path, strerror(errno));
		return -1;
	}
	for (int i = 0; i < count; i++) {
		failed |= look_at(dir, path, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	if (!failed && dir->count)
		return 0;
	if (failed)
		snprintf(err, errlen, "%s: out of memory", path);
	else
		snprintf(
			err, errlen,
			"%s: no certificate in it: NAME.pem, NAME.crt with NAME.key, or NAME/fullchain.pem",
			path);
	cert_dir_free(dir);
	return -1;
}

void cert_dir_free(struct cert_dir *dir)
{
	for (size_t i = 0; i < dir->count; i++) {
		free(dir->pairs[i].cert);
		free(dir->pairs[i].key);
	}
	free(dir->pairs);
	memset(dir, 0, sizeof(*dir));
}
