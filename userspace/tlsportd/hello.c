// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ClientHello: parse, judge, rewrite (see hello.h).  Pure functions on bytes:
 * no allocation, no state, no library.
 */
#include <string.h>

#include "../common/der.h"
#include "hello.h"

enum extension {
	EXT_SERVER_NAME = 0,
	EXT_STATUS_REQUEST = 5,
	EXT_SUPPORTED_GROUPS = 10,
	EXT_EC_POINT_FORMATS = 11,
	EXT_SIGNATURE_ALGORITHMS = 13,
	EXT_ALPN = 16,
	EXT_PADDING = 21,
	EXT_ENCRYPT_THEN_MAC = 22,
	EXT_EXTENDED_MASTER_SECRET = 23,
	EXT_SESSION_TICKET = 35,
	EXT_PRE_SHARED_KEY = 41,
	EXT_EARLY_DATA = 42,
	EXT_SUPPORTED_VERSIONS = 43,
	EXT_PSK_KEY_EXCHANGE_MODES = 45,
	EXT_SIGNATURE_ALGORITHMS_CERT = 50,
	EXT_KEY_SHARE = 51,
	EXT_RENEGOTIATION_INFO = 0xff01,
};

#define SESSION_ID_MAX	  32
#define HOST_NAME_MAX_LEN 255
#define PSK_DHE_KE	  1
#define STATUS_OCSP	  1
#define HOST_NAME	  0
#define SSL_3_0		  0x0300

#define EMPTY_RENEGOTIATION_INFO_SCSV 0x00ff
#define FALLBACK_SCSV		      0x5600

/*
 * A cursor over bytes.  A read beyond the end makes it bad for good and gives
 * zeros: check once, at the end.
 */
struct cursor {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};

static struct cursor over(struct bytes b)
{
	return (struct cursor){ b.data, b.data + b.len, false };
}

static const uint8_t *take(struct cursor *c, size_t len)
{
	const uint8_t *p = c->at;

	if (c->bad || (size_t)(c->end - c->at) < len) {
		c->bad = true;
		return NULL;
	}
	c->at += len;
	return p;
}

static uint8_t take8(struct cursor *c)
{
	const uint8_t *p = take(c, 1);

	return p ? *p : 0;
}

static uint16_t take16(struct cursor *c)
{
	const uint8_t *p = take(c, 2);

	return p ? get16(p) : 0;
}

/* A vector with a length prefix of so many bytes and so many bytes at least. */
static struct bytes take_vector(struct cursor *c, unsigned int prefix, size_t min)
{
	size_t len = prefix == 1 ? take8(c) : take16(c);
	struct bytes b = { take(c, len), len };

	if (!b.data || len < min) {
		c->bad = true;
		return (struct bytes){ NULL, 0 };
	}
	return b;
}

static bool more(const struct cursor *c)
{
	return !c->bad && c->at < c->end;
}

static bool finished(const struct cursor *c)
{
	return !c->bad && c->at == c->end;
}

/* One entry of pre_shared_key. */
struct psk {
	struct bytes identity;
	struct bytes entry; /* identity and age, as they stand there */
	struct bytes binder;
};

struct psks {
	struct cursor identities;
	struct cursor binders;
};

/* pre_shared_key was parsed, or is absent */
static struct psks over_psks(const struct hello *hello)
{
	struct cursor body = over(hello->psk), none = { 0 };
	struct bytes identities = take_vector(&body, 2, 0), binders = take_vector(&body, 2, 0);

	return hello->psk.data ? (struct psks){ over(identities), over(binders) } :
				 (struct psks){ none, none };
}

static bool next_psk(struct psks *psks, struct psk *psk)
{
	const uint8_t *from = psks->identities.at;

	if (!more(&psks->identities))
		return false;
	psk->identity = take_vector(&psks->identities, 2, 1);
	take(&psks->identities, 4);
	psk->entry = (struct bytes){ from, psks->identities.at - from };
	psk->binder = take_vector(&psks->binders, 1, 32);
	return true;
}

/* The body is one vector of 16-bit numbers, at least one. */
static int parse_list16(struct cursor *body, unsigned int prefix, struct bytes *list)
{
	*list = take_vector(body, prefix, 2);
	return finished(body) && list->len % 2 == 0 ? 0 : ALERT_DECODE_ERROR;
}

static int parse_list8(struct cursor *body, struct bytes *list)
{
	*list = take_vector(body, 1, 1);
	return finished(body) ? 0 : ALERT_DECODE_ERROR;
}

