/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys of session tickets, shared by the parent, which makes and rotates them,
 * and all workers of all generations, which read them.
 */
#ifndef _TLSPORTD_TICKETS_H
#define _TLSPORTD_TICKETS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define TICKET_NAME_LEN 16
#define TICKET_KEY_LEN	32

/*
 * A ticket is accepted for its lifetime.  Its key was new for an hour at most
 * when the ticket was sealed and is kept for three: a full lifetime is left.
 */
#define TICKET_LIFETIME	   (2 * 3600)
#define TICKET_ROTATION	   3600
#define TICKET_GENERATIONS 3

struct ticket_key {
	uint8_t name[TICKET_NAME_LEN];
	uint8_t key[TICKET_KEY_LEN];
};

struct ticket_keys;

/**
 * ticket_keys_new() - a shared mapping with a first key
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

/* The key to seal with.  False: none could be read. */
bool ticket_key_current(const struct ticket_keys *keys, struct ticket_key *key);

/* The key of this name.  The caller wipes @key. */
bool ticket_key_find(const struct ticket_keys *keys, const uint8_t name[TICKET_NAME_LEN],
		     struct ticket_key *key);

#endif /* _TLSPORTD_TICKETS_H */
