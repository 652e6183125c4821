// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Checks a certificate chain and its key before anything is served with them,
 * see cert_check.h.  Owns nothing beyond one call; every copy of the key is
 * wiped.
 */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/openssl/x509v3.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "asn_time.h"
#include "cert_check.h"
#include "pem.h"
#include "printable.h"
#include "refuse.h"
#include "signer.h"
#include "token_check.h"
#include "token_uri.h"

#define CHAIN_MAX 16

static void warn(struct cert_facts *facts, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void warn(struct cert_facts *facts, const char *fmt, ...)
{
	va_list args;

	if (facts->warning_count == CERT_WARNINGS_MAX)
		return;
	va_start(args, fmt);
	vsnprintf(facts->warnings[facts->warning_count++], CERT_WARNING_LEN, fmt, args);
	va_end(args);
}

/* A warning that no port with "profile = strict" is served with. */
#define FAULT(facts, ...) \
	do { \
		if (!(facts)->fault[0]) \
			snprintf((facts)->fault, sizeof((facts)->fault), __VA_ARGS__); \
		warn(facts, __VA_ARGS__); \
	} while (0)

static bool is_encrypted(const char *key)
{
	return strstr(key, "BEGIN ENCRYPTED PRIVATE KEY-----") ||
	       strstr(key, "Proc-Type: 4,ENCRYPTED");
}

static bool is_rsa(const unsigned char *der, int len)
{
	word32 at = 0;
	RsaKey rsa;
	bool is;

	if (wc_InitRsaKey(&rsa, NULL))
		return false;
	is = !wc_RsaPrivateKeyDecode(der, &at, &rsa, len);
	wc_FreeRsaKey(&rsa);
	return is;
}

static bool is_ecc(const unsigned char *der, int len)
{
	word32 at = 0;
	ecc_key ecc;
	bool is;

	if (wc_ecc_init(&ecc))
		return false;
	is = !wc_EccPrivateKeyDecode(der, &at, &ecc, len);
	wc_ecc_free(&ecc);
	return is;
}

/*
 * DER of a key that is RSA's or of an elliptic curve as PEM; NULL: it is neither, which a wrong
 * passphrase makes of most keys, for those with "Proc-Type: 4,ENCRYPTED" have no checksum.
 */
static char *key_pem(const unsigned char *der, int len, size_t *pem_len)
{
	const int type = is_rsa(der, len) ? PRIVATEKEY_TYPE :
			 is_ecc(der, len) ? ECC_PRIVATEKEY_TYPE :
					    0;
	const size_t room = 2 * len + 256;
	char *pem = type ? malloc(room) : NULL;
	int n;

	if (!pem)
		return NULL;
	n = wc_DerToPem(der, len, (unsigned char *)pem, room - 1, type);
	if (n <= 0) {
		explicit_bzero(pem, room);
		free(pem);
		return NULL;
	}
	pem[n] = '\0';
	*pem_len = n;
	return pem;
}

#define CIPHER_LEN 32

/* Of a key with "Proc-Type: 4,ENCRYPTED": the cipher is named in front of it. */
static bool is_strange_pem(const char *key, char cipher[CIPHER_LEN])
{
	static const char info[] = "DEK-Info: ";
	const char *at = strstr(key, info);

	if (!at)
		return false;
	at += strlen(info);
#ifndef NO_DES3
	if (!strncmp(at, "DES-", strlen("DES-")))
		return false;
#endif
	snprintf(cipher, CIPHER_LEN, "%.*s",
		 (int)strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"), at);
	return strncmp(cipher, "AES-", strlen("AES-"));
}

/* Of one in PKCS #8: identifiers of what the library has not, in its first bytes. */
static bool is_strange_pkcs8(const char *key, char cipher[CIPHER_LEN])
{
	static const char begin[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
	static const struct {
		const char *oid, *name;
	} strange[] = {
#ifdef NO_DES3
		{ "\x2a\x86\x48\x86\xf7\x0d\x03\x07", "DES-EDE3-CBC" },
		{ "\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03", "PBE-SHA1-3DES" },
#endif
		{ "\x60\x86\x48\x01\x65\x03\x04\x01\x16", "AES-192-CBC" },
		{ "\x2b\x06\x01\x04\x01\xda\x47\x04\x0b", "scrypt" },
	};
	const char *at = strstr(key, begin), *end = at ? strstr(at, "-----END") : NULL;
	unsigned char der[4096];
	word32 len = sizeof(der);

	if (!end)
		return false;
	at += strlen(begin);
	if (Base64_Decode((const unsigned char *)at, end - at, der, &len))
		return false;
	if (len > 200) /* what is behind may hold them by chance */
		len = 200;
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		if (!memmem(der, len, strange[i].oid, strlen(strange[i].oid)))
			continue;
		snprintf(cipher, CIPHER_LEN, "%s", strange[i].name);
		return true;
	}
	return false;
}

/* The library does not tell a wrong passphrase from a cipher that it was not built with. */
static int refuse_encrypted(const char *text, const char *key, const char *passphrase, char *err,
			    size_t errlen)
{
	char cipher[CIPHER_LEN];

	if (!is_strange_pem(text, cipher) && !is_strange_pkcs8(text, cipher))
		return refuse(err, errlen, "%s: the passphrase in %s does not open it", key,
			      passphrase);
	return refuse(
		err, errlen,
		"%s: it is encrypted in a way that wolfSSL %s cannot decrypt here (%s): openssl pkey -aes256 -in FILE -out NEW makes another",
		key, wolfSSL_lib_version(), cipher);
}

/* In its place, what was encrypted. */
static int decrypt_key(struct cert_files *files, const char *key, const char *passphrase, char *err,
		       size_t errlen)
{
	unsigned char *der = NULL;
	char *phrase = NULL, *pem;
	size_t phrase_len, pem_len;
	int len, ret = -1;

	if (pem_read(passphrase, &phrase, &phrase_len, &files->passphrase_mode, err, errlen))
		return -1;
	phrase[strcspn(phrase, "\r\n")] = '\0';
	der = malloc(files->key_len);
	len = der ? wc_KeyPemToDer((const unsigned char *)files->key, files->key_len, der,
				   files->key_len, phrase) :
		    0;
	pem = len > 0 ? key_pem(der, len, &pem_len) : NULL;
	if (pem) {
		explicit_bzero(files->key, files->key_len);
		free(files->key);
		files->key = pem;
		files->key_len = pem_len;
		ret = 0;
	} else if (len > 0 && !strstr(files->key, "Proc-Type: ")) {
		refuse(err, errlen, "%s: its key is neither ECDSA nor RSA: only these are served",
		       key);
	} else {
		refuse_encrypted(files->key, key, passphrase, err, errlen);
	}
	if (len > 0)
		explicit_bzero(der, len);
	free(der);
	explicit_bzero(phrase, phrase_len);
	free(phrase);
	return ret;
}

/* In place of the key what signs with it. */
static int find_in_token(const char *uri, const char *passphrase, struct cert_files *files,
			 char *err, size_t errlen)
{
	char *pin = token_pin_file(uri, passphrase);
	struct stat st;

	files->key_mode = pin && !stat(pin, &st) ? st.st_mode : 0;
	free(pin);
	files->key = strdup(uri);
	if (!files->key)
		return refuse(err, errlen, "out of memory");
	files->key_len = strlen(uri);
	files->signer = signer_get(uri, passphrase, err, errlen);
	return files->signer ? 0 : -1;
}

int cert_files_read(const char *cert, const char *key, const char *passphrase,
		    struct cert_files *files, char *err, size_t errlen)
{
	unsigned int mode = 0;

	memset(files, 0, sizeof(*files));
	if (pem_read(cert, &files->cert, &files->cert_len, &files->key_mode, err, errlen))
		return -1;
	if (!key || !*key)
		key = cert;
	if (token_uri_is(key)) {
		if (!find_in_token(key, passphrase, files, err, errlen))
			return 0;
		cert_files_free(files);
		return -1;
	}
	if (pem_read(key, &files->key, &files->key_len, &mode, err, errlen)) {
		cert_files_free(files);
		return -1;
	}
	files->key_mode = mode;
	if (!passphrase || !is_encrypted(files->key) ||
	    !decrypt_key(files, key, passphrase, err, errlen))
		return 0;
	cert_files_free(files);
	return -1;
}

void cert_files_free(struct cert_files *files)
{
	if (files->cert)
		explicit_bzero(files->cert, files->cert_len); /* may hold the key too */
	if (files->key)
		explicit_bzero(files->key, files->key_len);
	free(files->cert);
	free(files->key);
	signer_put(files->signer);
	memset(files, 0, sizeof(*files));
}

/* Does an issuer in the file end before the certificate itself? */
static bool issuer_ends_first(const struct cert_facts *facts)
{
	return facts->issuer.number && facts->issuer.not_after < facts->not_after;
}

static time_t end_of(const struct cert_facts *facts)
{
	return issuer_ends_first(facts) ? facts->issuer.not_after : facts->not_after;
}

/* "2 (name)": which of the chain */
static void describe(const struct cert_issuer *issuer, char text[CERT_ISSUER_LEN + 16])
{
	snprintf(text, CERT_ISSUER_LEN + 16, *issuer->name ? "%u (%s)" : "%u", issuer->number,
		 issuer->name);
}

bool cert_ends(const struct cert_facts *facts, time_t now, char *text, size_t len)
{
	char day[16], which[CERT_ISSUER_LEN + 16], whose[sizeof(which) + 32] = "";
	time_t end = end_of(facts);
	long hours = (end - now) / 3600;

	if (end - now >= CERT_EXPIRY_WARNING)
		return false;
	if (issuer_ends_first(facts)) {
		describe(&facts->issuer, which);
		snprintf(whose, sizeof(whose), "certificate %s of the chain ", which);
	}
	asn_time_day(end, day);
	if (now > end)
		snprintf(text, len, "%sexpired on %s", whose, day);
	else if (hours >= 48)
		snprintf(text, len, "%sexpires in %ld days", whose, hours / 24);
	else
		snprintf(text, len, "%sexpires in %ld hours", whose, hours);
	return true;
}

/* It is the first of the warnings. */
void cert_facts_update(struct cert_facts *facts, time_t now)
{
	char text[CERT_WARNING_LEN];

	if (facts->end_told)
		memmove(facts->warnings[0], facts->warnings[1],
			--facts->warning_count * sizeof(facts->warnings[0]));
	facts->end_told = cert_ends(facts, now, text, sizeof(text));
	if (!facts->end_told)
		return;
	if (facts->warning_count < CERT_WARNINGS_MAX)
		facts->warning_count++;
	memmove(facts->warnings[1], facts->warnings[0],
		(facts->warning_count - 1) * sizeof(facts->warnings[0]));
	memcpy(facts->warnings[0], text, sizeof(text));
}

static void judge_dates(struct cert_facts *facts)
{
	time_t now = time(NULL);
	char day[16];

	if (now < facts->not_before) {
		asn_time_day(facts->not_before, day);
		FAULT(facts, "not valid before %s", day);
	}
	cert_facts_update(facts, now);
	if (now > end_of(facts) && !facts->fault[0])
		memcpy(facts->fault, facts->warnings[0], sizeof(facts->fault));
}

static int key_facts(WOLFSSL_X509 *x509, struct cert_facts *facts)
{
	WOLFSSL_EVP_PKEY *pkey = wolfSSL_X509_get_pubkey(x509);
	int type = pkey ? wolfSSL_EVP_PKEY_base_id(pkey) : 0;
	int bits = pkey ? wolfSSL_EVP_PKEY_bits(pkey) : 0;

	if (type == EVP_PKEY_RSA) {
		facts->key_kind = CERT_KEY_RSA;
		snprintf(facts->key_type, sizeof(facts->key_type), "RSA %d", bits);
	} else if (type == EVP_PKEY_EC) {
		/* wolfSSL rounds to bytes: P-521 becomes 528 */
		if (bits > 521 && bits <= 528)
			bits = 521;
		facts->key_kind = CERT_KEY_ECDSA;
		snprintf(facts->key_type, sizeof(facts->key_type), "ECDSA P-%d", bits);
	}
	facts->key_bits = bits;
	wolfSSL_EVP_PKEY_free(pkey);
	return facts->key_kind == CERT_KEY_NONE ? -1 : 0;
}

static const char head[] = "-----BEGIN CERTIFICATE-----";
static const char tail[] = "-----END CERTIFICATE-----";

/* Next certificate of the chain; NULL behind the last one or when it is broken (*broken). */
static WOLFSSL_X509 *next_cert(const char **at, const char *end, int *broken)
{
	static const char trusted[] = "-----BEGIN TRUSTED CERTIFICATE-----";
	const char *from = strstr(*at, head), *to;
	WOLFSSL_X509 *x509 = NULL;
	int len;
	unsigned char *der;

	*broken = 0;
	if (!from) {
		*broken = strstr(*at, trusted) != NULL;
		return NULL;
	}
	to = strstr(from, tail);
	*broken = 1;
	if (!to)
		return NULL;
	to += sizeof(tail) - 1;
	*at = to;
	der = malloc(end - from);
	if (!der)
		return NULL;
	len = wc_CertPemToDer((const unsigned char *)from, to - from, der, end - from, CERT_TYPE);
	if (len > 0)
		x509 = wolfSSL_X509_d2i(NULL, der, len);
	free(der);
	*broken = !x509;
	return x509;
}

static int subject_facts(WOLFSSL_X509 *x509, struct cert_facts *facts)
{
	unsigned char serial[32];
	int len = sizeof(serial), i;
	char *name;

	name = wolfSSL_X509_get_subjectCN(x509);
	if (!name || !*name)
		name = wolfSSL_X509_get_next_altname(x509);
	snprintf(facts->subject, sizeof(facts->subject), "%s", name ? name : "");
	make_printable(facts->subject);
	if (wolfSSL_X509_get_serial_number(x509, serial, &len) == WOLFSSL_SUCCESS)
		for (i = 0; i < len && (size_t)i * 2 + 3 <= sizeof(facts->serial); i++)
			sprintf(facts->serial + i * 2, "%02x", serial[i]);
	return asn_time_x509(wolfSSL_X509_notBefore(x509), &facts->not_before) ||
			       asn_time_x509(wolfSSL_X509_notAfter(x509), &facts->not_after) ?
		       -1 :
		       0;
}

char *cert_files_chain(const struct cert_files *files)
{
	const char *at = files->cert, *from, *to;
	char *chain = calloc(1, files->cert_len + CHAIN_MAX + 1), *end = chain;

	while (chain && (from = strstr(at, head)) && (to = strstr(from, tail))) {
		at = to + strlen(tail);
		memcpy(end, from, at - from);
		end += at - from;
		if (*at) /* with the line's end */
			*end++ = '\n';
	}
	return chain;
}

/* The library does not tell: id-pe-tlsfeature, an OCTET STRING, in it status_request. */
static bool is_must_staple(WOLFSSL_X509 *x509)
{
	static const unsigned char oid[] = { 0x06, 0x08, 0x2b, 0x06, 0x01,
					     0x05, 0x05, 0x07, 0x01, 0x18 };
	static const unsigned char feature[] = { 0x02, 0x01, 0x05 };
	int len = 0;
	const unsigned char *der = wolfSSL_X509_get_der(x509, &len);
	const unsigned char *at = der ? memmem(der, len, oid, sizeof(oid)) : NULL;
	size_t left;

	if (!at)
		return false;
	at += sizeof(oid);
	left = der + len - at;
	if (left > 3 && at[0] == 0x01) { /* critical */
		at += 3;
		left -= 3;
	}
	return left > 2 && at[0] == 0x04 && at[1] <= left - 2 &&
	       memmem(at + 2, at[1], feature, sizeof(feature));
}

/* What goes into a line of HTTP and of the log as it is. */
static bool is_http_url(const char *url)
{
	size_t len = strlen(url);

	if (strncmp(url, "http://", strlen("http://")) || len >= CERT_URL_LEN)
		return false;
	while (len--)
		if (url[len] <= ' ' || url[len] > '~')
			return false;
	return true;
}

static void ocsp_facts(WOLFSSL_X509 *x509, struct cert_facts *facts)
{
	WOLF_STACK_OF(WOLFSSL_STRING) *urls = wolfSSL_X509_get1_ocsp(x509);

	facts->must_staple = is_must_staple(x509);
	for (int i = 0; i < wolfSSL_sk_WOLFSSL_STRING_num(urls); i++) {
		const char *url = wolfSSL_sk_WOLFSSL_STRING_value(urls, i);

		if (is_http_url(url)) {
			strcpy(facts->ocsp_url, url);
			break;
		}
	}
	wolfSSL_X509_email_free(urls);
}

/* The library does not even parse what it was not built for: look for id-Ed25519, id-Ed448. */
static bool is_eddsa(const struct cert_files *files)
{
	static const unsigned char oid[] = { 0x06, 0x03, 0x2b, 0x65 };
	size_t room = files->cert_len;
	unsigned char *der = malloc(room);
	bool found = false;
	int len;

	if (!der)
		return false;
	len = wc_CertPemToDer((const unsigned char *)files->cert, files->cert_len, der, room,
			      CERT_TYPE);
	for (int i = 0; i + 5 <= len && !found; i++)
		found = !memcmp(der + i, oid, sizeof(oid)) &&
			(der[i + 4] == 0x70 || der[i + 4] == 0x71);
	free(der);
	return found;
}

static bool has_issuer(WOLFSSL_X509 *x509, WOLFSSL_X509 *issuer)
{
	return !wolfSSL_X509_NAME_cmp(wolfSSL_X509_get_issuer_name(x509),
				      wolfSSL_X509_get_subject_name(issuer));
}

/* That it cannot be looked at, for the kind of key, is no reason to complain. */
static bool is_signed_by(WOLFSSL_X509 *x509, WOLFSSL_X509 *issuer)
{
	WOLFSSL_EVP_PKEY *key = wolfSSL_X509_get_pubkey(issuer);
	int type = key ? wolfSSL_EVP_PKEY_base_id(key) : 0;
	bool may_be = true;

	if (type == EVP_PKEY_RSA || type == EVP_PKEY_EC)
		may_be = wolfSSL_X509_verify(x509, key) == WOLFSSL_SUCCESS;
	wolfSSL_EVP_PKEY_free(key);
	return may_be;
}

/* RFC 5280 6.1.4: roots of version 1 have no extensions, and are trusted for what they are. */
static bool is_authority(WOLFSSL_X509 *x509)
{
	return wolfSSL_X509_get_isCA(x509) ||
	       (has_issuer(x509, x509) && wolfSSL_X509_version(x509) < 3);
}

static bool may_sign(WOLFSSL_X509 *x509)
{
	return !wolfSSL_X509_ext_isSet_by_NID(x509, NID_key_usage) ||
	       (wolfSSL_X509_get_keyUsage(x509) & KEYUSE_KEY_CERT_SIGN);
}

/* NULL, or why clients will not take @x509 for what issued @below */
static const char *refute_issuer(WOLFSSL_X509 *below, WOLFSSL_X509 *x509)
{
	if (!has_issuer(below, x509))
		return "did not issue the one before it";
	if (!is_signed_by(below, x509))
		return "did not sign the one before it: it has the name of its issuer, but another key";
	if (!is_authority(x509))
		return "is not one of a certificate authority";
	if (!may_sign(x509))
		return "may not sign certificates (keyUsage)";
	return NULL;
}

/* Behind an intermediate: clients trust their own copy of it, or none. */
static bool is_spare_root(WOLFSSL_X509 *x509, unsigned int number)
{
	return number > 2 && has_issuer(x509, x509);
}

/* The chain lasts as long as the one that ends first. */
static void note_end(const struct cert_issuer *issuer, struct cert_facts *facts)
{
	if (!facts->issuer.number || issuer->not_after < facts->issuer.not_after)
		facts->issuer = *issuer;
}

/* 0, or -1: they cannot be read */
static int issuer_dates(WOLFSSL_X509 *x509, struct cert_issuer *issuer, time_t *not_before)
{
	return asn_time_x509(wolfSSL_X509_notBefore(x509), not_before) ||
			       asn_time_x509(wolfSSL_X509_notAfter(x509), &issuer->not_after) ?
		       -1 :
		       0;
}

static void judge_issuer_dates(WOLFSSL_X509 *x509, struct cert_issuer *issuer, const char *which,
			       struct cert_facts *facts)
{
	time_t not_before, now = time(NULL);
	char day[16];

	if (issuer_dates(x509, issuer, &not_before)) {
		FAULT(facts, "the dates of certificate %s of the chain cannot be read", which);
		return;
	}
	if (is_spare_root(x509, issuer->number)) {
		asn_time_day(issuer->not_after, day);
		if (now > issuer->not_after)
			warn(facts, "certificate %s of the chain expired on %s: it can be left out",
			     which, day);
		return;
	}
	note_end(issuer, facts);
	asn_time_day(not_before, day);
	if (now < not_before)
		FAULT(facts, "certificate %s of the chain is not valid before %s", which, day);
}

/* Of one behind the server's own: is it the issuer of the one before it? */
static void judge_issuer(WOLFSSL_X509 *below, WOLFSSL_X509 *x509, struct cert_facts *facts)
{
	struct cert_issuer issuer = { .number = facts->chain_len };
	const char *name = wolfSSL_X509_get_subjectCN(x509), *why;
	char which[CERT_ISSUER_LEN + 16];

	snprintf(issuer.name, sizeof(issuer.name), "%s", name ? name : "");
	make_printable(issuer.name);
	describe(&issuer, which);
	why = refute_issuer(below, x509);
	if (why && has_issuer(below, x509) && is_spare_root(x509, issuer.number))
		warn(facts, "certificate %s of the chain %s", which, why);
	else if (why)
		FAULT(facts, "certificate %s of the chain %s", which, why);
	judge_issuer_dates(x509, &issuer, which, facts);
}

static int chain_facts(const struct cert_files *files, const char *cert, struct cert_facts *facts,
		       char *err, size_t errlen)
{
	const char *at = files->cert, *end = files->cert + files->cert_len;
	WOLFSSL_X509 *x509, *below = NULL;
	int broken, ret = -1;

	while ((x509 = next_cert(&at, end, &broken))) {
		facts->chain_len++;
		if (facts->chain_len == 1) {
			if (subject_facts(x509, facts)) {
				refuse(err, errlen, "%s: its dates cannot be read", cert);
				goto out;
			}
			if (key_facts(x509, facts)) {
				refuse(err, errlen,
				       "%s: its key is neither ECDSA nor RSA: only these are served",
				       cert);
				goto out;
			}
			ocsp_facts(x509, facts);
			facts->self_signed = has_issuer(x509, x509);
		} else {
			judge_issuer(below, x509, facts);
		}
		wolfSSL_X509_free(below);
		below = x509;
		if (facts->chain_len > CHAIN_MAX) {
			refuse(err, errlen, "%s: more than %d certificates: not a server's chain",
			       cert, CHAIN_MAX);
			below = NULL;
			goto out;
		}
	}
	if (broken && !facts->chain_len && is_eddsa(files))
		refuse(err, errlen, "%s: its key is neither ECDSA nor RSA: only these are served",
		       cert);
	else if (broken)
		refuse(err, errlen, "%s: certificate %u in it cannot be parsed", cert,
		       facts->chain_len + 1);
	else if (!facts->chain_len)
		refuse(err, errlen, "%s: no certificate in it (PEM \"BEGIN CERTIFICATE\")", cert);
	else
		ret = 0;
out:
	wolfSSL_X509_free(x509);
	wolfSSL_X509_free(below);
	return ret;
}

/* @key: the same as @cert where none was named */
static int key_text_check(const struct cert_files *files, const char *cert, const char *key,
			  char *err, size_t errlen)
{
	if (!strstr(files->key, "PRIVATE KEY-----"))
		return refuse(
			err, errlen, "%s: no private key in it (PEM \"BEGIN PRIVATE KEY\")%s", key,
			strcmp(cert, key) ?
				"" :
				": name the file that has it (key); in a cert-dir it is NAME.key or NAME-key.pem");
	if (is_encrypted(files->key))
		return refuse(
			err, errlen,
			"%s: the key is encrypted with a passphrase, which tlsportd cannot ask for: name a file that has it (passphrase), or store the key unencrypted, readable by root only (openssl pkey -in FILE -out NEW)",
			key);
	return 0;
}

/*
 * The library compares an ECDSA key with its certificate only in builds with
 * WOLFSSL_VALIDATE_ECC_IMPORT, which Debian's are not: a port would start and
 * fail every handshake.  So derive the public key and compare it here.
 */
static int ecdsa_pair_check(const struct cert_files *files, const struct cert_facts *facts,
			    const char *cert, const char *key, char *err, size_t errlen)
{
	unsigned char der[512], have[2 * 66 + 1], want[256];
	word32 have_len = sizeof(have), want_len = sizeof(want), at = 0;
	const char *pem = files->cert;
	WOLFSSL_X509 *x509 = NULL;
	int len, broken, ret = -1;
	WC_RNG rng;
	ecc_key ecc;

	if (facts->key_kind != CERT_KEY_ECDSA)
		return 0;
	if (wc_InitRng(&rng))
		return refuse(err, errlen, "%s: no random numbers", key);
	if (wc_ecc_init(&ecc)) {
		wc_FreeRng(&rng);
		return refuse(err, errlen, "%s: out of memory", key);
	}
#ifdef ECC_TIMING_RESISTANT
	wc_ecc_set_rng(&ecc, &rng);
#endif
	len = wc_KeyPemToDer((const unsigned char *)files->key, files->key_len, der, sizeof(der),
			     NULL);
	if (len <= 0 || wc_EccPrivateKeyDecode(der, &at, &ecc, len) ||
	    wc_ecc_make_pub(&ecc, NULL) || wc_ecc_export_x963(&ecc, have, &have_len)) {
		refuse(err, errlen, "%s: the private key cannot be used", key);
		goto out;
	}
	x509 = next_cert(&pem, files->cert + files->cert_len, &broken);
	if (!x509 ||
	    wolfSSL_X509_get_pubkey_buffer(x509, want, (int *)&want_len) != WOLFSSL_SUCCESS)
		refuse(err, errlen, "%s: its public key cannot be read", cert);
	/* Some versions give the point, some the whole SubjectPublicKeyInfo, which ends in it. */
	else if (want_len < have_len || memcmp(have, want + want_len - have_len, have_len))
		refuse(err, errlen, "%s: the private key does not belong to the certificate %s",
		       key, cert);
	else
		ret = 0;
out:
	wolfSSL_X509_free(x509);
	explicit_bzero(der, sizeof(der));
	wc_ecc_free(&ecc);
	wc_FreeRng(&rng);
	return ret;
}

/* A trial with the library that will serve it: the last word on key and match. */
static int load_check(const struct cert_files *files, const char *cert, const char *key, char *err,
		      size_t errlen)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfTLS_server_method());
	int ret = -1;

	if (!ctx)
		return refuse(err, errlen, "%s: out of memory", cert);
	if (wolfSSL_CTX_use_certificate_chain_buffer(ctx, (const unsigned char *)files->cert,
						     files->cert_len) != WOLFSSL_SUCCESS)
		refuse(err, errlen, "%s: the TLS library does not take this certificate chain",
		       cert);
	else if (files->signer)
		ret = 0;
	else if (wolfSSL_CTX_use_PrivateKey_buffer(ctx, (const unsigned char *)files->key,
						   files->key_len,
						   WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
		/* The library compares already while it loads and does not say which it was. */
		refuse(err, errlen,
		       "%s: the private key cannot be parsed or is of another type than the certificate %s",
		       key, cert);
	else if (wolfSSL_CTX_check_private_key(ctx) != WOLFSSL_SUCCESS)
		refuse(err, errlen, "%s: the private key does not belong to the certificate %s",
		       key, cert);
	else
		ret = 0;
	wolfSSL_CTX_free(ctx);
	return ret;
}

static int key_check(const struct cert_files *files, const struct cert_facts *facts,
		     const char *cert, const char *key, char *err, size_t errlen)
{
	const char *at = files->cert;
	WOLFSSL_X509 *x509;
	int broken, ret;

	if (!files->signer)
		return ecdsa_pair_check(files, facts, cert, key, err, errlen);
	x509 = next_cert(&at, files->cert + files->cert_len, &broken);
	ret = token_check(files->signer, x509, cert, key, err, errlen);
	wolfSSL_X509_free(x509);
	return ret;
}

static void judge_mode(unsigned int mode, const char *what, struct cert_facts *facts)
{
	if (mode & 0004)
		FAULT(facts, "%s file is readable by everyone", what);
	if (mode & 0022)
		FAULT(facts, "%s file can be changed by others than its owner", what);
}

int cert_files_check(const struct cert_files *files, const char *cert, const char *key,
		     struct cert_facts *facts, char *err, size_t errlen)
{
	struct cert_facts own;

	if (!facts)
		facts = &own;
	memset(facts, 0, sizeof(*facts));
	if (!key || !*key)
		key = cert;
	wolfSSL_Init();
	if (chain_facts(files, cert, facts, err, errlen) ||
	    (!files->signer && key_text_check(files, cert, key, err, errlen)) ||
	    load_check(files, cert, key, err, errlen) ||
	    key_check(files, facts, cert, key, err, errlen))
		return -1;
	judge_dates(facts);
	/* No warning: that it is one is said wherever it is listed. */
	if (facts->self_signed && !facts->fault[0])
		snprintf(facts->fault, sizeof(facts->fault), "self-signed: nobody vouches for it");
	/* Behind an intermediate a root may be left out; a lone certificate is often cert.pem's. */
	if (facts->chain_len == 1 && !facts->self_signed)
		FAULT(facts,
		      "its issuer is not behind it in the file: clients that know only the root above that refuse it (certbot: fullchain.pem, not cert.pem)");
	if (facts->key_kind == CERT_KEY_RSA && facts->key_bits < 2048)
		FAULT(facts, "the RSA key has only %d bits: clients may refuse it",
		      facts->key_bits);
	judge_mode(files->key_mode, files->signer ? "the PIN's" : "key", facts);
	judge_mode(files->passphrase_mode, "the passphrase's", facts);
	return 0;
}

static int add_name(struct cert_names *names, const char *text, size_t len)
{
	char **all = realloc(names->names, (names->count + 1) * sizeof(*all));
	char *name = malloc(len + 1);

	if (all)
		names->names = all;
	if (!all || !name) {
		free(name);
		return -1;
	}
	for (size_t i = 0; i < len; i++)
		name[i] = tolower((unsigned char)text[i]);
	name[len] = '\0';
	all[names->count++] = name;
	return 0;
}

static int add_dns_names(WOLFSSL_X509 *x509, struct cert_names *names)
{
	WOLFSSL_STACK *all = wolfSSL_X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
	int ret = 0;

	for (int i = 0; all && i < wolfSSL_sk_GENERAL_NAME_num(all) && !ret; i++) {
		const WOLFSSL_GENERAL_NAME *name = wolfSSL_sk_GENERAL_NAME_value(all, i);
		const char *text;
		int len;

		if (name->type != GEN_DNS)
			continue;
		text = (const char *)wolfSSL_ASN1_STRING_get0_data(name->d.dNSName);
		len = wolfSSL_ASN1_STRING_length(name->d.dNSName);
		/* A 0 in it would make it another name for some. */
		if (text && len > 0 && !memchr(text, 0, len))
			ret = add_name(names, text, len);
	}
	wolfSSL_sk_GENERAL_NAME_pop_free(all, wolfSSL_GENERAL_NAME_free);
	return ret;
}

int cert_files_names(const struct cert_files *files, struct cert_names *names)
{
	const char *at = files->cert, *common;
	WOLFSSL_X509 *x509;
	int broken, ret = -1;

	memset(names, 0, sizeof(*names));
	x509 = next_cert(&at, files->cert + files->cert_len, &broken);
	if (x509) {
		ret = add_dns_names(x509, names);
		common = wolfSSL_X509_get_subjectCN(x509);
		if (!ret && !names->count && common && *common)
			ret = add_name(names, common, strlen(common));
	}
	wolfSSL_X509_free(x509);
	if (ret)
		cert_names_free(names);
	return ret;
}

void cert_names_free(struct cert_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->names[i]);
	free(names->names);
	memset(names, 0, sizeof(*names));
}

int cert_check(const char *cert, const char *key, const char *passphrase, struct cert_facts *facts,
	       char *err, size_t errlen)
{
	struct cert_files files;
	int ret;

	if (facts)
		memset(facts, 0, sizeof(*facts));
	if (cert_files_read(cert, key, passphrase, &files, err, errlen))
		return -1;
	ret = cert_files_check(&files, cert, key, facts, err, errlen);
	cert_files_free(&files);
	return ret;
}