static int parse_empty(const struct cursor *body, bool *seen)
{
	*seen = true;
	return finished(body) ? 0 : ALERT_DECODE_ERROR;
}

static int parse_server_name(struct cursor *body, struct hello *hello)
{
	struct bytes list = take_vector(body, 2, 4);
	struct cursor names = over(list);
	bool seen[256] = { false };

	if (!finished(body))
		return ALERT_DECODE_ERROR;
	while (more(&names)) {
		uint8_t type = take8(&names);
		struct bytes name = take_vector(&names, 2, 1);

		if (names.bad)
			continue;
		/* RFC 6066 3: not more than one name of the same type */
		if (seen[type])
			return ALERT_ILLEGAL_PARAMETER;
		seen[type] = true;
		if (type == HOST_NAME)
			hello->server_name = name;
	}
	if (!finished(&names))
		return ALERT_DECODE_ERROR;
	/* No name of ours, and none that could be logged. */
	if (hello->server_name.data && (hello->server_name.len > HOST_NAME_MAX_LEN ||
					memchr(hello->server_name.data, 0, hello->server_name.len)))
		return ALERT_UNRECOGNIZED_NAME;
	return 0;
}

/* RFC 6066 8; which responders the client knows and what it asks of them is not looked at. */
static int parse_status_request(struct cursor *body, struct hello *hello)
{
	struct bytes responders, extensions;
	uint8_t type = take8(body);
	struct der value;
	struct cursor c;

	if (!body->bad && type != STATUS_OCSP)
		return 0;
	responders = take_vector(body, 2, 0);
	extensions = take_vector(body, 2, 0);
	if (!finished(body))
		return ALERT_DECODE_ERROR;
	c = over(responders);
	while (more(&c))
		if (!der_only(take_vector(&c, 2, 1), &value))
			return ALERT_DECODE_ERROR;
	if (extensions.len && (!der_only(extensions, &value) || value.tag != DER_SEQUENCE))
		return ALERT_DECODE_ERROR;
	hello->status_request = true;
	return 0;
}

static int parse_alpn(struct cursor *body, struct hello *hello)
{
	struct cursor names;

	hello->alpn = take_vector(body, 2, 2);
	if (!finished(body))
		return ALERT_DECODE_ERROR;
	names = over(hello->alpn);
	while (more(&names))
		take_vector(&names, 1, 1);
	return finished(&names) ? 0 : ALERT_DECODE_ERROR;
}

/* The first alert counts. */
static void malformed_13(struct hello *hello, int alert)
{
	if (!hello->malformed_13)
		hello->malformed_13 = alert;
}

static int parse_key_share(struct cursor *body, struct hello *hello)
{
	struct cursor shares;

	hello->key_shares = take_vector(body, 2, 0);
	if (!finished(body))
		return ALERT_DECODE_ERROR;
	shares = over(hello->key_shares);
	while (more(&shares)) {
		take16(&shares);
		take_vector(&shares, 2, 1);
	}
	return finished(&shares) ? 0 : ALERT_DECODE_ERROR;
}

static int parse_psk(struct cursor *body, struct hello *hello)
{
	struct bytes whole = { body->at, body->end - body->at };
	struct cursor identities, binders;
	size_t offered = 0, bound = 0;
	struct bytes list;

	list = take_vector(body, 2, 7);
	identities = over(list);
	hello->binders_len = body->end - body->at;
	list = take_vector(body, 2, 33);
	binders = over(list);
	if (!finished(body))
		return ALERT_DECODE_ERROR;
	for (; more(&identities); offered++) {
		take_vector(&identities, 2, 1);
		take(&identities, 4);
	}
	for (; more(&binders); bound++)
		take_vector(&binders, 1, 32);
	if (!finished(&identities) || !finished(&binders))
		return ALERT_DECODE_ERROR;
	hello->psk = whole;
	return offered == bound ? 0 : ALERT_ILLEGAL_PARAMETER;
}

/* Of TLS 1.3 alone: a port without it knows nothing of them. */
static void parse_extension_13(uint16_t type, struct cursor body, struct hello *hello)
{
	int alert = 0;

	switch (type) {
	case EXT_PRE_SHARED_KEY:
		alert = parse_psk(&body, hello);
		break;
	case EXT_EARLY_DATA:
		alert = parse_empty(&body, &hello->early_data);
		break;
	case EXT_PSK_KEY_EXCHANGE_MODES:
		alert = parse_list8(&body, &hello->psk_modes);
		break;
	case EXT_KEY_SHARE:
		alert = parse_key_share(&body, hello);
		break;
	}
	malformed_13(hello, alert);
}

