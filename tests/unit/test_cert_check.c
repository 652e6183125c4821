// SPDX-License-Identifier: GPL-2.0-or-later
/* What is said of certificates and keys, good ones and others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "../../userspace/common/cert_check.h"
#include "../../userspace/common/self_signed.h"
#include "pki.h"

static char root[64];

static const char *at(const char *name)
{
	static char paths[8][128];
	static unsigned int n;
	char *path = paths[n++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
	return path;
}

static FILE *open_key(const char *name)
{
	FILE *file = fopen(at(name), "w");

	assert_non_null(file);
	fchmod(fileno(file), 0600);
	return file;
}

static void write_key(const char *name, EVP_PKEY *key, const char *passphrase)
{
	FILE *file = open_key(name);

	PEM_write_PrivateKey(file, key, passphrase ? EVP_aes_256_cbc() : NULL, NULL, 0, NULL,
			     (void *)passphrase);
	fclose(file);
}

/* @issuer: common name, NULL: its own */
static void write_issued(const char *name, const char *mode, EVP_PKEY *key, const char *common_name,
			 const char *issuer, long from, long to)
{
	FILE *file = fopen(at(name), mode);
	X509 *x509 = X509_new();
	X509_NAME *subject = X509_get_subject_name(x509);
	X509_EXTENSION *names =
		X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:alt.example");

	assert_non_null(file);
	X509_set_version(x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 0xabcdef);
	X509_gmtime_adj(X509_getm_notBefore(x509), from);
	X509_gmtime_adj(X509_getm_notAfter(x509), to);
	X509_set_pubkey(x509, key);
	if (*common_name)
		X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
					   (const uint8_t *)common_name, -1, -1, 0);
	if (issuer)
		X509_NAME_add_entry_by_txt(X509_get_issuer_name(x509), "CN", MBSTRING_ASC,
					   (const uint8_t *)issuer, -1, -1, 0);
	else
		X509_set_issuer_name(x509, subject);
	X509_add_ext(x509, names, -1);
	assert_true(
		X509_sign(x509, key, EVP_PKEY_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256()));
	PEM_write_X509(file, x509);
	fclose(file);
	X509_EXTENSION_free(names);
	X509_free(x509);
}

static void write_cert(const char *name, const char *mode, EVP_PKEY *key, const char *common_name,
		       long from, long to)
{
	write_issued(name, mode, key, common_name, NULL, from, to);
}

#define DAY (24 * 3600L)

static EVP_PKEY *p256, *other;
static struct cert_facts facts;
static char err[512];

static void refuses(const char *cert, const char *key, const char *piece)
{
	err[0] = '\0';
	assert_int_equal(cert_check(at(cert), key ? at(key) : NULL, NULL, &facts, err, sizeof(err)),
			 -1);
	if (!strstr(err, piece) || !strstr(err, root))
		fail_msg("'%s' does not hold '%s' and a file name", err, piece);
}

static void warns(const char *cert, const char *key, const char *piece)
{
	if (cert_check(at(cert), at(key), NULL, &facts, err, sizeof(err)))
		fail_msg("%s", err);
	for (unsigned int i = 0; i < facts.warning_count; i++)
		if (strstr(facts.warnings[i], piece))
			return;
	fail_msg("no warning holds '%s', the first is '%s'", piece, facts.warnings[0]);
}

static void test_facts(void **state)
{
	EVP_PKEY *keys[] = { EVP_EC_gen("P-256"), EVP_EC_gen("P-384"), EVP_EC_gen("P-521"),
			     EVP_RSA_gen(2048) };
	const char *const types[] = { "ECDSA P-256", "ECDSA P-384", "ECDSA P-521", "RSA 2048" };

	(void)state;
	for (int i = 0; i < 4; i++) {
		write_key("k.key", keys[i], NULL);
		write_cert("k.crt", "w", keys[i], "name.example", -DAY, 90 * DAY);
		if (cert_check(at("k.crt"), at("k.key"), NULL, &facts, err, sizeof(err)))
			fail_msg("%s: %s", types[i], err);
		assert_string_equal(facts.key_type, types[i]);
		assert_int_equal(facts.key_kind, i < 3 ? CERT_KEY_ECDSA : CERT_KEY_RSA);
		assert_string_equal(facts.subject, "name.example");
		assert_string_equal(facts.serial, "abcdef");
		assert_int_equal(facts.chain_len, 1);
		assert_int_equal(facts.warning_count, 0);
		assert_in_range(facts.not_after - facts.not_before, 91 * DAY - 5, 91 * DAY + 5);
		EVP_PKEY_free(keys[i]);
	}
}

