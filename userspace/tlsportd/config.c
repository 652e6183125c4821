// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the configuration (see config.h).  Goes on behind an error so that all
 * of them are told at once.
 *
 * inih splits the lines; its limit of 200 bytes a line, compiled into the
 * library, would not hold a list of all ciphers, so long lines are given to it
 * in pieces, as continuation lines, and put together again.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <linux/tlsport.h>

#include "config.h"

#define TIMEOUT_MIN_MS 100
#define TIMEOUT_MAX_MS 600000
#define HANDSHAKES_MAX 1000000
#define KEY_LIMIT_MAX  16777216
#define LINE_MAX_LEN   4096

/**
 * struct reader - one file that is being read
 * @default_port: of keys before the first section; 0: there is none
 * @line: number of the line that inih has
 * @rest: what inih did not get yet of a long line
 * @piece: inih has a further piece of a long line
 * @port: index of the section's port + 1; 0: no section, or one to be skipped
 * @last_key: key of the line before, for continuation lines
 */
struct reader {
	struct config *config;
	struct text *errors;
	const char *file;
	FILE *stream;
	unsigned int default_port;
	unsigned int line;
	char buffer[LINE_MAX_LEN];
	char *rest;
	bool piece;
	bool indented;
	bool skip;
	size_t port;
	int last_key;
	char value[LINE_MAX_LEN];
};