/* Of TLS 1.2 alone: what is wrong with them counts when that is chosen. */
static void parse_extension_12(uint16_t type, struct cursor body, struct hello *hello)
{
	int alert = 0;

	switch (type) {
	case EXT_EC_POINT_FORMATS:
		alert = parse_list8(&body, &hello->point_formats);
		break;
	case EXT_ENCRYPT_THEN_MAC:
		alert = parse_empty(&body, &hello->encrypt_then_mac);
		break;
	case EXT_EXTENDED_MASTER_SECRET:
		alert = parse_empty(&body, &hello->extended_master_secret);
		break;
	case EXT_SESSION_TICKET:
		hello->session_ticket = (struct bytes){ body.at, body.end - body.at };
		break;
	case EXT_RENEGOTIATION_INFO:
		hello->renegotiation = take_vector(&body, 1, 0);
		alert = finished(&body) ? 0 : ALERT_DECODE_ERROR;
		break;
	}
	if (alert)
		hello->malformed_12 = true;
}

static int parse_extension(uint16_t type, struct cursor body, struct hello *hello)
{
	struct bytes not_used;

	switch (type) {
	case EXT_SERVER_NAME:
		return parse_server_name(&body, hello);
	case EXT_STATUS_REQUEST:
		return parse_status_request(&body, hello);
	case EXT_SUPPORTED_GROUPS:
		return parse_list16(&body, 2, &hello->groups);
	case EXT_SIGNATURE_ALGORITHMS:
		return parse_list16(&body, 2, &hello->schemes);
	case EXT_SIGNATURE_ALGORITHMS_CERT:
		/* we have the chain that we have */
		return parse_list16(&body, 2, &not_used);
	case EXT_ALPN:
		return parse_alpn(&body, hello);
	case EXT_SUPPORTED_VERSIONS:
		return parse_list16(&body, 1, &hello->versions);
	default:
		parse_extension_13(type, body, hello);
		parse_extension_12(type, body, hello);
		return 0;
	}
}

static int parse_extensions(struct hello *hello)
{
	/* There may be 16,000: no list of those seen. */
	uint8_t seen[65536 / 8] = { 0 };
	struct cursor c = over(hello->extensions);
	bool psk_seen = false;
	int alert;

	while (more(&c)) {
		uint16_t type = take16(&c);
		struct bytes body = take_vector(&c, 2, 0);

		if (c.bad)
			return ALERT_DECODE_ERROR;
		if (seen[type / 8] & 1 << type % 8)
			return ALERT_ILLEGAL_PARAMETER;
		seen[type / 8] |= 1 << type % 8;
		if (psk_seen) /* RFC 8446 4.2.11: must be last */
			malformed_13(hello, ALERT_ILLEGAL_PARAMETER);
		psk_seen |= type == EXT_PRE_SHARED_KEY;
		alert = parse_extension(type, over(body), hello);
		if (alert)
			return alert;
	}
	return finished(&c) ? 0 : ALERT_DECODE_ERROR;
}

int hello_parse(const uint8_t *message, size_t len, struct hello *hello)
{
	struct cursor c = { message, message + len, false };

	memset(hello, 0, sizeof(*hello));
	hello->message = (struct bytes){ message, len };
	take(&c, TLS_HANDSHAKE_HEADER);
	hello->legacy_version = take16(&c);
	hello->random = take(&c, TLS_RANDOM_LEN);
	hello->session_id = take_vector(&c, 1, 0);
	hello->suites = take_vector(&c, 2, 2);
	hello->compression = take_vector(&c, 1, 1);
	if (c.bad || hello->session_id.len > SESSION_ID_MAX || hello->suites.len % 2)
		return ALERT_DECODE_ERROR;
	if (finished(&c))
		return 0; /* RFC 5246: no extensions at all */
	hello->extensions = take_vector(&c, 2, 0);
	if (!finished(&c))
		return ALERT_DECODE_ERROR;
	return parse_extensions(hello);
}

static bool list_has(struct bytes list, uint16_t value)
{
	for (size_t i = 0; i + 1 < list.len; i += 2)
		if (get16(list.data + i) == value)
			return true;
	return false;
}

static bool list8_has(struct bytes list, uint8_t value)
{
	return list.len && memchr(list.data, value, list.len);
}

static int choose_version(const struct hello *hello, const struct hello_policy *policy,
			  struct hello_choice *choice)
{
	uint16_t version;

