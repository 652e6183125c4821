// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ticket keys in shared memory.  One writer, the parent; readers take no lock
 * but copy between two equal, even values of the sequence counter.
 */
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "crypt.h"
#include "tickets.h"

/* A copy takes nanoseconds: a reader that loses so often has no writer alive. */
#define READ_TRIES 1000

struct ticket_keys {
	atomic_uint sequence; /* odd: the writer is at it */
	unsigned int count;
	struct ticket_key key[TICKET_GENERATIONS]; /* newest first */
};

struct ticket_keys *ticket_keys_new(void)
{
	struct ticket_keys *keys = mmap(NULL, sizeof(*keys), PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (keys == MAP_FAILED)
		return NULL;
	madvise(keys, sizeof(*keys), MADV_DONTDUMP);
	mlock(keys, sizeof(*keys)); /* may be refused by RLIMIT_MEMLOCK: best effort */
	if (ticket_keys_rotate(keys)) {
		ticket_keys_free(keys);
		return NULL;
	}
	return keys;
}

void ticket_keys_free(struct ticket_keys *keys)
{
	if (!keys)
		return;
	explicit_bzero(keys, sizeof(*keys));
	munmap(keys, sizeof(*keys));
}

int ticket_keys_rotate(struct ticket_keys *keys)
{
	struct ticket_key fresh;

	if (crypt_random(&fresh, sizeof(fresh)))
		return -1;
	atomic_fetch_add_explicit(&keys->sequence, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	for (int i = TICKET_GENERATIONS - 1; i > 0; i--)
		keys->key[i] = keys->key[i - 1];
	keys->key[0] = fresh;
	if (keys->count < TICKET_GENERATIONS)
		keys->count++;
	atomic_fetch_add_explicit(&keys->sequence, 1, memory_order_release);
	explicit_bzero(&fresh, sizeof(fresh));
	return 0;
}

static bool read_key(const struct ticket_keys *keys, const uint8_t *name, struct ticket_key *to)
{
	bool found = false;

	for (int tries = 0; tries < READ_TRIES; tries++) {
		unsigned int before = atomic_load_explicit(&keys->sequence, memory_order_acquire);

		if (before & 1)
			continue;
		found = false;
		for (unsigned int i = 0; i < TICKET_GENERATIONS && i < keys->count; i++) {
			if (name && memcmp(keys->key[i].name, name, TICKET_NAME_LEN))
				continue;
			*to = keys->key[i];
			found = true;
			break;
		}
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&keys->sequence, memory_order_relaxed) == before)
			return found;
	}
	explicit_bzero(to, sizeof(*to));
	return false;
}

bool ticket_key_current(const struct ticket_keys *keys, struct ticket_key *key)
{
	return read_key(keys, NULL, key);
}

bool ticket_key_find(const struct ticket_keys *keys, const uint8_t name[TICKET_NAME_LEN],
		     struct ticket_key *key)
{
	return read_key(keys, name, key);
}
