// SPDX-License-Identifier: GPL-2.0-or-later
/* The settings of a port, see port_config.h. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "port_config.h"
#include "token_uri.h"

#define TIMEOUT_MIN_MS 100
#define TIMEOUT_MAX_MS 600000
#define HANDSHAKES_MAX 1000000
#define KEY_LIMIT_MAX  16777216
/* wolfSSL takes chains of nine certificates. */
#define CLIENT_DEPTH_MAX 8

#define ITEMS(array) (sizeof(array) / sizeof((array)[0]))

static int wrong(char *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int wrong(char *why, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, PORT_CONFIG_ERROR_LEN, fmt, args);
	va_end(args);
	return -1;
}

static int set_path(const char *value, char **path, char *why)
{
	if (value[0] != '/')
		return wrong(why, "'%s' is not an absolute file name", value);
	/* What inih would take for the end of the value, or for a comment. */
	if (strpbrk(value, "\r\n") || strstr(value, " ;") || value[strlen(value) - 1] == ' ')
		return wrong(
			why,
			"a file name with a line break, ' ;' or blanks at its ends cannot be in a configuration file");
	free(*path);
	*path = strdup(value);
	return *path ? 0 : wrong(why, "out of memory");
}

/* IPv4 mapped; not one that no connection has */
static bool parse_address(const char *text, struct in6_addr *address)
{
	*address = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
	if (inet_pton(AF_INET, text, address->s6_addr + 12) != 1 &&
	    inet_pton(AF_INET6, text, address) != 1)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(address))
		return address->s6_addr[12] && address->s6_addr[12] < 0xe0; /* "this", multicast */
	return !IN6_IS_ADDR_UNSPECIFIED(address) && !IN6_IS_ADDR_MULTICAST(address);
}

static int set_address(struct port_config *port, const char *value, char *why)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;
	size_t len;

	port->address_count = 0;
	for (;; value += len + strspn(value + len, " ")) {
		value += strspn(value, " ");
		len = strcspn(value, ", ");
		snprintf(text, sizeof(text), "%.*s", (int)len, value);
		if (len >= sizeof(text) || !parse_address(text, &address))
			return wrong(
				why,
				"'%.*s' is not the IP address of a machine, such as 192.0.2.1 or 2001:db8::1",
				(int)len, value);
		if (port->address_count && port_config_at(port, &address))
			return wrong(why, "%s is there twice", text);
		if (port->address_count == PORT_ADDRESSES)
			return wrong(why, "these are more than %d addresses", PORT_ADDRESSES);
		port->addresses[port->address_count++] = address;
		len += strspn(value + len, " ");
		if (!value[len])
			return 0;
		len += value[len] == ',';
	}
}

bool port_config_at(const struct port_config *port, const struct in6_addr *local)
{
	for (size_t i = 0; i < port->address_count; i++)
		if (IN6_ARE_ADDR_EQUAL(&port->addresses[i], local))
			return true;
	return !port->address_count;
}

static int set_cert(struct port_config *port, const char *value, char *why)
{
	return set_path(value, &port->cert, why);
}

static int set_token_key(const char *value, char **key, char *why)
{
	P11KitUri *uri;

	/* The rest is percent-encoded in a URI. */
	for (const char *at = value; *at; at++)
		if (*at <= ' ' || *at > '~')
			return wrong(
				why,
				"a blank, or what is not ASCII, is written as %%20 and the like in a URI");
	uri = token_uri_parse(value, why, PORT_CONFIG_ERROR_LEN);
	if (!uri)
		return -1;
	p11_kit_uri_free(uri);
	free(*key);
	*key = strdup(value);
	return *key ? 0 : wrong(why, "out of memory");
}

static int set_key(struct port_config *port, const char *value, char *why)
{
	if (token_uri_is(value))
		return set_token_key(value, &port->key, why);
	return set_path(value, &port->key, why);
}

static int set_passphrase(struct port_config *port, const char *value, char *why)
{
	return set_path(value, &port->passphrase, why);
}

static int set_cert_dir(struct port_config *port, const char *value, char *why)
{
	return set_path(value, &port->cert_dir, why);
}

