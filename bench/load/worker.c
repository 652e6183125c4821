// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A thread with its connections.  Closed loop: each asks again when it is answered.  Open loop:
 * requests are due at times of their own, and latency counts from these, not from when a
 * connection was free.
 */
#include "load.h"

#include <err.h>
#include <math.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

#define EVENTS 256

int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

bool counts(void)
{
	return atomic_load_explicit(&phase, memory_order_relaxed) == MEASURE;
}

/* xorshift64: from 0 to 1, both excluded */
static double random_part(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return ((w->random >> 11) + 0.5) / (UINT64_C(1) << 53);
}

static int64_t until_next(struct worker *w)
{
	return o.poisson ? -log(random_part(w)) * w->interval : w->interval;
}

/* The connection can take a request: in a closed loop it gets one. */
void worker_idle(struct connection *c)
{
	struct worker *w = c->worker;

	if (o.keep)
		return;
	if (!o.rate) {
		connection_request(c, now());
		return;
	}
	if (!c->listed)
		w->idle[w->idle_count++] = c;
	c->listed = true;
}

static void start_request(struct connection *c, int64_t intended)
{
	if (c->state == IDLE) {
		connection_request(c, intended);
		return;
	}
	c->intended = intended;
	connection_open(c);
}

static void send_due(struct worker *w)
{
	if (!w->due) {
		/* not before every connection is there, or the first requests would wait for that */
		if (w->idle_count < w->count)
			return;
		w->due = now();
	}
	while (w->idle_count && w->due <= now()) {
		struct connection *c = w->idle[--w->idle_count];
		int64_t due = w->due;

		c->listed = false;
		/* it failed since, and comes again by itself */
		if (c->state != IDLE && (c->state != WAITING || c->resume))
			continue;
		w->due += until_next(w);
		start_request(c, due);
	}
}

static void begin_connection(struct connection *c)
{
	c->intended = o.rate ? 0 : now();
	if (o.rate && o.per_connection == 1) {
		c->state = WAITING;
		worker_idle(c);
	} else {
		connection_open(c);
	}
}

static void wake(struct worker *w)
{
	int64_t time = now();

	for (unsigned int i = 0; i < w->count && w->waiting; i++) {
		struct connection *c = &w->connections[i];

		if (!c->resume || c->resume > time)
			continue;
		c->resume = 0;
		w->waiting--;
		if (c->paused) {
			c->paused = false;
			c->moved = time;
			c->events = ~0U;
			connection_go_on(c);
			continue;
		}
		/* what was due is lost with the connection it was on */
		begin_connection(c);
	}
}

/* One that is paused reads nothing, whatever comes. */
static void look_for_timeouts(struct worker *w)
{
	int64_t limit = now() - (int64_t)(o.timeout * NS_PER_S);

	for (unsigned int i = 0; i < w->count; i++) {
		struct connection *c = &w->connections[i];
		bool opens = c->state == CONNECTING || c->state == HANDSHAKE;
		bool asks = (c->state == SENDING || c->state == RECEIVING) && !c->paused;

		if ((opens && c->opened < limit) || (asks && c->moved < limit))
			connection_fail(c, F_TIMEOUT, "nothing came in time");
	}
}

/* Milliseconds; an open loop does not sleep past the next request. */
static int sleep_time(const struct worker *w)
{
	int64_t left;

	if (w->waiting)
		return 1;
	if (!w->due || !w->idle_count)
		return 100;
	left = (w->due - now()) / (NS_PER_S / 1000);
	return left < 0 ? 0 : left > 100 ? 100 : left;
}

/* What is due and has no answer is as old as it is, at least. */
static void count_unfinished(struct worker *w)
{
	int64_t time = now();

	for (unsigned int i = 0; i < w->count; i++) {
		struct connection *c = &w->connections[i];

		if (!c->intended)
			continue;
		w->results->unfinished++;
		histogram_add(&w->results->latency, time - c->intended);
	}
	for (; w->due && w->due <= time; w->due += until_next(w)) {
		w->results->unfinished++;
		histogram_add(&w->results->latency, time - w->due);
	}
}

static void end(struct worker *w)
{
	for (unsigned int i = 0; i < w->count; i++) {
		connection_end(&w->connections[i]);
		SSL_SESSION_free(w->connections[i].session);
	}
}

void *worker_run(void *argument)
{
	struct worker *w = argument;
	struct epoll_event events[EVENTS];
	int64_t looked = now();
	bool measured = false;

	for (unsigned int i = 0; i < w->count; i++)
		begin_connection(&w->connections[i]);
	while (phase != DONE) {
		int n = epoll_wait(w->epoll, events, EVENTS, sleep_time(w));

		for (int i = 0; i < n; i++)
			connection_go_on(events[i].data.ptr);
		if (w->waiting)
			wake(w);
		if (o.rate)
			send_due(w);
		if (now() - looked > NS_PER_S) {
			looked = now();
			look_for_timeouts(w);
		}
		if (o.rate && !measured && phase >= AFTER) {
			measured = true;
			count_unfinished(w);
		}
	}
	if (o.rate && !measured)
		count_unfinished(w);
	end(w);
	return NULL;
}
