// SPDX-License-Identifier: GPL-2.0-or-later
/* Hash table with chains that doubles when it is full, and a list by age. */
#include <stdlib.h>
#include <string.h>

#include "handshakes.h"

#define BUCKETS_MIN 256

static size_t bucket_of(const struct handshakes *all, uint64_t id)
{
	/* ids count up: spread them (Knuth's multiplicative hash) */
	return (id * 0x9e3779b97f4a7c15ULL >> 32) & (all->bucket_count - 1);
}

struct handshake *handshakes_find(const struct handshakes *all, uint64_t id)
{
	struct handshake *h = all->bucket_count ? all->buckets[bucket_of(all, id)] : NULL;

	while (h && h->id != id)
		h = h->next;
	return h;
}

static void link_bucket(struct handshakes *all, struct handshake *h)
{
	struct handshake **bucket = &all->buckets[bucket_of(all, h->id)];

	h->next = *bucket;
	*bucket = h;
}

static int grow(struct handshakes *all)
{
	size_t count = all->bucket_count ? 2 * all->bucket_count : BUCKETS_MIN;
	struct handshake **buckets = calloc(count, sizeof(struct handshake *));

	if (!buckets)
		return all->bucket_count ? 0 : -1; /* longer chains will do */
	free(all->buckets);
	all->buckets = buckets;
	all->bucket_count = count;
	for (struct handshake *h = all->oldest; h; h = h->newer)
		link_bucket(all, h);
	return 0;
}

static void link_newest(struct handshakes *all, struct handshake *h)
{
	h->older = all->newest;
	h->newer = NULL;
	if (all->newest)
		all->newest->newer = h;
	else
		all->oldest = h;
	all->newest = h;
}

static void unlink_age(struct handshakes *all, struct handshake *h)
{
	if (h->older)
		h->older->newer = h->newer;
	else
		all->oldest = h->newer;
	if (h->newer)
		h->newer->older = h->older;
	else
		all->newest = h->older;
}

struct handshake *handshakes_add(struct handshakes *all, uint64_t id, struct engine *engine,
				 int64_t now)
{
	struct handshake *h;

	if (all->count >= all->bucket_count && grow(all))
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->id = id;
	h->engine = engine;
	h->seen = now;
	link_bucket(all, h);
	link_newest(all, h);
	all->count++;
	return h;
}

void handshakes_touch(struct handshakes *all, struct handshake *h, int64_t now)
{
	h->seen = now;
	unlink_age(all, h);
	link_newest(all, h);
}

void handshakes_end(struct handshakes *all, struct handshake *h)
{
	struct handshake **at = &all->buckets[bucket_of(all, h->id)];

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	unlink_age(all, h);
	all->count--;
	engine_free(h->engine);
	free(h);
}

size_t handshakes_expire(struct handshakes *all, int64_t since)
{
	size_t ended = 0;

	for (; all->oldest && all->oldest->seen < since; ended++)
		handshakes_end(all, all->oldest);
	return ended;
}

void handshakes_free(struct handshakes *all)
{
	while (all->oldest)
		handshakes_end(all, all->oldest);
	free(all->buckets);
	memset(all, 0, sizeof(*all));
}
