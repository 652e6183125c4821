// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Arguments of a command: words and --options, in any order.  Not
 * getopt_long(): it abbreviates, and its messages do not name what is allowed.
 */
#include "ctl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void list_options(const struct args_option *options, char *text, size_t len)
{
	size_t used = 0;
	int i;

	text[0] = '\0';
	for (i = 0; options[i].name && used < len; i++)
		used += snprintf(text + used, len - used, "%s--%s", i ? ", " : "", options[i].name);
}

static int find_option(const struct args_option *options, const char *name, size_t len)
{
	int i;

	for (i = 0; options[i].name; i++)
		if (strlen(options[i].name) == len && !strncmp(options[i].name, name, len))
			return i;
	return -1;
}

static int unknown_option(const struct args_option *options, const char *word)
{
	char allowed[CTL_ERROR_LEN];

	list_options(options, allowed, sizeof(allowed));
	if (!allowed[0])
		return usage("unknown option '%.*s': this command has none but --json and --help",
			     (int)strcspn(word, "="), word);
	return usage("unknown option '%.*s': allowed are %s", (int)strcspn(word, "="), word,
		     allowed);
}

int args_parse(int argc, char *argv[], const struct args_option *options, int max_words,
	       struct args *args)
{
	bool only_words = false;
	const char *word, *value;
	int i, index;

	memset(args, 0, sizeof(*args));
	for (i = 1; i < argc; i++) {
		word = argv[i];
		if (!only_words && !strcmp(word, "--")) {
			only_words = true;
			continue;
		}
		if (only_words || word[0] != '-' || !word[1] || isdigit((unsigned char)word[1])) {
			if (args->nwords == max_words)
				return usage(
					"'%s' is one argument too many for '%s': see tlsportctl %s --help",
					word, argv[0], argv[0]);
			args->words[args->nwords++] = word;
			continue;
		}
		index = word[1] == '-' ? find_option(options, word + 2, strcspn(word + 2, "=")) :
					 -1;
		if (index < 0)
			return unknown_option(options, word);
		value = strchr(word, '=');
		if (options[index].flag) {
			if (value)
				return usage("--%s takes no value", options[index].name);
			args->values[index] = "";
			continue;
		}
		if (value)
			value++;
		else if (i + 1 < argc && strncmp(argv[i + 1], "--", 2))
			value = argv[++i];
		if (!value || (!*value && !options[index].empty))
			return usage("--%s needs a value", options[index].name);
		args->values[index] = value;
	}
	return CTL_DONE;
}

int args_port(const char *word, uint16_t *port)
{
	const char *c = word + (word[0] == '-');
	long number;

	if (*c && strspn(c, "0123456789") == strlen(c)) {
		number = strlen(c) > 9 || c != word ? -1 : strtol(word, NULL, 10);
		if (number < 1 || number > 65535)
			return usage("port %s is out of range: 1 to 65535", word);
		*port = number;
		return CTL_DONE;
	}
	*port = service_port(word);
	if (!*port)
		return usage(
			"'%s' is neither a port number nor a known service name: see tlsportctl services",
			word);
	return CTL_DONE;
}
