/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handshakes that a worker holds, by the kernel's id and by age. */
#ifndef _TLSPORTD_HANDSHAKES_H
#define _TLSPORTD_HANDSHAKES_H

#include <stddef.h>
#include <stdint.h>

#include "engine.h"

/**
 * struct handshake - one that is going on
 * @seen: milliseconds of the monotonic clock when something last happened
 */
struct handshake {
	uint64_t id;
	uint16_t port;
	struct engine *engine;
	int64_t seen;
	struct handshake *next;		 /* in its bucket */
	struct handshake *older, *newer; /* by @seen */
};

struct handshakes {
	struct handshake **buckets;
	size_t bucket_count; /* power of two, or 0 */
	size_t count;
	struct handshake *oldest, *newest;
};

struct handshake *handshakes_find(const struct handshakes *all, uint64_t id);

/* Takes the engine; NULL when memory ran out, then it does not. */
struct handshake *handshakes_add(struct handshakes *all, uint64_t id, struct engine *engine,
				 int64_t now);

/* Something happened: it is the newest now. */
void handshakes_touch(struct handshakes *all, struct handshake *handshake, int64_t now);

/* Frees it with its engine. */
void handshakes_end(struct handshakes *all, struct handshake *handshake);

/* Ends those not seen since then; returns how many. */
size_t handshakes_expire(struct handshakes *all, int64_t since);

void handshakes_free(struct handshakes *all);

#endif /* _TLSPORTD_HANDSHAKES_H */
