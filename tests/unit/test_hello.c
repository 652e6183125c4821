// SPDX-License-Identifier: GPL-2.0-or-later
/* The ClientHello parser and what it decides: each refusal with its alert. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../userspace/tlsportd/hello.h"
#include "hello_build.h"

static const struct hello_policy both = {
	.min_version = TLS_1_2,
	.max_version = TLS_1_3,
	.suites = { 0x1302, 0x1301, 0x1303, 0xc02c, 0xc02b, 0xcca9 },
	.suite_count = 6,
	.groups = { GROUP_X25519MLKEM768, GROUP_X25519, GROUP_SECP256R1, GROUP_SECP384R1 },
	.group_count = 4,
	.auth = AUTH_ECDSA,
	.curve = GROUP_SECP256R1,
	.resumption = true,
};

static struct hello_policy rsa(void)
{
	struct hello_policy policy = both;

	policy.auth = AUTH_RSA;
	policy.curve = 0;
	policy.suites[3] = 0xc030;
	policy.suites[4] = 0xc02f;
	policy.suites[5] = 0xcca8;
	return policy;
}

static int judge_with(const struct test_hello *built, const struct hello_policy *policy,
		      struct hello_choice *choice)
{
	static uint8_t message[65536];
	struct hello hello;
	size_t len = test_hello_message(built, message);
	int alert = hello_parse(message, len, &hello);

	return alert ? alert : hello_choose(&hello, policy, choice);
}

static int judge(const struct test_hello *built, struct hello_choice *choice)
{
	return judge_with(built, &both, choice);
}

/* --- changes that make a good hello bad, or another good one --- */

