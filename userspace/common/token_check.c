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

#include <stdio.h>
#include <string.h>

#include "token_check.h"

enum verdict {
	FITS,
	FITS_NOT,
	OTHER_TYPE,
};

/* What the token has signed of bytes that were made for it: one way of it */
struct proof {
	const uint8_t *digest;
	size_t digest_len;
	const struct signer_proof *signed_by;
};

static enum verdict check_ecdsa(const struct proof *proof, ecc_key *ecc)
{
	const uint8_t *raw = proof->signed_by->signature;
	size_t half = proof->signed_by->len / 2;
	uint8_t der[TOKEN_SIGNATURE_MAX + 16];
	word32 der_len = sizeof(der);
	int good = 0;

	if (wc_ecc_rs_raw_to_sig(raw, half, raw + half, half, der, &der_len) ||
	    wc_ecc_verify_hash(der, der_len, proof->digest, proof->digest_len, &good, ecc))
		return FITS_NOT;
	return good == 1 ? FITS : FITS_NOT;
}

/* The way of TLS 1.2 */
static enum verdict check_pkcs1(const struct proof *proof, RsaKey *rsa)
{
	uint8_t info[128], plain[TOKEN_SIGNATURE_MAX];
	int info_len, len;

	info_len = wc_EncodeSignature(info, proof->digest, proof->digest_len, SHA256h);
	len = wc_RsaSSL_Verify(proof->signed_by->signature, proof->signed_by->len, plain,
			       sizeof(plain), rsa);
	return len == info_len && !memcmp(plain, info, info_len) ? FITS : FITS_NOT;
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
static enum verdict check_pss(const struct proof *proof, RsaKey *rsa)
{
	uint8_t signature[TOKEN_SIGNATURE_MAX], plain[TOKEN_SIGNATURE_MAX];
	size_t i = 0;
	int len;

	while (pss_hashes[i].len != proof->digest_len)
		i++;
	memcpy(signature, proof->signed_by->signature, proof->signed_by->len);
	len = wc_RsaPSS_Verify(signature, proof->signed_by->len, plain, sizeof(plain),
			       pss_hashes[i].hash, pss_hashes[i].mgf, rsa);
	if (len <= 0 || wc_RsaPSS_CheckPadding(proof->digest, proof->digest_len, plain, len,
					       pss_hashes[i].hash))
		return FITS_NOT;
	return FITS;
}

/* Each proof that there is by @ecc or @rsa, the other one is NULL */
static enum verdict check_all(const struct signer *signer, ecc_key *ecc, RsaKey *rsa)
{
	enum verdict verdict = OTHER_TYPE;

	for (size_t i = 0; i < SIGNER_PROOFS; i++) {
		const enum token_how how = signer_proof_kinds[i].how;
		const struct proof proof = { signer_challenge(signer), signer_proof_kinds[i].len,
					     signer_proof(signer, i) };

		if (!proof.signed_by->len)
			continue;
		if ((how == TOKEN_ECDSA) != (ecc != NULL))
			return OTHER_TYPE;
		if (how == TOKEN_ECDSA)
			verdict = check_ecdsa(&proof, ecc);
		else if (how == TOKEN_RSA_PKCS1)
			verdict = check_pkcs1(&proof, rsa);
		else
			verdict = check_pss(&proof, rsa);
		if (verdict != FITS)
			return verdict;
	}
	return verdict;
}

static enum verdict check_as_ecdsa(const struct signer *signer, const unsigned char *der, int len)
{
	enum verdict verdict = FITS_NOT;
	word32 at = 0;
	ecc_key ecc;

	if (wc_ecc_init(&ecc))
		return FITS_NOT;
	if (!wc_EccPublicKeyDecode(der, &at, &ecc, len))
		verdict = check_all(signer, &ecc, NULL);
	wc_ecc_free(&ecc);
	return verdict;
}

static enum verdict check_as_rsa(const struct signer *signer, const unsigned char *der, int len)
{
	enum verdict verdict = FITS_NOT;
	word32 at = 0;
	RsaKey rsa;

	if (wc_InitRsaKey(&rsa, NULL))
		return FITS_NOT;
	if (!wc_RsaPublicKeyDecode(der, &at, &rsa, len))
		verdict = check_all(signer, NULL, &rsa);
	wc_FreeRsaKey(&rsa);
	return verdict;
}

static enum verdict check(const struct signer *signer, WOLFSSL_X509 *x509)
{
	WOLFSSL_EVP_PKEY *pkey = x509 ? wolfSSL_X509_get_pubkey(x509) : NULL;
	enum verdict verdict = FITS_NOT;
	unsigned char *der = NULL;
	int len = pkey ? wolfSSL_i2d_PUBKEY(pkey, &der) : 0;

	if (len > 0)
		verdict = wolfSSL_EVP_PKEY_base_id(pkey) == EVP_PKEY_RSA ?
				  check_as_rsa(signer, der, len) :
				  check_as_ecdsa(signer, der, len);
	XFREE(der, NULL, DYNAMIC_TYPE_OPENSSL);
	wolfSSL_EVP_PKEY_free(pkey);
	return verdict;
}

int token_check(struct signer *signer, WOLFSSL_X509 *x509, const char *cert, const char *key,
		char *err, size_t errlen)
{
	const enum verdict verdict = check(signer, x509);

	if (verdict == FITS)
		return 0;
	signer_doubt(signer);
	if (verdict == OTHER_TYPE)
		snprintf(err, errlen, "%s: it is a key of another type than the certificate's: %s",
			 key, cert);
	else
		snprintf(err, errlen, "%s: the private key does not belong to the certificate %s",
			 key, cert);
	return -1;
}
