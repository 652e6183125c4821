// SPDX-License-Identifier: GPL-2.0-or-later
/* Tags and lengths, see der.h. */
#include "der.h"

bool der_next(struct bytes *from, struct der *der)
{
	size_t head = 2, len;

	if (from->len < 2)
		return false;
	len = from->data[1];
	if (len & 0x80) {
		size_t bytes = len & 0x7f;

		if (!bytes || bytes > 3 || from->len < 2 + bytes)
			return false;
		for (len = 0; head < 2 + bytes; head++)
			len = len << 8 | from->data[head];
	}
	if (len > from->len - head)
		return false;
	der->tag = from->data[0];
	der->body = (struct bytes){ from->data + head, len };
	der->whole = (struct bytes){ from->data, head + len };
	from->data += head + len;
	from->len -= head + len;
	return true;
}

bool der_only(struct bytes from, struct der *der)
{
	return der_next(&from, der) && !from.len;
}
