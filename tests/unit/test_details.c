// SPDX-License-Identifier: GPL-2.0-or-later
/* What an application is told: the client's certificate in words, attributes, the PROXY header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netlink/attr.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <linux/tlsport_sockopt.h>

#include "../../userspace/tlsportd/details.h"
#include "../../userspace/tlsportd/proxy_header.h"
#include "pki.h"

static struct party root, party;

static void chain_of(const struct party *own, const struct party *behind,
		     struct client_chain *chain)
{
	uint8_t *at;

	chain->own_len = i2d_X509(own->x509, NULL);
	chain->len = chain->own_len + (behind ? i2d_X509(behind->x509, NULL) : 0);
	chain->count = 1 + (behind != NULL);
	at = chain->der = malloc(chain->len);
	i2d_X509(own->x509, &at);
	if (behind)
		i2d_X509(behind->x509, &at);
}

static struct party named(const char *name, const char *names)
{
	const struct wish wish = { name, "P-256", .usage = "clientAuth", .to = 10, .names = names };

	return party_new(&wish, &root);
}

static bool has_name(const struct client_identity *identity, const char *name)
{
	for (size_t i = 0; i < identity->name_count; i++)
		if (!strcmp(identity->names[i], name))
			return true;
	return false;
}

static void test_identity(void **state)
{
	static const char *const wanted[] = { "DNS:a.example.org", "email:j@example.org",
					      "URI:spiffe://x/y", "IP:192.0.2.1",
					      "IP:2001:db8::1" };
	struct client_identity identity;
	struct client_chain chain;
	uint8_t sha256[32];

	(void)state;
	party = named(
		"Jos\xc3\xa9, of the works",
		"DNS:a.example.org,email:j@example.org,URI:spiffe://x/y,IP:192.0.2.1,IP:2001:db8::1");
	chain_of(&party, NULL, &chain);
	assert_int_equal(client_identity_read(&chain, &identity), 0);
	assert_string_equal(identity.common_name, "Jos\xc3\xa9, of the works");
	assert_string_equal(identity.subject, "CN=Jos\xc3\xa9\\, of the works");
	assert_int_equal(identity.name_count, 5);
	for (size_t i = 0; i < 5; i++)
		assert_true(has_name(&identity, wanted[i]));
	SHA256(chain.der, chain.own_len, sha256);
	assert_memory_equal(identity.sha256, sha256, 32);
	client_identity_free(&identity);
	client_chain_free(&chain);
	party_free(&party);
}

/* A certificate whose subject has these parts, each a type, a string type and a value. */
struct part {
	const char *type;
	int string;
	const char *value;
	int len;
	int set; /* -1: of the one before */
};

static void subject_of(const struct part *parts, size_t count, struct client_identity *identity)
{
	const struct wish wish = { "x", "P-256", .to = 10 };
	struct client_chain chain;
	X509_NAME *name = X509_NAME_new();
	struct party odd = party_new(&wish, &root);

	for (size_t i = 0; i < count; i++) {
		ASN1_OBJECT *type = OBJ_txt2obj(parts[i].type, 0);

		assert_int_equal(X509_NAME_add_entry_by_OBJ(name, type, parts[i].string,
							    (const uint8_t *)parts[i].value,
							    parts[i].len, -1, parts[i].set),
				 1);
		ASN1_OBJECT_free(type);
	}
	assert_int_equal(X509_set_subject_name(odd.x509, name), 1);
	X509_sign(odd.x509, root.key, EVP_sha256());
	chain_of(&odd, NULL, &chain);
	assert_int_equal(client_identity_read(&chain, identity), 0);
	client_chain_free(&chain);
	X509_NAME_free(name);
	party_free(&odd);
}

#define UTF8 V_ASN1_UTF8STRING