static void test_name_from_the_alternative_names(void **state)
{
	(void)state;
	write_cert("x.crt", "w", p256, "", -DAY, 90 * DAY);
	assert_int_equal(cert_check(at("x.crt"), at("p256.key"), NULL, &facts, err, sizeof(err)),
			 0);
	assert_string_equal(facts.subject, "alt.example");
}

static void test_key_in_the_certificate_file(void **state)
{
	FILE *file;

	(void)state;
	write_key("both.pem", p256, NULL);
	write_cert("both.pem", "a", p256, "x", -DAY, 90 * DAY);
	assert_int_equal(cert_check(at("both.pem"), NULL, NULL, &facts, err, sizeof(err)), 0);
	assert_int_equal(cert_check(at("both.pem"), "", NULL, &facts, err, sizeof(err)), 0);
	assert_int_equal(cert_check(at("both.pem"), NULL, NULL, NULL, err, sizeof(err)), 0);
	/* text around the blocks, as tools write it */
	file = fopen(at("both.pem"), "a");
	fputs("\nsome text\n", file);
	fclose(file);
	assert_int_equal(cert_check(at("both.pem"), NULL, NULL, &facts, err, sizeof(err)), 0);
}

static const struct wish leaf_wish = { "leaf", "P-256", .to = 90 };
static const struct wish middle_wish = { "middle", "RSA", .ca = true, .to = 90 };
static const struct wish root_wish = { "root", "P-256", .ca = true, .to = 900 };

/* With the key of the first */
static void write_chain(const struct party *const *parties, size_t count)
{
	FILE *file = fopen(at("chain.crt"), "w");

	assert_non_null(file);
	for (size_t i = 0; i < count; i++)
		PEM_write_X509(file, parties[i]->x509);
	fclose(file);
	write_key("chain.key", parties[0]->key, NULL);
}

#define CHAIN(...) \
	write_chain((const struct party *const[]){ __VA_ARGS__ }, \
		    sizeof((const struct party *const[]){ __VA_ARGS__ }) / sizeof(void *))

/*
 * @fault: the first of the warnings that a strict port is not served with, "": there is none;
 * NULL is whatever there is.
 */
static void check_chain(unsigned int warnings, const char *warning, const char *fault)
{
	if (cert_check(at("chain.crt"), at("chain.key"), NULL, &facts, err, sizeof(err)))
		fail_msg("%s", err);
	if (facts.warning_count != warnings)
		fail_msg("%u warnings, the first is '%s'", facts.warning_count, facts.warnings[0]);
	if (warning)
		assert_string_equal(facts.warnings[0], warning);
	if (fault)
		assert_string_equal(facts.fault, fault);
}

static void check_bad_chain(const char *fault)
{
	check_chain(1, fault, fault);
}

static void test_chain(void **state)
{
	struct party root_ca = party_new(&root_wish, NULL);
	struct party middle = party_new(&middle_wish, &root_ca);
	struct party leaf = party_new(&leaf_wish, &middle);
	const struct party *many[17];

	(void)state;
	CHAIN(&leaf, &middle);
	check_chain(0, NULL, "");
	assert_int_equal(facts.chain_len, 2);
	CHAIN(&leaf, &middle, &root_ca);
	check_chain(0, NULL, "");
	assert_int_equal(facts.chain_len, 3);
	CHAIN(&leaf, &middle, &middle);
	check_bad_chain("certificate 3 (middle) of the chain did not issue the one before it");
	CHAIN(&leaf, &root_ca, &middle);
	check_chain(2, "certificate 2 (root) of the chain did not issue the one before it",
		    "certificate 2 (root) of the chain did not issue the one before it");
	for (int i = 0; i < 17; i++)
		many[i] = i ? &middle : &leaf;
	write_chain(many, 17);
	refuses("chain.crt", "chain.key", "more than 16 certificates");
	party_free(&leaf);
	party_free(&middle);
	party_free(&root_ca);
}

