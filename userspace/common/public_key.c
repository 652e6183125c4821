// SPDX-License-Identifier: GPL-2.0-or-later
/* Signatures of the three ways in which a token is asked, see public_key.h. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/openssl/evp.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <stdlib.h>
#include <string.h>

#include "public_key.h"

struct public_key {
	bool is_rsa;
	union {
		ecc_key ecc;
		RsaKey rsa;
	};
};

static int decode(struct public_key *key, const unsigned char *der, int len)
{
	word32 at = 0;

	if (key->is_rsa)
		return wc_InitRsaKey(&key->rsa, NULL) ||
		       wc_RsaPublicKeyDecode(der, &at, &key->rsa, len);
	return wc_ecc_init(&key->ecc) || wc_EccPublicKeyDecode(der, &at, &key->ecc, len);
}

struct public_key *public_key_new(WOLFSSL_X509 *x509)
{
	WOLFSSL_EVP_PKEY *pkey = x509 ? wolfSSL_X509_get_pubkey(x509) : NULL;
	struct public_key *key = calloc(1, sizeof(*key));
	unsigned char *der = NULL;
	int len = pkey ? wolfSSL_i2d_PUBKEY(pkey, &der) : 0;

	if (key && len > 0) {
		key->is_rsa = wolfSSL_EVP_PKEY_base_id(pkey) == EVP_PKEY_RSA;
		if (decode(key, der, len)) {
			public_key_free(key);
			key = NULL;
		}
	} else {
		free(key);
		key = NULL;
	}
	XFREE(der, NULL, DYNAMIC_TYPE_OPENSSL);
	wolfSSL_EVP_PKEY_free(pkey);
	return key;
}

void public_key_free(struct public_key *key)
{
	if (!key)
		return;
	if (key->is_rsa)
		wc_FreeRsaKey(&key->rsa);
	else
		wc_ecc_free(&key->ecc);
	free(key);
}

bool public_key_can(const struct public_key *key, enum token_how how)
{
	return (how == TOKEN_ECDSA) != key->is_rsa;
}

static bool verify_ecdsa(ecc_key *ecc, const uint8_t *digest, size_t digest_len, const uint8_t *raw,
			 size_t raw_len)
{
	uint8_t der[TOKEN_SIGNATURE_MAX + 16];
	word32 der_len = sizeof(der), half = raw_len / 2;
	int good = 0;

	return !wc_ecc_rs_raw_to_sig(raw, half, raw + half, half, der, &der_len) &&
	       !wc_ecc_verify_hash(der, der_len, digest, digest_len, &good, ecc) && good == 1;
}

/* The way of TLS 1.2 */
static bool verify_pkcs1(RsaKey *rsa, const uint8_t *info, size_t info_len,
			 const uint8_t *signature, size_t signature_len)
{
	uint8_t plain[TOKEN_SIGNATURE_MAX];
	int len = wc_RsaSSL_Verify(signature, signature_len, plain, sizeof(plain), rsa);

	return len > 0 && (size_t)len == info_len && !memcmp(plain, info, info_len);
}

static const struct {
	size_t len;
	enum wc_HashType hash;
	int mgf;
} pss_hashes[] = {
	{ 32, WC_HASH_TYPE_SHA256, WC_MGF1SHA256 },
	{ 48, WC_HASH_TYPE_SHA384, WC_MGF1SHA384 },
	{ 64, WC_HASH_TYPE_SHA512, WC_MGF1SHA512 },
};

/* The way of TLS 1.3 */
static bool verify_pss(RsaKey *rsa, const uint8_t *digest, size_t digest_len,
		       const uint8_t *signature, size_t signature_len)
{
	uint8_t copy[TOKEN_SIGNATURE_MAX], plain[TOKEN_SIGNATURE_MAX];
	int len;

	for (size_t i = 0; i < sizeof(pss_hashes) / sizeof(pss_hashes[0]); i++) {
		if (pss_hashes[i].len != digest_len)
			continue;
		memcpy(copy, signature, signature_len);
		len = wc_RsaPSS_Verify(copy, signature_len, plain, sizeof(plain),
				       pss_hashes[i].hash, pss_hashes[i].mgf, rsa);
		return len > 0 &&
		       !wc_RsaPSS_CheckPadding(digest, digest_len, plain, len, pss_hashes[i].hash);
	}
	return false;
}

bool public_key_verify(struct public_key *key, enum token_how how, const uint8_t *data, size_t len,
		       const uint8_t *signature, size_t signature_len)
{
	if (!public_key_can(key, how) || signature_len > TOKEN_SIGNATURE_MAX)
		return false;
	if (how == TOKEN_ECDSA)
		return verify_ecdsa(&key->ecc, data, len, signature, signature_len);
	if (how == TOKEN_RSA_PKCS1)
		return verify_pkcs1(&key->rsa, data, len, signature, signature_len);
	return verify_pss(&key->rsa, data, len, signature, signature_len);
}
