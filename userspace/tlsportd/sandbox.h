/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a worker may still do once it is registered: it parses what strangers
 * send, and it holds private keys.
 *
 * It becomes a user of its own, with CAP_NET_ADMIN alone, which the kernel asks
 * of whoever answers handshakes; its memory is locked and in no core dump; and of
 * the system calls those are left that its loop makes.  Another one ends it.
 */
#ifndef _TLSPORTD_SANDBOX_H
#define _TLSPORTD_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * struct sandbox_user - whom the workers run as
 * @known: there is such a user; else it stays as it is
 */
struct sandbox_user {
	bool known;
	uid_t uid;
	gid_t gid;
};

/* The first of these users that there is.  0, or -1: none */
int sandbox_find_user(const char *const *names, struct sandbox_user *user);

/**
 * sandbox_choose_user() - likewise, and whether it can be done
 * @name: whom the administrator wants, NULL: the default
 *
 * Who wants nobody in particular gets a warning when the workers have to stay root.
 *
 * Return: 0, or -1 and it was logged: it is not as was wanted.
 */
int sandbox_choose_user(const char *name, struct sandbox_user *user);

/* memory_lock() of the parent, which reads keys, and of its workers. */
void sandbox_lock_memory(void);

/**
 * sandbox_enter() - for good
 *
 * Files, sockets and maps that are open stay so.  Without the right to change user
 * it keeps its user, and drops all else.
 *
 * Return: 0, or -1 and it was logged: the process must not go on.
 */
int sandbox_enter(const struct sandbox_user *user);

/* For what is to be executed and needs no rights at all: that user's, or none.  0 or -1, as above */
int sandbox_drop(const struct sandbox_user *user);

#endif /* _TLSPORTD_SANDBOX_H */
