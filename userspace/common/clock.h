/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _TLSPORT_CLOCK_H
#define _TLSPORT_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds of the monotonic clock */
static inline int64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#endif /* _TLSPORT_CLOCK_H */