static void nothing(struct test_hello *h)
{
	(void)h;
}
static void only_12(struct test_hello *h)
{
	SET(h, AT_VERSIONS, 2, 3, 3);
}
static void no_versions(struct test_hello *h)
{
	DROP(h, AT_VERSIONS);
}
static void no_versions_13_number(struct test_hello *h)
{
	h->legacy_version = 0x0304;
	DROP(h, AT_VERSIONS);
}
static void no_versions_high_number(struct test_hello *h)
{
	h->legacy_version = 0x0505;
	DROP(h, AT_VERSIONS);
}
static void no_extensions(struct test_hello *h)
{
	h->no_extensions = true;
}
static void legacy_high(struct test_hello *h)
{
	h->legacy_version = 0x0304;
}
static void legacy_low(struct test_hello *h)
{
	h->legacy_version = 0x0301;
}
static void legacy_ssl2(struct test_hello *h)
{
	h->legacy_version = 0x0200;
}
static void legacy_zero(struct test_hello *h)
{
	h->legacy_version = 0;
}
static void legacy_ssl3(struct test_hello *h)
{
	h->legacy_version = 0x0300;
}
static void tls11(struct test_hello *h)
{
	h->legacy_version = 0x0302;
	DROP(h, AT_VERSIONS);
}
static void versions_old(struct test_hello *h)
{
	SET(h, AT_VERSIONS, 4, 3, 2, 3, 1);
}
static void versions_grease(struct test_hello *h)
{
	SET(h, AT_VERSIONS, 4, 0x7a, 0x7a, 3, 4);
}
static void versions_empty(struct test_hello *h)
{
	SET(h, AT_VERSIONS, 0);
}
static void versions_odd(struct test_hello *h)
{
	SET(h, AT_VERSIONS, 3, 3, 4, 3);
}
static void versions_trailing(struct test_hello *h)
{
	SET(h, AT_VERSIONS, 2, 3, 4, 0);
}
static void fallback(struct test_hello *h)
{
	only_12(h);
	SUITES(h, 0xc0, 0x2c, 0x56, 0x00);
}
static void fallback_11(struct test_hello *h)
{
	tls11(h);
	SUITES(h, 0xc0, 0x2c, 0x56, 0x00);
}
static void fallback_not_needed(struct test_hello *h)
{
	SUITES(h, 0x13, 0x01, 0x56, 0x00);
}
static void session_id_long(struct test_hello *h)
{
	h->session_id_len = 33;
}
static void session_id_none(struct test_hello *h)
{
	h->session_id_len = 0;
}
static void suites_none(struct test_hello *h)
{
	h->suites_len = 0;
}
static void suites_odd(struct test_hello *h)
{
	h->suites_len = 5;
}
static void suites_unknown(struct test_hello *h)
{
	SUITES(h, 0, 0x2f, 0x12, 0x34);
}
static void suites_12_only(struct test_hello *h)
{
	SUITES(h, 0xc0, 0x2c);
}
static void compression_none(struct test_hello *h)
{
	h->compression_len = 0;
}
static void compression_two(struct test_hello *h)
{
	COMPRESSION(h, 1, 0);
}
static void compression_deflate(struct test_hello *h)
{
	COMPRESSION(h, 1);
}
static void compression_two_12(struct test_hello *h)
{
	only_12(h);
	COMPRESSION(h, 1, 0);
}
static void compression_deflate_12(struct test_hello *h)
{
	only_12(h);
	COMPRESSION(h, 1);
}
static void duplicate(struct test_hello *h)
{
	ADD(h, 10, 0, 2, 0, 29);
}
static void duplicate_unknown(struct test_hello *h)
{
	ADD(h, 0x1a1a, 0);
	ADD(h, 0x1a1a, 0);
}
static void unknown(struct test_hello *h)
{
	ADD(h, 0x1a1a, 1, 2, 3);
}
static void schemes_none(struct test_hello *h)
{
	DROP(h, AT_SCHEMES);
}
static void schemes_empty(struct test_hello *h)
{
	SET(h, AT_SCHEMES, 0, 0);
}
static void schemes_odd(struct test_hello *h)
{
	SET(h, AT_SCHEMES, 0, 3, 4, 3, 8);
}
static void schemes_other(struct test_hello *h)
{
	SET(h, AT_SCHEMES, 0, 2, 8, 7);
}
static void schemes_sha1(struct test_hello *h)
{
	only_12(h);
	SET(h, AT_SCHEMES, 0, 2, 2, 3);
}
static void schemes_none_12(struct test_hello *h)
{
	only_12(h);
	DROP(h, AT_SCHEMES);
}
static void schemes_wrong_curve(struct test_hello *h)
{
	SET(h, AT_SCHEMES, 0, 2, 5, 3);
}
static void schemes_wrong_curve_12(struct test_hello *h)
{
	only_12(h);
	SET(h, AT_SCHEMES, 0, 2, 5, 3);
}
static void schemes_cert(struct test_hello *h)
{
	ADD(h, 50, 0, 2, 8, 4);
}
static void schemes_cert_no_body(struct test_hello *h)
{
	test_hello_add(h, 50, NULL, 0);
}
static void schemes_cert_empty(struct test_hello *h)
{
	ADD(h, 50, 0, 0);
}
static void schemes_cert_odd(struct test_hello *h)
{
	ADD(h, 50, 0, 1, 4);
}
static void schemes_cert_trailing(struct test_hello *h)
{
	ADD(h, 50, 0, 2, 8, 4, 0);
}
static void schemes_cert_odd_12(struct test_hello *h)
{
	only_12(h);
	schemes_cert_odd(h);
}
static void groups_none(struct test_hello *h)
{
	DROP(h, AT_GROUPS);
}
static void groups_none_12(struct test_hello *h)
{
	only_12(h);
	DROP(h, AT_GROUPS);
}
static void groups_empty(struct test_hello *h)
{
	SET(h, AT_GROUPS, 0, 0);
}
static void groups_other(struct test_hello *h)
{
	SET(h, AT_GROUPS, 0, 2, 1, 0);
	SET(h, AT_KEY_SHARE, 0, 0);
}
static void groups_other_12(struct test_hello *h)
{
	only_12(h);
	SET(h, AT_GROUPS, 0, 4, 1, 0, 0, 23 + 2);
}
static void groups_without_curve_12(struct test_hello *h)
{
	only_12(h);
	SET(h, AT_GROUPS, 0, 2, 0, 29);
}
static void share_none(struct test_hello *h)
{
	DROP(h, AT_KEY_SHARE);
}
static void share_empty(struct test_hello *h)
{
	SET(h, AT_KEY_SHARE, 0, 0);
}
static void share_short(struct test_hello *h)
{
	SET(h, AT_KEY_SHARE, 0, 5, 0, 29, 0, 1, 7);
}
static void share_zero_length(struct test_hello *h)
{
	SET(h, AT_KEY_SHARE, 0, 4, 0, 29, 0, 0);
}
static void share_trailing(struct test_hello *h)
{
	h->extensions[AT_KEY_SHARE].len++;
}
static void share_not_offered(struct test_hello *h)
{
	SET(h, AT_GROUPS, 0, 2, 0, 23);
}
static void share_twice(struct test_hello *h)
{
	struct test_extension *e = &h->extensions[AT_KEY_SHARE];

	memcpy(e->body + 38, e->body + 2, 36);
	e->len += 36;
	put16(e->body, 72);
}
static void share_p384_as_p256(struct test_hello *h)
{
	struct test_extension *e = &h->extensions[AT_KEY_SHARE];

	SET(h, AT_KEY_SHARE, 0, 101, 0, 23, 0, 97, 4);
	e->len = 2 + 101;
}
static void share_compressed(struct test_hello *h)
{
	struct test_extension *e = &h->extensions[AT_KEY_SHARE];

	SET(h, AT_KEY_SHARE, 0, 69, 0, 23, 0, 65, 2);
	e->len = 2 + 69;
}
/* The first of the client's, with a share, or what looks like one, and one of X25519. */
static void add_hybrid(struct test_hello *h, uint16_t len)
{
	struct test_extension *e = &h->extensions[AT_KEY_SHARE];
	uint8_t *at = e->body + 2;

	SET(h, AT_GROUPS, 0, 8, 0x11, 0xec, 0, 29, 0, 23, 0, 24);
	memmove(at + 4 + len, at, 36);
	put16(at, GROUP_X25519MLKEM768);
	put16(at + 2, len);
	memset(at + 4, 1, len);
	e->len = 2 + 4 + len + 36;
	put16(e->body, e->len - 2);
}
static void share_hybrid(struct test_hello *h)
{
	add_hybrid(h, 1216);
}
static void share_hybrid_short(struct test_hello *h)
{
	add_hybrid(h, 1184);
}
static void share_unknown_group(struct test_hello *h)
{
	SET(h, AT_GROUPS, 0, 6, 0x1a, 0x1a, 0, 29, 0, 23);
	SET(h, AT_KEY_SHARE, 0, 5, 0x1a, 0x1a, 0, 1, 0);
}
static void name_empty_list(struct test_hello *h)
{
	SET(h, AT_SERVER_NAME, 0, 0);
}
static void name_empty(struct test_hello *h)
{
	SET(h, AT_SERVER_NAME, 0, 3, 0, 0, 0);
}
static void name_cut(struct test_hello *h)
{
	SET(h, AT_SERVER_NAME, 0, 7, 0, 0, 5, 'a', 'b', 'c', 'd');
}
static void name_two(struct test_hello *h)
{
	SET(h, AT_SERVER_NAME, 0, 8, 0, 0, 1, 'a', 0, 0, 1, 'b');
}
static void name_other_type(struct test_hello *h)
{
	SET(h, AT_SERVER_NAME, 0, 8, 9, 0, 1, 'a', 0, 0, 1, 'b');
}
static void name_other_type_two(struct test_hello *h)
{
	SET(h, AT_SERVER_NAME, 0, 12, 9, 0, 1, 'a', 0, 0, 1, 'b', 9, 0, 1, 'c');
}
static void name_nul(struct test_hello *h)
{
	SET(h, AT_SERVER_NAME, 0, 6, 0, 0, 3, 'a', 0, 'b');
}
static void name_long(struct test_hello *h)
{
	struct test_extension *e = &h->extensions[AT_SERVER_NAME];

	e->len = 2 + 3 + 300;
	memset(e->body, 'a', e->len);
	put16(e->body, 303);
	e->body[2] = 0;
	put16(e->body + 3, 300);
}
static void name_none(struct test_hello *h)
{
	DROP(h, AT_SERVER_NAME);
}
static void alpn_good(struct test_hello *h)
{
	ADD(h, 16, 0, 3, 2, 'h', '2');
}
static void alpn_empty_name(struct test_hello *h)
{
	ADD(h, 16, 0, 4, 0, 2, 'h', '2');
}
static void alpn_cut(struct test_hello *h)
{
	ADD(h, 16, 0, 3, 3, 'h', '2');
}
static void status_good(struct test_hello *h)
{
	ADD(h, 5, 1, 0, 0, 0, 0);
}
static void status_full(struct test_hello *h)
{
	/* byKey of RFC 6960, twice, and a list of extensions without one */
	ADD(h, 5, 1, 0, 12, 0, 4, 0xa2, 2, 4, 0, 0, 4, 0xa2, 2, 4, 0, 0, 2, 0x30, 0);
}
static void status_responder_cut(struct test_hello *h)
{
	ADD(h, 5, 1, 0, 3, 0, 2, 5, 0, 0);
}
static void status_responder_half(struct test_hello *h)
{
	ADD(h, 5, 1, 0, 5, 0, 2, 5, 0, 0, 0, 0);
}
static void status_responder_empty(struct test_hello *h)
{
	ADD(h, 5, 1, 0, 2, 0, 0, 0, 0);
}
static void status_responder_no_der(struct test_hello *h)
{
	ADD(h, 5, 1, 0, 4, 0, 2, 0xa1, 9, 0, 0);
}
static void status_extensions_no_der(struct test_hello *h)
{
	ADD(h, 5, 1, 0, 0, 0, 3, 'x', 'y', 'z');
}
static void status_extensions_no_list(struct test_hello *h)
{
	ADD(h, 5, 1, 0, 0, 0, 2, 5, 0);
}
static void status_extensions_trailing(struct test_hello *h)
{
	ADD(h, 5, 1, 0, 0, 0, 3, 0x30, 0, 0);
}
static void status_other_type(struct test_hello *h)
{
	ADD(h, 5, 2, 7);
}
static void status_empty(struct test_hello *h)
{
	test_hello_add(h, 5, NULL, 0);
}
static void status_cut(struct test_hello *h)
{
	ADD(h, 5, 1, 0, 0, 0, 1);
}
static void status_trailing(struct test_hello *h)
{
	ADD(h, 5, 1, 0, 0, 0, 0, 0);
}
static void ems_body(struct test_hello *h)
{
	SET(h, AT_EMS, 0);
}
static void etm_body(struct test_hello *h)
{
	ADD(h, 22, 0);
}
static void ems_body_12(struct test_hello *h)
{
	only_12(h);
	ems_body(h);
}
static void etm_body_12(struct test_hello *h)
{
	only_12(h);
	etm_body(h);
}
static void early_body(struct test_hello *h)
{
	ADD(h, 42, 0);
}
static void formats_compressed(struct test_hello *h)
{
	only_12(h);
	ADD(h, 11, 1, 1);
}
static void formats_compressed_13(struct test_hello *h)
{
	ADD(h, 11, 1, 1);
}
static void formats_empty(struct test_hello *h)
{
	ADD(h, 11, 0);
}
static void formats_empty_12(struct test_hello *h)
{
	only_12(h);
	formats_empty(h);
}
static void formats_good_12(struct test_hello *h)
{
	only_12(h);
	ADD(h, 11, 2, 1, 0);
}
static void renegotiation_good(struct test_hello *h)
{
	only_12(h);
	ADD(h, 0xff01, 0);
}
static void renegotiation_full(struct test_hello *h)
{
	only_12(h);
	ADD(h, 0xff01, 2, 1, 1);
}
static void renegotiation_cut(struct test_hello *h)
{
	only_12(h);
	ADD(h, 0xff01, 2, 1);
}