/* One of some words; their index, or -1 with all of them in @why. */
static int choose(const char *value, const char *const *words, int count, char *why)
{
	char allowed[PORT_CONFIG_ERROR_LEN / 2] = "";

	for (int i = 0; i < count; i++) {
		if (!strcmp(words[i], value))
			return i;
		strcat(allowed, i == 0 ? "" : i == count - 1 ? " or " : ", ");
		strcat(allowed, words[i]);
	}
	return wrong(why, "'%s' is not %s", value, allowed);
}

static int set_switch(const char *value, bool *on, char *why)
{
	static const char *const words[] = { "on", "off" };
	int i = choose(value, words, ITEMS(words), why);

	if (i < 0)
		return -1;
	*on = !i;
	return 0;
}

static int set_strict_sni(struct port_config *port, const char *value, char *why)
{
	return set_switch(value, &port->strict_sni, why);
}

/* The words stand for 0, 1, ... */
static int set_number(const char *value, const char *const *words, int count, uint8_t *to,
		      char *why)
{
	int i = choose(value, words, count, why);

	if (i < 0)
		return -1;
	*to = i;
	return 0;
}

static const char *const profiles[] = {
	[PROFILE_INTERMEDIATE] = "intermediate",
	[PROFILE_MODERN] = "modern",
	[PROFILE_FIPS] = "fips",
	[PROFILE_STRICT] = "strict",
};

const char *port_profile_name(enum port_profile profile)
{
	return profiles[profile];
}

static int set_profile(struct port_config *port, const char *value, char *why)
{
	uint8_t profile;

	if (set_number(value, profiles, ITEMS(profiles), &profile, why))
		return -1;
	port->profile = profile;
	return 0;
}

static int set_version(const char *value, uint16_t *version, char *why)
{
	static const char *const words[] = { "1.2", "1.3" };
	int i = choose(value, words, ITEMS(words), why);

	if (i < 0)
		return -1;
	*version = i ? TLS_1_3 : TLS_1_2;
	return 0;
}

static int set_min_version(struct port_config *port, const char *value, char *why)
{
	return set_version(value, &port->min_version, why);
}

static int set_max_version(struct port_config *port, const char *value, char *why)
{
	return set_version(value, &port->max_version, why);
}

/* Adds a number to a list without repetition; -1: it is there. */
static int add_once(uint16_t *list, size_t *count, uint16_t value)
{
	for (size_t i = 0; i < *count; i++)
		if (list[i] == value)
			return -1;
	list[(*count)++] = value;
	return 0;
}

static int unknown_cipher(const char *name, size_t len, char *why)
{
	char allowed[PORT_CONFIG_ERROR_LEN * 3 / 4] = "";

	for (size_t i = 0; i < TLS_SUITES; i++) {
		strcat(allowed, i ? ", " : "");
		strcat(allowed, tls_suites[i].openssl);
	}
	return wrong(why, "'%.*s' is not one of %s (or their IANA names), with ':' between them",
		     (int)len, name, allowed);
}

static int set_ciphers(struct port_config *port, const char *value, char *why)
{
	size_t len;

	port->suite_count = 0;
	for (;; value += len + 1) {
		const struct tls_suite *suite;

		len = strcspn(value, ":");
		suite = tls_suite_by_name(value, len);
		if (!suite)
			return unknown_cipher(value, len, why);
		if (add_once(port->suites, &port->suite_count, suite->id))
			return wrong(why, "%s is there twice", suite->openssl);
		if (!value[len])
			return 0;
	}
}

static const struct {
	const char *name;
	uint16_t group;
} groups[] = {
	/* by the name that listings have, in the default order of preference */
	{ "X25519MLKEM768", GROUP_X25519MLKEM768 },
	{ "X25519", GROUP_X25519 },
	{ "P-256", GROUP_SECP256R1 },
	{ "P-384", GROUP_SECP384R1 },
	/* other names */
	{ "secp256r1", GROUP_SECP256R1 },
	{ "prime256v1", GROUP_SECP256R1 },
	{ "secp384r1", GROUP_SECP384R1 },
};

static uint16_t group_by_name(const char *name, size_t len)
{
	for (size_t i = 0; i < ITEMS(groups); i++)
		if (strlen(groups[i].name) == len && !strncasecmp(groups[i].name, name, len))
			return groups[i].group;
	return 0;
}

const char *port_group_name(uint16_t group)
{
	for (size_t i = 0; i < TLS_GROUPS; i++)
		if (groups[i].group == group)
			return groups[i].name;
	return NULL;
}

