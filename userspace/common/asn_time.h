/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dates as they stand in certificates and revocation lists: RFC 5280 4.1.2.5. */
#ifndef _TLSPORT_ASN_TIME_H
#define _TLSPORT_ASN_TIME_H

#include <stddef.h>
#include <time.h>

/* So many bytes hold one, with its tag and its length. */
#define ASN_TIME_MAX 17

/* @der: UTCTime or GeneralizedTime from its tag on.  0, or -1: it is none */
int asn_time(const unsigned char *der, size_t len, time_t *when);

/* Likewise, as wolfSSL gives those of a certificate; NULL: it has none */
int asn_time_x509(const unsigned char *der, time_t *when);

/* "2026-03-01" of it */
void asn_time_day(time_t when, char day[16]);

#endif /* _TLSPORT_ASN_TIME_H */
