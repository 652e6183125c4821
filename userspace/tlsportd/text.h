/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A growing text: error lists, replies. */
#ifndef _TLSPORTD_TEXT_H
#define _TLSPORTD_TEXT_H

#include <stddef.h>

/* Zeroed it is empty.  After memory ran out it stays as it is. */
struct text {
	char *chars; /* NULL while empty */
	size_t len;
};

void text_add(struct text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_free(struct text *text);

#endif /* _TLSPORTD_TEXT_H */