static void renegotiation_cut_13(struct test_hello *h)
{
	ADD(h, 0xff01, 2, 1);
}

static struct test_extension *add_psk(struct test_hello *h)
{
	uint8_t body[2 + 7 + 2 + 33] = { 0, 7, 0, 1, 'x', 0, 0, 0, 0, 0, 33, 32 };

	return test_hello_add(h, 41, body, sizeof(body));
}
static void psk_good(struct test_hello *h)
{
	add_psk(h);
}
static void psk_not_last(struct test_hello *h)
{
	add_psk(h);
	ADD(h, 0x1a1a, 0);
}
static void psk_no_modes(struct test_hello *h)
{
	DROP(h, AT_PSK_MODES);
	add_psk(h);
}
static void psk_ke_only(struct test_hello *h)
{
	SET(h, AT_PSK_MODES, 1, 0);
	add_psk(h);
}
static void psk_modes_empty(struct test_hello *h)
{
	SET(h, AT_PSK_MODES, 0);
}
static void psk_short_binder(struct test_hello *h)
{
	struct test_extension *e = add_psk(h);

	e->body[9 + 1] = 32;
	e->body[9 + 2] = 31;
	e->len--;
}
static void psk_two_binders(struct test_hello *h)
{
	struct test_extension *e = add_psk(h);

	e->body[9 + 1] = 66;
	e->body[9 + 2 + 33] = 32;
	memset(e->body + 9 + 2 + 34, 0, 32);
	e->len += 33;
}
static void psk_empty_identity(struct test_hello *h)
{
	ADD(h, 41, 0, 7, 0, 0, 0, 0, 0, 0, 9, 0, 0);
}