/* Those that have the right name are not issuers for it. */
static void test_chain_that_looks_good(void **state)
{
	const struct wish no_authority = { "middle", "P-256", .to = 90 };
	const struct wish no_signer = { "middle", "P-256", .to = 90, .basic = "critical,CA:TRUE" };
	struct party root_ca = party_new(&root_wish, NULL);
	struct party middle = party_new(&middle_wish, &root_ca);
	struct party twin = party_new(&middle_wish, &root_ca);
	struct party fake = party_new(&no_authority, &root_ca);
	struct party user = party_new(&no_signer, &root_ca);
	struct party leaf = party_new(&leaf_wish, &middle);
	struct party of_fake = party_new(&leaf_wish, &fake);
	struct party of_user = party_new(&leaf_wish, &user);

	(void)state;
	CHAIN(&leaf, &twin);
	check_bad_chain(
		"certificate 2 (middle) of the chain did not sign the one before it: it has the name of its issuer, but another key");
	/* of another kind */
	CHAIN(&leaf, &user);
	check_bad_chain(
		"certificate 2 (middle) of the chain did not sign the one before it: it has the name of its issuer, but another key");
	CHAIN(&of_fake, &fake);
	check_bad_chain(
		"certificate 2 (middle) of the chain is not one of a certificate authority");
	CHAIN(&of_user, &user);
	check_bad_chain("certificate 2 (middle) of the chain may not sign certificates (keyUsage)");
	party_free(&of_user);
	party_free(&of_fake);
	party_free(&leaf);
	party_free(&user);
	party_free(&fake);
	party_free(&twin);
	party_free(&middle);
	party_free(&root_ca);
}

static void test_dates_of_the_chain(void **state)
{
	const struct wish over = { "over", "P-256", .ca = true, .from = -9, .to = -2 };
	const struct wish early = { "early", "P-256", .ca = true, .from = 2, .to = 90 };
	const struct wish soon = { "soon", "P-256", .ca = true, .to = 4 };
	struct party root_ca = party_new(&root_wish, NULL);
	struct party late_ca = party_new(&over, &root_ca);
	struct party early_ca = party_new(&early, &root_ca);
	struct party soon_ca = party_new(&soon, &root_ca);
	struct party of_late = party_new(&leaf_wish, &late_ca);
	struct party of_early = party_new(&leaf_wish, &early_ca);
	struct party of_soon = party_new(&leaf_wish, &soon_ca);

	(void)state;
	CHAIN(&of_late, &late_ca, &root_ca);
	check_chain(1, NULL, NULL);
	assert_string_equal(facts.fault, facts.warnings[0]);
	assert_ptr_equal(strstr(facts.fault, "certificate 2 (over) of the chain expired on 20"),
			 facts.fault);
	CHAIN(&of_early, &early_ca);
	check_chain(1, NULL, NULL);
	assert_ptr_equal(strstr(facts.fault,
				"certificate 2 (early) of the chain is not valid before 20"),
			 facts.fault);
	CHAIN(&of_soon, &soon_ca);
	check_chain(1, NULL, "");
	assert_int_equal(facts.issuer.number, 2);
	cert_facts_update(&facts, facts.issuer.not_after - 3 * DAY - 10);
	assert_int_equal(facts.warning_count, 1);
	assert_string_equal(facts.warnings[0],
			    "certificate 2 (soon) of the chain expires in 3 days");
	cert_facts_update(&facts, facts.issuer.not_after - 5 * 3600 - 10);
	assert_int_equal(facts.warning_count, 1);
	assert_string_equal(facts.warnings[0],
			    "certificate 2 (soon) of the chain expires in 5 hours");
	cert_facts_update(&facts, facts.issuer.not_after - 30 * DAY);
	assert_int_equal(facts.warning_count, 0);
	party_free(&of_soon);
	party_free(&of_early);
	party_free(&of_late);
	party_free(&soon_ca);
	party_free(&early_ca);
	party_free(&late_ca);
	party_free(&root_ca);
}