static int set_groups(struct port_config *port, const char *value, char *why)
{
	size_t len;

	port->group_count = 0;
	port->groups_chosen = true;
	for (;; value += len + 1) {
		uint16_t group;

		len = strcspn(value, ":");
		group = group_by_name(value, len);
		if (!group)
			return wrong(
				why,
				"'%.*s' is not one of X25519MLKEM768, X25519, P-256, P-384, with ':' between them",
				(int)len, value);
		if (add_once(port->groups, &port->group_count, group))
			return wrong(why, "'%.*s' is there twice", (int)len, value);
		if (!value[len])
			return 0;
	}
}

static int set_prefer_server_ciphers(struct port_config *port, const char *value, char *why)
{
	bool server;

	if (set_switch(value, &server, why))
		return -1;
	port->client_order = !server;
	return 0;
}

/* A ',' is what wolfSSL has between names. */
static int set_alpn(struct port_config *port, const char *value, char *why)
{
	struct tls_alpn *alpn = &port->alpn;
	size_t len;

	alpn->len = 0;
	for (;; value += len + 1) {
		len = strcspn(value, ":");
		if (!len || len > 255 || strcspn(value, " \t,\r\n") < len)
			return wrong(
				why,
				"'%.*s' is not a name of a protocol, such as h2 or http/1.1, with ':' between them",
				(int)len, value);
		if (alpn->len + 1 + len > sizeof(alpn->list))
			return wrong(why, "the names are too long together");
		alpn->list[alpn->len] = len;
		memcpy(alpn->list + alpn->len + 1, value, len);
		alpn->len += 1 + len;
		if (!value[len])
			return 0;
	}
}

static const char *const ocsps[] = {
	[OCSP_OFF] = "off",
	[OCSP_FILE] = "file",
	[OCSP_FETCH] = "fetch",
};

const char *port_ocsp_name(enum port_ocsp ocsp)
{
	return ocsps[ocsp];
}

static int set_ocsp(struct port_config *port, const char *value, char *why)
{
	return set_number(value, ocsps, ITEMS(ocsps), &port->ocsp, why);
}

static const char *const plaintexts[] = {
	[PLAINTEXT_REJECT] = "reject",
	[PLAINTEXT_ALERT] = "alert",
	[PLAINTEXT_REDIRECT] = "redirect",
};

const char *port_plaintext_name(enum port_plaintext plaintext)
{
	return plaintexts[plaintext];
}

static int set_plaintext(struct port_config *port, const char *value, char *why)
{
	return set_number(value, plaintexts, ITEMS(plaintexts), &port->plaintext, why);
}

static int set_truncation(struct port_config *port, const char *value, char *why)
{
	static const char *const words[] = {
		[TLSPORT_TRUNCATION_STRICT] = "strict",
		[TLSPORT_TRUNCATION_TOLERATE] = "tolerate",
	};

	return set_number(value, words, ITEMS(words), &port->truncation, why);
}

static int set_handshake_timeout(struct port_config *port, const char *value, char *why)
{
	double number = -1, ms = 0;
	char *end = (char *)value;

	if (isdigit((unsigned char)value[0]) || value[0] == '.')
		number = strtod(value, &end);
	if (end != value && !strcasecmp(end, "ms"))
		ms = number;
	else if (end != value && (!*end || !strcasecmp(end, "s")))
		ms = number * 1000;
	if (!isfinite(ms) || ms < TIMEOUT_MIN_MS || ms > TIMEOUT_MAX_MS)
		return wrong(
			why,
			"'%s' is not a time from 0.1 to 600 seconds (\"10\", \"2.5s\", \"500ms\")",
			value);
	port->handshake_timeout = ms + 0.5;
	return 0;
}

static int set_count(const char *value, unsigned long max, uint32_t *count, char *why)
{
	size_t digits = strspn(value, "0123456789");
	unsigned long n = digits && digits < 9 && !value[digits] ? strtoul(value, NULL, 10) : 0;

	if (n < 1 || n > max)
		return wrong(why, "'%s' is not a number from 1 to %lu", value, max);
	*count = n;
	return 0;
}

static int set_max_handshakes(struct port_config *port, const char *value, char *why)
{
	return set_count(value, HANDSHAKES_MAX, &port->max_handshakes, why);
}

static int set_max_handshakes_per_source(struct port_config *port, const char *value, char *why)
{
	return set_count(value, HANDSHAKES_MAX, &port->max_handshakes_per_source, why);
}

