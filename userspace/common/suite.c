// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cipher suites: AEAD with ephemeral keys, all that net/tls can carry and
 * that is still recommended.
 */
#include <strings.h>
#include <string.h>

#include "tls.h"

/*
 * AES-256-GCM first: it has the larger margin, and hardware that offloads
 * records has AES; ChaCha20 before AES-128 would cost such hardware.
 */
const struct tls_suite tls_suites[TLS_SUITES] = {
	{ 0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", "TLS13-AES256-GCM-SHA384",
	  TLS_1_3, AUTH_ANY, AEAD_AES_256_GCM, 48, 32 },
	{ 0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", "TLS13-AES128-GCM-SHA256",
	  TLS_1_3, AUTH_ANY, AEAD_AES_128_GCM, 32, 16 },
	{ 0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256",
	  "TLS13-CHACHA20-POLY1305-SHA256", TLS_1_3, AUTH_ANY, AEAD_CHACHA20_POLY1305, 32, 32 },
	{ 0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384",
	  "ECDHE-ECDSA-AES256-GCM-SHA384", TLS_1_2, AUTH_ECDSA, AEAD_AES_256_GCM, 48, 32 },
	{ 0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
	  "ECDHE-RSA-AES256-GCM-SHA384", TLS_1_2, AUTH_RSA, AEAD_AES_256_GCM, 48, 32 },
	{ 0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256",
	  "ECDHE-ECDSA-AES128-GCM-SHA256", TLS_1_2, AUTH_ECDSA, AEAD_AES_128_GCM, 32, 16 },
	{ 0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
	  "ECDHE-RSA-AES128-GCM-SHA256", TLS_1_2, AUTH_RSA, AEAD_AES_128_GCM, 32, 16 },
	{ 0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305",
	  "ECDHE-ECDSA-CHACHA20-POLY1305", TLS_1_2, AUTH_ECDSA, AEAD_CHACHA20_POLY1305, 32, 32 },
	{ 0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305",
	  "ECDHE-RSA-CHACHA20-POLY1305", TLS_1_2, AUTH_RSA, AEAD_CHACHA20_POLY1305, 32, 32 },
};

const struct tls_suite *tls_suite_by_id(uint16_t id)
{
	for (size_t i = 0; i < TLS_SUITES; i++)
		if (tls_suites[i].id == id)
			return &tls_suites[i];
	return NULL;
}

static bool is_name(const char *want, const char *name, size_t len)
{
	return strlen(want) == len && !strncasecmp(want, name, len);
}

const struct tls_suite *tls_suite_by_name(const char *name, size_t len)
{
	for (size_t i = 0; i < TLS_SUITES; i++)
		if (is_name(tls_suites[i].name, name, len) ||
		    is_name(tls_suites[i].openssl, name, len))
			return &tls_suites[i];
	return NULL;
}
