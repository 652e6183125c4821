/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wolfSSL's randomness (CUSTOM_RAND_GENERATE_BLOCK): the kernel's, each time.  Its own
 * generator is seeded and run for each connection anew, which costs more than the
 * system calls, and its state would be shared over fork().
 */
#ifndef _TLSPORT_WOLFSSL_RANDOM_H
#define _TLSPORT_WOLFSSL_RANDOM_H

#ifndef __ASSEMBLER__

#include <errno.h>
#include <sys/random.h>

static inline int tlsport_random(unsigned char *to, unsigned int len)
{
	while (len) {
		ssize_t n = getrandom(to, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		to += n;
		len -= n;
	}
	return 0;
}

#endif /* __ASSEMBLER__ */
#endif /* _TLSPORT_WOLFSSL_RANDOM_H */