static const struct {
	const char *name;
	void (*change)(struct test_hello *hello);
	int alert;
	uint16_t version; /* chosen, when there is no alert */
} cases[] = {
#define GOOD(change, version) \
	{ \
#change, change, 0, version \
	}
#define BAD(change, alert) \
	{ \
#change, change, ALERT_##alert, 0 \
	}
	GOOD(nothing, TLS_1_3),
	GOOD(only_12, TLS_1_2),
	GOOD(no_versions, TLS_1_2),
	GOOD(no_versions_13_number, TLS_1_2),
	GOOD(no_versions_high_number, TLS_1_2),
	BAD(no_extensions, HANDSHAKE_FAILURE),
	GOOD(legacy_high, TLS_1_3),
	GOOD(legacy_low, TLS_1_3),
	BAD(legacy_ssl3, PROTOCOL_VERSION),
	BAD(legacy_ssl2, PROTOCOL_VERSION),
	BAD(legacy_zero, PROTOCOL_VERSION),
	BAD(tls11, PROTOCOL_VERSION),
	BAD(versions_old, PROTOCOL_VERSION),
	GOOD(versions_grease, TLS_1_3),
	BAD(versions_empty, DECODE_ERROR),
	BAD(versions_odd, DECODE_ERROR),
	BAD(versions_trailing, DECODE_ERROR),
	BAD(fallback, INAPPROPRIATE_FALLBACK),
	BAD(fallback_11, INAPPROPRIATE_FALLBACK),
	GOOD(fallback_not_needed, TLS_1_3),
	BAD(session_id_long, DECODE_ERROR),
	GOOD(session_id_none, TLS_1_3),
	BAD(suites_none, DECODE_ERROR),
	BAD(suites_odd, DECODE_ERROR),
	BAD(suites_unknown, HANDSHAKE_FAILURE),
	BAD(suites_12_only, HANDSHAKE_FAILURE),
	BAD(compression_none, DECODE_ERROR),
	BAD(compression_two, ILLEGAL_PARAMETER),
	BAD(compression_deflate, ILLEGAL_PARAMETER),
	GOOD(compression_two_12, TLS_1_2),
	BAD(compression_deflate_12, ILLEGAL_PARAMETER),
	BAD(duplicate, ILLEGAL_PARAMETER),
	BAD(duplicate_unknown, ILLEGAL_PARAMETER),
	GOOD(unknown, TLS_1_3),
	BAD(schemes_none, MISSING_EXTENSION),
	BAD(schemes_empty, DECODE_ERROR),
	BAD(schemes_odd, DECODE_ERROR),
	BAD(schemes_other, HANDSHAKE_FAILURE),
	BAD(schemes_sha1, HANDSHAKE_FAILURE),
	BAD(schemes_none_12, HANDSHAKE_FAILURE),
	BAD(schemes_wrong_curve, HANDSHAKE_FAILURE),
	GOOD(schemes_wrong_curve_12, TLS_1_2),
	GOOD(schemes_cert, TLS_1_3),
	BAD(schemes_cert_no_body, DECODE_ERROR),
	BAD(schemes_cert_empty, DECODE_ERROR),
	BAD(schemes_cert_odd, DECODE_ERROR),
	BAD(schemes_cert_trailing, DECODE_ERROR),
	BAD(schemes_cert_odd_12, DECODE_ERROR),
	BAD(groups_none, MISSING_EXTENSION),
	GOOD(groups_none_12, TLS_1_2),
	BAD(groups_empty, DECODE_ERROR),
	BAD(groups_other, HANDSHAKE_FAILURE),
	BAD(groups_other_12, HANDSHAKE_FAILURE),
	BAD(groups_without_curve_12, HANDSHAKE_FAILURE),
	BAD(share_none, MISSING_EXTENSION),
	GOOD(share_empty, TLS_1_3),
	BAD(share_short, ILLEGAL_PARAMETER),
	BAD(share_zero_length, DECODE_ERROR),
	BAD(share_trailing, DECODE_ERROR),
	BAD(share_not_offered, ILLEGAL_PARAMETER),
	BAD(share_twice, ILLEGAL_PARAMETER),
	BAD(share_p384_as_p256, ILLEGAL_PARAMETER),
	BAD(share_compressed, ILLEGAL_PARAMETER),
	GOOD(share_hybrid, TLS_1_3),
	BAD(share_hybrid_short, ILLEGAL_PARAMETER),
	GOOD(share_unknown_group, TLS_1_3),
	BAD(name_empty_list, DECODE_ERROR),
	BAD(name_empty, DECODE_ERROR),
	BAD(name_cut, DECODE_ERROR),
	BAD(name_two, ILLEGAL_PARAMETER),
	GOOD(name_other_type, TLS_1_3),
	BAD(name_other_type_two, ILLEGAL_PARAMETER),
	BAD(name_nul, UNRECOGNIZED_NAME),
	BAD(name_long, UNRECOGNIZED_NAME),
	GOOD(name_none, TLS_1_3),
	GOOD(alpn_good, TLS_1_3),
	BAD(alpn_empty_name, DECODE_ERROR),
	BAD(alpn_cut, DECODE_ERROR),
	GOOD(status_good, TLS_1_3),
	GOOD(status_full, TLS_1_3),
	GOOD(status_other_type, TLS_1_3),
	BAD(status_empty, DECODE_ERROR),
	BAD(status_cut, DECODE_ERROR),
	BAD(status_responder_cut, DECODE_ERROR),
	BAD(status_responder_half, DECODE_ERROR),
	BAD(status_responder_empty, DECODE_ERROR),
	BAD(status_responder_no_der, DECODE_ERROR),
	BAD(status_extensions_no_der, DECODE_ERROR),
	BAD(status_extensions_no_list, DECODE_ERROR),
	BAD(status_extensions_trailing, DECODE_ERROR),
	BAD(status_trailing, DECODE_ERROR),
	GOOD(ems_body, TLS_1_3),
	BAD(ems_body_12, DECODE_ERROR),
	GOOD(etm_body, TLS_1_3),
	BAD(etm_body_12, DECODE_ERROR),
	BAD(early_body, DECODE_ERROR),
	BAD(formats_compressed, ILLEGAL_PARAMETER),
	GOOD(formats_compressed_13, TLS_1_3),
	GOOD(formats_good_12, TLS_1_2),
	GOOD(formats_empty, TLS_1_3),
	BAD(formats_empty_12, DECODE_ERROR),
	GOOD(renegotiation_good, TLS_1_2),
	BAD(renegotiation_full, HANDSHAKE_FAILURE),
	BAD(renegotiation_cut, DECODE_ERROR),
	GOOD(renegotiation_cut_13, TLS_1_3),
	GOOD(psk_good, TLS_1_3),
	BAD(psk_not_last, ILLEGAL_PARAMETER),
	BAD(psk_no_modes, MISSING_EXTENSION),
	GOOD(psk_ke_only, TLS_1_3),
	BAD(psk_modes_empty, DECODE_ERROR),
	BAD(psk_short_binder, DECODE_ERROR),
	BAD(psk_two_binders, ILLEGAL_PARAMETER),
	BAD(psk_empty_identity, DECODE_ERROR),
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static void test_each_case_has_its_alert(void **state)
{
	struct hello_choice choice;
	struct test_hello hello;

	(void)state;
	for (size_t i = 0; i < CASES; i++) {
		int alert;

		test_hello_init(&hello);
		cases[i].change(&hello);
		alert = judge(&hello, &choice);
		if (alert != cases[i].alert || (!alert && choice.version != cases[i].version))
			fail_msg("%s: alert %d, expected %d; version %04x", cases[i].name, alert,
				 cases[i].alert, choice.version);
	}
}

static void test_server_order_decides(void **state)
{
	struct hello_policy policy = rsa();
	struct hello_choice choice;
	struct test_hello hello;

	(void)state;
	test_hello_init(&hello);
	SUITES(&hello, 0x13, 0x03, 0x13, 0x01);
	assert_int_equal(judge(&hello, &choice), 0);
	assert_int_equal(choice.suite->id, 0x1301);
	assert_int_equal(choice.group, GROUP_X25519);
	assert_int_equal(choice.scheme, 0x0403);
	only_12(&hello);
	SUITES(&hello, 0xcc, 0xa8, 0xc0, 0x2c, 0xc0, 0x2f);
	assert_int_equal(judge_with(&hello, &policy, &choice), 0);
	assert_int_equal(choice.suite->id, 0xc02f);
	assert_int_equal(choice.scheme, 0x0804);
	/* prefer-server-ciphers = off */
	policy.client_order = true;
	assert_int_equal(judge_with(&hello, &policy, &choice), 0);
	assert_int_equal(choice.suite->id, 0xcca8);
}

static void test_a_share_saves_a_retry(void **state)
{
	struct hello_choice choice;
	struct test_hello hello;

	(void)state;
	test_hello_init(&hello);
	/* X25519 is preferred, but the share is of P-256 */
	SET(&hello, AT_KEY_SHARE, 0, 69, 0, 23, 0, 65, 4);
	hello.extensions[AT_KEY_SHARE].len = 71;
	assert_int_equal(judge(&hello, &choice), 0);
	assert_int_equal(choice.group, GROUP_SECP256R1);
	assert_false(choice.retry);
	share_empty(&hello);
	assert_int_equal(judge(&hello, &choice), 0);
	assert_int_equal(choice.group, GROUP_X25519);
	assert_true(choice.retry);
}

/* Worth another round trip where it is first of those that both have; nothing in TLS 1.2. */
static void test_hybrid_group(void **state)
{
	struct hello_policy other = both;
	struct hello_choice choice;
	struct test_hello hello;

	(void)state;
	test_hello_init(&hello);
	share_hybrid(&hello);
	assert_int_equal(judge(&hello, &choice), 0);
	assert_int_equal(choice.group, GROUP_X25519MLKEM768);
	assert_int_equal(choice.share.len, 1216);
	test_hello_init(&hello);
	SET(&hello, AT_GROUPS, 0, 8, 0x11, 0xec, 0, 29, 0, 23, 0, 24);
	assert_int_equal(judge(&hello, &choice), 0);
	assert_int_equal(choice.group, GROUP_X25519MLKEM768);
	assert_true(choice.retry);
	other.groups[0] = GROUP_X25519;
	other.groups[1] = GROUP_X25519MLKEM768;
	assert_int_equal(judge_with(&hello, &other, &choice), 0);
	assert_int_equal(choice.group, GROUP_X25519);
	assert_false(choice.retry);
	share_empty(&hello);
	assert_int_equal(judge(&hello, &choice), 0);
	assert_int_equal(choice.group, GROUP_X25519MLKEM768);
	assert_true(choice.retry);
	only_12(&hello);
	assert_int_equal(judge(&hello, &choice), 0);
	assert_int_equal(choice.group, GROUP_X25519);
	DROP(&hello, AT_GROUPS);
	assert_int_equal(judge(&hello, &choice), 0);
	assert_int_equal(choice.group, GROUP_SECP256R1);
}

static void test_port_without_one_version(void **state)
{
	struct hello_policy policy = both;
	struct hello_choice choice;
	struct test_hello hello;

	(void)state;
	policy.max_version = TLS_1_2;
	test_hello_init(&hello);
	assert_int_equal(judge_with(&hello, &policy, &choice), 0);
	assert_int_equal(choice.version, TLS_1_2);
	/* RFC 7507: no fallback, TLS 1.2 is all that the port has */
	SUITES(&hello, 0xc0, 0x2c, 0x56, 0x00);
	assert_int_equal(judge_with(&hello, &policy, &choice), 0);
	policy.min_version = policy.max_version = TLS_1_3;
	only_12(&hello);
	assert_int_equal(judge_with(&hello, &policy, &choice), ALERT_INAPPROPRIATE_FALLBACK);
	SUITES(&hello, 0xc0, 0x2c);
	assert_int_equal(judge_with(&hello, &policy, &choice), ALERT_PROTOCOL_VERSION);
}

/* A port without TLS 1.3 knows none of its extensions. */
static void test_malformed_tls13_where_it_is_not_spoken(void **state)
{
	static void (*const changes[])(struct test_hello * hello) = {
		share_zero_length, share_trailing,   early_body,      psk_not_last,
		psk_modes_empty,   psk_short_binder, psk_two_binders, psk_empty_identity,
	};
	struct hello_policy policy = both;
	struct hello_choice choice;
	struct test_hello hello;

	(void)state;
	policy.max_version = TLS_1_2;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		test_hello_init(&hello);
		changes[i](&hello);
		assert_int_equal(judge_with(&hello, &policy, &choice), 0);
		assert_int_equal(choice.version, TLS_1_2);
		/* what a port speaks it reads, whichever version the client wants */
		only_12(&hello);
		assert_int_not_equal(judge(&hello, &choice), 0);
	}
	/* the same of all else */
	test_hello_init(&hello);
	duplicate_unknown(&hello);
	assert_int_equal(judge_with(&hello, &policy, &choice), ALERT_ILLEGAL_PARAMETER);
}