	/* RFC 8446 D.5: whatever the extension says */
	if (hello->legacy_version <= SSL_3_0)
		return ALERT_PROTOCOL_VERSION;
	for (version = policy->max_version; version >= policy->min_version; version--) {
		if (hello->versions.data ? list_has(hello->versions, version) :
					   version == TLS_1_2 && hello->legacy_version >= TLS_1_2) {
			choice->version = version;
			break;
		}
	}
	/* RFC 7507: the client has fallen back although we speak more */
	if (choice->version != policy->max_version && list_has(hello->suites, FALLBACK_SCSV))
		return ALERT_INAPPROPRIATE_FALLBACK;
	return choice->version ? 0 : ALERT_PROTOCOL_VERSION;
}

/* Place among the client's suites; NULL: it has it not. */
static const uint8_t *offered_at(const struct hello *hello, uint16_t suite)
{
	for (size_t i = 0; i + 1 < hello->suites.len; i += 2)
		if (get16(hello->suites.data + i) == suite)
			return hello->suites.data + i;
	return NULL;
}

static const struct tls_suite *choose_suite(const struct hello *hello,
					    const struct hello_policy *policy, uint16_t version)
{
	const struct tls_suite *chosen = NULL;
	const uint8_t *first = NULL;

	for (size_t i = 0; i < policy->suite_count; i++) {
		const struct tls_suite *suite = tls_suite_by_id(policy->suites[i]);
		const uint8_t *at;

		if (!suite || suite->version != version ||
		    (suite->auth != AUTH_ANY && suite->auth != policy->auth))
			continue;
		at = offered_at(hello, suite->id);
		if (at && !policy->client_order)
			return suite;
		if (at && (!first || at < first)) {
			first = at;
			chosen = suite;
		}
	}
	return chosen;
}

/*
 * Schemes that we sign with, in order of preference.  TLS 1.3 ties an ECDSA
 * scheme to the curve, TLS 1.2 does not, but a hash as wide as the curve is
 * right for both.
 */
static const uint16_t schemes_rsa_13[] = { 0x0804, 0x0805, 0x0806 };
static const uint16_t schemes_rsa_12[] = { 0x0804, 0x0401, 0x0805, 0x0501, 0x0806, 0x0601 };
static const uint16_t schemes_p256[] = { 0x0403, 0x0503, 0x0603 };
static const uint16_t schemes_p384[] = { 0x0503, 0x0603, 0x0403 };
static const uint16_t schemes_p521[] = { 0x0603, 0x0503, 0x0403 };

/*
 * A client that takes no signature, see choose_tls13() and choose_tls12(), is shown to the
 * library as if it did.
 */
static uint16_t choose_scheme(const struct hello *hello, const struct hello_policy *policy,
			      const struct hello_choice *choice)
{
	const bool tls13 = choice->version == TLS_1_3;
	const uint16_t *scheme;
	size_t count;

	if (policy->auth == AUTH_RSA) {
		scheme = tls13 ? schemes_rsa_13 : schemes_rsa_12;
		count = tls13 ? 3 : 6;
	} else {
		scheme = policy->curve == GROUP_SECP256R1 ? schemes_p256 :
			 policy->curve == GROUP_SECP384R1 ? schemes_p384 :
							    schemes_p521;
		count = tls13 ? 1 : 3;
	}
	for (size_t i = 0; i < count; i++)
		if (choice->psk_only || choice->refusal || list_has(hello->schemes, scheme[i]))
			return scheme[i];
	return 0;
}

size_t hello_share_len(uint16_t group)
{
	switch (group) {
	case GROUP_X25519:
		return 32;
	case GROUP_X25519MLKEM768:
		return 1184 + 32;
	case GROUP_SECP256R1:
		return 1 + 2 * 32;
	case GROUP_SECP384R1:
		return 1 + 2 * 48;
	default:
		return 0;
	}
}

#define X25519_LEN 32

void hello_reduce_share(uint16_t group, uint8_t *share)
{
	uint8_t *low = group == GROUP_X25519MLKEM768 ? share + 1184 : share;
	uint8_t *high = low + X25519_LEN - 1;

	if (group != GROUP_X25519 && group != GROUP_X25519MLKEM768)
		return;
	*high &= 0x7f;
	if (*high != 0x7f || *low < 0xed)
		return;
	for (const uint8_t *at = low + 1; at < high; at++)
		if (*at != 0xff)
			return;
	/* 2^255 - 19 or more */
	*low -= 0xed;
	memset(low + 1, 0, X25519_LEN - 1);
}

/*
 * All shares are looked at, not only the one that is used: each of a group that is offered,
 * and once.  Both lists may have thousands.
 */
