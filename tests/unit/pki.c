// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "pki.h"

#define DAY (24 * 3600)

static int serial = 100;

static EVP_PKEY *pss_key(bool limited)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA_PSS, NULL);
	EVP_PKEY *key = NULL;

	if (EVP_PKEY_keygen_init(ctx) == 1 &&
	    (!limited || (EVP_PKEY_CTX_set_rsa_pss_keygen_md(ctx, EVP_sha256()) == 1 &&
			  EVP_PKEY_CTX_set_rsa_pss_keygen_mgf1_md(ctx, EVP_sha256()) == 1 &&
			  EVP_PKEY_CTX_set_rsa_pss_keygen_saltlen(ctx, 32) == 1)))
		EVP_PKEY_keygen(ctx, &key);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static EVP_PKEY *make_key(const char *algorithm)
{
	if (!strcmp(algorithm, "RSA"))
		return EVP_RSA_gen(2048);
	if (!strcmp(algorithm, "RSA1024"))
		return EVP_RSA_gen(1024);
	if (!strcmp(algorithm, "RSA-PSS"))
		return pss_key(false);
	if (!strcmp(algorithm, "RSA-PSS-SHA256"))
		return pss_key(true);
	if (!strcmp(algorithm, "ED25519"))
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return EVP_EC_gen(algorithm);
}

static void extend(X509 *x509, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
	extension = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
	assert_non_null(extension);
	X509_add_ext(x509, extension, -1);
	X509_EXTENSION_free(extension);
}

/* Somebody's own */
static int strange_nid(void)
{
	static int nid;

	if (!nid)
		nid = OBJ_create("1.3.6.1.4.1.99999.1", "strange", "strange");
	return nid;
}

struct party party_new(const struct wish *wish, const struct party *issuer)
{
	struct party party = { X509_new(), make_key(wish->algorithm) };
	X509_NAME *name = X509_get_subject_name(party.x509);

	assert_non_null(party.key);
	if (!issuer)
		issuer = &party;
	X509_set_version(party.x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(party.x509), serial++);
	X509_gmtime_adj(X509_getm_notBefore(party.x509), wish->from * DAY - 3600);
	X509_gmtime_adj(X509_getm_notAfter(party.x509), wish->to * DAY);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)wish->name, -1, -1,
				   0);
	X509_set_issuer_name(party.x509, X509_get_subject_name(issuer->x509));
	X509_set_pubkey(party.x509, party.key);
	extend(party.x509, issuer->x509, NID_basic_constraints,
	       wish->basic ? wish->basic :
	       wish->ca	   ? "critical,CA:TRUE" :
			     "critical,CA:FALSE");
	extend(party.x509, issuer->x509, NID_key_usage,
	       wish->ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
	extend(party.x509, issuer->x509, NID_subject_key_identifier, "hash");
	if (issuer != &party)
		extend(party.x509, issuer->x509, NID_authority_key_identifier, "keyid");
	if (wish->allowed)
		extend(party.x509, issuer->x509, NID_name_constraints, wish->allowed);
	if (wish->strange)
		extend(party.x509, issuer->x509, strange_nid(), "critical,ASN1:NULL");
	if (wish->names)
		extend(party.x509, issuer->x509, NID_subject_alt_name, wish->names);
	if (wish->crl)
		extend(party.x509, issuer->x509, NID_crl_distribution_points, wish->crl);
	if (wish->usage)
		extend(party.x509, issuer->x509, NID_ext_key_usage, wish->usage);
	assert_true(X509_sign(party.x509, issuer->key,
			      EVP_PKEY_is_a(issuer->key, "ED25519") ? NULL : EVP_sha256()));
	return party;
}

void party_free(struct party *party)
{
	X509_free(party->x509);
	EVP_PKEY_free(party->key);
	memset(party, 0, sizeof(*party));
}

static char *text_of(BIO *bio, size_t *len)
{
	char *data, *text;

	*len = BIO_get_mem_data(bio, &data);
	text = strndup(data, *len);
	BIO_free(bio);
	return text;
}

void pki_add_ca(struct client_ca *ca, const struct party *party)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (ca->ca)
		BIO_puts(bio, ca->ca);
	PEM_write_bio_X509(bio, party->x509);
	free(ca->ca);
	ca->ca = text_of(bio, &ca->ca_len);
}

void pki_add_crl(struct client_ca *ca, const struct party *issuer, const struct party *revoked,
		 int to)
{
	BIO *bio = BIO_new(BIO_s_mem());
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *time = ASN1_TIME_new();
	X509_REVOKED *entry;

	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->x509));
	X509_CRL_set1_lastUpdate(crl, X509_gmtime_adj(time, -10 * DAY));
	X509_CRL_set1_nextUpdate(crl, X509_gmtime_adj(time, to * DAY));
	if (revoked) {
		entry = X509_REVOKED_new();
		X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->x509));
		X509_REVOKED_set_revocationDate(entry, X509_gmtime_adj(time, -DAY));
		X509_CRL_add0_revoked(crl, entry);
	}
	X509_CRL_sort(crl);
	X509_CRL_sign(crl, issuer->key, EVP_sha256());
	if (ca->crl)
		BIO_puts(bio, ca->crl);
	PEM_write_bio_X509_CRL(bio, crl);
	free(ca->crl);
	ca->crl = text_of(bio, &ca->crl_len);
	ASN1_TIME_free(time);
	X509_CRL_free(crl);
}