static int set_rate(const char *value, uint32_t *rate, char *why)
{
	uint32_t count = 0;

	if (strcmp(value, "off") && set_count(value, HANDSHAKES_MAX, &count, why))
		return wrong(why, "'%s' is not a number from 1 to %d, or off", value,
			     HANDSHAKES_MAX);
	*rate = count;
	return 0;
}

static int set_max_handshake_rate(struct port_config *port, const char *value, char *why)
{
	return set_rate(value, &port->max_handshake_rate, why);
}

static int set_max_handshake_rate_per_source(struct port_config *port, const char *value, char *why)
{
	return set_rate(value, &port->max_handshake_rate_per_source, why);
}

static int set_key_limit(struct port_config *port, const char *value, char *why)
{
	return set_count(value, KEY_LIMIT_MAX, &port->key_limit, why);
}

static int set_resumption(struct port_config *port, const char *value, char *why)
{
	return set_switch(value, &port->resumption, why);
}

static int set_ticket_keys(struct port_config *port, const char *value, char *why)
{
	return set_path(value, &port->ticket_keys, why);
}

static const char *const client_auths[] = {
	[CLIENT_AUTH_NONE] = "none",
	[CLIENT_AUTH_REQUEST] = "request",
	[CLIENT_AUTH_REQUIRE] = "require",
};

const char *port_client_auth_name(enum port_client_auth client_auth)
{
	return client_auths[client_auth];
}

static int set_client_auth(struct port_config *port, const char *value, char *why)
{
	return set_number(value, client_auths, ITEMS(client_auths), &port->client_auth, why);
}

static int set_client_ca(struct port_config *port, const char *value, char *why)
{
	return set_path(value, &port->client_ca, why);
}

static int set_client_crl(struct port_config *port, const char *value, char *why)
{
	return set_path(value, &port->client_crl, why);
}

static int set_client_depth(struct port_config *port, const char *value, char *why)
{
	return set_count(value, CLIENT_DEPTH_MAX, &port->client_depth, why);
}

static int set_proxy_protocol(struct port_config *port, const char *value, char *why)
{
	static const char *const words[] = { "off", "v2" };
	int i = choose(value, words, ITEMS(words), why);

	if (i < 0)
		return -1;
	port->proxy_protocol = i ? 2 : 0;
	return 0;
}

static int set_zerocopy(struct port_config *port, const char *value, char *why)
{
	return set_switch(value, &port->zerocopy, why);
}

static int set_offload(struct port_config *port, const char *value, char *why)
{
	static const char *const words[] = {
		[TLSPORT_OFFLOAD_AUTO] = "auto",
		[TLSPORT_OFFLOAD_OFF] = "off",
		[TLSPORT_OFFLOAD_REQUIRE] = "require",
	};

	return set_number(value, words, ITEMS(words), &port->offload, why);
}

static int set_offload_tls13(struct port_config *port, const char *value, char *why)
{
	static const char *const words[] = { "negotiate-1.2", "refuse" };
	int i = choose(value, words, ITEMS(words), why);

	if (i < 0)
		return -1;
	port->offload_refuse_tls13 = i;
	return 0;
}

const struct port_key port_keys[PORT_KEYS] = {
	{ "cert", set_cert, false, true },
	{ "key", set_key, false, true },
	{ "passphrase", set_passphrase, false, true },
	{ "cert-dir", set_cert_dir, false, true },
	{ "address", set_address, false, false },
	{ "strict-sni", set_strict_sni, false, false },
	{ "ocsp", set_ocsp, false, false },
	{ "profile", set_profile, false, false },
	{ "min-version", set_min_version, false, false },
	{ "max-version", set_max_version, false, false },
	{ "ciphers", set_ciphers, true, false },
	{ "groups", set_groups, true, false },
	{ "prefer-server-ciphers", set_prefer_server_ciphers, false, false },
	{ "alpn", set_alpn, true, false },
	{ "plaintext", set_plaintext, false, false },
	{ "truncation", set_truncation, false, false },
	{ "handshake-timeout", set_handshake_timeout, false, false },
	{ "max-handshakes", set_max_handshakes, false, false },
	{ "max-handshakes-per-source", set_max_handshakes_per_source, false, false },
	{ "max-handshake-rate", set_max_handshake_rate, false, false },
	{ "max-handshake-rate-per-source", set_max_handshake_rate_per_source, false, false },
	{ "key-limit", set_key_limit, false, false },
	{ "resumption", set_resumption, false, false },
	{ "ticket-keys", set_ticket_keys, false, true },
	{ "client-auth", set_client_auth, false, false },
	{ "client-ca", set_client_ca, false, true },
	{ "client-crl", set_client_crl, false, true },
	{ "client-depth", set_client_depth, false, false },
	{ "proxy-protocol", set_proxy_protocol, false, false },
	{ "offload", set_offload, false, false },
	{ "offload-tls13", set_offload_tls13, false, false },
	{ "zerocopy", set_zerocopy, false, false },
};

