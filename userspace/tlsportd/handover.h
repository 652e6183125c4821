/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One tlsportd takes the place of another, for "tlsportctl upgrade".
 *
 * The running one starts the program that is installed now as its child, with its
 * own arguments and these files: the channel (SOCK_SEQPACKET, one text a packet),
 * the lock and the control socket.  TLSPORTD_HANDOVER holds the pid of who did so.
 *
 *	new: "ready"        everything is read and checked, all workers are registered
 *	old: "ports 80 443" its workers take nothing new; these ports it served
 *	new: "done"         ports are set in the kernel as its configuration says
 *	old: closes         and lets its workers finish what they hold
 *
 * In place of "ready" the new one may say "error: LINES" and end; in place of "done",
 * too, and then it is in force all the same, as after a reload.
 */
#ifndef _TLSPORTD_HANDOVER_H
#define _TLSPORTD_HANDOVER_H

#include <stdbool.h>

#include "parent.h"

/* A successor that is not ready by then is ended: it has to start its workers. */
#define HANDOVER_START_MS (WORKER_START_MS + 5000)
/* It sets its ports; a listener that is taken over costs a grace period. */
#define HANDOVER_PORTS_MS 10000

/* Files that go from one tlsportd to the next; @channel: of the new one, to the old one. */
struct handover {
	int channel;
	int lock;
	int control;
};

/**
 * handover_give() - another tlsportd takes over
 * @argv: how to start it; [0] is a path
 * @errors: why it did not; or what it could not set
 *
 * Return: its pid; -1: this one goes on.
 */
pid_t handover_give(struct parent *parent, const struct handover *handover, char **argv,
		    struct text *errors);

/* Were we started so?  Then @handover has the files. */
bool handover_begun(struct handover *handover);

/**
 * handover_take() - in place of parent_start(): take over from who started us
 *
 * Return: 0, or -1 and it was logged: the other one goes on.
 */
int handover_take(const struct handover *handover, struct parent *parent);

#endif /* _TLSPORTD_HANDOVER_H */
