// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The settings of a port: one table for the command line, the drop-ins and
 * what PORT_SET carries.  tlsportd checks again what it reads.
 */
#include "ctl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TIMEOUT_MIN_MS 100
#define TIMEOUT_MAX_MS 600000
#define HANDSHAKES_MAX 1000000
#define KEY_LIMIT_MAX  16777216

static bool valid_file(const char *value, char *why, size_t len)
{
	/* What inih would take for the end of the value, or for a comment. */
	if (strpbrk(value, "\r\n") || strstr(value, " ;") || value[0] == ' ' ||
	    value[strlen(value) - 1] == ' ') {
		snprintf(
			why, len,
			"a file name with a line break, ' ;' or blanks at its ends cannot be in a configuration file");
		return false;
	}
	return true;
}

static int version_number(const char *value)
{
	if (!strcmp(value, "1.2"))
		return 0x0303;
	return !strcmp(value, "1.3") ? 0x0304 : 0;
}

static bool valid_version(const char *value, char *why, size_t len)
{
	if (version_number(value))
		return true;
	snprintf(why, len, "'%s' is not 1.2 or 1.3", value);
	return false;
}

static bool valid_names(const char *value, char *why, size_t len)
{
	if (strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-:") ==
	    strlen(value))
		return true;
	snprintf(why, len, "'%s' is not a list of names with ':' between them", value);
	return false;
}

static bool valid_protocols(const char *value, char *why, size_t len)
{
	if (value[0] && !strpbrk(value, " \t,\r\n"))
		return true;
	snprintf(why, len,
		 "'%s' is not a list of protocols with ':' between them, such as h2:http/1.1",
		 value);
	return false;
}

static bool valid_truncation(const char *value, char *why, size_t len)
{
	if (!strcmp(value, "strict") || !strcmp(value, "tolerate"))
		return true;
	snprintf(why, len, "'%s' is not strict or tolerate", value);
	return false;
}

static bool valid_switch(const char *value, char *why, size_t len)
{
	if (!strcmp(value, "on") || !strcmp(value, "off"))
		return true;
	snprintf(why, len, "'%s' is not on or off", value);
	return false;
}

/* "10", "2.5s", "500ms" in milliseconds; 0: none of these, or out of range */
static uint32_t timeout_ms(const char *value)
{
	double number, ms = 0;
	char *end;

	if (!isdigit((unsigned char)value[0]) && value[0] != '.')
		return 0;
	number = strtod(value, &end);
	if (!strcasecmp(end, "ms"))
		ms = number;
	else if (!*end || !strcasecmp(end, "s"))
		ms = number * 1000;
	/* Also false for what is not a number. */
	return ms >= TIMEOUT_MIN_MS && ms <= TIMEOUT_MAX_MS ? ms + 0.5 : 0;
}

static bool valid_timeout(const char *value, char *why, size_t len)
{
	if (timeout_ms(value))
		return true;
	snprintf(why, len, "'%s' is not a time from 0.1 to 600 seconds (10, 2.5s, 500ms)", value);
	return false;
}

static bool valid_count(const char *value, long max, char *why, size_t len)
{
	if (strspn(value, "0123456789") == strlen(value) && strlen(value) < 9 && atol(value) >= 1 &&
	    atol(value) <= max)
		return true;
	snprintf(why, len, "'%s' is not a number from 1 to %ld", value, max);
	return false;
}

static bool valid_handshakes(const char *value, char *why, size_t len)
{
	return valid_count(value, HANDSHAKES_MAX, why, len);
}

static bool valid_key_limit(const char *value, char *why, size_t len)
{
	return valid_count(value, KEY_LIMIT_MAX, why, len);
}

static bool valid_offload(const char *value, char *why, size_t len)
{
	if (!strcmp(value, "auto") || !strcmp(value, "off") || !strcmp(value, "require"))
		return true;
	snprintf(why, len, "'%s' is not auto, off or require", value);
	return false;
}

static bool valid_offload_tls13(const char *value, char *why, size_t len)
{
	if (!strcmp(value, "negotiate-1.2") || !strcmp(value, "refuse"))
		return true;
	snprintf(why, len, "'%s' is not negotiate-1.2 or refuse", value);
	return false;
}

