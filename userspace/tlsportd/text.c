// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

void text_add(struct text *text, const char *fmt, ...)
{
	va_list args;
	char *more, *chars;
	int len;

	va_start(args, fmt);
	len = vasprintf(&more, fmt, args);
	va_end(args);
	if (len < 0)
		return;
	chars = realloc(text->chars, text->len + len + 1);
	if (chars) {
		memcpy(chars + text->len, more, len + 1);
		text->chars = chars;
		text->len += len;
	}
	free(more);
}

void text_free(struct text *text)
{
	free(text->chars);
	text->chars = NULL;
	text->len = 0;
}