static int complain(struct reader *reader, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int complain(struct reader *reader, const char *fmt, ...)
{
	char message[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	text_add(reader->errors, "%s:%u: %s\n", reader->file, reader->line, message);
	if (reader->port)
		reader->config->ports[reader->port - 1].broken = true;
	return -1;
}

static const struct {
	const char *name;
	uint16_t group;
} groups[TLS_GROUPS] = {
	{ "X25519MLKEM768", GROUP_X25519MLKEM768 },
	{ "X25519", GROUP_X25519 },
	{ "P-256", GROUP_SECP256R1 },
	{ "P-384", GROUP_SECP384R1 },
};

static const struct {
	const char *name;
	uint16_t group;
} group_aliases[] = {
	{ "x25519", GROUP_X25519 },
	{ "secp256r1", GROUP_SECP256R1 },
	{ "prime256v1", GROUP_SECP256R1 },
	{ "secp384r1", GROUP_SECP384R1 },
};

static int set_path(struct reader *reader, const char *key, const char *value, char **path)
{
	if (value[0] != '/')
		return complain(reader, "%s: '%s' is not an absolute file name", key, value);
	free(*path);
	*path = strdup(value);
	return *path ? 0 : complain(reader, "out of memory");
}

static int set_cert(struct reader *reader, struct port_config *port, const char *value)
{
	return set_path(reader, "cert", value, &port->cert);
}

static int set_key(struct reader *reader, struct port_config *port, const char *value)
{
	return set_path(reader, "key", value, &port->key);
}

static int set_version(struct reader *reader, const char *key, const char *value, uint16_t *version)
{
	if (!strcmp(value, "1.2"))
		*version = TLS_1_2;
	else if (!strcmp(value, "1.3"))
		*version = TLS_1_3;
	else
		return complain(reader, "%s: '%s' is not 1.2 or 1.3", key, value);
	return 0;
}

static int set_min_version(struct reader *reader, struct port_config *port, const char *value)
{
	return set_version(reader, "min-version", value, &port->min_version);
}

static int set_max_version(struct reader *reader, struct port_config *port, const char *value)
{
	return set_version(reader, "max-version", value, &port->max_version);
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

static int unknown_cipher(struct reader *reader, const char *name, size_t len)
{
	char allowed[768] = "";

	for (size_t i = 0; i < TLS_SUITES; i++) {
		strcat(allowed, i ? ", " : "");
		strcat(allowed, tls_suites[i].openssl);
	}
	return complain(reader, "ciphers: '%.*s' is not one of %s (or their IANA names)", (int)len,
			name, allowed);
}

static int set_ciphers(struct reader *reader, struct port_config *port, const char *value)
{
	size_t len;

	port->suite_count = 0;
	for (;; value += len + 1) {
		const struct tls_suite *suite;

		len = strcspn(value, ":");
		suite = tls_suite_by_name(value, len);
		if (!suite)
			return unknown_cipher(reader, value, len);
		if (add_once(port->suites, &port->suite_count, suite->id))
			return complain(reader, "ciphers: %s is there twice", suite->openssl);
		if (!value[len])
			return 0;
	}
}

static uint16_t group_by_name(const char *name, size_t len)
{
	for (size_t i = 0; i < TLS_GROUPS; i++)
		if (strlen(groups[i].name) == len && !strncasecmp(groups[i].name, name, len))
			return groups[i].group;
	for (size_t i = 0; i < sizeof(group_aliases) / sizeof(group_aliases[0]); i++)
		if (strlen(group_aliases[i].name) == len &&
		    !strncasecmp(group_aliases[i].name, name, len))
			return group_aliases[i].group;
	return 0;
}

const char *config_group_name(uint16_t group)
{
	for (size_t i = 0; i < TLS_GROUPS; i++)
		if (groups[i].group == group)
			return groups[i].name;
	return NULL;
}

static int set_groups(struct reader *reader, struct port_config *port, const char *value)
{
	size_t len;

	port->group_count = 0;
	port->groups_chosen = true;
	for (;; value += len + 1) {
		uint16_t group;

		len = strcspn(value, ":");
		group = group_by_name(value, len);
		if (!group)
			return complain(
				reader,
				"groups: '%.*s' is not one of X25519MLKEM768, X25519, P-256, P-384",
				(int)len, value);
		if (add_once(port->groups, &port->group_count, group))
			return complain(reader, "groups: '%.*s' is there twice", (int)len, value);
		if (!value[len])
			return 0;
	}
}

/* A ',' is what wolfSSL has between names. */
static int set_alpn(struct reader *reader, struct port_config *port, const char *value)
{
	struct tls_alpn *alpn = &port->alpn;
	size_t len;

	alpn->len = 0;
	for (;; value += len + 1) {
		len = strcspn(value, ":");
		if (!len || len > 255 || strcspn(value, " \t,") < len)
			return complain(
				reader,
				"alpn: '%.*s' is not a name of a protocol, such as h2 or http/1.1",
				(int)len, value);
		if (alpn->len + 1 + len > sizeof(alpn->list))
			return complain(reader, "alpn: the names are too long together");
		alpn->list[alpn->len] = len;
		memcpy(alpn->list + alpn->len + 1, value, len);
		alpn->len += 1 + len;
		if (!value[len])
			return 0;
	}
}

static int set_truncation(struct reader *reader, struct port_config *port, const char *value)
{
	if (!strcmp(value, "strict"))
		port->truncation = TLSPORT_TRUNCATION_STRICT;
	else if (!strcmp(value, "tolerate"))
		port->truncation = TLSPORT_TRUNCATION_TOLERATE;
	else
		return complain(reader, "truncation: '%s' is not strict or tolerate", value);
	return 0;
}

static int set_handshake_timeout(struct reader *reader, struct port_config *port, const char *value)
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
		return complain(
			reader,
			"handshake-timeout: '%s' is not a time from 0.1 to 600 seconds (\"10\", \"2.5s\", \"500ms\")",
			value);
	port->handshake_timeout = ms + 0.5;
	return 0;
}

static int set_count(struct reader *reader, const char *key, const char *value, unsigned long max,
		     uint32_t *count)
{
	size_t digits = strspn(value, "0123456789");
	unsigned long n = digits && digits < 9 && !value[digits] ? strtoul(value, NULL, 10) : 0;

	if (n < 1 || n > max)
		return complain(reader, "%s: '%s' is not a number from 1 to %lu", key, value, max);
	*count = n;
	return 0;
}

static int set_max_handshakes(struct reader *reader, struct port_config *port, const char *value)
{
	return set_count(reader, "max-handshakes", value, HANDSHAKES_MAX, &port->max_handshakes);
}

static int set_max_handshakes_per_source(struct reader *reader, struct port_config *port,
					 const char *value)
{
	return set_count(reader, "max-handshakes-per-source", value, HANDSHAKES_MAX,
			 &port->max_handshakes_per_source);
}

static int set_key_limit(struct reader *reader, struct port_config *port, const char *value)
{
	return set_count(reader, "key-limit", value, KEY_LIMIT_MAX, &port->key_limit);
}

static int set_switch(struct reader *reader, const char *key, const char *value, bool *on)
{
	if (strcmp(value, "on") && strcmp(value, "off"))
		return complain(reader, "%s: '%s' is not on or off", key, value);
	*on = !strcmp(value, "on");
	return 0;
}

static int set_resumption(struct reader *reader, struct port_config *port, const char *value)
{
	return set_switch(reader, "resumption", value, &port->resumption);
}

static int set_zerocopy(struct reader *reader, struct port_config *port, const char *value)
{
	return set_switch(reader, "zerocopy", value, &port->zerocopy);
}

static int set_offload(struct reader *reader, struct port_config *port, const char *value)
{
	if (!strcmp(value, "auto"))
		port->offload = TLSPORT_OFFLOAD_AUTO;
	else if (!strcmp(value, "off"))
		port->offload = TLSPORT_OFFLOAD_OFF;
	else if (!strcmp(value, "require"))
		port->offload = TLSPORT_OFFLOAD_REQUIRE;
	else
		return complain(reader, "offload: '%s' is not auto, off or require", value);
	return 0;
}

static int set_offload_tls13(struct reader *reader, struct port_config *port, const char *value)
{
	if (strcmp(value, "negotiate-1.2") && strcmp(value, "refuse"))
		return complain(reader, "offload-tls13: '%s' is not negotiate-1.2 or refuse",
				value);
	port->offload_refuse_tls13 = !strcmp(value, "refuse");
	return 0;
}

static const struct {
	const char *name;
	int (*set)(struct reader *reader, struct port_config *port, const char *value);
	bool list; /* may go on in the next line */
} keys[] = {
	{ "cert", set_cert, false },
	{ "key", set_key, false },
	{ "min-version", set_min_version, false },
	{ "max-version", set_max_version, false },
	{ "ciphers", set_ciphers, true },
	{ "groups", set_groups, true },
	{ "alpn", set_alpn, true },
	{ "truncation", set_truncation, false },
	{ "handshake-timeout", set_handshake_timeout, false },
	{ "max-handshakes", set_max_handshakes, false },
	{ "max-handshakes-per-source", set_max_handshakes_per_source, false },
	{ "key-limit", set_key_limit, false },
	{ "resumption", set_resumption, false },
	{ "offload", set_offload, false },
	{ "offload-tls13", set_offload_tls13, false },
	{ "zerocopy", set_zerocopy, false },
};

#define KEYS ((int)(sizeof(keys) / sizeof(keys[0])))

static int key_by_name(const char *name)
{
	for (int i = 0; i < KEYS; i++)
		if (!strcmp(keys[i].name, name))
			return i;
	return -1;
}

static int unknown_key(struct reader *reader, const char *name)
{
	char allowed[256] = "";

	for (int i = 0; i < KEYS; i++) {
		strcat(allowed, i ? ", " : "");
		strcat(allowed, keys[i].name);
	}
	return complain(reader, "unknown key '%s'; allowed are %s", name, allowed);
}

/* "0" and what is no number of a port: 0. */
static unsigned int port_number(const char *text, size_t len)
{
	unsigned int port = 0;

	if (!len || len > 5 || text[0] == '0')
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)text[i]))
			return 0;
		port = port * 10 + text[i] - '0';
	}
	return port > 65535 ? 0 : port;
}