/* Nobody is taken for another by how a subject is written. */
static void test_names_that_deceive(void **state)
{
	static const struct {
		struct part parts[3];
		size_t count;
		const char *subject;
		const char *common_name;
	} cases[] = {
		{ { { "CN", UTF8, "admin\0.evil", 11, 0 } },
		  1,
		  "CN=#0c0b61646d696e002e6576696c",
		  "" },
		{ { { "CN", UTF8, "admin\nroot", 10, 0 } }, 1, "CN=#0c0a61646d696e0a726f6f74", "" },
		{ { { "CN", UTF8, "a,O=Works", 9, 0 } }, 1, "CN=a\\,O=Works", "a,O=Works" },
		{ { { "CN", UTF8, " #a+b ", 6, 0 } }, 1, "CN=\\ #a\\+b\\ ", " #a+b " },
		{ { { "CN", UTF8, "#1", 2, 0 } }, 1, "CN=\\#1", "#1" },
		/* of which a library reads "root" */
		{ { { "CN", V_ASN1_BMPSTRING, "root", 4, 0 } }, 1, "CN=#1e04726f6f74", "" },
		{ { { "CN", UTF8,
		      "\xc2\x9b"
		      "2J",
		      4, 0 } },
		  1,
		  "CN=#0c04c29b324a",
		  "" },
		{ { { "CN", V_ASN1_T61STRING, "\xe9", 1, 0 } }, 1, "CN=#1401e9", "" },
		/* an attribute that has no name */
		{ { { "CN", UTF8, "svc", 3, 0 }, { "1.3.6.1.4.1.9999.1", UTF8, "A", 1, 0 } },
		  2,
		  "1.3.6.1.4.1.9999.1=#0c0141,CN=svc",
		  "svc" },
		{ { { "CN", UTF8, "a", 1, 0 }, { "UID", UTF8, "b", 1, -1 } }, 2, "CN=a+UID=b", "a" },
		{ { { "O", UTF8, "o", 1, 0 }, { "CN", UTF8, "1", 1, 0 }, { "CN", UTF8, "2", 1, 0 } },
		  3,
		  "CN=2,CN=1,O=o",
		  "2" },
		{ { { "CN", UTF8, "\xc3\xa9\xf0\x9f\x98\x80", 6, 0 } },
		  1,
		  "CN=\xc3\xa9\xf0\x9f\x98\x80",
		  "\xc3\xa9\xf0\x9f\x98\x80" },
	};
	struct client_identity identity;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		subject_of(cases[i].parts, cases[i].count, &identity);
		assert_string_equal(identity.subject, cases[i].subject);
		assert_string_equal(identity.common_name, cases[i].common_name);
		client_identity_free(&identity);
	}
	subject_of(NULL, 0, &identity);
	assert_string_equal(identity.subject, "");
	client_identity_free(&identity);
}

static void test_subject_that_is_too_long(void **state)
{
	struct client_identity identity;
	struct part parts[70];

	(void)state;
	for (size_t i = 0; i < 70; i++)
		parts[i] = (struct part){ "OU", UTF8, "a part", 6, 0 };
	subject_of(parts, 70, &identity);
	assert_string_equal(identity.subject, "");
	client_identity_free(&identity);
}

/* What the library has verified is whole; it is read as if it were not. */
static void test_cut_certificates(void **state)
{
	struct client_identity identity;
	struct client_chain chain, cut;

	(void)state;
	party = named("client", "DNS:a,IP:192.0.2.1");
	chain_of(&party, NULL, &chain);
	for (size_t len = 0; len < chain.own_len; len++) {
		cut = chain;
		cut.der = malloc(len + 1); /* for the sanitizer */
		memcpy(cut.der, chain.der, len);
		cut.own_len = cut.len = len;
		client_identity_read(&cut, &identity);
		client_identity_free(&identity);
		free(cut.der);
	}
	for (size_t i = 0; i < chain.own_len; i++) {
		chain.der[i] ^= 0xff;
		client_identity_read(&chain, &identity);
		client_identity_free(&identity);
		chain.der[i] ^= 0xff;
	}
	client_chain_free(&chain);
	party_free(&party);
}

static const struct nlattr *find(const uint8_t *bytes, size_t len, int type, int nth)
{
	const struct nlattr *attr = (const struct nlattr *)bytes;
	int left = len;

	for (; nla_ok(attr, left); attr = nla_next(attr, &left))
		if (nla_type(attr) == type && !nth--)
			return attr;
	return NULL;
}