static int check_shares(const struct hello *hello)
{
	uint8_t due[65536 / 8] = { 0 };
	struct cursor c = over(hello->key_shares);

	for (size_t i = 0; i + 1 < hello->groups.len; i += 2) {
		uint16_t group = get16(hello->groups.data + i);

		due[group / 8] |= 1 << group % 8;
	}
	while (more(&c)) {
		uint16_t group = take16(&c);
		struct bytes share = take_vector(&c, 2, 1);
		size_t want = hello_share_len(group);

		if (!(due[group / 8] & 1 << group % 8))
			return ALERT_ILLEGAL_PARAMETER;
		due[group / 8] &= ~(1 << group % 8);
		if (want && share.len != want)
			return ALERT_ILLEGAL_PARAMETER;
		if ((group == GROUP_SECP256R1 || group == GROUP_SECP384R1) && share.data[0] != 4)
			return ALERT_ILLEGAL_PARAMETER; /* RFC 8446 4.2.8.2: uncompressed */
	}
	return 0;
}

static struct bytes find_share(const struct hello *hello, uint16_t wanted)
{
	struct cursor c = over(hello->key_shares);

	while (more(&c)) {
		uint16_t group = take16(&c);
		struct bytes share = take_vector(&c, 2, 1);

		if (group == wanted)
			return share;
	}
	return (struct bytes){ NULL, 0 };
}

/*
 * A group with a share saves a round trip: that counts more than our order; but what is
 * recorded today and read when there are quantum computers is worth one.
 */
static int choose_share(const struct hello *hello, const struct hello_policy *policy,
			struct hello_choice *choice)
{
	for (size_t i = 0; i < policy->group_count; i++) {
		uint16_t group = policy->groups[i];

		if (!list_has(hello->groups, group))
			continue;
		choice->share = find_share(hello, group);
		if (choice->share.data) {
			choice->group = group;
			return 0;
		}
		if (!choice->group)
			choice->group = group;
		if (choice->group == GROUP_X25519MLKEM768)
			break;
	}
	choice->retry = true;
	return choice->group ? 0 : ALERT_HANDSHAKE_FAILURE;
}

static int choose_tls13(const struct hello *hello, const struct hello_policy *policy,
			struct hello_choice *choice)
{
	int alert;

	if (hello->compression.len != 1 || hello->compression.data[0])
		return ALERT_ILLEGAL_PARAMETER;
	/* without psk_dhe_ke there would be no forward secrecy: full handshake */
	choice->psk_dhe = list8_has(hello->psk_modes, PSK_DHE_KE);
	choice->psk = policy->resumption && hello->psk.data && choice->psk_dhe;
	choice->psk_only = choice->psk && !hello->schemes.data;
	/* RFC 8446 4.2.9, 9.2; keys are always exchanged */
	if ((hello->psk.data && !hello->psk_modes.data) || !hello->groups.data ||
	    !hello->key_shares.data || (!hello->schemes.data && !choice->psk_only))
		return ALERT_MISSING_EXTENSION;
	alert = check_shares(hello);
	if (alert)
		return alert;
	choice->suite = choose_suite(hello, policy, TLS_1_3);
	choice->scheme = choose_scheme(hello, policy, choice);
	if (!choice->suite || !choice->scheme)
		return ALERT_HANDSHAKE_FAILURE;
	/* RFC 8446 allows 0 to 32 bytes, wolfSSL 0 or 32 */
	choice->hide_session_id = hello->session_id.len && hello->session_id.len < SESSION_ID_MAX;
	return choose_share(hello, policy, choice);
}

/* 0: none */
static uint16_t choose_group12(const struct hello *hello, const struct hello_policy *policy)
{
	for (size_t i = 0; i < policy->group_count; i++) {
		uint16_t group = policy->groups[i];

		if (group == GROUP_X25519MLKEM768)
			continue;
		/* RFC 8422 4: no extension, any group; then one that all have */
		if (hello->groups.data ? list_has(hello->groups, group) : group != GROUP_X25519)
			return group;
	}
	return 0;
}

/* What speaks against a full handshake, and against nothing else.  0 or an alert */
static int refusal12(const struct hello *hello, const struct hello_policy *policy,
		     const struct hello_choice *choice)
{
	/* RFC 8422 5.1.2 */
	if (hello->point_formats.data && !list8_has(hello->point_formats, 0))
		return ALERT_ILLEGAL_PARAMETER;
	/* RFC 9155: without signature_algorithms it would be SHA-1 */
	if (!choice->scheme || !choice->group)
		return ALERT_HANDSHAKE_FAILURE;
	/* RFC 8422 5.1: the groups are those of certificates, too, before TLS 1.3 */
	if (hello->groups.data && policy->auth == AUTH_ECDSA &&
	    !list_has(hello->groups, policy->curve))
		return ALERT_HANDSHAKE_FAILURE;
	return 0;
}

