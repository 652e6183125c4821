/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RUN_DIR/lock: one tlsportd runs with a run directory, and the file says which. */
#ifndef _TLSPORTD_LOCK_H
#define _TLSPORTD_LOCK_H

/**
 * lock_take() - for as long as the file stays open, here or in a successor
 *
 * Return: the file, or -1 and it was logged.
 */
int lock_take(const char *run_dir);

/* Writes our pid into it. */
void lock_sign(int fd);

#endif /* _TLSPORTD_LOCK_H */
