// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Text and JSON.  Owns the warnings of the running command.  A command builds
 * one JSON value; tables are printed from it, so that both say the same.
 */
#include "ctl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CELL_LEN 1024

static json_t *warnings;

/* What we print may hold what others chose, an SNI or a file name: one line stays one. */
static void sanitize(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

/* jansson refuses what is not UTF-8; a message is better mangled than missing. */
json_t *output_string(const char *text)
{
	json_t *string = json_string(text);
	char *copy, *c;

	if (string)
		return string;
	copy = strdup(text);
	if (!copy)
		return json_null();
	for (c = copy; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	string = json_string(copy);
	free(copy);
	return string;
}

static void dump(const json_t *value)
{
	json_dumpf(value, ctl.out, JSON_INDENT(2) | JSON_ENCODE_ANY);
	fputc('\n', ctl.out);
	fflush(ctl.out);
}

static void complain(const char *prefix, const char *format, va_list args, char *text, size_t len)
{
	vsnprintf(text, len, format, args);
	sanitize(text);
	fprintf(ctl.err, "tlsportctl: %s%s\n", prefix, text);
	fflush(ctl.err);
}

static void complain_last(const char *format, va_list args)
{
	char text[CTL_PATH_LEN + CTL_ERROR_LEN];
	json_t *object;

	complain("", format, args, text, sizeof(text));
	if (!ctl.json)
		return;
	object = json_object();
	json_object_set_new(object, "error", output_string(text));
	output_json(object);
}

int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	complain_last(format, args);
	va_end(args);
	return CTL_FAILED;
}

int usage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	complain_last(format, args);
	va_end(args);
	return CTL_USAGE;
}

void warn(const char *format, ...)
{
	char text[CTL_PATH_LEN + CTL_ERROR_LEN];
	va_list args;

	va_start(args, format);
	complain("warning: ", format, args, text, sizeof(text));
	va_end(args);
	if (!warnings)
		warnings = json_array();
	json_array_append_new(warnings, output_string(text));
}

void output_reset(void)
{
	json_decref(warnings);
	warnings = NULL;
}

void output_json(json_t *result)
{
	if (ctl.json) {
		if (warnings && json_is_object(result))
			json_object_set(result, "warnings", warnings);
		dump(result);
	}
	json_decref(result);
}

void output_line(const char *format, ...)
{
	char text[CTL_PATH_LEN];
	va_list args;

	if (ctl.json)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	sanitize(text);
	fprintf(ctl.out, "%s\n", text);
}

void output_cell(const json_t *value, char *text, size_t len)
{
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		snprintf(text, len, "%s", json_string_value(value));
		break;
	case JSON_INTEGER:
		snprintf(text, len, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_TRUE:
		snprintf(text, len, "yes");
		break;
	case JSON_FALSE:
		snprintf(text, len, "no");
		break;
	default:
		snprintf(text, len, "-");
		break;
	}
	if (!*text)
		snprintf(text, len, "-");
	sanitize(text);
}

void output_time(const json_t *value, char *text, size_t len)
{
	time_t seconds = json_integer_value(value);
	struct tm tm;

	if (!json_is_integer(value) || !gmtime_r(&seconds, &tm) ||
	    !strftime(text, len, "%Y-%m-%d", &tm))
		output_cell(value, text, len);
}

static void format_cell(const struct column *column, const json_t *row, char *text)
{
	const json_t *value = json_object_get(row, column->key);

	if (column->format && value && !json_is_null(value))
		column->format(value, text, CELL_LEN);
	else
		output_cell(value, text, CELL_LEN);
}

static void print_cell(const char *text, size_t width, bool last)
{
	if (last)
		fprintf(ctl.out, "%s\n", text);
	else
		fprintf(ctl.out, "%-*s  ", (int)width, text);
}

void output_table(const struct column *columns, size_t count, const json_t *rows)
{
	size_t widths[count], c, r, len;
	char text[CELL_LEN];
	json_t *row;

	if (ctl.json)
		return;
	for (c = 0; c < count; c++) {
		widths[c] = strlen(columns[c].heading);
		json_array_foreach(rows, r, row) {
			format_cell(&columns[c], row, text);
			len = strlen(text);
			if (len > widths[c])
				widths[c] = len;
		}
	}
	for (c = 0; c < count; c++)
		print_cell(columns[c].heading, widths[c], c + 1 == count);
	json_array_foreach(rows, r, row) {
		for (c = 0; c < count; c++) {
			format_cell(&columns[c], row, text);
			print_cell(text, widths[c], c + 1 == count);
		}
	}
}
