/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parent: keeps as many workers as it should, and replaces them all when
 * the configuration changes.
 */
#ifndef _TLSPORTD_PARENT_H
#define _TLSPORTD_PARENT_H

#include <signal.h>
#include <sys/types.h>

#include "../netlink/tlsport_nl.h"
#include "generation.h"
#include "ocsp_fetch.h"
#include "worker.h"

#define WORKERS_MAX 256
/* A new worker that has not registered by then is given up. */
#define WORKER_START_MS 10000
/* Workers that are to end with the daemon. */
#define WORKER_STOP_MS 3000

/*
 * Tokens that have not answered by then, all of them together, are not waited for: at the
 * start, where other ports wait as well, and where an administrator does.
 */
#define PARENT_START_TOKENS_MS	2000
#define PARENT_RELOAD_TOKENS_MS 5000

enum worker_state {
	WORKER_STATE_STARTING,
	WORKER_STATE_READY,
	WORKER_STATE_DRAINING,
};

/**
 * struct worker_slot - one worker process
 * @slot: 0..workers-1 of its generation
 * @report: pipe from it, -1 once it closed it
 * @numbers: shared with it
 */
struct worker_slot {
	pid_t pid;
	unsigned int slot;
	struct generation *generation;
	enum worker_state state;
	int report;
	struct worker_numbers *numbers;
	int64_t started;
	struct worker_slot *next;
};

/**
 * struct parent - the daemon
 * @workers: how many a generation has
 * @all: all worker processes, of every generation
 * @generation: the one that new workers get
 * @restart_at: for a slot of the current generation that has no worker
 * @deaths: of a slot, in quick succession
 */
struct parent {
	const char *config_dir;
	const char *run_dir;
	unsigned int workers;
	struct sandbox_user user; /* of the workers */
	struct ticket_store tickets;
	struct ocsp_fetches fetches;
	struct tlsport_nl nl;
	struct worker_slot *all;
	struct generation *generation;
	unsigned int generations;
	char *renewal_errors; /* lines of the last parent_renew(), NULL: there were none */
	int64_t restart_at[WORKERS_MAX];
	unsigned int deaths[WORKERS_MAX];
	sigset_t signals; /* blocked ones: workers wait for theirs, too */
};

/**
 * parent_start() - register the ports, start the first workers
 *
 * A port with a broken certificate is registered all the same: it is shut, not
 * in plaintext.
 *
 * Return: 0, or -1 and it was logged.
 */
int parent_start(struct parent *parent);

/**
 * parent_reload() - read everything again and change over to it
 * @errors: why it did not, or what went wrong on the way
 *
 * Return: 0, or -1; then the old generation is still in force, unless only the
 * kernel refused a port.
 */
int parent_reload(struct parent *parent, struct text *errors);

/**
 * parent_renew() - take the certificates that have changed since they were read
 * @errors: of those that cannot be served; what was in force stays so.  They are logged when
 * they are others than those of the last time.
 *
 * The configuration in force stays, whatever its files say by now.
 *
 * Return: 0; -1 and there are @errors; 1, and there are, too: the new ones are good, but
 * could not take over, so it is to be tried again.
 */
int parent_renew(struct parent *parent, struct text *errors);

/**
 * parent_prepare() - in place of parent_start(), beside a tlsportd that runs
 * @errors: why it cannot be; a port that could not be served is one reason
 *
 * All workers are registered then; ports are as they were.
 *
 * Return: 0, or -1; parent_stop() is to follow.
 */
int parent_prepare(struct parent *parent, struct text *errors);

/**
 * parent_succeed() - the workers of the other tlsportd have retired
 * @ports: which it served; those that are not configured any more are given back
 * @errors: of ports that the kernel refused
 *
 * Return: 0 or -1.
 */
int parent_succeed(struct parent *parent, const uint16_t *ports, size_t count, struct text *errors);

/* All workers finish what they hold, and nobody takes their place. */
void parent_retire(struct parent *parent);

/*
 * The generation in force stays: the ports as they are configured, which were widened for the
 * next.  Those that tlsportctl has taken out are left so.
 */
void parent_stay(struct parent *parent);

/* Somebody has to after all: new workers, and the ports as they were before parent_retire(). */
void parent_return(struct parent *parent);

/* Takes note of what workers have reported. */
void parent_reports(struct parent *parent);

/* Collects dead workers. */
void parent_reap(struct parent *parent);

/* Starts workers whose time has come; returns ms until the next one, -1: none. */
int parent_restart(struct parent *parent);

/* Ends all workers, bounded in time. */
void parent_stop(struct parent *parent);

#endif /* _TLSPORTD_PARENT_H */
