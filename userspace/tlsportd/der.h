/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of DER (X.690), one behind the other. */
#ifndef _TLSPORTD_DER_H
#define _TLSPORTD_DER_H

#include <stdbool.h>
#include <stdint.h>

#include "hello.h"

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

/* The next value of @from, which moves on; false: there is none that is whole. */
bool der_next(struct bytes *from, struct der *der);

#endif /* _TLSPORTD_DER_H */