static void test_tickets_need_forward_secrecy(void **state)
{
	struct hello_policy policy = both;
	struct hello_choice choice;
	struct test_hello hello;

	(void)state;
	test_hello_init(&hello);
	psk_good(&hello);
	judge(&hello, &choice);
	assert_true(choice.psk);
	policy.resumption = false;
	judge_with(&hello, &policy, &choice);
	assert_false(choice.psk);
	test_hello_init(&hello);
	psk_ke_only(&hello);
	judge(&hello, &choice);
	assert_false(choice.psk);
}

/* The refusal waits: whether the ticket is known is not seen here. */
static void test_refusal_waits_for_the_session(void **state)
{
	struct hello_policy policy = both;
	struct hello_choice choice;
	struct test_hello hello;

	(void)state;
	test_hello_init(&hello);
	schemes_none_12(&hello);
	ADD(&hello, 35, 1, 2, 3);
	SET(&hello, AT_GROUPS, 0, 2, 1, 0);
	assert_int_equal(judge(&hello, &choice), 0);
	assert_int_equal(choice.refusal, ALERT_HANDSHAKE_FAILURE);
	/* something that the library can be shown */
	assert_int_equal(choice.scheme, 0x0403);
	assert_int_equal(choice.group, GROUP_X25519);
	policy.groups[0] = GROUP_X25519MLKEM768;
	policy.group_count = 1;
	assert_int_equal(judge_with(&hello, &policy, &choice), ALERT_HANDSHAKE_FAILURE);
	policy = both;
	policy.resumption = false;
	assert_int_equal(judge_with(&hello, &policy, &choice), ALERT_HANDSHAKE_FAILURE);
	hello.extensions[hello.count - 1].len = 0;
	assert_int_equal(judge(&hello, &choice), ALERT_HANDSHAKE_FAILURE);
	/* no session is of a suite that is not offered */
	SUITES(&hello, 0, 0x2f);
	hello.extensions[hello.count - 1].len = 3;
	assert_int_equal(judge(&hello, &choice), ALERT_HANDSHAKE_FAILURE);
}

