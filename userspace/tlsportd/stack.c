// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The library wipes what it allocates, and of its local variables most: nonces, which
 * are a key's IV, and in older versions round keys stay on the stack until another
 * call happens to be as deep.
 */
#include <stdint.h>
#include <string.h>

#include "stack.h"

/* The deepest that uses a traffic secret is 24 KiB, with each version of wolfSSL. */
#define DEPTH 32768

/* Not inlined: its frame has to be where those of the other calls were. */
__attribute__((noinline)) void stack_wipe(void)
{
	uint8_t below[DEPTH];

	explicit_bzero(below, sizeof(below));
}
