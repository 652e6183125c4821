/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A certificate that nobody else vouches for: to try a port, or where clients are
 * given it by hand.
 */
#ifndef _TLSPORT_SELF_SIGNED_H
#define _TLSPORT_SELF_SIGNED_H

#include <stddef.h>

/**
 * self_signed_write() - a new key (P-256) and its certificate, good for ten years
 * @cert: file, PEM
 * @key: file, PEM, readable by its owner alone
 * @names: of hosts, and addresses, with ',' between them; the first is the common name
 * @err: on failure one line
 *
 * Either both files are new or nothing is changed.
 *
 * Return: 0 or -1.
 */
int self_signed_write(const char *cert, const char *key, const char *names, char *err,
		      size_t errlen);

#endif /* _TLSPORT_SELF_SIGNED_H */
