// SPDX-License-Identifier: GPL-2.0-or-later
/* Ticket keys of all ports, see ticket_store.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"
#include "ticket_file.h"
#include "ticket_store.h"

/* Keys that could not be made or written are tried again so soon. */
#define RETRY_MS 60000

struct ticket_source {
	struct ticket_source *next;
	struct ticket_keys *keys;
	time_t since; /* they came, 0: none has been read */
	char path[];
};

/* Newest first here, last in the file. */
static void reverse(struct ticket_key *list, size_t count)
{
	for (size_t i = 0; i < count / 2; i++) {
		struct ticket_key key = list[i];

		list[i] = list[count - 1 - i];
		list[count - 1 - i] = key;
		explicit_bzero(&key, sizeof(key));
	}
}

static void save(const struct ticket_store *store)
{
	struct ticket_key list[TICKET_KEYS_MAX];
	size_t count = ticket_keys_get(store->own, list);

	reverse(list, count);
	if (ticket_file_write(store->saved, list, count))
		log_warning("%s: %s: a restart will forget all sessions", store->saved,
			    strerror(errno));
	explicit_bzero(list, sizeof(list));
}

static int rotate(struct ticket_store *store)
{
	if (ticket_keys_rotate(store->own))
		return -1;
	store->made = time(NULL);
	save(store);
	return 0;
}

/* What a predecessor left, unless all of it is too old or from another time. */
static void take_saved(struct ticket_store *store)
{
	struct ticket_key list[TICKET_KEYS_MAX];
	time_t now = time(NULL), age;
	char err[PATH_MAX + 128];
	struct stat st;
	size_t count;

	if (stat(store->saved, &st))
		return;
	age = now - st.st_mtime;
	count = age < 0 || age / store->rotation >= TICKET_GENERATIONS ?
			0 :
			ticket_file_read(store->saved, list, err, sizeof(err));
	if (!count)
		return;
	reverse(list, count);
	ticket_keys_set(store->own, list, count < TICKET_GENERATIONS ? count : TICKET_GENERATIONS,
			0);
	store->made = st.st_mtime;
	explicit_bzero(list, sizeof(list));
}

int ticket_store_open(struct ticket_store *store, const char *run_dir, time_t rotation)
{
	memset(store, 0, sizeof(*store));
	store->rotation = rotation;
	snprintf(store->saved, sizeof(store->saved), "%s/ticket-keys", run_dir);
	store->own = ticket_keys_new();
	if (!store->own)
		return -1;
	take_saved(store);
	if (!store->made) {
		store->made = time(NULL);
		save(store);
	}
	ticket_store_rotate(store);
	return 0;
}

static bool nobody(const void *who, const char *path)
{
	(void)who;
	(void)path;
	return false;
}

void ticket_store_forget(struct ticket_store *store, ticket_store_user uses, const void *who)
{
	struct ticket_source **at = &store->sources, *source;

	while ((source = *at)) {
		if (uses(who, source->path)) {
			at = &source->next;
			continue;
		}
		*at = source->next;
		ticket_keys_free(source->keys);
		free(source);
	}
}

void ticket_store_close(struct ticket_store *store)
{
	ticket_store_forget(store, nobody, NULL);
	ticket_keys_free(store->own);
	memset(store, 0, sizeof(*store));
}

static bool has_just(const struct ticket_keys *keys, const struct ticket_key *list, size_t count)
{
	struct ticket_key old[TICKET_KEYS_MAX];
	bool same = ticket_keys_get(keys, old) == count &&
		    !memcmp(old, list, count * sizeof(*list));

	explicit_bzero(old, sizeof(old));
	return same;
}

/*
 * The last of three is not everywhere yet: the one before it seals.  @err: as of ticket_file_read();
 * 1: they are others than before, 0: the same, -1: there are none
 */
static int read_source(struct ticket_source *source, char *err, size_t errlen)
{
	struct ticket_key list[TICKET_KEYS_MAX];
	size_t count = ticket_file_read(source->path, list, err, errlen);
	bool fresh = count && !has_just(source->keys, list, count);

	if (fresh)
		source->since = time(NULL);
	if (count)
		ticket_keys_set(source->keys, list, count, count > 2 ? count - 2 : count - 1);
	explicit_bzero(list, sizeof(list));
	return count ? fresh : -1;
}

static struct ticket_source *find(const struct ticket_store *store, const char *path)
{
	struct ticket_source *source;

	for (source = store->sources; source; source = source->next)
		if (!strcmp(source->path, path))
			return source;
	return NULL;
}

static struct ticket_source *new_source(struct ticket_store *store, const char *path)
{
	struct ticket_source *source = calloc(1, sizeof(*source) + strlen(path) + 1);

	if (!source)
		return NULL;
	source->keys = ticket_keys_new();
	if (!source->keys) {
		free(source);
		return NULL;
	}
	strcpy(source->path, path);
	source->next = store->sources;
	store->sources = source;
	return source;
}

int ticket_store_add(struct ticket_store *store, const char *path, char *err, size_t errlen)
{
	struct ticket_source *source = find(store, path);

	if (!source)
		source = new_source(store, path);
	if (!source) {
		snprintf(err, errlen, "%s: out of memory", path);
		return -1;
	}
	return read_source(source, err, errlen) < 0 ? -1 : 0;
}

const struct ticket_keys *ticket_store_keys(const struct ticket_store *store, const char *path)
{
	const struct ticket_source *source = path ? find(store, path) : NULL;

	return source ? source->keys : store->own;
}

struct ticket_facts ticket_store_facts(const struct ticket_store *store, const char *path)
{
	const struct ticket_source *source = path ? find(store, path) : NULL;
	struct ticket_key list[TICKET_KEYS_MAX];
	struct ticket_facts facts = {
		.count = ticket_keys_get(ticket_store_keys(store, path), list),
		.since = source ? source->since : store->made,
	};

	explicit_bzero(list, sizeof(list));
	if (!facts.since)
		facts.count = 0; /* the random one that stands for those that are missing */
	return facts;
}

void ticket_store_refresh(struct ticket_store *store, ticket_store_user uses, const void *who,
			  struct text *errors)
{
	char err[PATH_MAX + 128];

	for (struct ticket_source *source = store->sources; source; source = source->next) {
		int ret;

		if (!uses(who, source->path))
			continue;
		ret = read_source(source, err, sizeof(err));
		if (ret < 0)
			text_add(errors, "%s; the ticket keys in force stay\n", err);
		else if (ret && err[0])
			log_warning("%s", err);
	}
}

int64_t ticket_store_rotate(struct ticket_store *store)
{
	time_t now = time(NULL);

	/* A clock that was set back must not keep a key for longer. */
	if (now < store->made)
		store->made = now;
	if (now - store->made >= store->rotation && rotate(store)) {
		log_error("ticket keys could not be rotated");
		return RETRY_MS;
	}
	return (store->rotation - (now - store->made)) * 1000LL;
}
