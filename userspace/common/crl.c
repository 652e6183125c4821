// SPDX-License-Identifier: GPL-2.0-or-later
/* Dates of revocation lists, see crl.h. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include "asn_time.h"
#include "crl.h"

#define INTEGER	 0x02
#define SEQUENCE 0x30

/* What is left of a value, and of what is behind it */
struct place {
	const unsigned char *at;
	size_t len;
};

/* The value at @place, whose contents are @in; @place moves on behind it.  Its tag, -1: there is none */
static int next(struct place *place, struct place *in)
{
	size_t head = 2, len;
	int tag;

	if (place->len < 2)
		return -1;
	tag = place->at[0];
	len = place->at[1];
	if (len & 0x80) {
		size_t bytes = len & 0x7f;

		if (!bytes || bytes > 4 || place->len < 2 + bytes)
			return -1;
		for (len = 0; head < 2 + bytes; head++)
			len = len << 8 | place->at[head];
	}
	if (len > place->len - head)
		return -1;
	*in = (struct place){ place->at + head, len };
	place->at += head + len;
	place->len -= head + len;
	return tag;
}

static int next_time(struct place *place, time_t *when)
{
	const struct place from = *place;
	struct place in;

	return next(place, &in) < 0 ? -1 : asn_time(from.at, from.len, when);
}

/* version if it is not the first, signature, issuer, then the dates */
static int read_dates(struct place der, time_t *since, time_t *until)
{
	struct place list, body, value;
	int tag;

	if (next(&der, &list) != SEQUENCE || next(&list, &body) != SEQUENCE)
		return -1;
	tag = next(&body, &value);
	if (tag == INTEGER)
		tag = next(&body, &value);
	if (tag != SEQUENCE || next(&body, &value) != SEQUENCE)
		return -1;
	return next_time(&body, since) || next_time(&body, until) ? -1 : 0;
}

int crl_dates(const char *pem, size_t len, time_t *since, time_t *until)
{
	DerBuffer *der = NULL;
	int ret = -1;

	if (!wc_PemToDer((const unsigned char *)pem, len, CRL_TYPE, &der, NULL, NULL, NULL))
		ret = read_dates((struct place){ der->buffer, der->length }, since, until);
	wc_FreeDer(&der);
	return ret;
}
