/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ticket keys in a file: a line each, 48 random bytes in base64 ("openssl rand
 * -base64 48"), the oldest first; blank lines and those that start with # are not
 * looked at.  A directory stands for the lines of its files by their names.
 */
#ifndef _TLSPORTD_TICKET_FILE_H
#define _TLSPORTD_TICKET_FILE_H

#include "tickets.h"

/**
 * ticket_file_read() - the keys in a file or a directory
 * @list: oldest first; of more than there is room for the last
 * @err: on failure one line that names the file and what is wrong, never what is in it; else
 *	that others can read or change it, or ""
 *
 * Return: how many, or 0; the caller wipes @list.
 */
size_t ticket_file_read(const char *path, struct ticket_key list[TICKET_KEYS_MAX], char *err,
			size_t errlen);

/* Replaces the file at one stroke, readable by its owner alone; @list as above.  0, or -1 with errno */
int ticket_file_write(const char *path, const struct ticket_key *list, size_t count);

#endif /* _TLSPORTD_TICKET_FILE_H */