/* Every message that ends too early, with lengths that say so or do not. */
static void test_truncation_is_a_decode_error(void **state)
{
	uint8_t message[4096];
	struct test_hello built;
	struct hello hello;
	size_t len;

	(void)state;
	test_hello_init(&built);
	psk_good(&built);
	len = test_hello_message(&built, message);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1); /* for ASan: not a byte behind */
		int alert;

		memcpy(copy, message, cut);
		alert = hello_parse(copy, cut, &hello);
		free(copy);
		/* it may end before the extensions */
		if (cut == 4 + 34 + 1 + 32 + 2 + 12 + 2)
			assert_int_equal(alert, 0);
		else
			assert_int_equal(alert, ALERT_DECODE_ERROR);
	}
}

static bool all_known(const void *arg, struct bytes identity)
{
	(void)arg;
	(void)identity;
	return true;
}

static void test_mutations_do_no_harm(void **state)
{
	uint8_t message[4096], canonical[8192];
	struct hello_choice choice;
	struct test_hello built;
	struct hello hello;
	size_t len, tail;

	(void)state;
	srand(1);
	test_hello_init(&built);
	alpn_good(&built);
	psk_good(&built);
	len = test_hello_message(&built, message);
	for (int i = 0; i < 200000; i++) {
		uint8_t *copy = malloc(len);

		memcpy(copy, message, len);
		for (int n = rand() % 4; n >= 0; n--)
			copy[4 + rand() % (len - 4)] = rand() % 3 ? rand() : rand() % 4;
		if (!hello_parse(copy, len, &hello) && !hello_choose(&hello, &both, &choice)) {
			assert_true(choice.suite);
			hello_choose_psks(&hello, &choice, all_known, NULL);
			assert_true(hello_canonical(&hello, &both, &choice, canonical,
						    sizeof(canonical), &tail) > 0);
		}
		free(copy);
	}
}

/* X25519: the top bit does not count, and 19 values have a second form. */
static void test_shares_are_reduced(void **state)
{
	static const struct {
		uint8_t first, second, last;
		uint8_t wanted[3];
	} shares[] = {
		{ 0x09, 0x00, 0x00, { 0x09, 0x00, 0x00 } },
		{ 0x09, 0x00, 0x80, { 0x09, 0x00, 0x00 } },
		{ 0xec, 0xff, 0x7f, { 0xec, 0xff, 0x7f } },
		{ 0xec, 0xff, 0xff, { 0xec, 0xff, 0x7f } },
		{ 0xed, 0xff, 0x7f, { 0x00, 0x00, 0x00 } },
		{ 0xef, 0xff, 0x7f, { 0x02, 0x00, 0x00 } },
		{ 0xff, 0xff, 0x7f, { 0x12, 0x00, 0x00 } },
		{ 0xff, 0xff, 0xff, { 0x12, 0x00, 0x00 } },
		{ 0xff, 0xfe, 0x7f, { 0xff, 0xfe, 0x7f } },
		{ 0xff, 0xff, 0x7e, { 0xff, 0xff, 0x7e } },
	};
	uint8_t message[4096], canonical[4096], wanted[32];
	struct hello_choice choice;
	struct hello hello, shown;
	struct test_hello built;
	size_t len, tail;

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(shares) / sizeof(shares[0]); i++) {
		struct test_extension *e = &built.extensions[AT_KEY_SHARE];
		const size_t at = i % 2 ? 6 + 1184 : 6, n = i / 2;

		test_hello_init(&built);
		if (i % 2)
			share_hybrid(&built);
		memset(e->body + at, shares[n].second, 32);
		e->body[at] = shares[n].first;
		e->body[at + 31] = shares[n].last;
		memset(wanted, shares[n].wanted[1], 32);
		wanted[0] = shares[n].wanted[0];
		wanted[31] = shares[n].wanted[2];
		len = test_hello_message(&built, message);
		assert_int_equal(hello_parse(message, len, &hello), 0);
		assert_int_equal(hello_choose(&hello, &both, &choice), 0);
		len = hello_canonical(&hello, &both, &choice, canonical, sizeof(canonical), &tail);
		assert_int_equal(hello_parse(canonical, len, &shown), 0);
		assert_int_equal(shown.key_shares.len, 4 + choice.share.len);
		/* the other half stays as it is */
		assert_memory_equal(shown.key_shares.data + 4, choice.share.data,
				    choice.share.len - 32);
		assert_memory_equal(shown.key_shares.data + choice.share.len - 28, wanted, 32);
	}
}

