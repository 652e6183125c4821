/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker process: takes handshakes from the kernel, gives them to the engine
 * and the engine's answers to the kernel.
 */
#ifndef _TLSPORTD_WORKER_H
#define _TLSPORTD_WORKER_H

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#include "generation.h"
#include "sandbox.h"

/* What a worker writes into its pipe, one byte each. */
#define WORKER_REGISTERED 'R' /* the kernel gives it handshakes */
#define WORKER_DRAINING	  'D' /* the kernel gives it no new ones */

/* To a worker: finish the handshakes that you hold, then exit. */
#define WORKER_DRAIN_SIGNAL SIGUSR1
/* After generation_longest() it waits no longer for their clients: the kernel has given them up. */
#define WORKER_MARGIN_MS 5000

/*
 * A handshake that nothing was heard of for so long is forgotten, or after the same as above where
 * that is longer: when the kernel ends one it says so, unless there is no room.
 */
#define WORKER_STALE_MS 60000

/**
 * struct worker_numbers - what a worker has done, in memory that the parent reads
 * @begun: handshakes
 * @done: of these, the kernel has the keys
 * @failed: of these; those that the kernel gave up are neither
 */
struct worker_numbers {
	_Atomic uint64_t begun;
	_Atomic uint64_t done;
	_Atomic uint64_t failed;
};

/**
 * worker_run() - the life of a worker; in the child, with all signals blocked
 * @user: whom it becomes, before the kernel gives it anything
 * @report: pipe to the parent
 * @numbers: it counts there
 *
 * Return: exit status.
 */
int worker_run(const struct generation *generation, const struct sandbox_user *user, int report,
	       struct worker_numbers *numbers);

#endif /* _TLSPORTD_WORKER_H */