/* What nobody needs is not what a strict port is shut for. */
static void test_root_that_is_not_needed(void **state)
{
	const struct wish over = { "root", "P-256", .ca = true, .from = -9, .to = -2 };
	struct party old = party_new(&over, NULL);
	struct party other_root = party_new(&root_wish, NULL);
	struct party middle = party_new(&middle_wish, &old);
	struct party leaf = party_new(&leaf_wish, &middle);

	(void)state;
	CHAIN(&leaf, &middle, &old);
	check_chain(1, NULL, "");
	assert_non_null(
		strstr(facts.warnings[0], "certificate 3 (root) of the chain expired on 20"));
	assert_non_null(strstr(facts.warnings[0], ": it can be left out"));
	CHAIN(&leaf, &middle, &other_root);
	check_chain(
		1,
		"certificate 3 (root) of the chain did not sign the one before it: it has the name of its issuer, but another key",
		"");
	party_free(&leaf);
	party_free(&middle);
	party_free(&other_root);
	party_free(&old);
}

/* cert.pem where it should have been fullchain.pem */
static void test_issuer_is_missing(void **state)
{
	(void)state;
	write_issued("leaf.crt", "w", p256, "leaf", "intermediate", -DAY, 90 * DAY);
	warns("leaf.crt", "p256.key", "its issuer is not behind it in the file");
	assert_int_equal(facts.warning_count, 1);
	assert_string_equal(facts.fault, facts.warnings[0]);
	assert_non_null(strstr(facts.fault, "not cert.pem)")); /* all of it */
	assert_false(facts.self_signed);
}

static void test_warnings(void **state)
{
	(void)state;
	write_cert("w.crt", "w", p256, "x", -DAY, 3 * DAY + 100);
	warns("w.crt", "p256.key", "expires in 3 days");
	write_cert("w.crt", "w", p256, "x", -DAY, 5 * 3600 + 100);
	warns("w.crt", "p256.key", "expires in 5 hours");
	write_cert("w.crt", "w", p256, "x", -9 * DAY, -DAY);
	warns("w.crt", "p256.key", "expired on 20");
	write_cert("w.crt", "w", p256, "x", DAY, 90 * DAY);
	warns("w.crt", "p256.key", "not valid before 20");
	chmod(at("p256.key"), 0644);
	warns("p256.crt", "p256.key", "key file is readable by everyone");
	chmod(at("p256.key"), 0660);
	warns("p256.crt", "p256.key", "can be changed by others");
	chmod(at("p256.key"), 0600);
}

static void test_ends(void **state)
{
	struct cert_facts soon = { .not_after = 1000 * DAY };
	char text[64] = "";

	(void)state;
	assert_false(cert_ends(&soon, 986 * DAY, text, sizeof(text)));
	assert_string_equal(text, "");
	assert_true(cert_ends(&soon, 986 * DAY + 1, text, sizeof(text)));
	assert_string_equal(text, "expires in 13 days");
	assert_true(cert_ends(&soon, 998 * DAY + 1, text, sizeof(text)));
	assert_string_equal(text, "expires in 47 hours");
	assert_true(cert_ends(&soon, 1000 * DAY + 1, text, sizeof(text)));
	assert_string_equal(text, "expired on 1972-09-27");
}

static int check_with(const char *cert, const char *key, const char *passphrase)
{
	char cert_path[128], key_path[128];

	snprintf(cert_path, sizeof(cert_path), "%s", at(cert));
	snprintf(key_path, sizeof(key_path), "%s", at(key));
	return cert_check(cert_path, key_path, at(passphrase), &facts, err, sizeof(err));
}

static void put_text(const char *name, const char *text)
{
	FILE *file = fopen(at(name), "w");

	assert_non_null(file);
	fchmod(fileno(file), 0600);
	fputs(text, file);
	fclose(file);
}

