// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "ocsp_make.h"

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, nid, value);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static X509 *new_cert(const char *name, EVP_PKEY *key, X509 *issuer)
{
	static long serial = 1000;
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), -30 * 24 * 3600L);
	X509_gmtime_adj(X509_getm_notAfter(cert), 90 * 24 * 3600L);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
	X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
	return cert;
}

void test_ca_new(struct test_ca *ca, const char *name)
{
	ca->key = EVP_EC_gen("P-256");
	ca->cert = new_cert(name, ca->key, NULL);
	add_extension(ca->cert, NID_basic_constraints, "critical,CA:TRUE");
	assert_true(X509_sign(ca->cert, ca->key, EVP_sha256()));
}

void test_ca_free(struct test_ca *ca)
{
	EVP_PKEY_free(ca->key);
	X509_free(ca->cert);
}

static char *text_of(BIO *bio, size_t *len)
{
	char *data, *text;

	*len = BIO_get_mem_data(bio, &data);
	text = strndup(data, *len);
	BIO_free(bio);
	return text;
}

X509 *test_ca_issue(const struct test_ca *ca, enum test_key kind, bool must_staple, const char *url,
		    struct cert_files *files, struct cert_facts *facts)
{
	EVP_PKEY *key = kind == TEST_RSA ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	X509 *cert = new_cert("test.example", key, ca->cert);
	BIO *chain = BIO_new(BIO_s_mem()), *text = BIO_new(BIO_s_mem());
	char value[256], err[256] = "";

	if (must_staple)
		add_extension(cert, NID_tlsfeature, "status_request");
	snprintf(value, sizeof(value), "OCSP;URI:%s", url ? url : "");
	if (url)
		add_extension(cert, NID_info_access, value);
	assert_true(X509_sign(cert, ca->key, EVP_sha256()));
	PEM_write_bio_X509(chain, cert);
	PEM_write_bio_X509(chain, ca->cert);
	PEM_write_bio_PrivateKey(text, key, NULL, NULL, 0, NULL, NULL);
	EVP_PKEY_free(key);
	memset(files, 0, sizeof(*files));
	files->cert = text_of(chain, &files->cert_len);
	files->key = text_of(text, &files->key_len);
	files->key_mode = 0100600;
	if (cert_files_check(files, "test.crt", "test.key", facts, err, sizeof(err)))
		fail_msg("%s", err);
	return cert;
}

/* Whoever signs: the issuer itself, or somebody else, whose certificate comes with it */
static X509 *signer_of(const struct test_response *how, EVP_PKEY **key)
{
	X509 *cert;

	if (how->by == BY_ISSUER) {
		*key = how->ca->key;
		EVP_PKEY_up_ref(*key);
		X509_up_ref(how->ca->cert);
		return how->ca->cert;
	}
	*key = EVP_EC_gen("P-256");
	cert = new_cert(how->by == BY_STRANGER ? "authority" : "delegate", *key,
			how->by == BY_STRANGER ? NULL : how->ca->cert);
	if (how->by == BY_DELEGATE)
		add_extension(cert, NID_ext_key_usage, "OCSPSigning");
	assert_true(X509_sign(cert, how->by == BY_STRANGER ? *key : how->ca->key, EVP_sha256()));
	return cert;
}

size_t test_response_make(const struct test_response *how, uint8_t der[OCSP_RESPONSE_MAX])
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_CERTID *id = OCSP_cert_to_id(NULL, how->cert, how->ca->cert);
	ASN1_TIME *since = X509_gmtime_adj(NULL, how->since);
	ASN1_TIME *until = how->until ? X509_gmtime_adj(NULL, how->until) : NULL;
	OCSP_RESPONSE *response;
	EVP_PKEY *key;
	X509 *signer = signer_of(how, &key);
	uint8_t *end = der;
	int len;

	assert_non_null(OCSP_basic_add1_status(
		basic, id, how->status, 0, how->status == V_OCSP_CERTSTATUS_REVOKED ? since : NULL,
		since, until));
	assert_int_equal(OCSP_basic_sign(basic, signer, key, EVP_sha256(), NULL,
					 how->by == BY_ISSUER ? OCSP_NOCERTS : 0),
			 1);
	response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	len = i2d_OCSP_RESPONSE(response, NULL);
	assert_in_range(len, 1, OCSP_RESPONSE_MAX);
	i2d_OCSP_RESPONSE(response, &end);
	OCSP_RESPONSE_free(response);
	OCSP_BASICRESP_free(basic);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(since);
	ASN1_TIME_free(until);
	X509_free(signer);
	EVP_PKEY_free(key);
	return len;
}

size_t test_response_good(const struct test_ca *ca, X509 *cert, uint8_t der[OCSP_RESPONSE_MAX])
{
	const struct test_response how = {
		.ca = ca,
		.cert = cert,
		.status = V_OCSP_CERTSTATUS_GOOD,
		.since = -3600,
		.until = 7 * 24 * 3600,
	};

	return test_response_make(&how, der);
}