/* What the library gets is read by the same parser and leads to the same choice. */
static void test_canonical_hello_says_the_same(void **state)
{
	uint8_t message[4096], canonical[8192];
	struct hello_choice choice, again;
	struct hello hello, other;
	struct test_hello built;
	size_t len, tail;

	(void)state;
	for (size_t i = 0; i < CASES; i++) {
		if (cases[i].alert)
			continue;
		test_hello_init(&built);
		cases[i].change(&built);
		len = test_hello_message(&built, message);
		assert_int_equal(hello_parse(message, len, &hello), 0);
		assert_int_equal(hello_choose(&hello, &both, &choice), 0);
		choice.staple = hello.status_request;
		if (choice.psk)
			hello_choose_psks(&hello, &choice, all_known, NULL);
		len = hello_canonical(&hello, &both, &choice, canonical, sizeof(canonical), &tail);
		assert_true(len > 0);
		assert_int_equal(hello_parse(canonical, len, &other), 0);
		assert_int_equal(other.status_request, hello.status_request);
		if (choice.version == TLS_1_2)
			assert_int_equal(!other.point_formats.data, !hello.point_formats.data);
		/* the certificate's curve is not among its groups: not ours to say again */
		if (choice.version == TLS_1_3) {
			assert_int_equal(hello_choose(&other, &both, &again), 0);
			assert_int_equal(again.version, choice.version);
			assert_ptr_equal(again.suite, choice.suite);
			assert_int_equal(again.group, choice.group);
			assert_int_equal(again.scheme, choice.scheme);
			assert_int_equal(again.retry, choice.retry);
			assert_int_equal(again.psk, choice.psk);
		}
		for (size_t size = 0; size < len; size++)
			assert_int_equal(
				hello_canonical(&hello, &both, &choice, canonical, size, &tail), 0);
	}
}

/* --- the second ClientHello --- */

static void second_share(struct test_hello *h)
{
	test_hello_init(h);
}

static int retry_of(void (*change1)(struct test_hello *hello),
		    void (*change2)(struct test_hello *hello))
{
	static uint8_t message1[4096], message2[4096];
	struct hello_choice choice1, choice2;
	struct hello hello1, hello2;
	struct test_hello built;
	int alert;

	test_hello_init(&built);
	share_empty(&built);
	change1(&built);
	test_hello_add(&built, 42, "", 0);
	assert_int_equal(hello_parse(message1, test_hello_message(&built, message1), &hello1), 0);
	assert_int_equal(hello_choose(&hello1, &both, &choice1), 0);
	assert_true(choice1.retry);
	second_share(&built);
	change2(&built);
	alert = hello_parse(message2, test_hello_message(&built, message2), &hello2);
	if (!alert)
		alert = hello_choose(&hello2, &both, &choice2);
	return alert ? alert : hello_retry_check(&hello1, &choice1, &hello2, &choice2);
}

static int retry(void (*change)(struct test_hello *hello))
{
	return retry_of(nothing, change);
}

static void padding(struct test_hello *h)
{
	ADD(h, 21, 0, 0, 0);
}
static void cookie(struct test_hello *h)
{
	ADD(h, 44, 0, 1, 1);
}
static void early(struct test_hello *h)
{
	test_hello_add(h, 42, "", 0);
}
static void other_suites(struct test_hello *h)
{
	SUITES(h, 0x13, 0x02, 0x13, 0x01);
}
static void other_session_id(struct test_hello *h)
{
	h->session_id[3] = 1;
}
static void other_name(struct test_hello *h)
{
	SET(h, AT_SERVER_NAME, 0, 4, 0, 0, 1, 'a');
}
static void other_share(struct test_hello *h)
{
	SET(h, AT_KEY_SHARE, 0, 69, 0, 23, 0, 65, 4);
	h->extensions[AT_KEY_SHARE].len = 71;
}
static void two_shares(struct test_hello *h)
{
	struct test_extension *e = &h->extensions[AT_KEY_SHARE];

	memmove(e->body + 2 + 69, e->body + 2, 36);
	memset(e->body, 0, 71);
	put16(e->body, 36 + 69);
	e->body[3] = 23;
	e->body[5] = 65;
	e->body[6] = 4;
	e->len = 2 + 36 + 69;
}

static void test_second_hello(void **state)
{
	(void)state;
	assert_int_equal(retry(nothing), 0);
	assert_int_equal(retry(padding), 0);
	/* ours asks for none; what the first one has is nothing to us, but it stays */
	assert_int_equal(retry(cookie), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry_of(cookie, cookie), 0);
	assert_int_equal(retry_of(cookie, nothing), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(psk_good), 0); /* that is hello_retry_psks()'s */
	assert_int_equal(retry(early), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(share_empty), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(other_share), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(two_shares), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(other_suites), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(other_session_id), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(other_name), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(name_none), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(unknown), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(legacy_high), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry(only_12), ALERT_ILLEGAL_PARAMETER);
}