/* As "openssl genrsa -traditional" and "openssl ecparam -genkey" have it; NULL: not encrypted */
static void write_traditional_key(const char *name, EVP_PKEY *key, const char *cipher)
{
	FILE *file = open_key(name);
	BIO *bio = BIO_new_fp(file, BIO_NOCLOSE);

	if (EVP_PKEY_is_a(key, "EC"))
		PEM_write_bio_Parameters(bio, key);
	assert_int_equal(PEM_write_bio_PrivateKey_traditional(
				 bio, key, cipher ? EVP_get_cipherbyname(cipher) : NULL, NULL, 0,
				 NULL, "secret"),
			 1);
	BIO_free(bio);
	fclose(file);
}

static void test_traditional_keys(void **state)
{
	static const char *const ciphers[] = { NULL, "AES-128-CBC", "AES-192-CBC", "AES-256-CBC" };
	EVP_PKEY *rsa = EVP_RSA_gen(2048);

	(void)state;
	write_cert("rsa.crt", "w", rsa, "x", -DAY, 90 * DAY);
	put_text("phrase", "secret\n");
	put_text("other", "not it\n");
	for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
		write_traditional_key("old.key", rsa, ciphers[i]);
		if (check_with("rsa.crt", "old.key", "phrase"))
			fail_msg("RSA, %s: %s", ciphers[i], err);
		write_traditional_key("old.key", p256, ciphers[i]);
		if (check_with("p256.crt", "old.key", "phrase"))
			fail_msg("ECDSA, %s: %s", ciphers[i], err);
		if (!ciphers[i])
			continue;
		assert_int_equal(check_with("p256.crt", "old.key", "other"), -1);
		assert_non_null(strstr(err, "old.key: the passphrase in "));
		refuses("p256.crt", "old.key", "encrypted with a passphrase");
	}
	EVP_PKEY_free(rsa);
}

/* That depends on how the library was built; the passphrase is right, and not said to be wrong. */
static void opens_or_says(const char *cipher)
{
	if (!check_with("p256.crt", "strange.key", "phrase")) {
		assert_int_equal(check_with("p256.crt", "strange.key", "other"), -1);
		assert_non_null(strstr(err, "strange.key: the passphrase in "));
		return;
	}
	if (!strstr(err, cipher) ||
	    !strstr(err, "): openssl pkey -aes256 -in FILE -out NEW makes another"))
		fail_msg("%s: %s", cipher, err);
}

static void write_pkcs8(const EVP_CIPHER *cipher, int nid)
{
	FILE *file = open_key("strange.key");

	if (cipher)
		PEM_write_PKCS8PrivateKey(file, p256, cipher, NULL, 0, NULL, "secret");
	else
		PEM_write_PKCS8PrivateKey_nid(file, p256, nid, NULL, 0, NULL, "secret");
	fclose(file);
}

static void test_keys_of_other_ciphers(void **state)
{
	(void)state;
	put_text("phrase", "secret\n");
	put_text("other", "not it\n");
	write_traditional_key("strange.key", p256, "DES-EDE3-CBC");
	opens_or_says("DES-EDE3-CBC");
	write_traditional_key("strange.key", p256, "CAMELLIA-256-CBC");
	opens_or_says("CAMELLIA-256-CBC");
	write_pkcs8(EVP_des_ede3_cbc(), 0);
	opens_or_says("DES-EDE3-CBC");
	write_pkcs8(NULL, NID_pbe_WithSHA1And3_Key_TripleDES_CBC);
	opens_or_says("PBE-SHA1-3DES");
	write_pkcs8(EVP_aes_192_cbc(), 0);
	opens_or_says("AES-192-CBC");
	write_pkcs8(EVP_aes_128_cbc(), 0);
	if (check_with("p256.crt", "strange.key", "phrase"))
		fail_msg("%s", err);
}

