// SPDX-License-Identifier: GPL-2.0-or-later
/* The client's certificate in words, see client_identity.h. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/openssl/x509.h>
#include <wolfssl/openssl/x509v3.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_identity.h"

/* Nothing that ends a text early, or a line, or steers a terminal. */
static bool is_clean(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return true;
}

static int add_name(struct client_identity *identity, const char *kind, const char *text,
		    size_t len)
{
	char **name = &identity->names[identity->name_count];

	if (identity->name_count == CLIENT_NAMES_MAX || !len || !is_clean(text, len))
		return 0;
	if (asprintf(name, "%s:%.*s", kind, (int)len, text) < 0)
		return -1;
	identity->name_count++;
	return 0;
}

static int add_address(struct client_identity *identity, const void *address, int len)
{
	char text[INET6_ADDRSTRLEN];

	if (len != 4 && len != 16)
		return 0;
	inet_ntop(len == 4 ? AF_INET : AF_INET6, address, text, sizeof(text));
	return add_name(identity, "IP", text, strlen(text));
}

static int add_general_name(struct client_identity *identity, const WOLFSSL_GENERAL_NAME *name)
{
	const char *kind = name->type == GEN_DNS   ? "DNS" :
			   name->type == GEN_EMAIL ? "email" :
			   name->type == GEN_URI   ? "URI" :
						     NULL;

	if (name->type == GEN_IPADD)
		return add_address(identity, wolfSSL_ASN1_STRING_data(name->d.iPAddress),
				   wolfSSL_ASN1_STRING_length(name->d.iPAddress));
	if (!kind)
		return 0;
	return add_name(identity, kind, (const char *)wolfSSL_ASN1_STRING_data(name->d.ia5),
			wolfSSL_ASN1_STRING_length(name->d.ia5));
}

static int read_names(WOLFSSL_X509 *x509, struct client_identity *identity)
{
	WOLFSSL_STACK *all = wolfSSL_X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
	int ret = 0;

	for (int i = 0; all && i < wolfSSL_sk_GENERAL_NAME_num(all) && !ret; i++)
		ret = add_general_name(identity, wolfSSL_sk_GENERAL_NAME_value(all, i));
	wolfSSL_sk_GENERAL_NAME_pop_free(all, wolfSSL_GENERAL_NAME_free);
	return ret;
}

/* Writes as far as there is room; what did not fit is noticed at the end. */
struct writer {
	char *to;
	size_t len;
	size_t room;
	bool bad;
};

static void put(struct writer *writer, const char *text, size_t len)
{
	if (writer->bad || len >= writer->room - writer->len) {
		writer->bad = true;
		return;
	}
	memcpy(writer->to + writer->len, text, len);
	writer->len += len;
	writer->to[writer->len] = '\0';
}

/* RFC 4514 2.4: else a value could look like more than one. */
static void put_value(struct writer *writer, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (strchr("\"+,;<>\\", text[i]) || (text[i] == ' ' && (!i || i == len - 1)) ||
		    (text[i] == '#' && !i))
			put(writer, "\\", 1);
		put(writer, &text[i], 1);
	}
}

static void put_entry(struct writer *writer, WOLFSSL_X509_NAME_ENTRY *entry)
{
	const WOLFSSL_ASN1_OBJECT *object = wolfSSL_X509_NAME_ENTRY_get_object(entry);
	WOLFSSL_ASN1_STRING *value = wolfSSL_X509_NAME_ENTRY_get_data(entry);
	const char *text = (const char *)wolfSSL_ASN1_STRING_data(value);
	const int len = wolfSSL_ASN1_STRING_length(value);
	const char *type = wolfSSL_OBJ_nid2sn(wolfSSL_OBJ_obj2nid(object));

	if (!type || !text || len < 0 || !is_clean(text, len)) {
		writer->bad = true;
		return;
	}
	if (writer->len)
		put(writer, ",", 1);
	put(writer, type, strlen(type));
	put(writer, "=", 1);
	put_value(writer, text, len);
}

static void read_subject(WOLFSSL_X509 *x509, struct client_identity *identity)
{
	struct writer writer = { identity->subject, 0, sizeof(identity->subject), false };
	WOLFSSL_X509_NAME *name = wolfSSL_X509_get_subject_name(x509);
	int len;

	for (int i = wolfSSL_X509_NAME_entry_count(name); i--;)
		put_entry(&writer, wolfSSL_X509_NAME_get_entry(name, i));
	if (writer.bad)
		identity->subject[0] = '\0';
	len = wolfSSL_X509_NAME_get_text_by_NID(name, NID_commonName, identity->common_name,
						sizeof(identity->common_name));
	/* what it counts is not what it copies when there is a 0 in it */
	if (len < 0 || !is_clean(identity->common_name, strlen(identity->common_name)))
		identity->common_name[0] = '\0';
}

int client_identity_read(const struct client_chain *chain, struct client_identity *identity)
{
	const struct crypt_piece piece = { chain->der, chain->own_len };
	const unsigned char *at = chain->der;
	WOLFSSL_X509 *x509;
	int ret;

	memset(identity, 0, sizeof(*identity));
	if (crypt_sha256(&piece, 1, identity->sha256))
		return -1;
	x509 = wolfSSL_d2i_X509(NULL, &at, chain->own_len);
	if (!x509)
		return -1;
	read_subject(x509, identity);
	ret = read_names(x509, identity);
	wolfSSL_X509_free(x509);
	if (ret)
		client_identity_free(identity);
	return ret;
}

void client_identity_free(struct client_identity *identity)
{
	for (size_t i = 0; i < identity->name_count; i++)
		free(identity->names[i]);
	memset(identity, 0, sizeof(*identity));
}