static void test_details(void **state)
{
	struct engine_result result = { .version = TLS_1_3, .suite = 0x1302 };
	struct client_identity identity;
	struct client_chain chain = { 0 };
	const struct nlattr *attr;
	uint8_t *details;
	size_t len;

	(void)state;
	result.client = &chain;
	assert_int_equal(details_build(&result, NULL, &details, &len), 0);
	assert_null(details);
	result.alpn = (struct bytes){ (const uint8_t *)"h2", 2 };
	assert_int_equal(details_build(&result, NULL, &details, &len), 0);
	attr = find(details, len, TLSPORT_A_DETAIL_ALPN, 0);
	assert_int_equal(nla_len(attr), 2);
	assert_memory_equal(nla_data(attr), "h2", 2);
	assert_null(find(details, len, TLSPORT_A_DETAIL_CLIENT_CERT, 0));
	free(details);

	party = named("client", "DNS:a,DNS:b");
	chain_of(&party, &root, &chain);
	assert_int_equal(client_identity_read(&chain, &identity), 0);
	assert_int_equal(details_build(&result, &identity, &details, &len), 0);
	assert_string_equal(nla_data(find(details, len, TLSPORT_A_DETAIL_CLIENT_SUBJECT, 0)),
			    "CN=client");
	assert_string_equal(nla_data(find(details, len, TLSPORT_A_DETAIL_CLIENT_CN, 0)), "client");
	assert_non_null(find(details, len, TLSPORT_A_DETAIL_CLIENT_NAME, 1));
	assert_null(find(details, len, TLSPORT_A_DETAIL_CLIENT_NAME, 2));
	assert_int_equal(nla_len(find(details, len, TLSPORT_A_DETAIL_CLIENT_SHA256, 0)), 32);
	attr = find(details, len, TLSPORT_A_DETAIL_CLIENT_CERT, 0);
	assert_int_equal(nla_len(attr), chain.own_len);
	assert_memory_equal(nla_data(attr), chain.der, chain.own_len);
	attr = find(details, len, TLSPORT_A_DETAIL_CLIENT_CERT, 1);
	assert_int_equal(nla_len(attr), chain.len - chain.own_len);
	assert_null(find(details, len, TLSPORT_A_DETAIL_CLIENT_CERT, 2));
	free(details);
	client_identity_free(&identity);
	client_chain_free(&chain);
	party_free(&party);
}

static void test_proxy_header(void **state)
{
	static const uint8_t v4[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x51"
				    "\xc0\0\2\1\xc0\0\2\2\x30\x39\1\xbb"
				    "\1\0\2h2"
				    "\2\0\x0b"
				    "example.org"
				    "\x20\0\x28\1\0\0\0\0\x21\0\7TLSv1.3"
				    "\x23\0\x16TLS_AES_256_GCM_SHA384";
	const struct proxy_addresses plain = { (const uint8_t *)"\xc0\0\2\2",
					       (const uint8_t *)"\xc0\0\2\1", 4, 443, 12345 };
	const struct proxy_addresses mapped = {
		(const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\2",
		(const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1", 16, 443, 12345
	};
	const struct proxy_addresses v6 = {
		(const uint8_t *)"\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2",
		(const uint8_t *)"\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16, 443, 12345
	};
	struct engine_result result = { .version = TLS_1_3, .suite = 0x1302 };
	static struct client_identity identity;
	uint8_t header[PROXY_HEADER_MAX];
	size_t len;

	(void)state;
	result.alpn = (struct bytes){ (const uint8_t *)"h2", 2 };
	strcpy(result.server_name, "example.org");
	len = proxy_header(&plain, &result, NULL, header);
	header[15] = v4[15]; /* its length is looked at below */
	assert_int_equal(len, sizeof(v4) - 1);
	assert_memory_equal(header, v4, len);
	assert_int_equal(proxy_header(&mapped, &result, NULL, header), len);
	assert_memory_equal(header + 16, v4 + 16, len - 16);
	assert_int_equal(get16(header + 14), len - 16);
	len = proxy_header(&v6, &result, NULL, header);
	assert_int_equal(header[13], 0x21);
	assert_int_equal(get16(header + 14), len - 16);
	assert_memory_equal(header + 16, v6.peer, 16);
	assert_memory_equal(header + 32, v6.local, 16);

	/* the longest */
	memset(result.server_name, 'x', 255);
	memset(identity.common_name, 'y', 255);
	result.alpn = (struct bytes){ (const uint8_t *)result.server_name, 255 };
	len = proxy_header(&v6, &result, &identity, header);
	assert_true(len < sizeof(header));
	assert_int_equal(get16(header + 14), len - 16);
	assert_int_equal(header[16 + 36 + 258 + 258 + 3], 7); /* a certificate was shown */
}

static int set_up(void **state)
{
	const struct wish wish = { "root", "P-256", .ca = true, .to = 100 };

	(void)state;
	root = party_new(&wish, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	party_free(&root);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_names_that_deceive),
		cmocka_unit_test(test_subject_that_is_too_long),
		cmocka_unit_test(test_cut_certificates),
		cmocka_unit_test(test_details),
		cmocka_unit_test(test_proxy_header),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
