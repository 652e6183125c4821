// SPDX-License-Identifier: GPL-2.0-or-later
/* Key in a token and certificate, see token_check.h. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <stdio.h>

#include "public_key.h"
#include "token_check.h"

enum verdict {
	FITS,
	FITS_NOT,
	OTHER_TYPE,
};

/* What the token has signed of bytes that were made for it: one way of it */
static bool is_proof(const struct signer *signer, size_t number, struct public_key *key)
{
	const struct signer_proof_kind *kind = &signer_proof_kinds[number];
	const struct signer_proof *proof = signer_proof(signer, number);
	const uint8_t *data = signer_challenge(signer);
	uint8_t info[128];
	size_t len = kind->len;

	if (kind->how == TOKEN_RSA_PKCS1) {
		len = wc_EncodeSignature(info, data, kind->len, SHA256h);
		data = info;
	}
	return public_key_verify(key, kind->how, data, len, proof->signature, proof->len);
}

/* Each proof that there is */
static enum verdict check_all(const struct signer *signer, struct public_key *key)
{
	enum verdict verdict = OTHER_TYPE;

	for (size_t i = 0; i < SIGNER_PROOFS; i++) {
		if (!signer_proof(signer, i)->len)
			continue;
		if (!public_key_can(key, signer_proof_kinds[i].how))
			return OTHER_TYPE;
		if (!is_proof(signer, i, key))
			return FITS_NOT;
		verdict = FITS;
	}
	return verdict;
}

static enum verdict check(const struct signer *signer, WOLFSSL_X509 *x509)
{
	struct public_key *key = public_key_new(x509);
	enum verdict verdict = key ? check_all(signer, key) : FITS_NOT;

	public_key_free(key);
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