/* Identities of two bytes, letter and number; the binders are as long as said. */
static void psks(struct test_hello *h, const char *identities, const uint8_t *lengths)
{
	uint8_t body[1024], *at = body + 2;
	const size_t n = strlen(identities);

	for (size_t i = 0; i < n; i++, at += 8) {
		put16(at, 2);
		at[2] = identities[i];
		at[3] = '0';
		memset(at + 4, i, 4);
	}
	put16(body, at - body - 2);
	at += 2;
	for (size_t i = 0; i < n; i++) {
		*at++ = lengths[i];
		memset(at, i, lengths[i]);
		at += lengths[i];
	}
	put16(body + 2 + 8 * n, at - body - 4 - 8 * n);
	test_hello_add(h, 41, body, at - body);
}

static bool known_letter(const void *letters, struct bytes identity)
{
	return strchr(letters, identity.data[0]);
}

static void shows(const char *offered, const uint8_t *lengths, const char *known,
		  const char *wanted)
{
	uint8_t message[4096], canonical[8192];
	struct hello_choice choice;
	struct hello hello, shown;
	struct test_hello built;
	size_t len, tail;

	test_hello_init(&built);
	psks(&built, offered, lengths);
	len = test_hello_message(&built, message);
	assert_int_equal(hello_parse(message, len, &hello), 0);
	assert_int_equal(hello_choose(&hello, &both, &choice), 0);
	hello_choose_psks(&hello, &choice, known_letter, known);
	assert_int_equal(choice.psk_count, strlen(wanted));
	len = hello_canonical(&hello, &both, &choice, canonical, sizeof(canonical), &tail);
	assert_int_equal(hello_parse(canonical, len, &shown), 0);
	assert_int_equal(shown.binders_len, tail);
	assert_int_equal(shown.psk.data != NULL, wanted[0] != 0);
	for (size_t i = 0; wanted[i]; i++) {
		assert_int_equal(offered[choice.psks[i]], wanted[i]);
		assert_int_equal(shown.psk.data[2 + 8 * i + 2], wanted[i]);
		assert_int_equal(shown.psk.data[2 + 8 * i + 4], choice.psks[i]);
	}
	/* the first binder is that of the first one */
	if (wanted[0]) {
		const uint8_t *binder = shown.psk.data + shown.psk.len - tail + 2;

		assert_int_equal(binder[0], lengths[choice.psks[0]]);
		assert_int_equal(binder[1], choice.psks[0]);
	}
}

static void test_psks_that_the_library_sees(void **state)
{
	static const uint8_t usual[] = { 48, 32, 48, 32, 48, 32 };
	static const uint8_t longer[] = { 65, 255, 64, 33, 48, 32 };

	(void)state;
	shows("a", usual, "a", "a");
	shows("a", usual, "", "");
	shows("xa", usual, "a", "a");
	shows("axbyc", usual, "abc", "abc");
	shows("aaba", usual, "ab", "ab");
	shows("abcdef", usual, "abcdef", "abcd");
	shows("abcd", longer, "abcd", "cd");
}

static int retry_psks(const char *first, const char *second)
{
	static const uint8_t sha384[] = { 48, 48, 48 }, sha256[] = { 32, 32, 32 };
	static uint8_t message1[4096], message2[4096];
	struct hello_choice choice1, choice2;
	struct hello hello1, hello2;
	struct test_hello built;

	test_hello_init(&built);
	share_empty(&built);
	psks(&built, first + 1, *first == '+' ? sha384 : sha256);
	assert_int_equal(hello_parse(message1, test_hello_message(&built, message1), &hello1), 0);
	assert_int_equal(hello_choose(&hello1, &both, &choice1), 0);
	assert_int_equal(choice1.suite->hash_len, 48);
	second_share(&built);
	if (*second)
		psks(&built, second, *first == '+' ? sha384 : sha256);
	assert_int_equal(hello_parse(message2, test_hello_message(&built, message2), &hello2), 0);
	assert_int_equal(hello_choose(&hello2, &both, &choice2), 0);
	assert_int_equal(hello_retry_check(&hello1, &choice1, &hello2, &choice2), 0);
	return hello_retry_psks(&hello1, &hello2, 48, known_letter, "abcd");
}

/* "+": of the suite's hash; x and y are none of ours */
static void test_psks_of_the_second_hello(void **state)
{
	(void)state;
	assert_int_equal(retry_psks("+a", "a"), 0);
	assert_int_equal(retry_psks("+abc", "abc"), 0);
	assert_int_equal(retry_psks("-abc", "abc"), 0);
	assert_int_equal(retry_psks("-abc", "b"), 0);
	assert_int_equal(retry_psks("-abc", ""), 0);
	assert_int_equal(retry_psks("+a", ""), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry_psks("+abc", "ac"), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry_psks("-abc", "ca"), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry_psks("+xay", "a"), 0);
	assert_int_equal(retry_psks("+x", ""), 0);
	assert_int_equal(retry_psks("+x", "y"), 0);
	assert_int_equal(retry_psks("+x", "a"), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry_psks("-ab", "abc"), ALERT_ILLEGAL_PARAMETER);
	assert_int_equal(retry_psks("-ab", "d"), ALERT_ILLEGAL_PARAMETER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_case_has_its_alert),
		cmocka_unit_test(test_server_order_decides),
		cmocka_unit_test(test_a_share_saves_a_retry),
		cmocka_unit_test(test_hybrid_group),
		cmocka_unit_test(test_port_without_one_version),
		cmocka_unit_test(test_malformed_tls13_where_it_is_not_spoken),
		cmocka_unit_test(test_tickets_need_forward_secrecy),
		cmocka_unit_test(test_refusal_waits_for_the_session),
		cmocka_unit_test(test_truncation_is_a_decode_error),
		cmocka_unit_test(test_mutations_do_no_harm),
		cmocka_unit_test(test_shares_are_reduced),
		cmocka_unit_test(test_canonical_hello_says_the_same),
		cmocka_unit_test(test_second_hello),
		cmocka_unit_test(test_psks_that_the_library_sees),
		cmocka_unit_test(test_psks_of_the_second_hello),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