static void set_defaults(struct port_config *port)
{
	port->min_version = TLS_1_2;
	port->max_version = TLS_1_3;
	for (size_t i = 0; i < TLS_SUITES; i++)
		port->suites[port->suite_count++] = tls_suites[i].id;
	for (size_t i = 0; i < TLS_GROUPS; i++)
		port->groups[port->group_count++] = groups[i].group;
	port->truncation = TLSPORT_TRUNCATION_STRICT;
	port->handshake_timeout = 10000;
	port->max_handshakes = 4096;
	port->max_handshakes_per_source = 1024;
	port->key_limit = KEY_LIMIT_MAX;
	port->resumption = true;
	port->offload = TLSPORT_OFFLOAD_AUTO;
}

static int begin_port(struct reader *reader, unsigned int number)
{
	struct config *config = reader->config;
	struct port_config *ports;

	reader->port = 0;
	reader->skip = true;
	for (size_t i = 0; i < config->count; i++)
		if (config->ports[i].port == number)
			return complain(reader, "port %u is configured already, at %s:%u", number,
					config->ports[i].file, config->ports[i].line);
	ports = realloc(config->ports, (config->count + 1) * sizeof(*ports));
	if (!ports)
		return complain(reader, "out of memory");
	config->ports = ports;
	memset(&ports[config->count], 0, sizeof(*ports));
	ports[config->count].port = number;
	ports[config->count].file = strdup(reader->file);
	ports[config->count].line = reader->line ? reader->line : 1;
	if (!ports[config->count].file)
		return complain(reader, "out of memory");
	set_defaults(&ports[config->count]);
	reader->port = ++config->count;
	reader->skip = false;
	return 0;
}

