// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "log.h"

static bool journal, verbose;

/* JOURNAL_STREAM names the journal's end of our standard error as device:inode. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       !fstat(STDERR_FILENO, &st) && st.st_dev == dev && st.st_ino == ino;
}

void log_start(bool is_verbose)
{
	verbose = is_verbose;
	journal = is_journal();
}

bool log_verbose(void)
{
	return verbose;
}

/* One write a message: workers share the stream. */
static void put(const char *priority, const char *fmt, va_list args)
{
	char line[2048];
	int len = 0;

	if (journal)
		len = snprintf(line, sizeof(line), "%s", priority);
	else
		len = snprintf(line, sizeof(line), "tlsportd: ");
	len += vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
	if (len > (int)sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nobody is left to tell */
}

#define LOG(name, priority, condition) \
	void name(const char *fmt, ...) \
	{ \
		va_list args; \
\
		if (!(condition)) \
			return; \
		va_start(args, fmt); \
		put(priority, fmt, args); \
		va_end(args); \
	}

LOG(log_error, SD_ERR, true)
LOG(log_warning, SD_WARNING, true)
LOG(log_notice, SD_NOTICE, true)
LOG(log_debug, SD_DEBUG, verbose)

void log_error_lines(const char *text)
{
	for (size_t len; *text; text += len) {
		len = strcspn(text, "\n");
		if (len)
			log_error("%.*s", (int)len, text);
		len += text[len] == '\n';
	}
}
