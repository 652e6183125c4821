/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _TLSPORT_MEMORY_H
#define _TLSPORT_MEMORY_H

/*
 * Keys and PINs must not reach a disk: locks what this process has mapped, and, if it may,
 * what it will.  A new process, and one that executes another program, has to do it anew.
 *
 * Return: 0, or -errno.
 */
int memory_lock(void);

/* Nor must they be in a core dump.  A program that is executed has to say so anew. */
void memory_forbid_dumps(void);

#endif /* _TLSPORT_MEMORY_H */