const struct setting settings[SETTING_COUNT] = {
	{ "cert", valid_file, 0 },
	{ "key", valid_file, 0 },
	{ "min-version", valid_version, TLSPORT_A_PORT_MIN_VERSION },
	{ "max-version", valid_version, TLSPORT_A_PORT_MAX_VERSION },
	{ "ciphers", valid_names, 0 },
	{ "groups", valid_names, 0 },
	{ "alpn", valid_protocols, 0 },
	{ "truncation", valid_truncation, TLSPORT_A_PORT_TRUNCATION },
	{ "handshake-timeout", valid_timeout, TLSPORT_A_PORT_HANDSHAKE_TIMEOUT },
	{ "max-handshakes", valid_handshakes, TLSPORT_A_PORT_MAX_HANDSHAKES },
	{ "max-handshakes-per-source", valid_handshakes, TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE },
	{ "key-limit", valid_key_limit, TLSPORT_A_PORT_KEY_LIMIT },
	{ "resumption", valid_switch, 0 },
	{ "offload", valid_offload, TLSPORT_A_PORT_OFFLOAD },
	{ "offload-tls13", valid_offload_tls13, 0 },
	{ "zerocopy", valid_switch, TLSPORT_A_PORT_ZEROCOPY },
};

int setting_index(const char *name)
{
	int i;

	for (i = 0; i < SETTING_COUNT; i++)
		if (!strcmp(settings[i].name, name))
			return i;
	return -1;
}

static bool is_set_to(const char *const values[], const char *name, const char *value)
{
	const char *found = values[setting_index(name)];

	return found && !strcmp(found, value);
}

bool settings_valid(const char *const values[], char *why, size_t len)
{
	const char *min = values[setting_index("min-version")];
	const char *max = values[setting_index("max-version")];
	char reason[CTL_ERROR_LEN];
	int i;

	for (i = 0; i < SETTING_COUNT; i++) {
		if (!values[i] || settings[i].valid(values[i], reason, sizeof(reason)))
			continue;
		snprintf(why, len, "%s: %s", settings[i].name, reason);
		return false;
	}
	if (min && max && version_number(min) > version_number(max)) {
		snprintf(why, len, "min-version %s is above max-version %s", min, max);
		return false;
	}
	if (is_set_to(values, "offload", "require") && is_set_to(values, "min-version", "1.3")) {
		snprintf(
			why, len,
			"offload require leaves no TLS version with min-version 1.3: the kernel offloads TLS 1.2 only");
		return false;
	}
	return true;
}

static uint8_t offload_mode(const char *value)
{
	if (!strcmp(value, "off"))
		return TLSPORT_OFFLOAD_OFF;
	return strcmp(value, "require") ? TLSPORT_OFFLOAD_AUTO : TLSPORT_OFFLOAD_REQUIRE;
}

/* As tlsportd does it: offload = require takes TLS 1.3 away, and another value gives it back. */
static void limit_version(const char *const values[], struct tlsport_nl_policy *policy)
{
	policy->given |= 1U << TLSPORT_A_PORT_MAX_VERSION;
	if (policy->offload == TLSPORT_OFFLOAD_REQUIRE &&
	    !is_set_to(values, "offload-tls13", "refuse"))
		policy->max_version = 0x0303;
	else if (!values[setting_index("max-version")])
		policy->max_version = 0x0304;
}

void settings_to_policy(const char *const values[], struct tlsport_nl_policy *policy)
{
	const char *value;
	int i;

	memset(policy, 0, sizeof(*policy));
	for (i = 0; i < SETTING_COUNT; i++) {
		value = values[i];
		if (!value || !settings[i].attribute)
			continue;
		policy->given |= 1U << settings[i].attribute;
		switch (settings[i].attribute) {
		case TLSPORT_A_PORT_MIN_VERSION:
			policy->min_version = version_number(value);
			break;
		case TLSPORT_A_PORT_MAX_VERSION:
			policy->max_version = version_number(value);
			break;
		case TLSPORT_A_PORT_TRUNCATION:
			policy->truncation = strcmp(value, "strict") ? TLSPORT_TRUNCATION_TOLERATE :
								       TLSPORT_TRUNCATION_STRICT;
			break;
		case TLSPORT_A_PORT_HANDSHAKE_TIMEOUT:
			policy->handshake_timeout = timeout_ms(value);
			break;
		case TLSPORT_A_PORT_MAX_HANDSHAKES:
			policy->max_handshakes = atol(value);
			break;
		case TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE:
			policy->max_handshakes_per_source = atol(value);
			break;
		case TLSPORT_A_PORT_KEY_LIMIT:
			policy->key_limit = atol(value);
			break;
		case TLSPORT_A_PORT_OFFLOAD:
			policy->offload = offload_mode(value);
			break;
		case TLSPORT_A_PORT_ZEROCOPY:
			policy->zerocopy = !strcmp(value, "on");
			break;
		}
	}
	if (values[setting_index("offload")])
		limit_version(values, policy);
}