/* A section line.  Here and not by inih, which does not tell of empty sections. */
static void begin_section(struct reader *reader, const char *line)
{
	size_t len = strcspn(line + 1, "]");
	const char *name = line + 1;
	unsigned int number;

	reader->last_key = -1;
	reader->port = 0;
	reader->skip = true;
	reader->default_port = 0;
	if (name[len] != ']')
		return; /* inih complains */
	number = len > 5 && !strncmp(name, "port ", 5) ? port_number(name + 5, len - 5) : 0;
	if (number)
		begin_port(reader, number);
	else
		complain(reader, "unknown section [%.*s]; allowed is [port N], N from 1 to 65535",
			 (int)len, name);
}

static bool can_break(const char *at)
{
	return (isalnum((unsigned char)at[-1]) || strchr(":/._-", at[-1])) &&
	       (isalnum((unsigned char)at[0]) || strchr("/._-", at[0]));
}

/* Comments must not be broken: their second piece would be taken for a value. */
static void cut_comment(char *line)
{
	char *at = line + strspn(line, " \t");

	if (*at == ';' || *at == '#') {
		*line = '\0';
		return;
	}
	for (; *at; at++) {
		if (*at == ';' && at > line && isspace((unsigned char)at[-1])) {
			*at = '\0';
			return;
		}
	}
}

/* inih's reader: like fgets(), but counts lines and breaks long ones. */
static char *read_line(char *to, int size, void *arg)
{
	struct reader *reader = arg;
	int room = size - 2; /* line feed and NUL */
	char *from;
	int len;

	reader->piece = reader->rest != NULL;
	if (!reader->rest) {
		if (!fgets(reader->buffer, sizeof(reader->buffer), reader->stream))
			return NULL;
		reader->line++;
		reader->buffer[strcspn(reader->buffer, "\r\n")] = '\0';
		reader->rest = reader->buffer;
		cut_comment(reader->buffer);
		reader->indented = isspace((unsigned char)reader->buffer[0]);
		if (reader->buffer[0] == '[')
			begin_section(reader, reader->buffer);
	} else {
		*to++ = ' '; /* makes it a continuation */
		room--;
	}
	from = reader->rest;
	len = strlen(from);
	if (len > room) {
		for (len = room; len > 1 && !can_break(from + len); len--)
			;
		if (len == 1) {
			complain(reader, "the line is too long");
			reader->rest = NULL;
			strcpy(to, "\n");
			return to;
		}
		reader->rest = from + len;
	} else {
		reader->rest = NULL;
	}
	memcpy(to, from, len);
	strcpy(to + len, "\n");
	return to;
}