static int choose_tls12(const struct hello *hello, const struct hello_policy *policy,
			struct hello_choice *choice)
{
	static const uint8_t groups[] = { 0, GROUP_X25519, 0, GROUP_SECP256R1, 0, GROUP_SECP384R1 };
	const struct hello any_group = { .groups = { groups, sizeof(groups) } };

	if (hello->malformed_12)
		return ALERT_DECODE_ERROR;
	if (!list8_has(hello->compression, 0))
		return ALERT_ILLEGAL_PARAMETER;
	/* RFC 5746 3.6: a first handshake has nothing to renegotiate */
	if (hello->renegotiation.len)
		return ALERT_HANDSHAKE_FAILURE;
	choice->suite = choose_suite(hello, policy, TLS_1_2);
	if (!choice->suite)
		return ALERT_HANDSHAKE_FAILURE;
	choice->scheme = choose_scheme(hello, policy, choice);
	choice->group = choose_group12(hello, policy);
	choice->refusal = refusal12(hello, policy, choice);
	if (!choice->refusal || !policy->resumption || !hello->session_ticket.len)
		return choice->refusal;
	/* RFC 5246 7.4.1.4.1, RFC 8422 5.1: a session that is resumed asks for none of them */
	choice->scheme = choose_scheme(hello, policy, choice);
	choice->group = choice->group ?: choose_group12(&any_group, policy);
	return choice->group ? 0 : choice->refusal;
}

static bool alpn_has(struct bytes list, struct bytes wanted)
{
	struct cursor c = over(list);

	while (more(&c)) {
		struct bytes name = take_vector(&c, 1, 1);

		if (name.len == wanted.len && !memcmp(name.data, wanted.data, wanted.len))
			return true;
	}
	return false;
}

/* RFC 7301 3.2: our order counts, and a client that we have nothing for is told so. */
static int choose_alpn(const struct hello *hello, const struct hello_policy *policy,
		       struct hello_choice *choice)
{
	struct cursor ours = over((struct bytes){ policy->alpn.list, policy->alpn.len });

	if (!hello->alpn.data || !policy->alpn.len)
		return 0;
	while (more(&ours)) {
		struct bytes name = take_vector(&ours, 1, 1);

		if (alpn_has(hello->alpn, name)) {
			choice->alpn = name;
			return 0;
		}
	}
	return ALERT_NO_APPLICATION_PROTOCOL;
}

int hello_choose(const struct hello *hello, const struct hello_policy *policy,
		 struct hello_choice *choice)
{
	int alert;

	memset(choice, 0, sizeof(*choice));
	if (hello->malformed_13 && policy->max_version == TLS_1_3)
		return hello->malformed_13;
	alert = choose_version(hello, policy, choice) ?: choose_alpn(hello, policy, choice);
	if (alert)
		return alert;
	return choice->version == TLS_1_3 ? choose_tls13(hello, policy, choice) :
					    choose_tls12(hello, policy, choice);
}

static bool same(struct bytes a, struct bytes b)
{
	if (a.len != b.len)
		return false;
	return !a.len || (a.data && b.data && !memcmp(a.data, b.data, a.len));
}

void hello_choose_psks(const struct hello *hello, struct hello_choice *choice,
		       bool (*known)(const void *arg, struct bytes identity), const void *arg)
{
	struct bytes seen[HELLO_PSKS_MAX];
	struct psks psks = over_psks(hello);
	struct psk psk;
	size_t i;

	for (uint16_t at = 0; choice->psk_count < HELLO_PSKS_MAX && next_psk(&psks, &psk); at++) {
		/* The library takes no longer binder: there is no longer hash. */
		if (psk.binder.len > 64 || !known(arg, psk.identity))
			continue;
		for (i = 0; i < choice->psk_count && !same(seen[i], psk.identity); i++)
			;
		if (i < choice->psk_count)
			continue;
		seen[i] = psk.identity;
		choice->psks[choice->psk_count++] = at;
	}
}

/*
 * Next extension that the second ClientHello may not change: RFC 8446 4.1.2.  cookie is
 * among them, for no HelloRetryRequest of ours has one.
 */
