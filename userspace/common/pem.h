/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text of a PEM file, which may hold a key. */
#ifndef _TLSPORT_PEM_H
#define _TLSPORT_PEM_H

#include <stddef.h>

/**
 * pem_read() - read a file
 * @text: ends with a 0 that is not counted in @len; to be wiped where it may hold a key
 * @mode: st_mode of the file; may be NULL
 * @err: on failure one line that names the file
 *
 * Return: 0, or -1 with nothing to free.
 */
int pem_read(const char *path, char **text, size_t *len, unsigned int *mode, char *err,
	     size_t errlen);

#endif /* _TLSPORT_PEM_H */
