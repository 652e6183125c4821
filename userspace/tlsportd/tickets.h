/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys of session tickets, shared by the parent, which makes and rotates them,
 * and all workers of all generations, which read them.
 */
#ifndef _TLSPORTD_TICKETS_H
#define _TLSPORTD_TICKETS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define TICKET_NAME_LEN 16
#define TICKET_KEY_LEN	32

/*
 * Seconds.  A ticket is accepted for its lifetime.  A key of our own seals for one
 * rotation and is kept for two more: a full lifetime is left.
 */
#define TICKET_LIFETIME	   (12 * 3600)
#define TICKET_ROTATION	   (12 * 3600)
#define TICKET_GENERATIONS 3
/* Of others, see ticket_file.h */
#define TICKET_KEYS_MAX 16

struct ticket_key {
	uint8_t name[TICKET_NAME_LEN];
	uint8_t key[TICKET_KEY_LEN];
};

struct ticket_keys;

/**
 * ticket_keys_new() - a shared mapping with a first key, a random one
 *
 * Inherited over fork, not in core dumps, locked in memory when that is
 * allowed.
 *
 * Return: NULL with errno set when there is no memory or no randomness.
 */
struct ticket_keys *ticket_keys_new(void);

/* Wipes the keys for everyone. */
void ticket_keys_free(struct ticket_keys *keys);

/* Parent only: a new first key, the oldest is forgotten.  0 or -1. */
int ticket_keys_rotate(struct ticket_keys *keys);

/**
 * ticket_keys_set() - parent only: these in place of those that are there
 * @count: 1 to TICKET_KEYS_MAX
 * @seal: index of the one that seals; all of them open
 */
void ticket_keys_set(struct ticket_keys *keys, const struct ticket_key *list, size_t count,
		     size_t seal);

/* Parent only: all of them, as set, newest first if they were made here.  The caller wipes @list. */
size_t ticket_keys_get(const struct ticket_keys *keys, struct ticket_key list[TICKET_KEYS_MAX]);

/* The key to seal with.  False: none could be read. */
bool ticket_key_current(const struct ticket_keys *keys, struct ticket_key *key);

/* The key of this name.  The caller wipes @key. */
bool ticket_key_find(const struct ticket_keys *keys, const uint8_t name[TICKET_NAME_LEN],
		     struct ticket_key *key);

#endif /* _TLSPORTD_TICKETS_H */