static bool next_fixed(struct cursor *c, struct bytes *extension)
{
	while (more(c)) {
		const uint8_t *from = c->at;
		uint16_t type = take16(c);

		take_vector(c, 2, 0);
		if (type == EXT_KEY_SHARE || type == EXT_EARLY_DATA || type == EXT_PRE_SHARED_KEY ||
		    type == EXT_PADDING)
			continue;
		*extension = (struct bytes){ from, c->at - from };
		return true;
	}
	return false;
}

int hello_retry_check(const struct hello *hello1, const struct hello_choice *first,
		      const struct hello *hello2, const struct hello_choice *second)
{
	struct cursor c1 = over(hello1->extensions), c2 = over(hello2->extensions);
	struct bytes e1, e2;
	bool more1, more2;

	if (hello1->legacy_version != hello2->legacy_version ||
	    memcmp(hello1->random, hello2->random, TLS_RANDOM_LEN) ||
	    !same(hello1->session_id, hello2->session_id) ||
	    !same(hello1->suites, hello2->suites) ||
	    !same(hello1->compression, hello2->compression))
		return ALERT_ILLEGAL_PARAMETER;
	for (;;) {
		more1 = next_fixed(&c1, &e1);
		more2 = next_fixed(&c2, &e2);
		if (more1 != more2)
			return ALERT_ILLEGAL_PARAMETER;
		if (!more1)
			break;
		if (!same(e1, e2))
			return ALERT_ILLEGAL_PARAMETER;
	}
	/* just the one share that was asked for, and no early data any more */
	if (second->retry || second->group != first->group ||
	    hello2->key_shares.len != 4 + second->share.len || hello2->early_data ||
	    second->suite != first->suite || second->version != first->version)
		return ALERT_ILLEGAL_PARAMETER;
	return 0;
}

/* The next one that is known: there may be thousands of others. */
static bool next_known(struct psks *psks, struct psk *psk,
		       bool (*known)(const void *arg, struct bytes identity), const void *arg)
{
	while (next_psk(psks, psk))
		if (known(arg, psk->identity))
			return true;
	return false;
}

int hello_retry_psks(const struct hello *hello1, const struct hello *hello2, size_t hash_len,
		     bool (*known)(const void *arg, struct bytes identity), const void *arg)
{
	struct psks psks1 = over_psks(hello1), psks2 = over_psks(hello2);
	struct psk psk1, psk2;
	bool left = next_known(&psks2, &psk2, known, arg);

	while (next_known(&psks1, &psk1, known, arg)) {
		if (left && same(psk1.identity, psk2.identity))
			left = next_known(&psks2, &psk2, known, arg);
		else if (psk1.binder.len == hash_len)
			return ALERT_ILLEGAL_PARAMETER;
	}
	return left ? ALERT_ILLEGAL_PARAMETER : 0;
}

/* Output side: like the cursor, an overrun is noticed at the end. */
struct writer {
	uint8_t *at;
	uint8_t *end;
	bool bad;
};

static void put(struct writer *w, const void *data, size_t len)
{
	if ((size_t)(w->end - w->at) < len) {
		w->bad = true;
		return;
	}
	if (len)
		memcpy(w->at, data, len);
	w->at += len;
}

static void put_number(struct writer *w, uint16_t value, unsigned int len)
{
	uint8_t b[2] = { value >> 8, value };

	put(w, b + 2 - len, len);
}

static void put_extension(struct writer *w, uint16_t type, struct bytes body)
{
	put_number(w, type, 2);
	put_number(w, body.len, 2);
	put(w, body.data, body.len);
}

/* An extension that is one list of one number. */
static void put_extension_one(struct writer *w, uint16_t type, unsigned int prefix, uint16_t value,
			      unsigned int len)
{
	put_number(w, type, 2);
	put_number(w, prefix + len, 2);
	put_number(w, len, prefix);
	put_number(w, value, len);
}

static void put_server_name(struct writer *w, struct bytes name)
{
	put_number(w, EXT_SERVER_NAME, 2);
	put_number(w, 2 + 1 + 2 + name.len, 2);
	put_number(w, 1 + 2 + name.len, 2);
	put_number(w, HOST_NAME, 1);
	put_number(w, name.len, 2);
	put(w, name.data, name.len);
}

static void put_alpn(struct writer *w, struct bytes name)
{
	put_number(w, EXT_ALPN, 2);
	put_number(w, 2 + 1 + name.len, 2);
	put_number(w, 1 + name.len, 2);
	put_number(w, name.len, 1);
	put(w, name.data, name.len);
}

