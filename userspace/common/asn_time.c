// SPDX-License-Identifier: GPL-2.0-or-later
/* Dates of certificates, see asn_time.h. */
#include <stdio.h>
#include <string.h>

#include "asn_time.h"

#define UTC_TIME	 0x17
#define GENERALIZED_TIME 0x18

int asn_time(const unsigned char *der, size_t len, time_t *when)
{
	const char *digits = (const char *)der + 2;
	size_t i, year_len;
	struct tm tm = { 0 };

	if (len < 2 || len - 2 < der[1])
		return -1;
	if (der[0] == UTC_TIME && der[1] >= 12)
		year_len = 2;
	else if (der[0] == GENERALIZED_TIME && der[1] >= 14)
		year_len = 4;
	else
		return -1;
	for (i = 0; i < year_len + 10; i++)
		if (digits[i] < '0' || digits[i] > '9')
			return -1;
#define TWO(at) ((digits[at] - '0') * 10 + digits[(at) + 1] - '0')
	if (year_len == 2)
		tm.tm_year = TWO(0) < 50 ? TWO(0) + 100 : TWO(0); /* RFC 5280 4.1.2.5.1 */
	else
		tm.tm_year = TWO(0) * 100 + TWO(2) - 1900;
	digits += year_len;
	tm.tm_mon = TWO(0) - 1;
	tm.tm_mday = TWO(2);
	tm.tm_hour = TWO(4);
	tm.tm_min = TWO(6);
	tm.tm_sec = TWO(8);
#undef TWO
	*when = timegm(&tm);
	return 0;
}

int asn_time_x509(const unsigned char *der, time_t *when)
{
	return der ? asn_time(der, 2 + der[1], when) : -1;
}

void asn_time_day(time_t when, char day[16])
{
	struct tm tm;

	if (!gmtime_r(&when, &tm) || !strftime(day, 16, "%Y-%m-%d", &tm))
		snprintf(day, 16, "?");
}
