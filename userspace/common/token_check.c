// SPDX-License-Identifier: GPL-2.0-or-later
/* Key in a token and certificate, see token_check.h. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/openssl/evp.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "token_check.h"

#define DIGEST_LEN WC_SHA256_DIGEST_SIZE

enum verdict {
	FITS,
	FITS_NOT,
	NOT_SIGNED, /* the message says why */
};

/* What has to be signed: nobody can have had it signed before. */
struct challenge {
	struct signer *signer;
	uint8_t digest[DIGEST_LEN];
	char *err;
	size_t errlen;
};

static enum verdict check_ecdsa(struct challenge *challenge, ecc_key *ecc)
{
	uint8_t raw[TOKEN_SIGNATURE_MAX], der[TOKEN_SIGNATURE_MAX];
	word32 der_len = sizeof(der);
	int len, good = 0;

	len = signer_sign(challenge->signer, TOKEN_ECDSA, challenge->digest, DIGEST_LEN, raw,
			  challenge->err, challenge->errlen);
	if (len < 0)
		return NOT_SIGNED;
	if (wc_ecc_rs_raw_to_sig(raw, len / 2, raw + len / 2, len / 2, der, &der_len) ||
	    wc_ecc_verify_hash(der, der_len, challenge->digest, DIGEST_LEN, &good, ecc))
		return FITS_NOT;
	return good == 1 ? FITS : FITS_NOT;
}

/* The way of TLS 1.2 */
static enum verdict check_pkcs1(struct challenge *challenge, RsaKey *rsa)
{
	uint8_t info[128], signature[TOKEN_SIGNATURE_MAX], plain[TOKEN_SIGNATURE_MAX];
	int info_len, len;

	info_len = wc_EncodeSignature(info, challenge->digest, DIGEST_LEN, SHA256h);
	len = signer_sign(challenge->signer, TOKEN_RSA_PKCS1, info, info_len, signature,
			  challenge->err, challenge->errlen);
	if (len < 0)
		return NOT_SIGNED;
	len = wc_RsaSSL_Verify(signature, len, plain, sizeof(plain), rsa);
	return len == info_len && !memcmp(plain, info, info_len) ? FITS : FITS_NOT;
}

/* The way of TLS 1.3 */
static enum verdict check_pss(struct challenge *challenge, RsaKey *rsa)
{
	uint8_t signature[TOKEN_SIGNATURE_MAX], plain[TOKEN_SIGNATURE_MAX];
	int len;

	len = signer_sign(challenge->signer, TOKEN_RSA_PSS, challenge->digest, DIGEST_LEN,
			  signature, challenge->err, challenge->errlen);
	if (len < 0)
		return NOT_SIGNED;
	len = wc_RsaPSS_Verify(signature, len, plain, sizeof(plain), WC_HASH_TYPE_SHA256,
			       WC_MGF1SHA256, rsa);
	if (len <= 0 ||
	    wc_RsaPSS_CheckPadding(challenge->digest, DIGEST_LEN, plain, len, WC_HASH_TYPE_SHA256))
		return FITS_NOT;
	return FITS;
}

static enum verdict check_as_ecdsa(struct challenge *challenge, const unsigned char *der, int len)
{
	enum verdict verdict = FITS_NOT;
	word32 at = 0;
	ecc_key ecc;

	if (wc_ecc_init(&ecc))
		return FITS_NOT;
	if (!wc_EccPublicKeyDecode(der, &at, &ecc, len))
		verdict = check_ecdsa(challenge, &ecc);
	wc_ecc_free(&ecc);
	return verdict;
}

static enum verdict check_as_rsa(struct challenge *challenge, const unsigned char *der, int len)
{
	enum verdict verdict = FITS_NOT;
	word32 at = 0;
	RsaKey rsa;

	if (wc_InitRsaKey(&rsa, NULL))
		return FITS_NOT;
	if (!wc_RsaPublicKeyDecode(der, &at, &rsa, len))
		verdict = check_pkcs1(challenge, &rsa);
	if (verdict == FITS)
		verdict = check_pss(challenge, &rsa);
	wc_FreeRsaKey(&rsa);
	return verdict;
}

static enum verdict check(struct challenge *challenge, WOLFSSL_X509 *x509)
{
	WOLFSSL_EVP_PKEY *pkey = x509 ? wolfSSL_X509_get_pubkey(x509) : NULL;
	enum verdict verdict = FITS_NOT;
	unsigned char *der = NULL;
	int len = pkey ? wolfSSL_i2d_PUBKEY(pkey, &der) : 0;

	if (len > 0)
		verdict = wolfSSL_EVP_PKEY_base_id(pkey) == EVP_PKEY_RSA ?
				  check_as_rsa(challenge, der, len) :
				  check_as_ecdsa(challenge, der, len);
	XFREE(der, NULL, DYNAMIC_TYPE_OPENSSL);
	wolfSSL_EVP_PKEY_free(pkey);
	return verdict;
}

int token_check(struct signer *signer, WOLFSSL_X509 *x509, const char *cert, const char *key,
		char *err, size_t errlen)
{
	struct challenge challenge = { .signer = signer, .err = err, .errlen = errlen };
	enum verdict verdict;

	if (getrandom(challenge.digest, DIGEST_LEN, 0) != DIGEST_LEN) {
		snprintf(err, errlen, "%s: no random numbers", key);
		return -1;
	}
	if (signer_connect(signer) < 0) {
		snprintf(err, errlen, "%s: the process that signs with it has ended", key);
		return -1;
	}
	verdict = check(&challenge, x509);
	signer_disconnect(signer);
	if (verdict == FITS_NOT)
		snprintf(err, errlen, "%s: the private key does not belong to the certificate %s",
			 key, cert);
	return verdict == FITS ? 0 : -1;
}