static void test_passphrase(void **state)
{
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	(void)state;
	write_cert("rsa.crt", "w", rsa, "x", -DAY, 90 * DAY);
	put_text("phrase", "secret\nand more\n");
	put_text("other", "not it\n");
	write_key("encrypted.key", p256, "secret");
	if (check_with("p256.crt", "encrypted.key", "phrase"))
		fail_msg("%s", err);
	assert_int_equal(check_with("p256.crt", "encrypted.key", "other"), -1);
	assert_non_null(strstr(err, "encrypted.key: the passphrase in "));
	assert_null(strstr(err, "not it"));
	/* whoever has it has the key */
	chmod(at("phrase"), 0664);
	assert_int_equal(check_with("p256.crt", "encrypted.key", "phrase"), 0);
	assert_int_equal(facts.warning_count, 2);
	assert_string_equal(facts.warnings[0], "the passphrase's file is readable by everyone");
	assert_string_equal(facts.warnings[1],
			    "the passphrase's file can be changed by others than its owner");
	assert_int_equal(check_with("p256.crt", "p256.key", "phrase"), 0);
	assert_int_equal(facts.warning_count, 0); /* it was not needed */
	chmod(at("phrase"), 0600);
	assert_int_equal(check_with("p256.crt", "encrypted.key", "phrase"), 0);
	assert_int_equal(facts.warning_count, 0);
	assert_int_equal(check_with("p256.crt", "encrypted.key", "missing"), -1);
	assert_non_null(strstr(err, "missing: No such file or directory"));
	write_key("encrypted.key", rsa, "secret");
	assert_int_equal(check_with("p256.crt", "encrypted.key", "phrase"), -1);
	if (check_with("rsa.crt", "encrypted.key", "phrase"))
		fail_msg("%s", err);
	write_key("encrypted.key", ed25519, "secret");
	assert_int_equal(check_with("rsa.crt", "encrypted.key", "phrase"), -1);
	assert_non_null(strstr(err, "encrypted.key: its key is neither ECDSA nor RSA"));
	/* one that is not encrypted needs none */
	assert_int_equal(check_with("p256.crt", "p256.key", "phrase"), 0);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ed25519);
}

static X509 *read_cert(const char *name)
{
	FILE *file = fopen(at(name), "r");
	X509 *x509;

	assert_non_null(file);
	x509 = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	assert_non_null(x509);
	return x509;
}