int port_key_index(const char *name)
{
	for (int i = 0; i < PORT_KEYS; i++)
		if (!strcmp(port_keys[i].name, name))
			return i;
	return -1;
}

bool port_config_has(const struct port_config *port, const char *key)
{
	return port->given & 1ull << port_key_index(key);
}

unsigned int port_config_line(const struct port_config *port, const char *key)
{
	int index = port_key_index(key);

	return index >= 0 && port->lines[index] ? port->lines[index] : port->line;
}

void port_config_init(struct port_config *port, uint16_t number)
{
	*port = (struct port_config){
		.port = number,
		.profile = PROFILE_INTERMEDIATE,
		.ocsp = OCSP_FILE,
		.min_version = TLS_1_2,
		.max_version = TLS_1_3,
		.truncation = TLSPORT_TRUNCATION_STRICT,
		.handshake_timeout = 10000,
		.max_handshakes = 4096,
		.max_handshakes_per_source = 1024,
		.key_limit = KEY_LIMIT_MAX,
		.resumption = true,
		.client_depth = 4,
		.offload = TLSPORT_OFFLOAD_AUTO,
	};
}

int port_config_set(struct port_config *port, int key, const char *value, char *why)
{
	char reason[PORT_CONFIG_ERROR_LEN];

	port->given |= 1ull << key;
	if (!port_keys[key].set(port, value, reason))
		return 0;
	return wrong(why, "%s: %s", port_keys[key].name, reason);
}

/* SP 800-52: no ChaCha20, and of the curves those of NIST */
static bool profile_has_suite(enum port_profile profile, const struct tls_suite *suite)
{
	return profile != PROFILE_FIPS || suite->aead != AEAD_CHACHA20_POLY1305;
}

static bool profile_has_group(enum port_profile profile, uint16_t group)
{
	return profile != PROFILE_FIPS || group == GROUP_SECP256R1 || group == GROUP_SECP384R1;
}

static void fill_in(struct port_config *port)
{
	enum port_profile profile = port->profile;

	if ((profile == PROFILE_MODERN || profile == PROFILE_STRICT) &&
	    !port_config_has(port, "min-version"))
		port->min_version = TLS_1_3;
	if (!port_config_has(port, "ciphers")) {
		port->suite_count = 0;
		for (size_t i = 0; i < TLS_SUITES; i++)
			if (profile_has_suite(profile, &tls_suites[i]))
				port->suites[port->suite_count++] = tls_suites[i].id;
	}
	if (!port_config_has(port, "groups")) {
		port->group_count = 0;
		for (size_t i = 0; i < TLS_GROUPS; i++)
			if (profile_has_group(profile, groups[i].group))
				port->groups[port->group_count++] = groups[i].group;
	}
}

static bool has_suite_of(const struct port_config *port, uint16_t version)
{
	for (size_t i = 0; i < port->suite_count; i++)
		if (tls_suite_by_id(port->suites[i])->version == version)
			return true;
	return false;
}

/* X25519MLKEM768 is for TLS 1.3 alone. */
static bool has_group_of(const struct port_config *port, uint16_t version)
{
	for (size_t i = 0; i < port->group_count; i++)
		if (version == TLS_1_3 || port->groups[i] != GROUP_X25519MLKEM768)
			return true;
	return false;
}

/* What leaves nothing to speak a version with, NULL: nothing does */
static const char *who_lacks(const struct port_config *port, uint16_t version)
{
	if (port->suite_count && !has_suite_of(port, version))
		return "ciphers has no suite";
	return port->group_count && !has_group_of(port, version) ? "groups has no group" : NULL;
}

