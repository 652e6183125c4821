// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The client's certificate in words, see client_identity.h.
 *
 * Read here and not by the library, which leaves out what it does not know: two
 * clients would look the same.  The library has verified the certificate before.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_identity.h"
#include "../common/der.h"

/* Further tags of what is looked at */
enum {
	DER_UTF8_STRING = 0x0c,
	DER_PRINTABLE_STRING = 0x13,
	DER_IA5_STRING = 0x16,
	DER_OCTET_STRING = 0x04,
	DER_SET = 0x31,
	DER_EMAIL = 0x81, /* GeneralName */
	DER_DNS = 0x82,
	DER_URI = 0x86,
	DER_IP = 0x87,
};

/* The first of these that has this tag, with all before it left behind. */
static bool find(struct bytes *from, uint8_t tag, struct der *der)
{
	while (der_next(from, der))
		if (der->tag == tag)
			return true;
	return false;
}

/* Length of the UTF-8 character at the head, which is no control character; 0: it is not one */
static size_t character(const uint8_t *text, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = text[0] < 0x80 ? 1 : text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
	uint32_t code = n == 1 ? text[0] : text[0] & (0x7f >> n);

	if (n > len || (text[0] >= 0x80 && text[0] < 0xc0) || text[0] > 0xf7)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return code < 0x20 || (code >= 0x7f && code < 0xa0) ? 0 : n;
}

/* Nothing that ends a text early, or a line, or steers a terminal. */
static bool is_clean(struct bytes text)
{
	size_t n;

	for (size_t at = 0; at < text.len; at += n) {
		n = character(text.data + at, text.len - at);
		if (!n)
			return false;
	}
	return true;
}

/* A string whose bytes are what they look like. */
static bool is_text(const struct der *value)
{
	return (value->tag == DER_UTF8_STRING || value->tag == DER_PRINTABLE_STRING ||
		value->tag == DER_IA5_STRING) &&
	       is_clean(value->body);
}

/* --- the subject, RFC 4514 --- */

/**
 * struct writer - where the subject goes; what does not fit is noticed at the end
 * @named: there was a common name
 */
struct writer {
	char *to;
	size_t len;
	size_t room;
	bool bad;
	bool named;
};

/* A subject of more parts is none that anybody has made for a client. */
#define PARTS_MAX 64

static void put(struct writer *writer, const void *text, size_t len)
{
	if (writer->bad || len >= writer->room - writer->len) {
		writer->bad = true;
		return;
	}
	memcpy(writer->to + writer->len, text, len);
	writer->len += len;
	writer->to[writer->len] = '\0';
}

static void put_text(struct writer *writer, const char *text)
{
	put(writer, text, strlen(text));
}

static void put_oid(struct writer *writer, struct bytes oid)
{
	unsigned long long part = 0;
	bool first = true;
	char number[32];

	for (size_t i = 0; i < oid.len; i++) {
		part = part << 7 | (oid.data[i] & 0x7f);
		if (part >> 56)
			writer->bad = true;
		if (oid.data[i] & 0x80)
			continue;
		if (first) {
			unsigned int top = part < 80 ? part / 40 : 2;

			snprintf(number, sizeof(number), "%u.%llu", top, part - top * 40);
		} else {
			snprintf(number, sizeof(number), ".%llu", part);
		}
		put_text(writer, number);
		first = false;
		part = 0;
	}
}

/* RFC 4514 3, and the one that everybody writes besides; last arcs of 2.5.4, but for the others */
static const struct {
	const char *oid;
	size_t len;
	const char *name;
} types[] = {
	{ "\x55\x04\x03", 3, "CN" },
	{ "\x55\x04\x07", 3, "L" },
	{ "\x55\x04\x08", 3, "ST" },
	{ "\x55\x04\x0a", 3, "O" },
	{ "\x55\x04\x0b", 3, "OU" },
	{ "\x55\x04\x06", 3, "C" },
	{ "\x55\x04\x09", 3, "STREET" },
	{ "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", 10, "DC" },
	{ "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", 10, "UID" },
	{ "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", 9, "emailAddress" },
};

static const char *type_name(struct bytes oid)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].len == oid.len && !memcmp(types[i].oid, oid.data, oid.len))
			return types[i].name;
	return NULL;
}

/* 2.4: else a value could look like more than one */
static void put_value(struct writer *writer, struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (strchr("\"+,;<>\\", text.data[i]) ||
		    (text.data[i] == ' ' && (!i || i == text.len - 1)) ||
		    (text.data[i] == '#' && !i))
			put(writer, "\\", 1);
		put(writer, text.data + i, 1);
	}
}

static void put_hex(struct writer *writer, struct bytes bytes)
{
	char digits[3];

	put(writer, "#", 1);
	for (size_t i = 0; i < bytes.len; i++) {
		snprintf(digits, sizeof(digits), "%02x", bytes.data[i]);
		put(writer, digits, 2);
	}
}