static void test_self_signed(void **state)
{
	char cert[128], key[128];
	struct cert_files files;
	struct cert_names names;
	struct stat st;
	X509 *x509;

	(void)state;
	snprintf(cert, sizeof(cert), "%s", at("self.crt"));
	snprintf(key, sizeof(key), "%s", at("self.key"));
	if (self_signed_write(cert, key, "www.a.example,*.b.example,192.0.2.1,2001:db8::1", err,
			      sizeof(err)))
		fail_msg("%s", err);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	if (cert_check(cert, key, NULL, &facts, err, sizeof(err)))
		fail_msg("%s", err);
	assert_true(facts.self_signed);
	assert_non_null(strstr(facts.fault, "self-signed"));
	assert_int_equal(facts.warning_count, 0);
	assert_string_equal(facts.subject, "www.a.example");
	assert_string_equal(facts.key_type, "ECDSA P-256");
	assert_in_range(facts.not_after - time(NULL), 3649 * DAY, 3651 * DAY);
	assert_int_equal(cert_files_read(cert, key, NULL, &files, err, sizeof(err)), 0);
	assert_int_equal(cert_files_names(&files, &names), 0);
	assert_int_equal(names.count, 2);
	cert_names_free(&names);
	cert_files_free(&files);
	/* what another library makes of it */
	x509 = read_cert("self.crt");
	assert_int_equal(X509_verify(x509, X509_get0_pubkey(x509)), 1);
	assert_int_equal(X509_check_host(x509, "www.a.example", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(x509, "x.b.example", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(x509, "c.example", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(x509, "192.0.2.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(x509, "2001:db8::1", 0), 1);
	X509_free(x509);
	assert_int_equal(self_signed_write(cert, key, "a b", err, sizeof(err)), -1);
	assert_string_equal(err, "a b: not the name of a host, nor an address");
	assert_int_equal(self_signed_write(cert, key, "", err, sizeof(err)), -1);
	assert_int_equal(self_signed_write("/nowhere/x", key, "a", err, sizeof(err)), -1);
	assert_int_equal(access(at("self.key.tmp"), F_OK), -1);
	assert_int_equal(mkdir(at("dir.crt"), 0700), 0);
	assert_int_equal(self_signed_write(at("dir.crt"), at("dir.key"), "a", err, sizeof(err)),
			 -1);
	assert_int_equal(access(at("dir.crt.tmp"), F_OK), -1);
	assert_int_equal(cert_check(cert, key, NULL, &facts, err, sizeof(err)), 0);
}

static void test_refusals(void **state)
{
	EVP_PKEY *key;
	FILE *file;

	(void)state;
	refuses("nothing.crt", "p256.key", "nothing.crt: No such file or directory");
	refuses("p256.crt", "nothing.key", "nothing.key: No such file or directory");
	assert_int_equal(symlink("/nowhere/file", at("link.key")), 0);
	refuses("p256.crt", "link.key", "link.key: the link leads nowhere");
	refuses("p256.crt", NULL,
		"no private key in it (PEM \"BEGIN PRIVATE KEY\"): name the file that has it (key); in a cert-dir it is NAME.key or NAME-key.pem");
	refuses("p256.key", NULL, "no certificate in it");
	refuses("p256.crt", "p256.crt", "no private key in it");
	put_text("text.key", "junk\n");
	refuses("p256.crt", "text.key", "text.key: no private key in it");
	assert_null(strstr(err, "name the file"));
	refuses(".", "p256.key", "not a regular file");
	/* same curve, another key: the library alone would take it */
	write_key("other.key", other, NULL);
	refuses("p256.crt", "other.key", "does not belong to the certificate");
	key = EVP_RSA_gen(2048);
	write_key("rsa.key", key, NULL);
	write_cert("rsa.crt", "w", key, "x", -DAY, 90 * DAY);
	EVP_PKEY_free(key);
	refuses("p256.crt", "rsa.key", "belong");
	refuses("rsa.crt", "p256.key", "belong");
	key = EVP_RSA_gen(2048);
	write_key("rsa.key", key, NULL);
	EVP_PKEY_free(key);
	refuses("rsa.crt", "rsa.key", "does not belong to the certificate");
	write_key("encrypted.key", p256, "secret");
	refuses("p256.crt", "encrypted.key",
		"encrypted with a passphrase, which tlsportd cannot ask for: name a file that has it");
	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	write_key("ed.key", key, NULL);
	write_cert("ed.crt", "w", key, "x", -DAY, 90 * DAY);
	EVP_PKEY_free(key);
	refuses("ed.crt", "ed.key", "neither ECDSA nor RSA");
	write_cert("cut.crt", "w", p256, "x", -DAY, 90 * DAY);
	assert_int_equal(truncate(at("cut.crt"), 300), 0);
	refuses("cut.crt", "p256.key", "certificate 1 in it cannot be parsed");
	file = fopen(at("garbage.crt"), "w");
	fputs("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", file);
	fclose(file);
	refuses("garbage.crt", "p256.key", "cannot be parsed");
	file = fopen(at("garbage.key"), "w");
	fputs("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", file);
	fclose(file);
	refuses("p256.crt", "garbage.key", "garbage.key: the private key");
	file = fopen(at("huge.crt"), "w");
	assert_int_equal(ftruncate(fileno(file), 100 << 20), 0);
	fclose(file);
	refuses("huge.crt", "p256.key", "too large");
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/test_cert.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	p256 = EVP_EC_gen("P-256");
	other = EVP_EC_gen("P-256");
	write_key("p256.key", p256, NULL);
	write_cert("p256.crt", "w", p256, "x", -DAY, 90 * DAY);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	EVP_PKEY_free(p256);
	EVP_PKEY_free(other);
	snprintf(command, sizeof(command), "rm -r '%s'", root);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_name_from_the_alternative_names),
		cmocka_unit_test(test_key_in_the_certificate_file),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_chain_that_looks_good),
		cmocka_unit_test(test_dates_of_the_chain),
		cmocka_unit_test(test_root_that_is_not_needed),
		cmocka_unit_test(test_issuer_is_missing),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_traditional_keys),
		cmocka_unit_test(test_keys_of_other_ciphers),
		cmocka_unit_test(test_passphrase),
		cmocka_unit_test(test_self_signed),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