/* Whose wish it is that a version is spoken, NULL: nobody has said so */
static const char *who_asks_for(const struct port_config *port, uint16_t version)
{
	if (port->min_version == version && port_config_has(port, "min-version"))
		return "min-version";
	if (port->max_version == version && port_config_has(port, "max-version"))
		return "max-version";
	return port->min_version == version && version == TLS_1_3 ? "the profile" : NULL;
}

/*
 * A version without a suite, or a group, falls away: it would be chosen with clients that
 * speak it, and they be refused, though they speak the other one, too.
 */
static int finish_versions(struct port_config *port, char *why)
{
	if (port->min_version > port->max_version)
		return wrong(why,
			     port_config_has(port, "min-version") ?
				     "min-version is above max-version" :
				     "max-version is below TLS 1.3, which the profile asks for");
	for (uint16_t version = TLS_1_2; version <= TLS_1_3; version++) {
		const char *who = who_asks_for(port, version), *lacks = who_lacks(port, version);

		if (version < port->min_version || version > port->max_version || !lacks)
			continue;
		if (who)
			return wrong(why, "%s of TLS %s, which %s asks for", lacks,
				     tls_version_name(version), who);
		port->unspoken = version;
		if (version == TLS_1_2)
			port->min_version = TLS_1_3;
		else
			port->max_version = TLS_1_2;
	}
	return 0;
}

bool port_config_note(const struct port_config *port, char *text, size_t len)
{
	if (!port->unspoken)
		return false;
	snprintf(text, len, "TLS %s is not spoken: %s of it", tls_version_name(port->unspoken),
		 who_lacks(port, port->unspoken));
	return true;
}

