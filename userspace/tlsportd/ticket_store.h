/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the ticket keys of all ports are from.  The parent's; the workers have
 * nothing but the mappings.  Those of a file stay for as long as a generation names
 * it, in force or with workers of before: ticket_store_forget().
 *
 * Our own keys are made and rotated here, and kept in the run directory, so that
 * sessions outlive a restart.  Those that ticket-keys = names are only read: several
 * machines share them, and someone else rotates them.
 */
#ifndef _TLSPORTD_TICKET_STORE_H
#define _TLSPORTD_TICKET_STORE_H

#include <limits.h>

#include "text.h"
#include "tickets.h"

struct ticket_source;

/**
 * struct ticket_store - see above
 * @own: keys of our own
 * @saved: the file that they are kept in
 * @made: when the newest of them was, seconds since 1970
 * @rotation: age in seconds at which it is replaced
 * @sources: files of others that were asked for
 */
struct ticket_store {
	struct ticket_keys *own;
	char saved[PATH_MAX];
	time_t made;
	time_t rotation;
	struct ticket_source *sources;
};

/**
 * ticket_store_open() - our own keys, those of before if they are not too old
 *
 * Return: 0, or -1 with errno set; then there is nothing to close.
 */
int ticket_store_open(struct ticket_store *store, const char *run_dir, time_t rotation);

/* Wipes all keys for everyone; those of our own stay in their file. */
void ticket_store_close(struct ticket_store *store);

/**
 * ticket_store_add() - a file or directory of keys that a port is to use
 * @err: on failure one line that says why its keys cannot be had; else a warning, or ""
 *
 * With a failure, too, it is looked at again by ticket_store_refresh(); until then
 * a random key stands for those that are in it.
 *
 * Return: 0 or -1.
 */
int ticket_store_add(struct ticket_store *store, const char *path, char *err, size_t errlen);

/* Those of what was added; else, and for NULL, our own. */
const struct ticket_keys *ticket_store_keys(const struct ticket_store *store, const char *path);

/**
 * struct ticket_facts - what may be told of keys
 * @count: that open tickets
 * @since: when the newest of our own was made, or others' became what they are
 */
struct ticket_facts {
	size_t count;
	time_t since;
};

/* Of ticket_store_keys() */
struct ticket_facts ticket_store_facts(const struct ticket_store *store, const char *path);

/* Does @who use keys that are in this file or directory? */
typedef bool (*ticket_store_user)(const void *who, const char *path);

/*
 * Reads the files of others again that @who uses.  One that has no keys leaves those that are in
 * force, told in @errors.
 */
void ticket_store_refresh(struct ticket_store *store, ticket_store_user uses, const void *who,
			  struct text *errors);

/* Wipes, for everyone, the keys of others that @who does not use. */
void ticket_store_forget(struct ticket_store *store, ticket_store_user uses, const void *who);

/* Rotates what is due; returns milliseconds until the next is. */
int64_t ticket_store_rotate(struct ticket_store *store);

#endif /* _TLSPORTD_TICKET_STORE_H */