static void apply(struct reader *reader, int key)
{
	struct port_config *port = &reader->config->ports[reader->port - 1];
	size_t len = strlen(reader->value);

	/* It may go on in the next line, and is then set again. */
	if (keys[key].list && len > 1 && reader->value[len - 1] == ':')
		reader->value[len - 1] = '\0';
	/* What follows a broken value in its next line is not judged again. */
	if (keys[key].set(reader, port, reader->value))
		reader->last_key = -1;
}

static void append(struct reader *reader, const char *separator, const char *value)
{
	size_t len = strlen(reader->value);

	snprintf(reader->value + len, sizeof(reader->value) - len, "%s%s", separator, value);
}

/* inih's handler.  Always 1: errors are kept here, with more than a line number. */
static int on_value(void *arg, const char *section, const char *name, const char *value)
{
	struct reader *reader = arg;
	struct port_config *port;
	int key;

	(void)section;
	if (!reader->port && reader->default_port) {
		unsigned int number = reader->default_port;

		reader->default_port = 0;
		begin_port(reader, number);
	}
	if (reader->skip)
		return 1;
	if (!reader->port) {
		complain(reader, "'%s' outside a section; begin with [port N]", name);
		return 1;
	}
	port = &reader->config->ports[reader->port - 1];
	key = key_by_name(name);
	if (reader->piece || (reader->indented && key == reader->last_key && key >= 0)) {
		if (reader->last_key < 0)
			return 1;
		if (!reader->piece && !keys[key].list) {
			complain(
				reader,
				"an indented line goes on the one before, but %s has no second line",
				name);
			return 1;
		}
		append(reader, reader->piece || value[0] == ':' ? "" : ":", value);
	} else {
		reader->last_key = key;
		if (key < 0) {
			unknown_key(reader, name);
			return 1;
		}
		if (port->given & 1u << key) {
			complain(reader, "%s is given twice", name);
			reader->last_key = -1;
			return 1;
		}
		port->given |= 1u << key;
		snprintf(reader->value, sizeof(reader->value), "%s", value);
	}
	if (!reader->rest)
		apply(reader, key);
	return 1;
}

static void load_file(struct config *config, const char *path, bool optional,
		      unsigned int default_port, struct text *errors)
{
	struct reader reader = {
		.config = config,
		.errors = errors,
		.file = path,
		.default_port = default_port,
		.last_key = -1,
	};
	size_t before = errors->len, first = config->count;
	int line;

	reader.stream = fopen(path, "re");
	if (!reader.stream) {
		if (optional && errno == ENOENT)
			return;
		text_add(errors, "%s: %s\n", path, strerror(errno));
		if (default_port && !begin_port(&reader, default_port))
			config->ports[config->count - 1].broken = true;
		return;
	}
	line = ini_parse_stream(read_line, &reader, on_value, &reader);
	if (ferror(reader.stream))
		text_add(errors, "%s: %s\n", path, strerror(errno ? errno : EIO));
	else if (line > 0 && errors->len == before)
		text_add(errors,
			 "%s:%d: not a section [port N], not \"key = value\", not a comment\n",
			 path, line);
	else if (line < 0)
		text_add(errors, "%s: cannot be read\n", path);
	if (reader.default_port) {
		/* Whatever is in it, the file stands for its port. */
		reader.line = 1;
		begin_port(&reader, reader.default_port);
	}
	/* A line that could not be split may have belonged to any of them. */
	for (size_t i = first; line && i < config->count; i++)
		config->ports[i].broken = true;
	fclose(reader.stream);
}

static int is_conf(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > 5 && !strcmp(entry->d_name + len - 5, ".conf");
}

static bool hidden_by(const char *run_dir, const char *name)
{
	char path[PATH_MAX];
	FILE *file;

	if (!run_dir)
		return false;
	snprintf(path, sizeof(path), "%s/ports.d/%s", run_dir, name);
	file = fopen(path, "re");
	if (!file)
		return errno != ENOENT;
	fclose(file);
	return true;
}

