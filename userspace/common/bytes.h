/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A part of what somebody else owns. */
#ifndef _TLSPORT_BYTES_H
#define _TLSPORT_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
	const uint8_t *data; /* NULL: absent */
	size_t len;
};

#endif /* _TLSPORT_BYTES_H */
