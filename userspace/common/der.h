/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of DER (X.690), one behind the other. */
#ifndef _TLSPORT_DER_H
#define _TLSPORT_DER_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

/**
 * struct der - a value
 * @whole: with its tag and length
 * @body: without
 */
struct der {
	uint8_t tag;
	struct bytes whole;
	struct bytes body;
};

/* Tags, X.690; and of a certificate, RFC 5280 4.1 */
enum {
	DER_INTEGER = 0x02,
	DER_OID = 0x06,
	DER_SEQUENCE = 0x30,
	DER_VERSION = 0xa0,
	DER_EXTENSIONS = 0xa3,
};

/* The next value of @from, which moves on; false: there is none that is whole. */
bool der_next(struct bytes *from, struct der *der);

/* The one value that @from is; false: it is none, or there is something behind it. */
bool der_only(struct bytes from, struct der *der);

#endif /* _TLSPORT_DER_H */