/* @hider: directory whose files of the same name go before these */
static void load_directory(struct config *config, const char *dir, const char *hider,
			   struct text *errors)
{
	char path[PATH_MAX];
	struct dirent **entries;
	int count;

	snprintf(path, sizeof(path), "%s/ports.d", dir);
	count = scandir(path, &entries, is_conf, alphasort);
	if (count < 0) {
		if (errno != ENOENT)
			text_add(errors, "%s: %s\n", path, strerror(errno));
		return;
	}
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;

		if (!hidden_by(hider, name)) {
			snprintf(path, sizeof(path), "%s/ports.d/%s", dir, name);
			load_file(config, path, true, port_number(name, strlen(name) - 5), errors);
		}
		free(entries[i]);
	}
	free(entries);
}

static void check_ports(struct config *config, struct text *errors)
{
	for (size_t i = 0; i < config->count; i++) {
		struct port_config *port = &config->ports[i];

		if (!(port->given & 1u << key_by_name("cert"))) {
			text_add(errors, "%s:%u: port %u has no cert: add \"cert = FILE\"\n",
				 port->file, port->line, port->port);
			port->broken = true;
		}
		if (port->min_version > port->max_version) {
			text_add(errors, "%s:%u: port %u: min-version is above max-version\n",
				 port->file, port->line, port->port);
			port->broken = true;
			port->min_version = port->max_version;
		}
		if (port->offload == TLSPORT_OFFLOAD_REQUIRE && port->min_version == TLS_1_3) {
			text_add(
				errors,
				"%s:%u: port %u: offload = require leaves no TLS version with min-version 1.3: the kernel offloads TLS 1.2 only\n",
				port->file, port->line, port->port);
			port->broken = true;
			port->offload = TLSPORT_OFFLOAD_AUTO;
		}
	}
}

static int by_port(const void *a, const void *b)
{
	const struct port_config *left = a, *right = b;

	return left->port - right->port;
}

int config_load(const char *config_dir, const char *run_dir, struct config *config,
		struct text *errors)
{
	char path[PATH_MAX];

	memset(config, 0, sizeof(*config));
	snprintf(path, sizeof(path), "%s/tlsport.conf", config_dir);
	load_file(config, path, true, 0, errors);
	load_directory(config, config_dir, run_dir, errors);
	if (run_dir)
		load_directory(config, run_dir, NULL, errors);
	check_ports(config, errors);
	if (config->count)
		qsort(config->ports, config->count, sizeof(*config->ports), by_port);
	return errors->len ? -1 : 0;
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < config->count; i++) {
		free(config->ports[i].file);
		free(config->ports[i].cert);
		free(config->ports[i].key);
	}
	free(config->ports);
	memset(config, 0, sizeof(*config));
}

static int copy_text(char **text)
{
	if (*text)
		*text = strdup(*text);
	return *text ? 0 : -1;
}

int config_copy(const struct config *config, struct config *copy)
{
	int err = 0;

	memset(copy, 0, sizeof(*copy));
	copy->ports = calloc(config->count ? config->count : 1, sizeof(*copy->ports));
	if (!copy->ports)
		return -1;
	for (; copy->count < config->count && !err; copy->count++) {
		struct port_config *port = &copy->ports[copy->count];

		*port = config->ports[copy->count];
		err |= port->file && copy_text(&port->file);
		err |= port->cert && copy_text(&port->cert);
		err |= port->key && copy_text(&port->key);
	}
	if (err)
		config_free(copy);
	return err ? -1 : 0;
}

uint16_t config_max_version(const struct port_config *port)
{
	return port->offload == TLSPORT_OFFLOAD_REQUIRE && !port->offload_refuse_tls13 ?
		       TLS_1_2 :
		       port->max_version;
}

const struct port_config *config_find(const struct config *config, uint16_t port)
{
	const struct port_config key = { .port = port };

	return config->count ? bsearch(&key, config->ports, config->count, sizeof(key), by_port) :
			       NULL;
}