static void put_attribute(struct writer *writer, struct bytes attribute,
			  struct client_identity *identity)
{
	struct der type, value;
	const char *name;

	if (!der_next(&attribute, &type) || type.tag != DER_OID || !der_next(&attribute, &value)) {
		writer->bad = true;
		return;
	}
	name = type_name(type.body);
	if (name)
		put_text(writer, name);
	else
		put_oid(writer, type.body);
	put(writer, "=", 1);
	if (name && is_text(&value))
		put_value(writer, value.body);
	else
		put_hex(writer, value.whole);
	/* of several the last is the most particular; one that cannot be written is none */
	if (name && !strcmp(name, "CN") && !writer->named) {
		writer->named = true;
		if (is_text(&value) && value.body.len < sizeof(identity->common_name))
			memcpy(identity->common_name, value.body.data, value.body.len);
	}
}

/* The last comes first, 2.1; a set of several has a '+' between them, 2.2. */
static void put_names(struct writer *writer, struct bytes names, struct client_identity *identity,
		      unsigned int depth)
{
	struct der set, attribute;
	bool first = true;

	if (!der_next(&names, &set))
		return;
	if (depth == PARTS_MAX) {
		writer->bad = true;
		return;
	}
	put_names(writer, names, identity, depth + 1);
	if (writer->len)
		put(writer, ",", 1);
	while (der_next(&set.body, &attribute)) {
		if (!first)
			put(writer, "+", 1);
		first = false;
		put_attribute(writer, attribute.body, identity);
	}
}

static void read_subject(struct bytes subject, struct client_identity *identity)
{
	struct writer writer = { .to = identity->subject, .room = sizeof(identity->subject) };

	put_names(&writer, subject, identity, 0);
	if (writer.bad)
		identity->subject[0] = '\0';
}

/* --- subjectAltName --- */

static int add_name(struct client_identity *identity, const char *kind, struct bytes text)
{
	char **name = &identity->names[identity->name_count];

	if (identity->name_count == CLIENT_NAMES_MAX || !text.len || !is_clean(text))
		return 0;
	if (asprintf(name, "%s:%.*s", kind, (int)text.len, text.data) < 0)
		return -1;
	identity->name_count++;
	return 0;
}

static int add_address(struct client_identity *identity, struct bytes address)
{
	char text[INET6_ADDRSTRLEN];

	if (address.len != 4 && address.len != 16)
		return 0;
	inet_ntop(address.len == 4 ? AF_INET : AF_INET6, address.data, text, sizeof(text));
	return add_name(identity, "IP", (struct bytes){ (const uint8_t *)text, strlen(text) });
}

static int add_general_name(struct client_identity *identity, const struct der *name)
{
	switch (name->tag) {
	case DER_DNS:
		return add_name(identity, "DNS", name->body);
	case DER_EMAIL:
		return add_name(identity, "email", name->body);
	case DER_URI:
		return add_name(identity, "URI", name->body);
	case DER_IP:
		return add_address(identity, name->body);
	default:
		return 0;
	}
}

static int read_names(struct bytes extensions, struct client_identity *identity)
{
	static const uint8_t subject_alt_name[] = { 0x55, 0x1d, 0x11 };
	struct der all, extension, oid, value, names, name;

	if (!der_next(&extensions, &all))
		return 0;
	while (der_next(&all.body, &extension)) {
		if (!der_next(&extension.body, &oid) || oid.body.len != sizeof(subject_alt_name) ||
		    memcmp(oid.body.data, subject_alt_name, sizeof(subject_alt_name)) ||
		    !find(&extension.body, DER_OCTET_STRING, &value) ||
		    !der_next(&value.body, &names))
			continue;
		while (der_next(&names.body, &name))
			if (add_general_name(identity, &name))
				return -1;
	}
	return 0;
}

int client_identity_read(const struct client_chain *chain, struct client_identity *identity)
{
	const struct crypt_piece piece = { chain->der, chain->own_len };
	struct bytes rest;
	struct der value;

	memset(identity, 0, sizeof(*identity));
	if (crypt_sha256(&piece, 1, identity->sha256) || !client_chain_subject(chain, &rest) ||
	    !der_next(&rest, &value) || value.tag != DER_SEQUENCE)
		return -1;
	read_subject(value.body, identity);
	if (!find(&rest, DER_EXTENSIONS, &value) || !read_names(value.body, identity))
		return 0;
	client_identity_free(identity);
	return -1;
}

void client_identity_free(struct client_identity *identity)
{
	for (size_t i = 0; i < identity->name_count; i++)
		free(identity->names[i]);
	memset(identity, 0, sizeof(*identity));
}
