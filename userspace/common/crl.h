/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificate revocation lists (RFC 5280 5.1): when one is to be replaced. */
#ifndef _TLSPORT_CRL_H
#define _TLSPORT_CRL_H

#include <stddef.h>
#include <time.h>

/**
 * crl_dates() - of a list, whoever signed it
 * @pem: from its BEGIN to its END
 * @since: thisUpdate
 * @until: nextUpdate
 *
 * Also of one that has ended, which wolfSSL does not parse.
 *
 * Return: 0, or -1: it has none that can be read.
 */
int crl_dates(const char *pem, size_t len, time_t *since, time_t *until);

#endif /* _TLSPORT_CRL_H */
