/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket RUN_DIR/control, SOCK_SEQPACKET, for root only: one packet
 * is a request, one packet is its reply.
 *
 *	"reload"  -> "ok" or "error: LINES"; when it comes, it has happened
 *	"upgrade" -> likewise; "ok": another tlsportd has taken over
 *	"status"  -> a JSON object
 *	else      -> "error: ..."
 */
#ifndef _TLSPORTD_CONTROL_H
#define _TLSPORTD_CONTROL_H

#include "parent.h"

#define CONTROL_REQUEST_MAX 64

/* Return: listening socket, or -1 and it was logged. */
int control_listen(const char *run_dir);

/* Takes one connection; -1: none. */
int control_accept(int listener);

/**
 * struct control_orders - who carries out what is asked for
 * @reload: see parent_reload()
 * @upgrade: likewise, see handover_give()
 */
struct control_orders {
	int (*reload)(struct parent *parent, struct text *errors);
	int (*upgrade)(struct parent *parent, struct text *errors);
};

/**
 * control_serve() - read a request and answer it
 *
 * Return: false when the connection is to be closed.
 */
bool control_serve(int fd, struct parent *parent, const struct control_orders *orders);

/* The reply to "status"; to be freed. */
char *control_status(const struct parent *parent);

#endif /* _TLSPORTD_CONTROL_H */