static void put_psks(struct writer *w, const struct hello *hello, const struct hello_choice *choice,
		     size_t *binders_len)
{
	uint8_t *body = w->at, *list, *end;
	struct psks psks;
	struct psk psk;
	size_t shown;

	put_number(w, EXT_PRE_SHARED_KEY, 2);
	put_number(w, 0, 2);
	for (int binders = 0; binders < 2; binders++) {
		list = w->at;
		put_number(w, 0, 2);
		psks = over_psks(hello);
		shown = 0;
		for (uint16_t at = 0; shown < choice->psk_count && next_psk(&psks, &psk); at++) {
			if (at != choice->psks[shown])
				continue;
			shown++;
			if (binders)
				put_number(w, psk.binder.len, 1);
			put(w, binders ? psk.binder.data : psk.entry.data,
			    binders ? psk.binder.len : psk.entry.len);
		}
		end = w->at;
		if (w->bad)
			return;
		put16(list, end - list - 2);
	}
	put16(body + 2, end - body - 4);
	*binders_len = end - list;
}

static void put_tls13(struct writer *w, const struct hello *hello,
		      const struct hello_choice *choice, size_t *binders_len)
{
	size_t share = choice->retry ? 0 : 4 + choice->share.len;

	put_extension_one(w, EXT_SUPPORTED_VERSIONS, 1, TLS_1_3, 2);
	put_number(w, EXT_KEY_SHARE, 2);
	put_number(w, 2 + share, 2);
	put_number(w, share, 2);
	if (share) {
		put_number(w, choice->group, 2);
		put_number(w, choice->share.len, 2);
		put(w, choice->share.data, choice->share.len);
		if (!w->bad)
			hello_reduce_share(choice->group, w->at - choice->share.len);
	}
	if (choice->psk_dhe)
		put_extension_one(w, EXT_PSK_KEY_EXCHANGE_MODES, 1, PSK_DHE_KE, 1);
	if (choice->psk_count)
		put_psks(w, hello, choice, binders_len);
}

static void put_tls12(struct writer *w, const struct hello *hello,
		      const struct hello_policy *policy)
{
	/* RFC 5246 7.4.1.4: it is answered */
	if (hello->point_formats.data)
		put_extension_one(w, EXT_EC_POINT_FORMATS, 1, 0, 1);
	if (hello->extended_master_secret)
		put_extension(w, EXT_EXTENDED_MASTER_SECRET, (struct bytes){ NULL, 0 });
	if (hello->session_ticket.data && policy->resumption)
		put_extension(w, EXT_SESSION_TICKET, hello->session_ticket);
	if (hello->renegotiation.data || list_has(hello->suites, EMPTY_RENEGOTIATION_INFO_SCSV))
		put_extension(w, EXT_RENEGOTIATION_INFO, (struct bytes){ (uint8_t *)"", 1 });
}

size_t hello_canonical(const struct hello *hello, const struct hello_policy *policy,
		       const struct hello_choice *choice, uint8_t *to, size_t size,
		       size_t *binders_len)
{
	struct writer w = { to, to + size, false };
	uint8_t *extensions;

	*binders_len = 0;
	if (size < TLS_HANDSHAKE_HEADER)
		return 0;
	w.at += TLS_HANDSHAKE_HEADER;
	put_number(&w, TLS_1_2, 2);
	put(&w, hello->random, TLS_RANDOM_LEN);
	put_number(&w, choice->hide_session_id ? 0 : hello->session_id.len, 1);
	if (!choice->hide_session_id)
		put(&w, hello->session_id.data, hello->session_id.len);
	put_number(&w, 2, 2);
	put_number(&w, choice->suite->id, 2);
	put_number(&w, 1, 1);
	put_number(&w, 0, 1);
	extensions = w.at;
	put_number(&w, 0, 2);
	put_extension_one(&w, EXT_SUPPORTED_GROUPS, 2, choice->group, 2);
	put_extension_one(&w, EXT_SIGNATURE_ALGORITHMS, 2, choice->scheme, 2);
	if (choice->named)
		put_server_name(&w, hello->server_name);
	if (choice->staple)
		put_extension(&w, EXT_STATUS_REQUEST,
			      (struct bytes){ (const uint8_t *)"\1\0\0\0", 5 });
	if (choice->alpn.len)
		put_alpn(&w, choice->alpn);
	if (choice->version == TLS_1_3)
		put_tls13(&w, hello, choice, binders_len);
	else
		put_tls12(&w, hello, policy);
	if (w.bad || w.at - extensions - 2 > 0xffff)
		return 0;
	put16(extensions, w.at - extensions - 2);
	to[0] = TLS_CLIENT_HELLO;
	put24(to + 1, w.at - to - TLS_HANDSHAKE_HEADER);
	return w.at - to;
}
