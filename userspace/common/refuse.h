/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _TLSPORT_REFUSE_H
#define _TLSPORT_REFUSE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static inline int refuse(char *err, size_t errlen, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Says why in @err.  Return: -1 */
static inline int refuse(char *err, size_t errlen, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(err, errlen, fmt, args);
	va_end(args);
	return -1;
}

#endif /* _TLSPORT_REFUSE_H */
