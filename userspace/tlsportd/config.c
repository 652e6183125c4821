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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/text_file.h"
#include "config.h"

/* Without its end and what is a comment in it */
#define LINE_MAX_LEN 4095

/**
 * struct reader - one file that is being read
 * @default_port: of keys before the first section; 0: there is none
 * @line: number of the line that inih has
 * @lines: that, of each piece that inih got: it counts these
 * @pieces: how many
 * @buffer: the line
 * @size: of that
 * @error: errno with which reading ended before the end of the file; 0: it did not
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
	unsigned int *lines;
	size_t pieces;
	char *buffer;
	size_t size;
	int error;
	char *rest;
	bool piece;
	bool indented;
	bool skip;
	size_t port;
	int last_key;
	char value[LINE_MAX_LEN + 1];
};

static int complain(struct reader *reader, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int complain(struct reader *reader, const char *fmt, ...)
{
	char message[PORT_CONFIG_ERROR_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	text_add(reader->errors, "%s:%u: %s\n", reader->file, reader->line, message);
	if (reader->port)
		reader->config->ports[reader->port - 1].broken = true;
	return -1;
}

static int unknown_key(struct reader *reader, const char *name)
{
	char allowed[PORT_CONFIG_ERROR_LEN / 2] = "";

	for (int i = 0; i < PORT_KEYS; i++) {
		strcat(allowed, i ? ", " : "");
		strcat(allowed, port_keys[i].name);
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
	port_config_init(&ports[config->count], number);
	ports[config->count].file = strdup(reader->file);
	ports[config->count].line = reader->line ? reader->line : 1;
	if (!ports[config->count].file)
		return complain(reader, "out of memory");
	reader->port = ++config->count;
	reader->skip = false;
	return 0;
}

/* Keys before the first section are of the port that the file is named after. */
static void begin_default_port(struct reader *reader)
{
	unsigned int number = reader->default_port;

	reader->default_port = 0;
	if (number)
		begin_port(reader, number);
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

/* Where inih would take one: with blanks before it, too, which would make it a value behind a key. */
static void take_section(struct reader *reader)
{
	const char *at = reader->buffer + strspn(reader->buffer, " \t\v\f");

	if (*at != '[')
		return;
	memmove(reader->buffer, at, strlen(at) + 1);
	begin_section(reader, reader->buffer);
}

static void remember_line(struct reader *reader)
{
	unsigned int *lines = realloc(reader->lines, (reader->pieces + 1) * sizeof(*reader->lines));

	if (!lines)
		return;
	reader->lines = lines;
	lines[reader->pieces++] = reader->line;
}

/* false: there is none */
static bool next_line(struct reader *reader)
{
	if (getline(&reader->buffer, &reader->size, reader->stream) < 0) {
		reader->error = feof(reader->stream) ? 0 : errno;
		return false;
	}
	/* inih skips it only where it gets the line as it is. */
	if (!reader->line++)
		text_file_skip_mark(reader->buffer);
	reader->buffer[strcspn(reader->buffer, "\r\n")] = '\0';
	cut_comment(reader->buffer);
	take_section(reader);
	if (strlen(reader->buffer) > LINE_MAX_LEN) {
		/* What is lost with it may be a key that the port must not be served without. */
		begin_default_port(reader);
		complain(reader, "the line is longer than %d bytes", LINE_MAX_LEN);
		reader->buffer[0] = '\0';
	}
	return true;
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
		if (!next_line(reader))
			return NULL;
		reader->rest = reader->buffer;
		reader->indented = isspace((unsigned char)reader->buffer[0]);
	} else {
		*to++ = ' '; /* makes it a continuation */
		room--;
	}
	remember_line(reader);
	from = reader->rest;
	len = strlen(from);
	if (len > room) {
		for (len = room; len > 1 && !can_break(from + len); len--)
			;
		if (len == 1) {
			begin_default_port(reader);
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
	char why[PORT_CONFIG_ERROR_LEN];

	/* It may go on in the next line, and is then set again. */
	if (port_keys[key].list && len > 1 && reader->value[len - 1] == ':')
		reader->value[len - 1] = '\0';
	if (port_config_set(port, key, reader->value, why)) {
		complain(reader, "%s", why);
		/* What follows a broken value in its next line is not judged again. */
		reader->last_key = -1;
	}
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
	begin_default_port(reader);
	if (reader->skip)
		return 1;
	if (!reader->port) {
		complain(reader, "'%s' outside a section; begin with [port N]", name);
		return 1;
	}
	port = &reader->config->ports[reader->port - 1];
	key = port_key_index(name);
	if (reader->piece || (reader->indented && key == reader->last_key && key >= 0)) {
		if (reader->last_key < 0)
			return 1;
		if (!reader->piece && !port_keys[key].list) {
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
		if (port->given & 1ull << key) {
			complain(reader, "%s is given twice", name);
			reader->last_key = -1;
			return 1;
		}
		port->lines[key] = reader->line;
		port->given |= 1ull << key; /* though its first piece may not be all */
		snprintf(reader->value, sizeof(reader->value), "%s", value);
	}
	if (!reader->rest)
		apply(reader, key);
	return 1;
}

/* One that is not there is no error: it need not be, or has gone since its name was read. */
static void load_file(struct config *config, const char *path, unsigned int default_port,
		      struct text *errors)
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

	reader.stream = text_file_open(path);
	if (!reader.stream) {
		if (errno == ENOENT)
			return;
		text_add(errors, "%s: %s\n", path, text_file_error(errno));
		if (default_port && !begin_port(&reader, default_port)) {
			config->ports[config->count - 1].broken = true;
			config->ports[config->count - 1].unread = true;
		}
		return;
	}
	line = ini_parse_stream(read_line, &reader, on_value, &reader);
	if (reader.error)
		text_add(errors, "%s: %s\n", path, strerror(reader.error));
	else if (line > 0 && errors->len == before)
		text_add(errors,
			 "%s:%u: not a section [port N], not \"key = value\", not a comment\n",
			 path,
			 (size_t)line <= reader.pieces ? reader.lines[line - 1] : reader.line);
	else if (line < 0)
		text_add(errors, "%s: cannot be read\n", path);
	/* Whatever is in it, the file stands for its port. */
	reader.line = 1;
	begin_default_port(&reader);
	/* A line that could not be split, or read, may have belonged to any of them. */
	for (size_t i = first; (line || reader.error) && i < config->count; i++)
		config->ports[i].broken = true;
	free(reader.lines);
	free(reader.buffer);
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
	struct stat st;

	if (!run_dir)
		return false;
	snprintf(path, sizeof(path), "%s/ports.d/%s", run_dir, name);
	return !lstat(path, &st) || errno != ENOENT;
}

/* @hider: directory whose files of the same name go before these */
static void load_directory(struct config *config, const char *dir, const char *hider,
			   struct text *errors)
{
	char path[PATH_MAX];
	struct dirent **entries;
	struct stat st;
	int count;

	snprintf(path, sizeof(path), "%s/ports.d", dir);
	count = scandir(path, &entries, is_conf, alphasort);
	if (count < 0) {
		if (errno == ENOENT && !lstat(path, &st))
			errno = ENOLINK;
		if (errno != ENOENT)
			text_add(errors, "%s: %s\n", path, text_file_error(errno));
		return;
	}
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;

		if (!hidden_by(hider, name)) {
			snprintf(path, sizeof(path), "%s/ports.d/%s", dir, name);
			load_file(config, path, port_number(name, strlen(name) - 5), errors);
		}
		free(entries[i]);
	}
	free(entries);
}

/* @why: begins with the key that is at fault, if it is one's */
static void refuse_port(struct port_config *port, const char *why, struct text *errors)
{
	char key[32];

	snprintf(key, sizeof(key), "%.*s", (int)strcspn(why, " "), why);
	text_add(errors, "%s:%u: port %u: %s\n", port->file, port_config_line(port, key),
		 port->port, why);
	port->broken = true;
}

static void check_port(struct port_config *port, struct text *errors)
{
	char why[PORT_CONFIG_ERROR_LEN];

	if (!port->unread && !port_config_has(port, "cert") && !port_config_has(port, "cert-dir"))
		refuse_port(port, "no certificate: add \"cert = FILE\" or \"cert-dir = DIR\"",
			    errors);
	else if (port_config_has(port, "key") && !port_config_has(port, "cert"))
		refuse_port(port, "key without cert", errors);
	/* What follows from a wrong value is no mistake of its own. */
	if (port_config_finish(port, why) && !port->broken)
		refuse_port(port, why, errors);
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
	load_file(config, path, 0, errors);
	load_directory(config, config_dir, run_dir, errors);
	if (run_dir)
		load_directory(config, run_dir, NULL, errors);
	for (size_t i = 0; i < config->count; i++)
		check_port(&config->ports[i], errors);
	if (config->count)
		qsort(config->ports, config->count, sizeof(*config->ports), by_port);
	return errors->len ? -1 : 0;
}

void config_check_dir(const char *config_dir, struct text *errors)
{
	if (strcmp(config_dir, CONFIG_DIR) && access(config_dir, F_OK))
		text_add(errors, "%s: %s\n", config_dir, strerror(errno));
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < config->count; i++)
		port_config_free(&config->ports[i]);
	free(config->ports);
	memset(config, 0, sizeof(*config));
}

int config_copy(const struct config *config, struct config *copy)
{
	memset(copy, 0, sizeof(*copy));
	copy->ports = calloc(config->count ? config->count : 1, sizeof(*copy->ports));
	if (!copy->ports)
		return -1;
	for (; copy->count < config->count; copy->count++) {
		if (port_config_copy(&config->ports[copy->count], &copy->ports[copy->count])) {
			config_free(copy);
			return -1;
		}
	}
	return 0;
}

const struct port_config *config_find(const struct config *config, uint16_t port)
{
	const struct port_config key = { .port = port };

	return config->count ? bsearch(&key, config->ports, config->count, sizeof(key), by_port) :
			       NULL;
}
