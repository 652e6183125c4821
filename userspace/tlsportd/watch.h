/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watches the files of certificates and keys, by the directories in which they, and the
 * symbolic links that lead to them, can be replaced: certbot changes a link in live/,
 * Kubernetes a link to a directory, others rename a new file over the old one, or move a
 * directory away and another in its place.
 */
#ifndef _TLSPORTD_WATCH_H
#define _TLSPORTD_WATCH_H

#include <stdbool.h>

#include "config.h"

/* An inotify descriptor that does not block, or -1 and errno. */
int watch_open(void);

/**
 * watch_files() - watch what these ports are made of, too
 * @fd: of watch_open()
 *
 * What was watched before stays so: an event too many costs a look at the files.
 *
 * Return: 0, or -1 and errno of what could not be watched.
 */
int watch_files(int fd, const struct config *config);

/* Takes what has happened; true: something did. */
bool watch_happened(int fd);

#endif /* _TLSPORTD_WATCH_H */
