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
	unsigned int seal;
	struct ticket_key key[TICKET_KEYS_MAX];
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

void ticket_keys_set(struct ticket_keys *keys, const struct ticket_key *list, size_t count,
		     size_t seal)
{
	atomic_fetch_add_explicit(&keys->sequence, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	memcpy(keys->key, list, count * sizeof(*list));
	explicit_bzero(keys->key + count, (TICKET_KEYS_MAX - count) * sizeof(*list));
	keys->count = count;
	keys->seal = seal;
	atomic_fetch_add_explicit(&keys->sequence, 1, memory_order_release);
}

size_t ticket_keys_get(const struct ticket_keys *keys, struct ticket_key list[TICKET_KEYS_MAX])
{
	/* Workers can write there, too: one that was taken over must not get at the parent. */
	unsigned int count = *(const volatile unsigned int *)&keys->count;

	if (count > TICKET_KEYS_MAX)
		count = TICKET_KEYS_MAX;
	memcpy(list, keys->key, count * sizeof(*list));
	return count;
}

int ticket_keys_rotate(struct ticket_keys *keys)
{
	struct ticket_key list[1 + TICKET_KEYS_MAX];
	size_t count = 1 + ticket_keys_get(keys, list + 1);
	int err = crypt_random(list, sizeof(*list));

	if (!err)
		ticket_keys_set(keys, list, count < TICKET_GENERATIONS ? count : TICKET_GENERATIONS,
				0);
	explicit_bzero(list, sizeof(list));
	return err;
}

static bool read_key(const struct ticket_keys *keys, const uint8_t *name, struct ticket_key *to)
{
	bool found = false;

	for (int tries = 0; tries < READ_TRIES; tries++) {
		unsigned int before = atomic_load_explicit(&keys->sequence, memory_order_acquire);

		if (before & 1)
			continue;
		found = false;
		for (unsigned int i = 0; i < TICKET_KEYS_MAX && i < keys->count; i++) {
			if (name ? memcmp(keys->key[i].name, name, TICKET_NAME_LEN) != 0 :
				   i != keys->seal)
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
