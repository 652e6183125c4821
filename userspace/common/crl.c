// SPDX-License-Identifier: GPL-2.0-or-later
/* Dates of revocation lists, see crl.h. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include "asn_time.h"
#include "crl.h"
#include "der.h"

static int next_time(struct bytes *from, time_t *when)
{
	struct der der;

	return der_next(from, &der) ? asn_time(der.whole.data, der.whole.len, when) : -1;
}

static bool next_is(struct bytes *from, uint8_t tag, struct der *der)
{
	return der_next(from, der) && der->tag == tag;
}

/* version if it is not the first, signature, issuer, then the dates */
static int read_dates(struct bytes list, time_t *since, time_t *until)
{
	struct bytes body;
	struct der der;

	if (!next_is(&list, DER_SEQUENCE, &der))
		return -1;
	list = der.body;
	if (!next_is(&list, DER_SEQUENCE, &der))
		return -1;
	body = der.body;
	if (!der_next(&body, &der) || (der.tag == DER_INTEGER && !der_next(&body, &der)))
		return -1;
	if (der.tag != DER_SEQUENCE || !next_is(&body, DER_SEQUENCE, &der))
		return -1;
	return next_time(&body, since) || next_time(&body, until) ? -1 : 0;
}

int crl_dates(const char *pem, size_t len, time_t *since, time_t *until)
{
	DerBuffer *der = NULL;
	int ret = -1;

	if (!wc_PemToDer((const unsigned char *)pem, len, CRL_TYPE, &der, NULL, NULL, NULL))
		ret = read_dates((struct bytes){ der->buffer, der->length }, since, until);
	wc_FreeDer(&der);
	return ret;
}