/* IPv4 mapped, too.  What else than "there is no such address" goes wrong says nothing of it. */
static bool is_here(const struct in6_addr *address)
{
	struct sockaddr_in ip4 = { .sin_family = AF_INET };
	struct sockaddr_in6 ip6 = { .sin6_family = AF_INET6, .sin6_addr = *address };
	bool mapped = IN6_IS_ADDR_V4MAPPED(address), here = true;
	int fd;

	fd = socket(mapped ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true;
	memcpy(&ip4.sin_addr, address->s6_addr + 12, sizeof(ip4.sin_addr));
	if (bind(fd, mapped ? (struct sockaddr *)&ip4 : (struct sockaddr *)&ip6,
		 mapped ? sizeof(ip4) : sizeof(ip6)))
		here = errno != EADDRNOTAVAIL;
	close(fd);
	return here;
}

void port_address_text(const struct in6_addr *address, char text[INET6_ADDRSTRLEN])
{
	bool mapped = IN6_IS_ADDR_V4MAPPED(address);

	inet_ntop(mapped ? AF_INET : AF_INET6, address->s6_addr + (mapped ? 12 : 0), text,
		  INET6_ADDRSTRLEN);
}

bool port_config_absent(const struct port_config *port, char *text, size_t len)
{
	char name[INET6_ADDRSTRLEN];
	size_t used = 0;

	for (size_t i = 0; i < port->address_count; i++) {
		if (is_here(&port->addresses[i]))
			continue;
		port_address_text(&port->addresses[i], name);
		used += snprintf(text + used, len - used, "%s%s", used ? ", " : "", name);
		if (used >= len)
			break;
	}
	return used;
}

/* A certificate that is proven in each handshake, so that its end and its revocation count. */
static int finish_client_auth(struct port_config *port, char *why)
{
	static const char *const others[] = { "client-ca", "client-crl", "client-depth" };

	if (port->client_auth == CLIENT_AUTH_NONE) {
		for (size_t i = 0; i < ITEMS(others); i++)
			if (port_config_has(port, others[i]))
				return wrong(
					why,
					"%s does nothing without client-auth = request or require",
					others[i]);
		return 0;
	}
	if (!port->client_ca)
		return wrong(
			why,
			"client-auth needs client-ca, the file of the certificate authorities of clients");
	if (port_config_has(port, "resumption") && port->resumption)
		return wrong(
			why,
			"resumption = on does not go with client-auth: a certificate is proven in each handshake");
	port->resumption = false;
	return 0;
}

/* What was given for nothing was given by mistake. */
static int refuse_idle_keys(const struct port_config *port, char *why)
{
	if (port_config_has(port, "ticket-keys") && !port->resumption)
		return wrong(why, "ticket-keys does nothing %s",
			     port->client_auth == CLIENT_AUTH_NONE ?
				     "with resumption = off" :
				     "with client-auth: there is no resumption");
	if (port_config_has(port, "offload-tls13") && port->offload != TLSPORT_OFFLOAD_REQUIRE)
		return wrong(why, "offload-tls13 does nothing without offload = require");
	if (port_config_has(port, "offload-tls13") && port->max_version == TLS_1_2)
		return wrong(why, "offload-tls13 does nothing with max-version = 1.2");
	if (port->zerocopy && port->offload == TLSPORT_OFFLOAD_OFF)
		return wrong(why, "zerocopy = on does nothing with offload = off");
	return 0;
}

static int finish_offload(const struct port_config *port, char *why)
{
	if (port->offload != TLSPORT_OFFLOAD_REQUIRE || port->min_version != TLS_1_3)
		return 0;
	return wrong(
		why,
		"offload = require leaves no TLS version with %s: the kernel offloads TLS 1.2 only",
		!port->unspoken			   ? "min-version 1.3" :
		has_suite_of(port, port->unspoken) ? "groups of TLS 1.3 alone" :
						     "ciphers of TLS 1.3 alone");
}

int port_config_finish(struct port_config *port, char *why)
{
	fill_in(port);
	if (!finish_client_auth(port, why) && !refuse_idle_keys(port, why) &&
	    !finish_versions(port, why) && !finish_offload(port, why))
		return 0;
	/* To keep it shut the kernel has to take it, whatever else is wrong. */
	if (port->min_version > port->max_version)
		port->min_version = port->max_version;
	if (port->min_version == TLS_1_3 && port->offload == TLSPORT_OFFLOAD_REQUIRE)
		port->offload = TLSPORT_OFFLOAD_AUTO;
	return -1;
}

static int copy_text(char **text)
{
	if (!*text)
		return 0;
	*text = strdup(*text);
	return *text ? 0 : -1;
}

int port_config_copy(const struct port_config *port, struct port_config *copy)
{
	int err = 0;

	*copy = *port;
	err |= copy_text(&copy->file);
	err |= copy_text(&copy->cert);
	err |= copy_text(&copy->key);
	err |= copy_text(&copy->passphrase);
	err |= copy_text(&copy->cert_dir);
	err |= copy_text(&copy->ticket_keys);
	err |= copy_text(&copy->client_ca);
	err |= copy_text(&copy->client_crl);
	if (err)
		port_config_free(copy);
	return err ? -1 : 0;
}

void port_config_free(struct port_config *port)
{
	free(port->file);
	free(port->cert);
	free(port->key);
	free(port->passphrase);
	free(port->cert_dir);
	free(port->ticket_keys);
	free(port->client_ca);
	free(port->client_crl);
	memset(port, 0, sizeof(*port));
}

uint16_t port_config_max_version(const struct port_config *port)
{
	return port->offload == TLSPORT_OFFLOAD_REQUIRE && !port->offload_refuse_tls13 ?
		       TLS_1_2 :
		       port->max_version;
}

struct tlsport_nl_policy port_config_policy(const struct port_config *port)
{
	return (struct tlsport_nl_policy){
		.given = TLSPORT_NL_POLICY_ALL,
		.min_version = port->min_version,
		.max_version = port_config_max_version(port),
		.truncation = port->truncation,
		.handshake_timeout = port->handshake_timeout,
		.max_handshakes = port->max_handshakes,
		.max_handshakes_per_source = port->max_handshakes_per_source,
		.key_limit = port->key_limit,
		.offload = port->offload,
		.zerocopy = port->zerocopy,
		.max_handshake_rate_per_source = port->max_handshake_rate_per_source,
		.max_handshake_rate = port->max_handshake_rate,
	};
}

bool port_config_widen(struct tlsport_nl_policy *policy, const struct tlsport_nl_policy *old)
{
	const struct tlsport_nl_policy next = *policy;

	if (old->min_version < policy->min_version)
		policy->min_version = old->min_version;
	if (old->max_version > policy->max_version)
		policy->max_version = old->max_version;
	if (policy->offload == TLSPORT_OFFLOAD_REQUIRE)
		policy->offload = old->offload;
	return policy->min_version != next.min_version || policy->max_version != next.max_version ||
	       policy->offload != next.offload;
}
