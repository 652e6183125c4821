/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A key in the token of token_fake.c, for the environment of which FAKE_TOKEN has to be set. */
#ifndef _TESTS_UNIT_TOKEN_FAKE_H
#define _TESTS_UNIT_TOKEN_FAKE_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FAKE_URI_LEN 256

/* The module is beside this program, or where its like without a sanitizer is. */
static inline const char *fake_uri(const char *object, char uri[FAKE_URI_LEN])
{
	char program[128];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);

	program[len > 0 ? len : 0] = '\0';
	*strrchr(program, '/') = '\0';
	snprintf(uri, FAKE_URI_LEN,
		 "pkcs11:token=fake;object=%s?module-path=%s/../unit/token_fake.so", object,
		 program);
	return uri;
}

#endif /* _TESTS_UNIT_TOKEN_FAKE_H */
